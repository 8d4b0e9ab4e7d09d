"""What requests leave behind in memory: nothing. Months of them are in bot/benchmarks/month.py."""

import gc
import tracemalloc

import pytest
from gridbot.service.bot import Runner

from .conftest import zigzag

# Virtual seconds; a poll, and so two requests, every two. For the page, 300 prices are kept.
WARM, MEASURED = 700.0, 700.0
MOST_BYTES_A_REQUEST = 50


class Count(list):
    """The wire's notes without the notes."""

    number = 0

    def append(self, _request):
        self.number += 1


def bytes_left(world, account):
    """Bytes by which a running bot grows for each request, once its caches are full."""
    marks = []  # bytes and requests

    def after_step(_trader, _store):
        if world.clock.seconds >= (WARM, WARM + MEASURED, float("inf"))[len(marks)]:
            gc.collect()
            marks.append((tracemalloc.get_traced_memory()[0], world.wire.requests.number))

    runner = Runner(world.config, account, world.open_store, world.clock, after_step)
    tracemalloc.start()
    try:
        world.run(runner, WARM + MEASURED + 60)
    finally:
        tracemalloc.stop()
    (before, first), (after, last) = marks
    assert last - first > MEASURED / 2
    return (after - before) / (last - first)


@pytest.mark.parametrize("keeping", [False, True])
def test_requests_leave_nothing_in_memory(make_world, keeping):
    world = make_world(zigzag(10), speed="10", at_end="hold")  # it soon stands still
    world.wire.requests = Count()
    account, kept = world.account(), []
    if keeping:  # what the measure says of a bot that has such a leak
        account.rest._client.session.hooks["response"].append(
            lambda response, **_options: kept.append(response.text)
        )
    left = bytes_left(world, account)
    print(f"{left:.0f} bytes a request, {world.wire.requests.number} requests")
    assert (left > MOST_BYTES_A_REQUEST) == keeping
