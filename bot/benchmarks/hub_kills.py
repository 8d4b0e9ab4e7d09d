"""Kill collector, archiver and database of the hub at random moments, and compare with the books.

    python bot/benchmarks/hub_kills.py [--kills N] [--seed S]

Needs root, for a server from Debian's packages (tests/postgres.py). Exits 1 on any difference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

BOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BOT / "src"), str(BOT.parent)]

from bot.tests.together.hub.killing import Killing  # noqa: E402  the path is set above


def main() -> int:
    """Kill and compare; 1 on any difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        try:
            counts = Killing(Path(directory), arguments.seed, arguments.kills).run()
        except AssertionError as error:
            traceback.print_exc()
            for log in Path(directory).glob("*.log"):
                print(log.name, log.read_text()[-2000:])
            print(f"1 failed: seed {arguments.seed}: {error}")
            return 1
    for name, count in sorted(counts.items()):
        print(f"{name:24} {count}")
    print(f"{arguments.kills} kills: every trade once, in {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
