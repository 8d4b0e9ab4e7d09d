"""Rollouts of good and bad releases over three virtual Pis: is a bad one stopped at the canary?

    python -m benchmarks.rollouts [--release NAME ...] [--from SNAPSHOT] [--soak MINUTES]
        [--orders N] [--json FILE] [--keep | --kept DIRECTORY]

Three virtual Pis start from one snapshot, with a bot that trades on recorded candles. Each release
is a copy of this checkout with one line changed; `./gridberry rollout` brings it out, the first Pi
as the canary. Of a bad release must hold: the exit status is not zero, its cause is named, the
others were not touched (same container, same start, same configuration), and the canary has its
old image back, with equal books and its orders open. Of a good one: all three run it.

One machine is made first, whose market is slower than that of the gate's Pi, and the three begin
with its disks: three emulated Pis that trade as fast as that one leave no processor for a rollout.

A bot's pause is from the end of the old container until the new one is healthy. It is printed in
units of a bare container start: `docker run --rm` of the same image with Python doing nothing, the
median of three on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.plays import ROOT
from fleet.rollout_state import load
from fleet.rollout_verb import say_now
from tests import provisioned
from virtual_pi import lifecycle
from virtual_pi.errors import VirtualPiError
from virtual_pi.machines import CreateOptions, Machine, create_machine, ssh_command
from virtual_pi.paths import make_private
from virtual_pi.snapshot import Snapshot, take
from virtual_pi.snapshot import load as load_snapshot

NAMES = ("pi1", "pi2", "pi3")
CANARY = NAMES[0]
# The bot of the scenario `default`, whose books are in the snapshot.
BOT_NAME = "molecule-pi"
PAGE_PORT = 8080
NVME_BYTES = 4 * 1024**3
BOOT_SECONDS = 900
HEALTHY_SECONDS = 900
PAUSE_UNITS = 5.0
BOT = "gridberry-bot"
AUDIT = "audit --config /etc/gridbot/bot.toml"
FACTS = (
    "docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.Image}}' gridberry-bot;"
    " sha256sum /opt/gridberry/bot/bot.toml /opt/gridberry/bot/compose.yaml"
)
BARE = "docker run --rm --network none --entrypoint python3 {image} -c pass"
SPEED = 60  # market seconds in a second


@dataclass(frozen=True)
class Change:
    """What makes a release of this checkout another one.

    Attributes:
        name: Its name.
        what: In words.
        file: A pattern of the files that are changed; the first that has the text is.
        old: The text that is replaced; empty: `new` is appended.
        new: What it becomes.
        named: A pattern of what the report must say; empty for a good release.
        refused: Whether it is refused before anything on the host is replaced.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    named: str = ""
    refused: bool = False


BEGIN = "def run(args: argparse.Namespace) -> int:\n"
LEAK = """\
def leak() -> None:
    import time
    kept = []
    while True:
        kept.append(b"x" * 1_500_000)
        time.sleep(1)

threading.Thread(target=leak, daemon=True).start()
"""
RUN, CLOSING = "bot/src/gridbot/commands/run.py", "    config = load_config(args.config)\n"
SAME = Change("same", "nothing", "pyproject.toml", "", "")
CHANGES = (
    Change("good", "a comment", "bot/src/gridbot/__init__.py", "", "# another release\n"),
    Change(
        "crash",
        "it ends when it starts",
        RUN,
        BEGIN,
        f'{BEGIN}    raise RuntimeError("planted")\n',
        "release \\d+ failed: bot is",
    ),
    Change(
        "books",
        "healthy, and books no fees",
        "bot/src/gridbot/trading/*.py",
        "commission=trade.commission,",
        "commission=trade.commission * 0,",
        "audit found a difference|container is unhealthy",
    ),
    Change(
        "leak",
        "1.5 MB more each second",
        RUN,
        "\n\ndef add_arguments",
        f"\n\n{LEAK}\n\ndef add_arguments",
        "memory|restarts|crashed",
    ),
    Change(
        "breaker",
        "its requests fail, and the breaker opens",
        "bot/src/gridbot/exchanges/binance/connection.py",
        "    def _send(self, operation: Operation, parameters: Json) -> Any:\n",
        "    def _send(self, operation: Operation, parameters: Json) -> Any:\n"
        '        raise ConnectionError("planted")\n',
        "circuit breaker|unhealthy|failed: bot is",
    ),
    Change(
        "configuration",
        "a setting that its bot does not know",
        "roles/grid_bot/templates/bot.toml.j2",
        "",
        "\n[planted]\nnonsense = 1\n",
        "planted",
        refused=True,
    ),
    Change(
        "processor",
        "an image of another processor",
        "bot/Dockerfile",
        'ENTRYPOINT ["gridbot"]',
        'ENTRYPOINT ["/opt/planted"]',
        "programs of another processor",
        refused=True,
    ),
    Change(
        "state",
        "it cannot read the books",
        "bot/src/gridbot/store/schema.py",
        "SCHEMA_VERSION = 6",
        "SCHEMA_VERSION = 5",
        "written by a newer gridbot",
        refused=True,
    ),
    Change(
        "silent",
        "it takes no answer of the exchange",
        "bot/src/gridbot/trading/submission.py",
        "    since = session.clock.monotonic()\n    try:\n",
        "    return\n    since = session.clock.monotonic()\n    try:\n",
        "orders are unknown|unhealthy|failed: bot is",
    ),
)


