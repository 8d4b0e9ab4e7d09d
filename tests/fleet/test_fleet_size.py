"""What the benchmark of fleets concludes from its figures."""

import pytest

from benchmarks.fleet_size import Cost, verdict


@pytest.mark.parametrize(("seconds", "linear"), [(400, True), (450, True), (550, False)])
def test_a_growth_that_is_not_linear_fails(seconds, linear):
    costs = [
        Cost("look", 50, 1, 100, 1, 1),
        Cost("rollout", 50, 1, 100, 1, 1),
        Cost("look", 200, 1, 300, 1, 1),
        Cost("rollout", 200, 1, seconds, 1, 1),
    ]
    line, good = verdict(costs)
    assert good == linear
    assert line.startswith("up to 200 hosts: growth at most 1.")
    assert "(rollout)" in line


def test_one_size_has_no_growth():
    assert verdict([Cost("look", 50, 1, 100, 1, 1)]) == ("one size: no growth", True)
