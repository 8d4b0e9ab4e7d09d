"""Crashes at the boundaries of one run; `bot/benchmarks/crash_sweep.py` takes every one of them."""

import pytest

from .sizes import SWEPT, sweep_setup
from .sweep import Sweep
from .workers import Workers, settle_memory

SEED = 3


def told(world, seed, seconds, results):
    """What a failure says: how to see it again."""
    return "\n".join(
        f"crash_sweep.py --world {world} --seed {seed} --seconds {seconds} "
        f"--boundary {result['name']}: {result['problems']}"
        for result in results
    )


@pytest.mark.parametrize(
    ("world", "seconds", "every", "least"),
    [
        ("swing", 150.0, 6, 100),
        ("moving", 300.0, 19, 50),
        ("stopping", 120.0, 7, 40),
        ("sinking", 80.0, 41, 20),
        ("outside", 120.0, 5, 20),
    ],
)
def test_nothing_is_doubled_or_lost_wherever_the_bot_is_killed(world, seconds, every, least):
    workers = Workers()
    sweep = Sweep(SWEPT[world](SEED), seconds, lambda number: number % every == 0, workers)
    settle_memory()
    sweep.run()
    assert sweep.own_problems == []
    assert len(workers.results) == sum(sweep.picked.values()) > least
    assert len(sweep.picked) >= 6
    failed = [result for result in workers.results if result["problems"]]
    assert not failed, told(world, SEED, seconds, failed)


def test_the_same_seed_has_the_same_boundaries():
    sweeps = [Sweep(sweep_setup(SEED), 30.0, lambda _number: False, Workers()) for _ in range(2)]
    for sweep in sweeps:
        sweep.run()
    one, other = sweeps
    assert one.boundaries.kinds == other.boundaries.kinds
    assert (one.fills, one.faults) == (other.fills, other.faults)
