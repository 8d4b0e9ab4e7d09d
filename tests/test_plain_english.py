"""The check of documents finds what it is for, and leaves code and tables alone."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.plain_english import RULES, faults, sentences

SETTINGS = tomllib.loads(RULES.read_text())
LONG = " ".join(["word"] * SETTINGS["most_words"])


def lines_of(text: str) -> list[int]:
    return [line for line, _ in faults(text, **SETTINGS)]


@pytest.mark.parametrize(
    "text",
    [
        "It is for who has Pis already.",
        "A damaged page is told by the command.",
        "A key that may not withdraw.",
        "A file that has a line that names the host that was set.",
        "The host is recognised.",
        f"{LONG} more.",
        f"| setting | {LONG} more |",
    ],
)
def test_habits_are_found(text: str) -> None:
    assert lines_of("# Title\n\nShort.\n\n" + text) == [5]


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG}. Another one.",
        f"These: {LONG}; and others.",
        f"- {LONG}\n- word",
        f"| {LONG} | word |",
        f"```sh\n{LONG} can not be told\n```",
        f"`{LONG}` word",
        "[text](may%20not.md)",
        "A file that names the host. One that does not is a file that was lost.",
    ],
)
def test_what_is_fine_is_left_alone(text: str) -> None:
    assert lines_of(text) == []


def test_a_sentence_has_the_number_of_its_first_line() -> None:
    text = "# One\n\n```\ncode\n```\n\nTwo\nlines. Three\nlines.\n\n| Four | Five |\n"
    assert [line for line, _ in sentences(re.sub("```.*?```", "\n\n", text, flags=re.DOTALL))] == [
        1,
        7,
        8,
        11,
        11,
    ]
