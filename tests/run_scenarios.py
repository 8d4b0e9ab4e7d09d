"""Runs scenarios on machines of Debian trixie that it makes."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.trixie_machine import root_file_system
from tests.trixie_root import MachineMissingError


def kills_parser(description: str | None, what: str, count: int) -> argparse.ArgumentParser:
    """Return a parser of how often something is killed, and at which moments.

    Args:
        description: of the program.
        what: is killed.
        count: how often, unless it is told.
    """
    parser = argparse.ArgumentParser(description=description)
    text = f"how often {what} is killed"
    parser.add_argument(
        "--kills", dest="count", metavar="KILLS", type=int, default=count, help=text
    )
    parser.add_argument("--seed", type=int, default=2611, help="draws the moments")
    return parser


def run_scenarios(
    program: str,
    scenarios: Mapping[str, Callable[..., str]],
    parser: argparse.ArgumentParser,
) -> int:
    """Run the scenarios that are named, or all; returns 1 where one failed.

    Args:
        program: name of the package.
        scenarios: by name; each gets a directory, and the parser's own arguments.
        parser: of these arguments.
    """
    parser.add_argument("names", nargs="*", choices=[*scenarios, []], help="which; all without one")
    given = vars(parser.parse_args())
    names, failed = given.pop("names") or list(scenarios), 0
    try:
        root_file_system()
    except MachineMissingError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    prefix = f"gridberry-{program.rpartition('.')[2].replace('_', '-')}-"
    for name in names:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=prefix) as directory:
            try:
                said = scenarios[name](Path(directory), **given)
            except Exception as error:  # noqa: BLE001  the others are still to be run
                traceback.print_exc()
                failed, said = failed + 1, f"FAILED: {type(error).__name__}: {error}"
        print(f"{name}: {said} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    return int(failed > 0)
