"""Ansible filters: what is wrong with settings and hosts, in one line each."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

KINDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text",
}


# With a clock further away than this, in seconds, signatures of packages and certificates are not
# valid yet, or not any more.
CLOCK_BEHIND, CLOCK_AHEAD = -86400, 7 * 86400
CLOCK_HINT = (
    "wait until it has asked a time server (timedatectl says so), or set it with: sudo date --set"
)

# The firmware's bits 0 to 3, and 16 to 19, which say the same of the time since the last boot.
THROTTLED_NOW = (
    "its supply gives too little voltage now, which ruins cards; use another one",
    "its processor's frequency is capped now; look at power supply and cooling",
    "its processor is throttled now; look at power supply and cooling",
    "its processor is at the soft temperature limit now; cool it",
)
THROTTLED_ONCE = (
    "its supply gave too little voltage",
    "its processor's frequency was capped",
    "its processor was throttled",
    "its processor was at the soft temperature limit",
)
HOT = 80  # degrees Celsius
SYSTEM_MB = 200  # what Debian and Docker need beside the containers
# Sizes and numbers as Docker takes them; the units in MB.
SIZE, NUMBER = re.compile(r"(\d+(?:\.\d+)?)([bkmg]?)b?"), re.compile(r"\d+(\.\d+)?")
UNITS = {"": 2**-20, "b": 2**-20, "k": 2**-10, "m": 1, "g": 2**10}
BOOT_FREE = 256  # KB: the boot files and their originals once more, in clusters of up to 16

# Those with 1 GB or more: a Zero 2 W, a 3A+ have half of that, which preflight_memory_mb refuses.
BOARDS = tuple(
    f"Raspberry Pi {name}"
    for name in ("3 Model B", "4", "5", *(f"Compute Module {number}" for number in (3, 4, 5)))
)

# What ssh says, and what to do then.
REACH_HINTS = (
    ("Permission denied", "ssh-copy-id puts your key there; ansible_user must be its login user"),
    (
        "Host key verification failed",
        "log in once with ssh, or, if the host was installed anew, first ssh-keygen -R its name",
    ),
    ("Could not resolve", "is its name in the inventory (ansible_host) right?"),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "after a new installation: ssh-keygen -R"),
)


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
    """Return a line for each thing in a setting's value that is not allowed.

    Args:
        name: Of the setting, or of the key in it.
        value: Its value.
        option: Its argument specification.
    """
    keys = option.get("options")
    if not fits(value, option) or (keys and not is_made_of_mappings(value)):
        shown = "not shown" if option.get("no_log") else repr(value)
        return [f"{name} is {shown}; use {what_would_do(option)}"]
    if not keys:
        return []
    if isinstance(value, dict):
        return key_problems(f"{name}.", value, keys, "a setting")
    lines = []
    for number, entry in enumerate(value, 1):
        lines += key_problems(f"{name}, entry {number}: ", entry, keys, "a setting")
    return lines


def key_problems(prefix: str, values: dict, known: dict[str, dict], what: str) -> list[str]:
    """Return a line for each key that is not known, is missing, or whose value is not allowed."""
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
    """Return a line for each setting that no role has or whose value is not allowed.

    Args:
        values: The variables that the inventory sets, with their values.
        known: The argument specification of each variable that a role has.
    """
    return key_problems("", values, known, "a setting of any role")


def hosts_setting_problems(
    hosts: dict[str, Mapping], known: dict[str, dict], roles: list[str]
) -> list[str]:
    """Return a line for each setting of a host that no role has or that is not allowed.

    Args:
        hosts: The variables of each.
        known: The options of all roles, by name.
        roles: Whose variables are settings.
    """
    own = re.compile(f"({'|'.join(roles)})_")
    lines = []
    for host, found in hosts.items():
        values = {name: found[name] for name in found if own.match(name)}
        lines += [f"{host}: {line}" for line in setting_problems(values, known)]
    return lines


def looked(look: str) -> dict[str, str]:
    """Return what look.sh said: the value of each word."""
    return dict(line.strip().partition(" ")[::2] for line in look.splitlines())


def host_problems(look: str, wanted: dict) -> list[str]:
    """Return a line for each thing that is in the way on a host.

    Args:
        look: The output of the role's look.sh: lines of a word and a value.
        wanted: The settings C(nvme_device), C(free_mb), C(memory_mb), C(releases),
            C(architectures), C(throttled); C(sudo): whether a password for sudo was given or
            found to work; C(pciex1): whether config.txt is to switch PCIe on; C(boot_only):
            whether this run does nothing else than boot files; C(drive): whether data is to be
            on an NVMe drive; C(host): its name in the inventory; C(ipv6_off): whether the kernel
            is to lose IPv6 in this run; C(boot): whether this run may write boot files;
            C(address): what the inventory reaches the host by; C(limits): of the containers, by
            setting.
    """
    found = looked(look)
    user = found.get("user", "the login user")
    problems = []
    if found.get("sudo") != "yes" and not wanted["sudo"]:
        problems.append(
            f"sudo asks {user} for a password; run again with --ask-become-pass, or allow it on the"
            f" host: echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/010_{user}"
        )
    problems += system_problems(found, wanted)
    if int(found.get("free") or 0) < wanted["free_mb"]:
        problems.append(
            f"/var has {found.get('free')} MB free and preflight_free_mb is {wanted['free_mb']};"
            " make room on the host"
        )
    if "memory" in found and int(found["memory"] or 0) < wanted["memory_mb"]:
        problems.append(
            f"it has {found['memory']} MB of memory and preflight_memory_mb is"
            f" {wanted['memory_mb']}; use a board with more"
        )
    if found.get("root") == "read-only":
        problems.append(
            "its system's disk is mounted read-only, as the kernel does when a card fails; look at"
            " dmesg on the host"
        )
    if found.get("root") in ("overlay", "tmpfs"):
        problems.append(
            f"its system runs in memory (/ is {found['root']}): nothing would outlast a reboot;"
            " switch that off: raspi-config, Performance Options, Overlay File System"
        )
    if not (wanted["boot_only"] and pcie_line(found, wanted)):
        problems += nvme_lines(found, wanted)
    problems += limit_lines(found, wanted)
    problems += boot_lines(found, wanted) + ipv6_lines(found, wanted)
    problems += clock_lines(found, None)
    if wanted.get("throttled") == "fail":
        problems += [
            f"{line}; use preflight_throttled: warn nevertheless" for line in throttled_lines(found)
        ]
    return problems


def limit_lines(found: dict[str, str], wanted: dict) -> list[str]:
    """Return a line for each limit of the containers that is wrong, or above what the board has."""
    sizes, shares, lines = {}, {}, []
    processors = int(found.get("processors") or 0)
    for name, value in wanted["limits"].items():
        kind, example = (SIZE, "384m") if name.endswith("memory") else (NUMBER, "0.75")
        number = kind.fullmatch(str(value).lower())
        if number is None:
            lines.append(f"{name} is '{value}'; use a number such as {example}")
        elif kind is SIZE:
            sizes[name] = float(number[1]) * UNITS[number[2]]
        elif float(number[0]) > processors > 0:
            lines.append(f"{name} is {value} and the board has {processors} processors; use fewer")
        else:
            shares[name] = float(number[0])
    room = int(found.get("memory") or 0) - SYSTEM_MB
    if sum(sizes.values()) > room > 0:
        told = " and ".join(f"{name} is {wanted['limits'][name]}" for name in sizes)
        lines.append(f"{told}: the board has {room} MB for containers; use less, or another board")
    several = any(" " in name for name in shares)
    if several and not lines and sum(shares.values()) > processors > 0:
        told = " and ".join(f"{name} is {wanted['limits'][name]}" for name in shares)
        lines.append(f"{told}: the board has {processors} processors; use fewer, or another board")
    return lines


def boot_lines(found: dict[str, str], wanted: dict) -> list[str]:
    """Return a line if the boot files are to be written and cannot be."""
    if not wanted["boot"]:
        return []
    free, _, place = found.get("boot_free", "").partition(" ")
    if "boot_read_only" in found:
        why = "is mounted read-only, as the kernel does when a card fails; a reboot checks it"
        return [f"{place} {why}, and dmesg on the host says more"]
    if free.isdecimal() and int(free) < BOOT_FREE:
        return [f"{place} has {free} KB free and the boot files need {BOOT_FREE}; make room there"]
    return []


def nvme_lines(found: dict[str, str], wanted: dict) -> list[str]:
    """Return a line if the NVMe drive is missing that is asked for, or that is to come."""
    coming = pcie_line(found, wanted)
    if coming and (wanted["nvme_device"] or wanted["drive"]):
        return [coming]
    if not wanted["nvme_device"] or "nvme" in found:
        return []
    hint = ""
    if is_pcie_off(found):
        hint = (
            " (an adapter that is no HAT+ needs boot_config_dtparam: [pciex1], and first"
            f" {boot_run(wanted)})"
        )
    line = f"preflight_nvme_device is {wanted['nvme_device']} and the host has no such block device"
    disks = found.get("disks") or "none"
    return [
        f"{line}, only {disks}; attach it{hint}, name one of these, or set it to '' to do without"
    ]


def is_pcie_off(found: dict[str, str]) -> bool:
    """Tell whether a board's PCIe for drives is off, as a Pi 5's is without a HAT+ or a setting."""
    if "/dev/nvme" in found.get("disks", ""):
        return False
    if "pcie" in found:
        return found["pcie"] == "disabled"
    return found.get("board", "").startswith("Raspberry Pi 5") and "pciex1" not in found


def boot_run(wanted: dict) -> str:
    """Return the command that writes boot settings alone, and reboots."""
    run = "ansible-playbook -i INVENTORY playbooks/harden.yml --tags boot_config"
    return f"{run} --limit {wanted['host']}"


def pcie_line(found: dict[str, str], wanted: dict) -> str:
    """Return why the NVMe drive of a host is yet to come, or nothing.

    Until then nothing may be put in place: Docker's data would be on the card, and stay there.
    """
    if not wanted["pciex1"] or not is_pcie_off(found):
        return ""
    if "pciex1" in found:
        return (
            "config.txt has dtparam=pciex1 and PCIe is off; it is on after a reboot:"
            f" ansible-playbook -i INVENTORY playbooks/reboot.yml --limit {wanted['host']}"
        )
    line = "its boot settings are to switch PCIe on, where an NVMe drive is, and it is off as yet"
    return line if wanted["boot_only"] else f"{line}; first {boot_run(wanted)}"


def is_ipv6(address: str) -> bool:
    """Tell whether a host is named by an IPv6 address that does not stand for an IPv4 one."""
    try:
        known = ipaddress.IPv6Address(address.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return known.ipv4_mapped is None


def ipv6_lines(found: dict[str, str], wanted: dict) -> list[str]:
    """Return a line if nobody would reach a host any more whose kernel has no IPv6.

    That this connection is by IPv6 means nothing: a name comes back by its IPv4 address.
    """
    if not wanted["ipv6_off"] or "ipv6" not in found:
        return []
    if is_ipv6(wanted["address"]):
        why = f"ansible_host is {wanted['address']}"
        hint = "its name, or its IPv4 address,"
    elif found.get("ipv4") == "no":
        why, hint = "it has no IPv4 address", "one by DHCP"
    else:
        return []
    line = f"boot_config_cmdline_replace has ipv6.disable=1 and {why}: nobody would reach it"
    return [f"{line} after the reboot; use {hint}, or boot_config_cmdline_replace: []"]


def system_problems(found: dict[str, str], wanted: dict) -> list[str]:
    """Return a line for each thing about processor and system that is in the way."""
    problems = []
    if found.get("machine") not in wanted["architectures"]:
        problems.append(
            f"its processor is {found.get('machine')};"
            f" use {' or '.join(wanted['architectures'])} (preflight_architectures)"
        )
    elif found.get("packages") in {"armhf", "armel", "i386"}:
        problems.append(
            f"its system is a 32-bit one ({found['packages']}) on a 64-bit kernel; use an image of"
            " the 64-bit Debian or Raspberry Pi OS"
        )
    if found.get("family") != "debian" or found.get("release") not in wanted["releases"]:
        problems.append(
            f"its system is {found.get('family')} {found.get('release')}; use Debian or"
            f" Raspberry Pi OS {' or '.join(wanted['releases'])} (preflight_releases)"
        )
    if wanted.get("keeps_metrics") and found.get("release") == "bookworm":
        problems.append(
            f"monitoring_server is {wanted['host']} and its system is bookworm, whose packages are"
            " too old for that; use a host with trixie"
        )
    if "python" not in found:
        problems.append("it has no python3; on the host: sudo apt-get install python3 python3-apt")
    return problems


def in_words(seconds: int) -> str:
    """Return a length of time as people say it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def clock_lines(found: dict[str, str], limit: int | None) -> list[str]:
    """Return a line if the host's clock is too far from the controller's.

    A Pi without a clock that runs on boots in the past, until a time server has answered. apt and
    TLS refuse a clock that is a day behind, or a week ahead, and so do the roles.

    Args:
        found: What look.sh said.
        limit: More seconds than this are told, as long as apt and TLS work; None asks for what
            stops them.
    """
    if "clock" not in found:
        return []
    offset = int(found["clock"])
    stops = offset < CLOCK_BEHIND or offset > CLOCK_AHEAD
    where = "behind" if offset < 0 else "ahead of"
    line = f"its clock is {in_words(abs(offset))} {where} this computer's"
    if limit is None:
        return [f"{line}, with which apt and TLS fail; {CLOCK_HINT}"] if stops else []
    if stops or abs(offset) <= limit:
        return []
    return [f"{line} (preflight_clock_seconds is {limit}); an exchange refuses orders then"]


