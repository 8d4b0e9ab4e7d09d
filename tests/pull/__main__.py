"""Runs what the role `pull` must show, on machines of Debian trixie that it makes.

sudo python -m tests.pull [NAME ...] [--kills 10]
"""

from __future__ import annotations

import argparse
import sys

from tests.pull.scenarios import SCENARIOS
from tests.run_scenarios import run_scenarios


def main() -> int:
    """Run the scenarios that are named, or all; returns 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills",
        dest="count",
        metavar="KILLS",
        type=int,
        default=10,
        help="how often a pull is cut off",
    )
    parser.add_argument("--seed", type=int, default=2611, help="draws the moments")
    return run_scenarios("tests.pull", SCENARIOS, parser)


if __name__ == "__main__":
    sys.exit(main())
