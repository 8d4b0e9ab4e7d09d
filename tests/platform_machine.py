"""Everything beside the bot on one virtual Pi: molecule's scenario `platform`.

    python -m tests.platform_machine

A part of `./gridberry test --full`. It begins with the snapshot of the gate where the cache has it,
and provisions a fresh machine where it has not.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests import provisioned
from tests.gate import RECORDED_SPEED, ROOT


def main() -> int:
    """Run the scenario; return its exit status."""
    candles = provisioned.candles(ROOT)
    snapshot = provisioned.snapshot(ROOT, candles)
    environment = {
        "GRIDBERRY_CANDLES": candles,
        "GRIDBERRY_SPEED": RECORDED_SPEED if candles else "",
        "GRIDBERRY_SNAPSHOT": os.fspath(snapshot) if snapshot and snapshot.is_dir() else "",
    }
    command = [sys.executable, "-m", "molecule", "test", "-s", "platform"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
