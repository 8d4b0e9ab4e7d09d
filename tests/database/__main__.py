"""Runs what the fleet's database must show, on machines of Debian trixie that it makes.

sudo python -m tests.database [NAME ...] [--kills 500]
"""

from __future__ import annotations

import argparse
import sys

from tests.database.scenarios import SCENARIOS
from tests.run_scenarios import run_scenarios


def main() -> int:
    """Run the scenarios that are named, or all; returns 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills",
        dest="count",
        metavar="KILLS",
        type=int,
        default=50,
        help="how often the database is killed",
    )
    parser.add_argument("--seed", type=int, default=2611, help="draws the moments")
    return run_scenarios("tests.database", SCENARIOS, parser)


if __name__ == "__main__":
    sys.exit(main())
