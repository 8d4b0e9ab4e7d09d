"""What runs beside a bot, on a virtual Pi: molecule's scenario `platform`.

    python -m tests.platform_machine database|recorder|ib [--cuts N]

Parts of `./gridberry test --full`. `database` begins with the snapshot of the gate where the cache
has it; all others, and that one without a snapshot, with a fresh machine. What is recorded is a
practice exchange on this computer, and what stands for a download of IB Gateway is made here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.tests.recorder.processes import start_exchange
from tests import provisioned
from tests.gate import RECORDED_SPEED, ROOT
from tests.ib_gateway import packages
from virtual_pi.time_server import HOST_IN_GUEST

COINS = ("BTC", "ETH")


@contextmanager
def database(_: Path) -> Iterator[dict[str, str]]:
    """Give the scenario the gate's candles, and its snapshot where there is one."""
    candles = provisioned.candles(ROOT)
    snapshot = provisioned.snapshot(ROOT, candles)
    yield {
        "GRIDBERRY_CANDLES": candles,
        "GRIDBERRY_SPEED": RECORDED_SPEED if candles else "",
        "GRIDBERRY_SNAPSHOT": os.fspath(snapshot) if snapshot and snapshot.is_dir() else "",
    }


@contextmanager
def recorder(directory: Path) -> Iterator[dict[str, str]]:
    """Run the exchange that is recorded: it lives on when the power of the machine is cut."""
    exchange = start_exchange(directory / "exchange", COINS, speed=1)
    try:
        yield {
            f"GRIDBERRY_EXCHANGE_{name}": url.replace("127.0.0.1", HOST_IN_GUEST)
            for name, url in (("REST", exchange.url), ("STREAMS", exchange.stream_url))
        }
    finally:
        exchange.kill()


@contextmanager
def ib(directory: Path) -> Iterator[dict[str, str]]:
    """Make what a user downloads."""
    made = {"INSTALLER": packages.installer(directory, "arm"), "IBC": packages.ibc(directory)}
    paths = {f"GRIDBERRY_IB_{name}": os.fspath(one.path) for name, one in made.items()}
    yield paths | {f"GRIDBERRY_IB_{name}_SHA256": one.sha256 for name, one in made.items()}


KINDS = {"database": database, "recorder": recorder, "ib": ib}


def main() -> int:
    """Run the scenario; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cuts", type=int, help="converge, then only cut the power so often")
    given = parser.parse_args()
    commands = ["destroy", "converge", "verify"] if given.cuts else ["test"]
    with (
        tempfile.TemporaryDirectory(prefix="gridberry-platform-") as directory,
        KINDS[given.kind](Path(directory)) as environment,
    ):
        environment["GRIDBERRY_PLATFORM"] = given.kind
        if given.cuts:
            environment |= {"GRIDBERRY_CUTS": str(given.cuts), "PYTEST_ADDOPTS": "-k power_cuts"}
        statuses = (molecule(command, environment) for command in commands)
        failed = next((status for status in statuses if status), 0)
        if given.cuts:
            molecule("destroy", environment)
    return failed


def molecule(command: str, environment: dict[str, str]) -> int:
    """Run a command of molecule; return its exit status."""
    words = [sys.executable, "-m", "molecule", command, "-s", "platform"]
    return subprocess.run(words, cwd=ROOT, env=os.environ | environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
