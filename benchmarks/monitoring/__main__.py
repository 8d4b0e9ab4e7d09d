"""Runs one of the benchmarks, after it has unpacked Debian's programs where they are missing.

python -m benchmarks.monitoring {faults,outage,load}
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.monitoring import faults, load, outage, tools

BENCHMARKS: dict[str, Callable[[], int]] = {
    "faults": faults.main,
    "outage": outage.main,
    "load": load.main,
}


def main() -> int:
    """Run what the arguments name; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__)
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("more", nargs=argparse.REMAINDER, help="its own arguments")
    asked = parser.parse_args()
    sys.argv[1:] = asked.more
    if tools.missing() and tools.main():
        return 3
    return BENCHMARKS[asked.benchmark]()


if __name__ == "__main__":
    sys.exit(main())
