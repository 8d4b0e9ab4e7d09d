"""The monitoring server is off for an hour: no sample is missing afterwards.

python -m benchmarks.monitoring outage
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import tempfile
import time
import urllib.parse
import urllib.request
from itertools import pairwise
from pathlib import Path

from benchmarks.monitoring.world import CHECKER, FACTOR, World, fleet, say

HOUR = 3600
BEFORE = 10  # seconds
LATE = 5  # seconds
SETTLED = 20  # seconds
UNDER_WAY = 1  # a sample has the time at which its scrape began, and is there at its end
PATIENCE = 150  # vmagent waits up to a minute between its tries
SERIES = 'up{job="bot",host="%s"}'


def samples(world: World, host: str) -> list[int]:
    """Return the times (Unix milliseconds) at which a host's bot was scraped."""
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
    parser.add_argument(
        "--cut", action="store_true", help="its power is cut: what the store has in memory is gone"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gridberry-fleet.") as name, fleet(Path(name)) as world:
        world.start_server()
        for pi in world.pis.values():
            world.start_pi(pi)
        time.sleep(BEFORE)
        world.stop_server(signal.SIGKILL if asked.cut else signal.SIGTERM)
        time.sleep(asked.seconds)
        kept = buffered(world)
        world.start_server()
        back = caught_up(world)
        # Each scrape of a bot, even one that came too late, is a sample.
        made, now = {host: pi.scrapes for host, pi in world.pis.items()}, time.time() * 1000
        time.sleep(SETTLED)
        times = {host: [at for at in samples(world, host) if at <= now] for host in world.pis}
        stored = {host: len(found) for host, found in times.items()}
    gone = {host: max(0, made[host] - stored[host] - UNDER_WAY) for host in made}
    say(f"a Pi's buffer on its disk after {asked.seconds * FACTOR / 60:.0f} minutes: {kept} bytes")
    told = "; ".join(
        f"{host}: {count} stored, {gone[host]} missing" for host, count in stored.items()
    )
    gaps = [later - at for found in times.values() for at, later in pairwise(found)]
    longest = max(gaps) / 1000 * FACTOR
    say(f"the longest time without a sample: {longest:.0f} s")
    say(f"{told}{'' if back else '; not caught up'}")
    return 0 if back and not any(gone.values()) else 1
