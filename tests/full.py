"""What is too long for the gate, in parts of at most an hour each.

    python -m tests.full [--list] [--again] [PART ...]

`./gridberry test --full` calls it once everything is installed. Parts run one after the other. One
that has passed is not run again while nothing that it tests has changed, so that an interrupted run
goes on where it was. docs/full-tests.md has the last run of each; a run notes itself there.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.full_parts import PARTS, Part
from tests.gate import ROOT, Processes, Stage, remove_machines, side_by_side

TABLE = ROOT / "docs" / "full-tests.md"
LIMIT_SECONDS = 60 * 60
COLOR = re.compile(r"\x1b\[[0-9;]*m")  # molecule's, also where nobody looks
OUTCOME_WIDTH = 100
HEAD = "| part | commit | seconds | outcome |"


@dataclass(frozen=True)
class Run:
    """The last run of a part, as the table has it.

    Attributes:
        commit: The commit that was tested.
        seconds: How long it took.
        outcome: "passed" or "failed", and the last line that it printed.
    """

    commit: str
    seconds: int
    outcome: str

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return self.outcome.startswith("passed")


def read_table(text: str) -> dict[str, Run]:
    """Return the last run of each part.

    Args:
        text: The text of docs/full-tests.md.
    """
    rows = re.findall(r"^\| (\S+) \| ([0-9a-f]+) \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    return {name: Run(commit, int(seconds), outcome) for name, commit, seconds, outcome in rows}


def with_table(text: str, runs: dict[str, Run]) -> str:
    """Return the text of docs/full-tests.md with these runs.

    Args:
        text: What it is now.
        runs: The last run of each part; those of parts that no longer exist are left out.
    """
    rows = []
    for part in PARTS:
        run = runs.get(part.name)
        last = f"{run.commit} | {run.seconds} | {run.outcome}" if run else "- | - | not run yet"
        rows.append(f"| {part.name} | {last} |\n")
    before = text.partition(HEAD)[0]
    return f"{before}{HEAD}\n| --- | --- | ---: | --- |\n{''.join(rows)}"


def git(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask git.

    Args:
        words: The command.
    """
    return subprocess.run(["git", *words], check=False, cwd=ROOT, capture_output=True, text=True)


def holds(part: Part, run: Run | None) -> bool:
    """Return whether a part has passed and nothing that it tests has changed since.

    Args:
        part: The part.
        run: Its last run.
    """
    if run is None or not run.ok:
        return False
    return git("diff", "--quiet", run.commit, "--", *part.tests).returncode == 0


def tested_commit(part: Part) -> str | None:
    """Return the commit that a run would test; None where what it tests is not committed.

    Args:
        part: The part.
    """
    if git("status", "--porcelain", "--", *part.tests).stdout:
        return None
    return git("rev-parse", "--short=8", "HEAD").stdout.strip()


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, in one cell of a table.

    Args:
        log: The log.
    """
    text = COLOR.sub("", log.read_text(errors="replace"))
    said = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    return " ".join(said.split()).replace("|", "/")[:OUTCOME_WIDTH]


def run_part(part: Part, state: Path, processes: Processes) -> Run:
    """Run a part, and note its run in the table where what it tested is committed.

    Args:
        part: The part.
        state: Directory for its log and machines.
        processes: Where it is kept while it runs.
    """
    commit = tested_commit(part)
    place = state / "full" / part.name
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    # What it makes in a temporary directory is found again, and gone with the place.
    here = {"GRIDBERRY_STATE": os.fspath(place), "TMPDIR": os.fspath(place)}
    stage = Stage(part.name, part.command, environment=here)
    late = threading.Timer(LIMIT_SECONDS, processes.end)
    late.start()
    try:
        side_by_side([], [stage], place, processes)
    finally:
        late.cancel()
    in_time = (stage.seconds or 0) < LIMIT_SECONDS
    if not in_time:
        remove_machines(state)
    said = last_line(place / "0.log") if in_time else f"not done after {LIMIT_SECONDS} s"
    run = Run(commit or "", round(stage.seconds or 0), f"{_verdict(stage)}: {said}")
    if commit is None:
        print(f"{part.name}: not noted in {TABLE.name}, as what it tests is not committed")
    else:
        text = TABLE.read_text()
        TABLE.write_text(with_table(text, read_table(text) | {part.name: run}))
    return run


def _verdict(stage: Stage) -> str:
    return "passed" if stage.status == 0 else "failed"


def list_parts(runs: dict[str, Run]) -> None:
    """Print each part, what it does and its last run.

    Args:
        runs: The last runs.
    """
    for part in PARTS:
        run = runs.get(part.name)
        if run is None:
            last = "not run yet"
        else:
            due = "" if holds(part, run) else ", due"
            last = f"{run.commit}, {run.seconds} s, {run.outcome}{due}"
        print(f"{part.name:<24} {part.what}\n{'':<24} {last}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is due of the parts.

    Args:
        arguments: The command line's.

    Returns:
        The exit status: 0 when all is well, 1 when a part failed, 130 interrupted.
    """
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="./gridberry test --full", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="these alone (default: all)")
    parser.add_argument("--list", action="store_true", help="show the parts and their last runs")
    parser.add_argument("--again", action="store_true", help="also what has passed already")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in names]
    if unknown:
        parser.error(f"there is no part '{unknown[0]}': choose from {', '.join(names)}")
    runs = read_table(TABLE.read_text())
    if options.list:
        list_parts(runs)
        return 0
    state = Path(os.environ.get("GRIDBERRY_STATE", ROOT / ".gridberry"))
    # Also where a shell in the background has it ignored: what is run here would ignore it, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    chosen = [part for part in PARTS if not options.parts or part.name in options.parts]
    due = [part for part in chosen if options.again or not holds(part, runs.get(part.name))]
    for part in chosen:
        if part not in due:
            print(f"== {part.name}: passed on {runs[part.name].commit}, nothing changed since")
    if any("virtual_pi" in part.tests for part in due):
        images = [os.fspath(ROOT / "gridberry"), "images", "trixie", "bookworm"]
        if subprocess.run(images, check=False, cwd=ROOT).returncode:
            return 1
    failed = []
    for part in due:
        processes = Processes()
        try:
            run = run_part(part, state, processes)
        except KeyboardInterrupt:
            print("\ngridberry: interrupted; what has passed is noted", file=sys.stderr)
            processes.end()
            remove_machines(state)
            return 130
        if not run.ok:
            failed.append(part.name)
            print(f"failed: {part.name}: {run.outcome}")
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
