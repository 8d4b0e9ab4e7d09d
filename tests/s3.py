"""`recorder sync` against a real S3 server: installs moto beside the checkout, and runs the tests.

    python -m tests.s3 [OPTIONS OF PYTEST]

Its last line is the outcome: a test that was skipped did not show anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.browser import installed
from virtual_pi.paths import cache_directory

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "tests" / "s3.lock"
KILLS = "100"


def main(words: list[str]) -> int:
    """Run the tests; return the exit status."""
    packages = installed(LOCK, cache_directory())
    paths = [os.environ.get("PYTHONPATH", ""), os.fspath(packages)]
    environment = {"RECORDER_SYNC_KILLS": KILLS} | os.environ
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "bot/tests/recorder/test_sync.py", *words],
        cwd=ROOT, env=environment, check=False, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    print(done.stdout, end="")
    last = done.stdout.strip().rpartition("\n")[2]
    return done.returncode or int("skipped" in last or "passed" not in last)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
