"""Seeds of the fault world; `bot/benchmarks/fault_world.py` takes ten thousand."""

from collections import Counter

from .story import Story
from .workers import Workers, settle_memory

SEEDS = 100
# Stories that once went wrong.
FOUND = (545, 1731, 1797, 2357)


def tell(seeds):
    workers = Workers()
    settle_memory()
    for seed in seeds:
        workers.start(str(seed), lambda report, seed=seed: Story(seed, report).tell())
    workers.finish()
    return workers.results


def test_books_and_exchange_agree_after_every_story():
    results = tell([*range(SEEDS), *FOUND])
    failed = [result for result in results if result["problems"]]
    assert not failed, "\n".join(
        f"fault_world.py --seed {result['name']}: {result['problems']}" for result in failed
    )
    faults = Counter()
    for result in results:
        faults.update(result["faults"])
    assert len(faults) > 15
    assert sum(result["kills"] for result in results) > SEEDS
    assert sum(result["judged"] for result in results) > 5
    assert sum(result["fills"] for result in results) > 5 * SEEDS


def test_a_story_is_the_same_each_time():
    first, second = tell([7]), tell([7])
    assert first == second
