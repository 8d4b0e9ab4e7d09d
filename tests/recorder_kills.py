"""The recorder killed 300 times at random moments: runs one test of it, with more kills.

python -m tests.recorder_kills [OPTIONS OF PYTEST]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEST = "bot/tests/recorder/test_process.py::test_a_kill_loses_nothing_that_was_written"


def main(words: list[str]) -> int:
    """Run the test; return the exit status."""
    # Where others work beside it, a start can take longer than in the gate.
    environment = {"RECORDER_KILLS": "300", "RECORDER_LIMIT_S": "600"} | os.environ
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEST, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
