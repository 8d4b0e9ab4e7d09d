"""Ansible filter: a dictionary of settings as a TOML table, typed as the role specifies it."""

from __future__ import annotations

import json

from ansible.module_utils.parsing.convert_bool import boolean

UNSET = (None, "")


def toml_value(value: object, kind: str) -> str:
    """Return a value as TOML has it.

    What is not of its kind is written as it is: the bot says what is allowed.

    Args:
        value: As the inventory has it, or as text from the command line.
        kind: C(bool), C(int), C(list) of texts or C(str), from the argument specification.
    """
    try:
        if kind == "bool":
            return str(boolean(value)).lower()
        if kind == "int":
            return str(int(str(value)))
        if kind == "list" and isinstance(value, (list, tuple)):
            return json.dumps([str(one) for one in value], ensure_ascii=False)
    except (TypeError, ValueError):
        pass
    if value is False:
        value = "off"  # what YAML reads as false, where a word is asked for
    if isinstance(value, float):
        return json.dumps(value)  # an amount without quotes, which the bot refuses
    return json.dumps(str(value), ensure_ascii=False)


def _table(heading: str, path: str, values: dict, options: dict) -> str:
    """One table and those below it, keys in the order of the specification."""
    names = [name for name in options if name in values]
    names += [name for name in values if name not in options]
    lines, below = [], ""
    for name in names:
        option, value = options.get(name, {}), values[name]
        if value in UNSET:
            continue
        if option.get("type") == "dict":
            inner = f"{path}.{name}"
            below += _table(f"[{inner}]", inner, value, option["options"])
        else:
            lines.append(f"{name} = {toml_value(value, option.get('type', 'str'))}\n")
    own = f"\n{heading}\n{''.join(lines)}" if lines else ""
    return own + below


def toml_tables(values: dict | list[dict], name: str, option: dict, without: tuple = ()) -> str:
    """Return a setting as a TOML table, or as one for each element; only what is set.

    Args:
        values: The setting.
        name: The table's name.
        option: The setting's argument specification.
        without: Keys that are for somebody else.

    Returns:
        Tables with an empty line before each; no text at all where nothing is set.
    """
    options = option["options"]
    if isinstance(values, dict):
        return _table(f"[{name}]", name, values, options)
    entries = [{key: entry[key] for key in entry if key not in without} for entry in values]
    return "".join(_table(f"[[{name}]]", name, entry, options) for entry in entries)


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"grid_bot_toml": toml_tables}
