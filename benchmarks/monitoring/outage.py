"""The monitoring server is off for an hour: no sample is missing afterwards.

python -m benchmarks.monitoring outage
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

from benchmarks.monitoring.world import CHECKER, FACTOR, World, fleet, say

HOUR = 3600
BEFORE = 10  # seconds
LATE = 5  # seconds
PATIENCE = 150  # vmagent waits up to a minute between its tries
SERIES = 'gridbot_healthy{host="%s"}'


def samples(world: World, host: str) -> list[int]:
    """Return the times (Unix milliseconds) of what a host's bot has told."""
    words = urllib.parse.urlencode({"match[]": SERIES % host})
    url = f"http://127.0.0.1:{world.server_ports['8428']}/api/v1/export?{words}"
    found: set[int] = set()
    with urllib.request.urlopen(url, timeout=30) as answer:
        for line in answer:
            one = json.loads(line)
            pairs = zip(one["timestamps"], one["values"], strict=True)
            # At its end vmagent marks a series as stale, with a value that is no number.
            found |= {at for at, value in pairs if value is not None}
    return sorted(found)


def buffered(world: World) -> int:
    """Return how many bytes the second Pi keeps on its disk."""
    place = world.pis[CHECKER].place / "lib/gridberry-vmagent"
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def caught_up(world: World) -> bool:
    """Wait until what is measured arrives at once again."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            last = [samples(world, host)[-1:] for host in world.pis]
            if all(one and time.time() - one[0] / 1000 < LATE for one in last):
                return True
        time.sleep(1)
    return False


def main() -> int:
    """Switch the server off and on; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=HOUR / FACTOR, help="it is off")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gridberry-fleet.") as name, fleet(Path(name)) as world:
        world.start_server()
        for pi in world.pis.values():
            world.start_pi(pi)
        time.sleep(BEFORE)
        world.stop_server()
        time.sleep(asked.seconds)
        kept = buffered(world)
        world.start_server()
        back = caught_up(world)
        for pi in world.pis.values():
            pi.kill_bot()
        time.sleep(LATE)
        stored = {host: len(samples(world, host)) for host in world.pis}
    gone = {host: pi.scrapes - stored[host] for host, pi in world.pis.items()}
    say(f"a Pi's buffer on its disk after {asked.seconds * FACTOR / 60:.0f} minutes: {kept} bytes")
    told = "; ".join(
        f"{host}: {count} stored, {gone[host]} missing" for host, count in stored.items()
    )
    say(f"{told}{'' if back else '; not caught up'}")
    return 0 if back and not any(gone.values()) else 1
