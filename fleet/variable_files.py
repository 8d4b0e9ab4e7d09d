"""Finds what is wrong in an inventory's files of variables, with the file and the line.

Of one that it cannot read Ansible says neither; of a name that is there twice it takes the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from gridbase.errors import UserError

PLACES = ("group_vars", "host_vars")
SUFFIXES = ("", ".yml", ".yaml", ".json")
VAULT = "$ANSIBLE_VAULT"


def check_variable_files(inventory: Path, shown: str) -> None:
    """Check that each file of variables is YAML, a mapping, and names nothing twice.

    Args:
        inventory: A file or directory; the variables are in it or beside it.
        shown: What it is called in a message.

    Raises:
        UserError: One is not; names the file and the line.
    """
    root = inventory if inventory.is_dir() else inventory.parent
    called = Path(shown) if inventory.is_dir() else Path(shown).parent
    for path in variable_files(root):
        if said := problem(path.read_text(encoding="utf-8", errors="replace")):
            raise UserError(f"{called / path.relative_to(root)}{said}")


def variable_files(root: Path) -> Iterator[Path]:
    """Yield the files that Ansible reads variables from, in a fixed order.

    Args:
        root: The inventory's directory.
    """
    for place in PLACES:
        for path in sorted((root / place).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.is_file() and path.suffix in SUFFIXES and not hidden and path.name[-1] != "~":
                yield path


def problem(text: str) -> str:
    """Return what is wrong in a file's text, with the line before it; empty where nothing is.

    Args:
        text: What the file has.
    """
    if text.startswith(VAULT):
        return ""
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return f"{f':{mark.line + 1}' if mark else ''}: {error.problem or error.context}"
    except yaml.YAMLError as error:
        return f": {' '.join(str(error).split())}"
    return "" if node is None else _wrong_names(node)


def _wrong_names(node: yaml.Node) -> str:
    if not isinstance(node, yaml.MappingNode):
        return f":{node.start_mark.line + 1}: use lines such as NAME: VALUE"
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            return f":{line}: {key.value} is there twice; the first is in line {lines[key.value]}"
        lines[key.value] = line
    return ""
