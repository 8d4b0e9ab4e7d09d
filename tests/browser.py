"""The page in Chromium: installs Playwright beside the checkout, and runs the states of the page.

    python -m tests.browser [OPTIONS OF PYTEST]
    python -m tests.browser paint [OPTIONS]       # bot/benchmarks/first_paint.py instead

Needs Debian's package chromium; downloads no browser. Its last line is the outcome: a state that
was skipped is one that was not shown.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from virtual_pi.paths import cache_directory

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "tests" / "browser.lock"
PAINT = "bot/benchmarks/first_paint.py"
STATES = ("bot/tests/together/page/test_states.py", "bot/tests/together/page/test_acting.py")


def installed(lock: Path, cache: Path) -> Path:
    """Return a directory with the packages of a lock file.

    Args:
        lock: It, with hashes.
        cache: Where directories of earlier locks are.

    Raises:
        subprocess.CalledProcessError: pip failed, and has said why.
    """
    target = cache / f"browser-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not target.is_dir():
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps")
        subprocess.run([*pip, "--target", os.fspath(partial), "-r", os.fspath(lock)], check=True)
        partial.rename(target)
    return target


def main(words: list[str]) -> int:
    """Run the states, or the benchmark; return the exit status."""
    if shutil.which("chromium") is None:
        print("1 failed: chromium is not installed; apt-get install chromium", file=sys.stderr)
        return 3
    packages = installed(LOCK, cache_directory())
    paths = [os.environ.get("PYTHONPATH", ""), os.fspath(packages)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if words[:1] == ["paint"]:
        return subprocess.run(
            [sys.executable, PAINT, *words[1:]], cwd=ROOT, env=environment, check=False
        ).returncode
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *STATES, *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, text=True, stdout=subprocess.PIPE
    )
    print(done.stdout, end="")
    last = done.stdout.strip().rpartition("\n")[2]
    return done.returncode or int("skipped" in last or "passed" not in last)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
