"""A reboot and ten power cuts at random moments: it comes back by itself, and says what it lost.

Before test_undo.py, by the order of names. Times are this computer's: the machine has them from it.
"""

import json
import os
import tarfile
import time
from random import Random

import pytest

from bot.tests.recorder.processes import check_kept

NAME = "gridberry-recorder"
SYMBOLS = ["BTCUSDT", "ETHUSDT"]
CUTS = int(os.environ.get("GRIDBERRY_CUTS", "10"))
STATUS = f"docker exec {NAME} recorder status --json"


@pytest.fixture
def recording(pi, waiting):
    """The function that waits until both books are there, and returns the status."""

    def status():
        said = pi.run(STATUS)
        return json.loads(said.stdout) if said.rc == 0 else None

    def well():
        told = status()
        books = told and told["exchanges"]["binance"]["books"]
        return told if books == len(SYMBOLS) and told["rows_written"] > 0 else None

    return lambda: waiting(well, "a recorder with both books")


def test_a_reboot_brings_it_back(pi, machine, waiting, recording):
    machine.restart()
    recording()
    look = f"docker inspect --format '{{{{.State.Health.Status}}}}' {NAME}"
    waiting(lambda: pi.run(look).stdout.strip() == "healthy", "the recorder to be healthy")


def test_what_power_cuts_lose_is_listed(pi, machine, recording, tmp_path):
    random = Random(2611)  # noqa: S311
    cut_at, written = [], 0
    for _ in range(CUTS):
        recording()
        time.sleep(random.uniform(0, 3))  # anywhere between two writes
        written += recording()["rows_written"]
        cut_at.append(machine.restart(cut=True) * 1000)
    recording()
    pi.check_output(f"docker stop -t 120 {NAME}")
    archive = tmp_path / "kept.tar"
    with archive.open("wb") as kept:
        machine.ssh("sudo tar -C /mnt/data/recorder -cf - .", stdout=kept)
    pi.check_output(f"docker start {NAME}")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "kept", filter="data")
    rows, lost = check_kept(tmp_path / "kept", SYMBOLS, cut_at)
    print(f"{CUTS} cuts, {rows} rows; lost before a cut, ms: {sorted(lost)}")
    assert rows > written
    assert len(lost) >= CUTS
