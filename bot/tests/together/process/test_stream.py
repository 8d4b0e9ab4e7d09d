"""The page's stream of a bot that really runs: what is new comes by itself, and soon."""

import http.client
import json
import time

from .conftest import PATIENCE_SECONDS, wait_for


def test_a_fill_comes_by_itself(bench):
    bench.start_exchange("--speed", "600", "--seed", "7")
    bench.start_bot()
    wait_for(lambda: bench.status().get("state") == "trading")
    connection = http.client.HTTPConnection("127.0.0.1", bench.page_port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/api/stream")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream"
    bench.page("/api/page")  # what changes is told from the first state on that anybody has seen
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            line = answer.readline()
            if line.startswith(b"data: {"):
                news = json.loads(line.removeprefix(b"data: "))
                if any(path[:1] == ["grids"] and "fills" in path for path, _ in news["changes"]):
                    return
        raise AssertionError("no fill was told")
    finally:
        connection.close()
