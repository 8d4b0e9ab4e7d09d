"""Runs what the role `pull` must show, on machines of Debian trixie that it makes.

sudo python -m tests.pull [NAME ...] [--kills 10]
"""

from __future__ import annotations

import sys

from tests.pull.scenarios import SCENARIOS
from tests.run_scenarios import kills_parser, run_scenarios


def main() -> int:
    """Run the scenarios that are named, or all; returns 1 where one failed."""
    return run_scenarios("tests.pull", SCENARIOS, kills_parser(__doc__, "a pull", 10))


if __name__ == "__main__":
    sys.exit(main())
