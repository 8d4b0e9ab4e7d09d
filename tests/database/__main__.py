"""Runs what the fleet's database must show, on machines of Debian trixie that it makes.

sudo python -m tests.database [NAME ...] [--kills 500]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.database.scenarios import SCENARIOS
from tests.trixie_machine import root_file_system
from tests.trixie_root import MachineMissingError


def main() -> int:
    """Run the scenarios that are named, or all; returns 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SCENARIOS, []], help="which; all without one")
    parser.add_argument("--kills", type=int, default=50, help="how often the database is killed")
    parser.add_argument("--seed", type=int, default=2611, help="draws the moments")
    given = parser.parse_args()
    try:
        root_file_system()
    except MachineMissingError as error:
        print(f"tests.database: {error}", file=sys.stderr)
        return 1
    names, failed = given.names or list(SCENARIOS), 0
    for name in names:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gridberry-database-") as directory:
            try:
                said = SCENARIOS[name](Path(directory), count=given.kills, seed=given.seed)
            except Exception as error:  # noqa: BLE001  the others are still to be run
                traceback.print_exc()
                failed, said = failed + 1, f"FAILED: {type(error).__name__}: {error}"
        print(f"{name}: {said} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
