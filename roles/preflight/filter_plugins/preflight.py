"""Ansible filters: what is wrong with settings and hosts, in one line each."""

from __future__ import annotations

import difflib

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

KINDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text",
}


def what_would_do(option: dict) -> str:
    """Return in words what values an option takes, from its argument specification."""
    if "choices" in option:
        return " or ".join(option["choices"])
    kind = KINDS[option["type"]]
    if "elements" in option:
        kind += f" whose elements are each {KINDS[option['elements']]}"
    return kind


def fits(value: object, option: dict) -> bool:
    """Tell whether a value is what an argument specification asks for."""
    known = {key: option[key] for key in ("type", "elements", "choices") if key in option}
    return not ArgumentSpecValidator({"value": known}).validate({"value": value}).error_messages


def is_made_of_mappings(value: object) -> bool:
    """Tell whether a value is a mapping or a list of some, and no text that stands for one."""
    return all(isinstance(one, dict) for one in (value if isinstance(value, list) else [value]))


def value_problems(name: str, value: object, option: dict) -> list[str]:
    """Return a line for each thing in a setting's value that will not do.

    Args:
        name: Of the setting, or of the key in it.
        value: Its value.
        option: Its argument specification.
    """
    keys = option.get("options")
    if not fits(value, option) or (keys and not is_made_of_mappings(value)):
        shown = "not shown" if option.get("no_log") else repr(value)
        return [f"{name} is {shown}; {what_would_do(option)} would do"]
    if not keys:
        return []
    if isinstance(value, dict):
        return key_problems(f"{name}.", value, keys, "a setting")
    lines = []
    for number, entry in enumerate(value, 1):
        lines += key_problems(f"{name}, entry {number}: ", entry, keys, "a setting")
    return lines


def key_problems(prefix: str, values: dict, known: dict[str, dict], what: str) -> list[str]:
    """Return a line for each key that is not known, is missing, or whose value will not do."""
    lines = [
        f"{prefix}{name} is missing"
        for name, option in known.items()
        if option.get("required") and name not in values
    ]
    for name, value in sorted(values.items()):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            lines.append(f"{prefix}{name} is not {what}{hint}")
        else:
            lines += value_problems(f"{prefix}{name}", value, known[name])
    return lines


def setting_problems(values: dict[str, object], known: dict[str, dict]) -> list[str]:
    """Return a line for each setting that no role has or whose value will not do.

    Args:
        values: The variables that the inventory sets, with their values.
        known: The argument specification of each variable that a role has.
    """
    return key_problems("", values, known, "a setting of any role")


def host_problems(look: str, wanted: dict) -> list[str]:
    """Return a line for each thing that is in the way on a host.

    Args:
        look: The output of the role's look.sh: lines of a word and a value.
        wanted: The settings C(nvme_device), C(free_mb), C(releases), C(architectures), and C(sudo):
            whether a password for sudo was given or found to work.
    """
    found = dict(line.partition(" ")[::2] for line in look.splitlines())
    user = found.get("user", "the login user")
    problems = []
    if found.get("sudo") != "yes" and not wanted["sudo"]:
        problems.append(
            f"sudo asks {user} for a password; run again with --ask-become-pass, or allow it on the"
            f" host: echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/010_{user}"
        )
    if found.get("machine") not in wanted["architectures"]:
        problems.append(
            f"its processor is {found.get('machine')}; {' or '.join(wanted['architectures'])}"
            " would do (preflight_architectures)"
        )
    if found.get("family") != "debian" or found.get("release") not in wanted["releases"]:
        problems.append(
            f"its system is {found.get('family')} {found.get('release')}; Debian or Raspberry Pi OS"
            f" {' or '.join(wanted['releases'])} would do (preflight_releases)"
        )
    if "python" not in found:
        problems.append("it has no python3; on the host: sudo apt-get install python3")
    if int(found.get("free") or 0) < wanted["free_mb"]:
        problems.append(
            f"/var has {found.get('free')} MB free and preflight_free_mb is {wanted['free_mb']};"
            " make room on the host"
        )
    if wanted["nvme_device"] and "nvme" not in found:
        problems.append(
            f"preflight_nvme_device is {wanted['nvme_device']} and the host has no such block"
            f" device, only {found.get('disks') or 'none'}; attach it, name one of these, or set it"
            " to '' to do without"
        )
    return problems


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "preflight_setting_problems": setting_problems,
            "preflight_host_problems": host_problems,
        }