@dataclass
class Result:
    """What came of one rollout.

    Attributes:
        name: Of the change.
        status: The rollout's exit status.
        seconds: How long it took.
        named: What the report said of the canary.
        pauses: In units of a bare container start, by host.
        problems: What should not be; empty where all is well.
    """

    name: str
    status: int
    seconds: float
    named: str
    pauses: dict[str, float]
    problems: list[str]


class Fleet:
    """Three virtual Pis, and the checkout that rolls out to them.

    Args:
        state: The machines' state directory.
        work: A directory for copies and logs.
    """

    def __init__(self, state: Path, work: Path) -> None:
        self.state, self.work = state, work
        self.machines = [Machine(state, name) for name in NAMES]

    def slow_down(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot of the same Pi with this checkout's bot in a slower market."""
        checkout = Path(tempfile.mkdtemp(prefix="base-", dir=self.work))
        make_checkout(SAME, checkout)
        machine = self.machines[0]
        self.create(snapshot, [machine])
        words = ["playbook", "-i", "inventory/virtual", "playbooks/site.yml", "--tags", "grid_bot"]
        log = self.work / "base.log"
        status = run_in(checkout, self.state, log, "ansible", *words)
        if status:
            raise VirtualPiError(f"the machine was not deployed; its log: {log}")
        lifecycle.press_power_button([machine])
        slower = take(machine, self.work / "base")
        lifecycle.remove(machine)
        return slower

    def create(self, snapshot: Snapshot, machines: Sequence[Machine]) -> None:
        """Create machines, start them, and wait until they answer."""
        options = CreateOptions(
            forwards=(PAGE_PORT,),
            release=snapshot.release,
            nvme_bytes=NVME_BYTES if snapshot.has_nvme else None,
            time_port=snapshot.time_port,
        )
        for machine in machines:
            create_machine(self.state, machine.name, snapshot.image, options)
            lifecycle.start(machine)
        lifecycle.wait_for_ssh(machines, BOOT_SECONDS)

    def ssh(self, name: str, command: str) -> str:
        """Run a command as root on one; what it printed."""
        words = [
            "sudo",
            "sh",
            "-c",
            f"'{command.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'",
        ]
        full = [*ssh_command(Machine(self.state, name)), *words]
        done = subprocess.run(full, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise VirtualPiError(
                f"{name}: {command.partition(' ')[0]}: {done.stderr.strip()[-300:]}"
            )
        return done.stdout

    def wait_healthy(self) -> None:
        """Wait until all bots are healthy."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        for name in NAMES:
            said = ""
            while said != "healthy":
                if time.monotonic() > deadline:
                    raise VirtualPiError(f"the bot of {name} is {said}")
                time.sleep(5)
                said = self.ssh(
                    name, f"docker inspect --format '{{{{.State.Health.Status}}}}' {BOT} || true"
                ).strip()

    def bare_start(self, name: str) -> float:
        """Return the seconds of a bare container start, the median of three."""
        image = self.ssh(name, f"docker inspect --format '{{{{.Image}}}}' {BOT}").strip()
        command = BARE.format(image=image)
        said = [
            self.ssh(name, f"a=$(date +%s%N); {command}; echo $(($(date +%s%N) - a))")
            for _ in range(3)
        ]
        return statistics.median(int(one) for one in said) / 1e9

    def roll_out(self, checkout: Path, log: Path, *words: str) -> tuple[int, str]:
        """Run the verb in a checkout; its exit status, and what it and Ansible said."""
        how = ("rollout", "-i", "inventory/virtual", *words)
        return run_in(checkout, self.state, log, "fleet.cli", *how), log.read_text()


def run_in(checkout: Path, state: Path, log: Path, module: str, *words: str) -> int:
    """Run a Python module in a checkout; its exit status."""
    environment = os.environ | {
        "GRIDBERRY_STATE": os.fspath(state),
        "PYTHONPATH": os.pathsep.join([os.fspath(checkout), os.fspath(checkout / "bot/src")]),
        "GRIDBERRY_CANDLES": provisioned.candles(ROOT),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CONFIG": os.fspath(checkout / "ansible.cfg"),
    }
    with log.open("w") as output:
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=checkout,
            env=environment,
            stdout=output,
            stderr=output,
            check=False,
        ).returncode


def make_checkout(change: Change, directory: Path) -> None:
    """Copy the checkout with one change.

    Raises:
        VirtualPiError: The text that is to be changed is not there.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
    variables = directory / "inventory/virtual/group_vars/trading.yml"
    settings = re.sub(r"(?m)^grid_bot_exchange_speed: .*\n", "", variables.read_text())
    own = {"grid_bot_name": BOT_NAME, "grid_bot_exchange_speed": str(SPEED)}
    variables.write_text(settings + "".join(f'{key}: "{own[key]}"\n' for key in own))
    for path in sorted(directory.glob(change.file)):
        text = path.read_text()
        if not change.old:
            path.write_text(text + change.new)
            break
        if change.old in text:
            path.write_text(text.replace(change.old, change.new, 1))
            break
    else:
        raise VirtualPiError(f"{change.name}: {change.file} has no {change.old!r} any more")
    if change.name == "processor":
        foreign_program(directory)


def foreign_program(directory: Path) -> None:
    """Put a program of no processor of the Pi's into a copy's image."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01" + bytes(43)  # x86_64
    program = directory / "bot/src/planted"
    program.write_bytes(header)
    program.chmod(0o755)
    file = directory / "bot/Dockerfile"
    text = file.read_text()
    entry = 'ENTRYPOINT ["/opt/planted"]'
    file.write_text(text.replace(entry, f"COPY src/planted /opt/planted\n{entry}"))


def try_release(fleet: Fleet, change: Change, words: Sequence[str]) -> Result:
    """Roll out one release, and hold what came of it against what should."""
    checkout = Path(tempfile.mkdtemp(prefix=f"{change.name}-", dir=fleet.work))
    make_checkout(change, checkout)
    before = {name: fleet.ssh(name, FACTS) for name in NAMES}
    (fleet.state / "rollout.json").unlink(missing_ok=True)
    begin = time.monotonic()
    log = fleet.work / f"{change.name}.log"
    status, said = fleet.roll_out(checkout, log, "--canary", CANARY, *words)
    seconds = time.monotonic() - begin
    after = {name: fleet.ssh(name, FACTS) for name in NAMES}
    state = load(fleet.state / "rollout.json")
    hosts = {} if state is None else state.hosts
    unit = fleet.bare_start(CANARY)
    pauses = {n: round(h.pause / unit, 1) for n, h in hosts.items() if h.pause is not None}
    problems = (
        check_bad(fleet, change, before, after) if change.named else check_good(before, after)
    )
    if (status == 0) == bool(change.named):
        problems.append(f"the exit status is {status}")
    if change.named and not re.search(change.named, said):
        problems.append(f"the report does not say {change.named!r}")
    if not change.named:
        slow = {n: units for n, units in pauses.items() if units > PAUSE_UNITS}
        problems += [
            f"{n} was away for {u} bare starts, more than {PAUSE_UNITS}" for n, u in slow.items()
        ]
        problems += [f"the pause of {n} is not known" for n in NAMES if n not in pauses]
    reasons = "; ".join(hosts[CANARY].reasons) if CANARY in hosts else ""
    return Result(change.name, status, round(seconds, 1), reasons, pauses, problems)


def check_good(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what is wrong after a good release."""
    return [f"{name} has no new container" for name in NAMES if before[name] == after[name]]


def check_bad(
    fleet: Fleet, change: Change, before: dict[str, str], after: dict[str, str]
) -> list[str]:
    """Return what is wrong after a bad release."""
    problems = [f"{name} was touched" for name in NAMES[1:] if before[name] != after[name]]
    old, new = (one[CANARY].split() for one in (before, after))
    # The container is another one, unless the release was refused; image and files are the old.
    same = before[CANARY] == after[CANARY] if change.refused else old[2:] == new[2:]
    if not same:
        problems.append(f"{CANARY} is not as it was: {old} {new}")
    audit, health = (answer(fleet, words) for words in (AUDIT, "status"))
    if not audit.get("equal"):
        problems.append(f"the books of {CANARY} differ: {audit or 'no answer'}")
    if not open_orders(health):
        problems.append(f"{CANARY} has no open orders")
    return problems


def answer(fleet: Fleet, words: str) -> dict[str, Any]:
    """Return what the canary's bot answers; empty where it does not run."""
    said = fleet.ssh(CANARY, f"docker exec {BOT} gridbot {words} --json || true")
    found: dict[str, Any] = json.loads(said or "{}")
    return found


def open_orders(status: dict[str, Any]) -> int:
    """Return how many orders the bot's status says are open."""
    grids = status.get("grids") or [status]
    return sum(int(grid.get("open_orders") or 0) for grid in grids)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = [change.name for change in CHANGES]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--release", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--from", dest="snapshot", type=Path, metavar="SNAPSHOT")
    parser.add_argument("--soak", default="2", help="minutes that each is watched (2)")
    parser.add_argument("--orders", default="3", help="acknowledged orders that each needs (3)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="keep machines, copies and logs")
    parser.add_argument("--kept", type=Path, metavar="DIRECTORY", help="go on with what was kept")
    return parser.parse_args(words)


def base(wanted: Path | None) -> Path:
    """Return the snapshot that the machines begin with.

    Raises:
        VirtualPiError: There is none.
    """
    directory = wanted or provisioned.snapshot(ROOT, provisioned.candles(ROOT))
    if directory is None or not directory.is_dir():
        raise VirtualPiError(
            "there is no snapshot of a provisioned virtual Pi; run `./gridberry test`, which keeps"
            " one, or name one with --from"
        )
    return directory


def run_all(options: argparse.Namespace, say: Callable[[str], None] = say_now) -> list[Result]:
    """Create the machines, roll out each release, and remove them."""
    work = options.kept or Path(tempfile.mkdtemp(prefix="rollouts-"))
    state = work / "state"
    make_private(state)
    fleet, results = Fleet(state, work), []
    try:
        if options.kept is None:
            slower = fleet.slow_down(load_snapshot(base(options.snapshot)))
            fleet.create(slower, fleet.machines)
        fleet.wait_healthy()
        say(f"three bots are healthy; logs: {work}")
        for name in options.release:
            change = next(one for one in CHANGES if one.name == name)
            result = try_release(
                fleet, change, ["--soak", options.soak, "--orders", options.orders]
            )
            results.append(result)
            outcome = "; ".join(result.problems) or "as it should be"
            say(
                f"{name:14} status {result.status}  {result.seconds:6.0f} s  {outcome}\n"
                f"    {result.named or '-'}; pauses {result.pauses}"
            )
    finally:
        if not (options.keep or options.kept):
            for machine in fleet.machines:
                lifecycle.remove(machine)
            shutil.rmtree(work, ignore_errors=True)
    return results


def main() -> int:
    """Run the benchmark; returns the exit status."""
    options = parse()
    try:
        results = run_all(options)
    except VirtualPiError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in results], indent=2) + "\n")
    wrong = sum(bool(one.problems) for one in results)
    print(f"{len(results)} rollouts: {len(results) - wrong} as they should be, {wrong} not")
    return 1 if wrong or len(results) < len(options.release) else 0


if __name__ == "__main__":
    sys.exit(main())
