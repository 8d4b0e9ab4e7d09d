"""Every command of docs/first-pi.md that is Gridberry's is one that its verb reads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fleet import find
from fleet.card import prepare
from fleet.new_inventory import __main__ as new

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "first-pi.md"
VERBS = {"prepare": prepare.arguments_of, "find": find.arguments_of, "new": new.arguments_of}
BLOCKS = "".join(re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^\./gridberry (.*)", BLOCKS.replace("\\\n", ""), re.MULTILINE)
# Read by tests/test_documents.py, as those of the other documents are.
OTHERS = {"setup", "check", "deploy", "open"}


def test_each_verb_is_explained() -> None:
    assert {command.split()[0] for command in COMMANDS} == {*OTHERS, *VERBS}


@pytest.mark.parametrize("command", [line for line in COMMANDS if line not in OTHERS])
def test_a_command_of_the_document_is_read(command: str) -> None:
    verb, *words = shlex.split(command, comments=True)
    VERBS[verb](words)
