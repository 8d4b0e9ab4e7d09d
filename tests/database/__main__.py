"""Runs what the fleet's database must show, on machines of Debian trixie that it makes.

sudo python -m tests.database [NAME ...] [--kills 500]
"""

from __future__ import annotations

import sys

from tests.database.scenarios import SCENARIOS
from tests.run_scenarios import kills_parser, run_scenarios


def main() -> int:
    """Run the scenarios that are named, or all; returns 1 where one failed."""
    return run_scenarios("tests.database", SCENARIOS, kills_parser(__doc__, "the database", 50))


if __name__ == "__main__":
    sys.exit(main())
