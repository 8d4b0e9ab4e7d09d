"""Ansible filters: what is known of each host, as one JSON object."""

from __future__ import annotations

import json
import re
import time


def lines_of(look: str) -> dict[str, list[str]]:
    """Return what look.sh said: the values of each word."""
    found: dict[str, list[str]] = {}
    for line in look.splitlines():
        word, _, value = line.strip().partition(" ")
        found.setdefault(word, []).append(value.strip())
    return found


def number(text: str | None) -> int | None:
    """Return a whole number, or None where there is none."""
    return int(text) if text and re.fullmatch(r"-?[0-9]+", text) else None


def parsed(text: str | None) -> dict:
    """Return a JSON object, empty where a program wrote none."""
    try:
        document = json.loads(text or "")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def seconds(text: str | None) -> int | None:
    """Return the seconds of a time as systemd shows it, such as C(1min 30s); 0 for C(0) or off."""
    if text is None or text == "":
        return None
    units = {"us": 1e-6, "ms": 0.001, "s": 1, "min": 60, "h": 3600}
    parts = re.findall(r"([0-9.]+)(us|ms|min|s|h)\b", text)
    return round(sum(float(amount) * units[unit] for amount, unit in parts))


def health(document: dict) -> dict:
    """Return a drive's health from what smartctl says."""
    nvme = document.get("nvme_smart_health_information_log", {})
    passed = document.get("smart_status", {}).get("passed")
    return {
        "health": None if passed is None else "passed" if passed else "failed",
        "wear_percent": nvme.get("percentage_used"),
        "temperature_c": document.get("temperature", {}).get("current"),
        "power_on_hours": document.get("power_on_time", {}).get("hours"),
    }


def disks(found: dict[str, list[str]]) -> list[dict]:
    """Return an object for each drive."""
    smart, words = {}, {}
    for line in found.get("smart", []):
        name, _, text = line.partition(" ")
        smart[name] = parsed(text)
    for word in ("card", "life"):
        words[word] = dict(line.partition(" ")[::2] for line in found.get(word, []))
    result = []
    for device in parsed(found.get("disks", [""])[0]).get("blockdevices", []):
        name = device["name"]
        if device.get("type") != "disk" or name.startswith(("zram", "loop", "ram")):
            continue
        result.append(
            {
                "name": name,
                "model": (device.get("model") or words["card"].get(name) or "").strip() or None,
                "size_bytes": number(str(device.get("size"))),
                "transport": device.get("tran"),
                **health(smart.get(name, {})),
                "emmc_life": words["life"].get(name),
            }
        )
    return result


def mounts(found: dict[str, list[str]]) -> list[dict]:
    """Return an object for each file system that is on a drive."""
    return [
        {
            "path": one.get("target"),
            "source": one.get("source"),
            "type": one.get("fstype"),
            "size_bytes": number(str(one.get("size"))),
            "free_bytes": number(str(one.get("avail"))),
        }
        for one in parsed(found.get("mounts", [""])[0]).get("filesystems", [])
        if str(one.get("source", "")).startswith("/dev/")
    ]


def listening(found: dict[str, list[str]]) -> list[dict]:
    """Return an object for each port that is listened on, in the order of their numbers."""
    ports = set()
    for line in found.get("listens", []):
        protocol, place, program = line.split()
        address, _, port = place.rpartition(":")
        if port.isdecimal():
            ports.add((int(port), protocol, address.strip("[]"), program))
    return [
        {
            "port": port,
            "protocol": protocol,
            "address": address,
            "program": None if program == "-" else program,
        }
        for port, protocol, address, program in sorted(ports)
    ]


def bootloader(found: dict[str, list[str]]) -> dict | None:
    """Return what is known of the bootloader in a board's EEPROM; None where there is none."""
    told = dict(line.partition(" ")[::2] for line in found.get("eeprom", []))
    if not told.keys() - {"UNIT"}:
        return None
    current, latest = number(told.get("CURRENT")), number(told.get("LATEST"))
    older = current is not None and latest is not None and current < latest
    day = "%Y-%m-%d"
    return {
        "version": None if current is None else time.strftime(day, time.gmtime(current)),
        "newer": time.strftime(day, time.gmtime(latest)) if older else None,
        "boot_order": told.get("BOOT_ORDER"),
        "pcie_probe": told.get("PCIE_PROBE"),
        "psu_max_current_ma": number(told.get("PSU_MAX_CURRENT")),
        "unit": told.get("UNIT") or None,
    }


def host_facts(look: str) -> dict:
    """Return what is known of a host; None stands for what is not.

    Args:
        look: The output of the role's look.sh, and of reboot_reason.sh.
    """
    found = lines_of(look)

    def one(word: str) -> str | None:
        return (found.get(word) or [""])[0] or None

    running = (one("cmdline") or "").split()
    active = found.get("active", [])
    memory, available = number(one("memory_kb")), number(one("memory_available_kb"))
    temperature = number(one("temperature"))
    services = [unit for unit in ("chrony", "systemd-timesyncd", "ntpsec") if unit in active]
    docker = parsed(one("docker"))
    yes_or_no = {"yes": True, "no": False}
    return {
        "board": one("board"),
        "serial": one("serial"),
        "os": {
            "name": one("os_name"),
            "codename": one("os_codename"),
            "image": one("os_image"),
            "packages": one("packages"),
        },
        "kernel": one("kernel"),
        "machine": one("machine"),
        "page_bytes": number(one("page_size")),
        "cpus": number(one("cpus")),
        "uptime_seconds": number(one("uptime")),
        "memory_bytes": None if memory is None else memory * 1024,
        "memory_available_bytes": None if available is None else available * 1024,
        "disks": disks(found),
        "mounts": mounts(found),
        "swap": [
            {
                "path": path,
                "type": kind,
                "size_bytes": int(size) * 1024,
                "used_bytes": int(used) * 1024,
            }
            for path, kind, size, used in (line.split() for line in found.get("swap", []))
        ],
        "boot_tokens": running,
        "reboot_reason": one("reboot_reason"),
        "governor": one("governor"),
        "frequency_khz": number(one("frequency_khz")),
        "temperature_c": None if temperature is None else round(temperature / 1000, 1),
        "throttled": one("throttled"),
        "bootloader": bootloader(found),
        "watchdog": {
            "device": one("watchdog_device"),
            "state": one("watchdog_state"),
            "timeout_seconds": number(one("watchdog_timeout")),
            "systemd_seconds": seconds(one("systemd_watchdog")),
            "daemon": "watchdog" in active,
        },
        "clock": {
            "offset_seconds": number(one("clock_offset")),
            "synchronised": yes_or_no.get(one("synchronised") or ""),
            "service": services[0] if services else None,
            "timezone": one("timezone"),
        },
        "ipv6": yes_or_no.get(one("ipv6") or ""),
        "failed_units": found.get("failed", []),
        "docker": docker or None,
        "listening": listening(found),
        "roles": sorted(set(found.get("role", []))),
    }


def facts_objects(results: dict[str, dict]) -> list[dict]:
    """Return one object a host, in order.

    Args:
        results: What the task that looks returned, by host; empty where it did not run.

    Returns:
        The hosts' facts; for a host without any, C(host) and C(error).
    """
    objects = []
    for host, result in results.items():
        if result.get("rc") == 0:
            objects.append({"host": host, **host_facts(result["stdout"])})
        else:
            said = result.get("msg") or result.get("stderr") or result.get("stdout")
            objects.append(
                {"host": host, "error": " ".join(str(said or "it was not asked").split())}
            )
    return objects


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"facts_objects": facts_objects}
