"""Runs one of the benchmarks, after it has unpacked Debian's programs where they are missing.

python -m benchmarks.monitoring {faults,outage,load}
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.monitoring import faults, load, outage, tools

BENCHMARKS: dict[str, Callable[[], int]] = {
    "faults": faults.main,
    "outage": outage.main,
    "load": load.main,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        sys.stderr.write(f"use one of {', '.join(BENCHMARKS)}\n")
        sys.exit(2)
    name = sys.argv.pop(1)
    if tools.missing() and "--help" not in sys.argv and tools.main():
        sys.exit(3)
    sys.exit(BENCHMARKS[name]())
