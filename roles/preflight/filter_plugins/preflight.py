"""Ansible filters: what is wrong with settings and hosts, in one line each."""

from __future__ import annotations

import difflib


def unknown_settings(names: list[str], known: list[str]) -> list[str]:
    """Return a line for each setting that no role has.

    Args:
        names: The variables that the inventory sets.
        known: The variables that the roles have.
    """
    lines = []
    for name in sorted(set(names) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        lines.append(f"{name} is not a setting of any role{hint}")
    return lines


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
            "preflight_unknown_settings": unknown_settings,
            "preflight_host_problems": host_problems,
        }
