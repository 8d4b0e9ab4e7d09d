"""Time, memory and CPU that the bot takes on the machine whose image this is.

The benchmarks themselves run inside a container of the image, with the network cut: bot and
exchange find each other on the container's own loopback. Their times are judged in starts of a bare
interpreter in the same container, so that an emulated machine is measured like a real one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.images import Image

from .conftest import MACHINE
from .test_image import run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BOT = "gridberry-bot"
MEMORY_LIMIT = 70_000_000
# 1 % of a core on an x86_64 machine whose bare start takes 20 ms of CPU; measured is a tenth.
IDLE_LIMIT_STARTS_PER_SECOND = 0.5
PATIENCE = 300  # emulated, everything takes its time


def benchmark(daemon: docker.DockerClient, image: Image, arguments: str) -> dict[str, Any]:
    """Run one of the benchmarks inside the image; what it found."""
    files = "\n".join(
        f"cat >/tmp/{file.name} <<'END-OF-FILE'\n{file.read_text()}END-OF-FILE"
        for file in (BENCHMARKS / "start.py", BENCHMARKS / "idle.py")
    )
    # Judged by the tests below, one by one.
    script = f"{files}\npython3 /tmp/{arguments} --patience {PATIENCE} --json || true"
    output = run(daemon, image, ["-c", script], entrypoint=["sh"])
    lines = output.splitlines()
    assert lines, "the benchmark said nothing"
    assert lines[-1].startswith("{"), output
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@pytest.fixture(scope="module")
def started(daemon: docker.DockerClient, image: Image) -> dict[str, Any]:
    return benchmark(daemon, image, "start.py --runs 3 --seconds 30")


@pytest.fixture(scope="module")
def idle(daemon: docker.DockerClient, image: Image) -> dict[str, Any]:
    return benchmark(daemon, image, "idle.py --seconds 60 --checks 5")


@pytest.mark.long
@pytest.mark.parametrize("state", ["fresh", "again"])
def test_start_to_first_order_in_bare_starts(started: dict[str, Any], state: str) -> None:
    start, limit = started[state], started["limits"]["units"]
    print(
        f"{started['machine']}: first order {start['units']:.1f} bare starts after the start "
        f"(limit {limit:.0f}): {start['seconds']:.2f} s, a bare start {start['bare_seconds']:.3f} s"
    )
    assert 1 < start["units"] <= limit, start


@pytest.mark.long
@pytest.mark.parametrize("moment", ["fresh", "again", "trading"])
def test_memory_of_a_bot_on_loopback(started: dict[str, Any], moment: str) -> None:
    found = started[moment]
    pss = "unknown" if found["pss"] is None else f"{found['pss'] / 1e6:.1f} MB"
    print(
        f"{started['machine']}, {moment}: VmRSS {found['rss'] / 1e6:.1f} MB "
        f"(limit {MEMORY_LIMIT / 1e6:.0f} MB), PSS {pss}, {found['threads']} threads"
    )
    assert 0 < found["rss"] <= MEMORY_LIMIT


@pytest.mark.long
def test_neither_numpy_nor_pyarrow_is_in_its_memory(started: dict[str, Any]) -> None:
    assert started["needless"] == []


@pytest.mark.long
def test_an_idle_bot_takes_next_to_nothing(idle: dict[str, Any]) -> None:
    starts = idle["share"] / idle["bare_cpu_seconds"]
    print(
        f"{idle['machine']}: idle {idle['share']:.3%} of a core, or {starts:.3f} bare starts a "
        f"second (limit {IDLE_LIMIT_STARTS_PER_SECOND}); "
        f"the health check {idle['health_share']:.3%} of a core"
    )
    assert idle["fills"] == 0, "it was not idle"
    assert starts <= IDLE_LIMIT_STARTS_PER_SECOND


@pytest.mark.skipif(MACHINE is None, reason="a bot runs only on a machine")
def test_memory_of_the_bot_that_runs(daemon: docker.DockerClient) -> None:
    container = daemon.containers.get(BOT)
    found = container.exec_run(["cat", "/proc/1/status"])
    assert found.exit_code == 0, found.output
    fields = dict(line.split(":", 1) for line in found.output.decode().splitlines())
    rss = int(fields["VmRSS"].removesuffix("kB")) * 1024
    print(f"{fields['Name'].strip()}: VmRSS {rss / 1e6:.1f} MB (limit {MEMORY_LIMIT / 1e6:.0f} MB)")
    assert fields["Name"].strip().startswith("python3")
    assert rss <= MEMORY_LIMIT
