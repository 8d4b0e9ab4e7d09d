"""The monitoring server is off for an hour: no sample is missing afterwards.

python -m benchmarks.monitoring outage
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

from benchmarks.monitoring.world import CHECKER, FACTOR, SERVER, World, fleet, say

HOUR = 3600
SCRAPE_SECONDS = 15 / FACTOR
BEFORE = 10  # seconds
PATIENCE = 150  # vmagent waits up to a minute between its tries
SERIES = (
    '{__name__=~"up|node_load1|gridberry_temperature_celsius|gridbot_healthy",job!="monitoring"}'
)


def samples(world: World) -> dict[str, list[int]]:
    """Return the times (Unix milliseconds) of each series' samples."""
    words = urllib.parse.urlencode({"match[]": SERIES})
    url = f"http://127.0.0.1:{world.server_ports['8428']}/api/v1/export?{words}"
    found: dict[str, list[int]] = {}
    with urllib.request.urlopen(url, timeout=30) as answer:
        for line in answer:
            one = json.loads(line)
            found.setdefault(json.dumps(one["metric"], sort_keys=True), []).extend(
                one["timestamps"]
            )
    return {name: sorted(set(times)) for name, times in found.items()}


def missing(times: list[int]) -> int:
    """Return how many samples are missing between the first and the last."""
    step = SCRAPE_SECONDS * 1000
    gaps = (later - earlier for earlier, later in itertools.pairwise(times))
    return sum(round(gap / step) - 1 for gap in gaps)


def buffered(world: World) -> int:
    """Return how many bytes the second Pi keeps on its disk."""
    place = world.pis[CHECKER].place / "lib/gridberry-vmagent"
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def caught_up(world: World) -> bool:
    """Wait until what is measured arrives at once again."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            found = samples(world)
            late = [time.time() - times[-1] / 1000 for times in found.values()]
            if found and max(late) < 20 * SCRAPE_SECONDS:
                return True
        except OSError:
            pass
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
        found = samples(world)
    gone = sum(missing(times) for times in found.values())
    count = sum(len(times) for times in found.values())
    say(f"a Pi's buffer on its disk after {asked.seconds * FACTOR / 60:.0f} minutes: {kept} bytes")
    hosts = {json.loads(one)["host"] for one in found}
    whole = back and not gone and hosts == {SERVER, CHECKER}
    say(f"{len(found)} series, {count} samples, {gone} missing{'' if back else '; not caught up'}")
    return 0 if whole else 1
