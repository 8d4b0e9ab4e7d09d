"""What has changed between two documents."""

import copy

import pytest
from gridbot.service.deltas import changes

BEFORE = {"a": 1, "b": {"c": [1, 2, {"d": None}], "e": "x"}}


def applied(document, news):
    holder = {"now": copy.deepcopy(document)}
    for path, part in news:
        *way, last = ["now", *path]
        at = holder
        for key in way:
            at = at[key]
        at[last] = part
    return holder["now"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BEFORE, []),
        (BEFORE | {"a": 2}, [(["a"], 2)]),
        (
            {"a": 1, "b": {"c": [1, 3, {"d": 4}], "e": "x"}},
            [(["b", "c", 1], 3), (["b", "c", 2, "d"], 4)],
        ),
        ({"a": 1, "b": {"c": [1, 2], "e": "x"}}, [(["b", "c"], [1, 2])]),
        ({"a": 1, "b": {"c": [1, 2, {"d": None}]}}, [(["b"], {"c": [1, 2, {"d": None}]})]),
        ({"a": [], "b": None}, [(["a"], []), (["b"], None)]),
        ({"z": 1}, [([], {"z": 1})]),
        (BEFORE | {"a": "1"}, [(["a"], "1")]),
    ],
)
def test_only_what_differs_is_told(after, expected):
    assert changes(BEFORE, after) == expected
    assert applied(BEFORE, expected) == after