def throttled_lines(found: dict[str, str]) -> list[str]:
    """Return a line for each thing about power and heat that is wrong now."""
    bits = int(found.get("throttled", "0x0"), 16)
    lines = [text for bit, text in enumerate(THROTTLED_NOW) if bits >> bit & 1]
    temperature = int(found.get("temperature") or 0) // 1000
    if "throttled" not in found and temperature >= HOT:
        lines.append(f"its processor is at {temperature} °C, where boards slow down; cool it")
    return lines


def host_warnings(look: str, wanted: dict) -> list[str]:
    """Return a line for each thing on a host that is worth knowing and in nobody's way.

    Args:
        look: The output of the role's look.sh: lines of a word and a value.
        wanted: The settings C(throttled) and C(clock_seconds), and what C(pcie_line) asks for.
    """
    found = looked(look)
    warnings = clock_lines(found, wanted["clock_seconds"])
    if wanted["throttled"] == "warn":
        warnings += throttled_lines(found)
    if wanted["throttled"] != "ignore":
        bits = int(found.get("throttled", "0x0"), 16)
        has = [text for bit, text in enumerate(THROTTLED_ONCE) if bits >> (16 + bit) & 1]
        # What is so now has been said.
        if has and not bits & 0xF:
            warnings.append(f"since its last boot {', '.join(has)}; power supply and cooling?")
    board = found.get("board", "")
    if board.startswith("Raspberry Pi") and not board.startswith(BOARDS):
        warnings.append(f"it is a {board}, which the roles were not made for; they go on")
    if wanted["boot_only"] and pcie_line(found, wanted):
        warnings.append(pcie_line(found, wanted))
    if found.get("dpkg") == "interrupted":
        warnings.append(
            "dpkg was interrupted there; the first role that installs ends what it began"
        )
    return warnings


def unreachable_problem(message: str) -> str:
    """Return in one line why a host cannot be reached, and what is allowed.

    Args:
        message: What ssh said.
    """
    said = " ".join(message.split()).removeprefix("Task failed: ") or "no answer"
    said = said.removeprefix("Failed to connect to the host via ssh: ")
    hints = [hint for words, hint in REACH_HINTS if words in said]
    hint = hints[0] if hints else "is it on, and is ansible_host right?"
    return f"it cannot be reached: {said.rstrip('.')}; {hint}"


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "preflight_hosts_setting_problems": hosts_setting_problems,
            "preflight_host_problems": host_problems,
            "preflight_host_warnings": host_warnings,
            "preflight_unreachable_problem": unreachable_problem,
        }
