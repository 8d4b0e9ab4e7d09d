#!/usr/bin/python
"""Ansible module: what a Raspberry Pi and its bot are doing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: pi_status
short_description: Tells what a Raspberry Pi and its bot are doing
description:
  - Reads the kernel's files, asks Docker about one container and the bot about its trades. Changes
    nothing.
options:
  container: {type: str, default: gridberry-bot, description: Name of the bot's container.}
  reboot_reason: {type: str, required: true, description: A shell program that says why a reboot is
    due, if one is.}
author: [Gridberry]
"""

EXAMPLES = r"""
- name: Ask the host
  pi_status:
    reboot_reason: "{{ lookup('ansible.builtin.file', 'reboot_reason.sh') }}"
  register: result
"""

RETURN = r"""
status: {description: The object that docs/ansible.md describes., type: dict, returned: always}
"""

CGROUPS = "/sys/fs/cgroup"
# What the bot itself says, and is therefore unknown while it does not answer: of its first grid,
# and of each.
FROM_BOT = ("mode", "symbol", "open_orders", "buys", "sells", "grid_profit", "price")
OF_GRID = ("symbol", "state", "prices", "price", "grid_profit", "buys", "sells", "open_orders")
ANSWERS = ("acknowledged", "refused", "unanswered", "doubled")
TIMEOUT = 10
BOOKS = "/var/lib/gridbot"  # inside the bot's container

INCIDENTS = "/var/lib/gridberry/incidents"
INCIDENT_DAYS = 7
# What is counted under which name.
COUNTED = {
    "oom_kill": "oom_kills",
    "under_voltage": "under_voltage",
    "frequency_capped": "throttled",
    "throttled": "throttled",
    "temperature_limit": "throttled",
    "drive_down": "drive_errors",
    "drive_error": "drive_errors",
    "filesystem_error": "drive_errors",
    "unclean_boot": "unclean_boots",
}
PULL = "/var/lib/gridberry/pull.json"
OF_PULL = ("time", "last_good", "result", "commit", "changed", "seconds", "error")
OF_INCIDENT = ("time", "kind", "process", "container")


def read_text(path: str) -> str | None:
    """Return a file's text without white space around it, or None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def read_number(path: str) -> int | None:
    """Return the whole number in a file; None where there is none, as with a limit of C(max)."""
    text = read_text(path)
    return int(text) if text and text.lstrip("-").isdecimal() else None


def temperature(text: str | None) -> float | None:
    """Return degrees Celsius from a thermal zone's thousandths of a degree."""
    return round(int(text) / 1000, 1) if text and text.lstrip("-").isdecimal() else None


def memory_available(meminfo: str) -> int | None:
    """Return the bytes that /proc/meminfo says are available."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def output(command: list[str]) -> str | None:
    """Return what a command prints, or None where it is missing or fails."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def throttled() -> str | None:
    """Return the firmware's throttling bits such as C(0x50000), or None without vcgencmd."""
    said = output(["vcgencmd", "get_throttled"])
    return said.partition("=")[2] if said and "=" in said else None


def chrony_clock(tracking: str) -> dict | None:
    """Return the clock as chrony has it, or None where it says something else.

    Args:
        tracking: What C(chronyc -c tracking) prints. Its fifth field is by how many seconds the
            clock is slow; the bound of its error is chrony's own formula (chronyc(1), root
            dispersion).
    """
    fields = tracking.split(",")
    try:
        slow, delay, dispersion = (float(fields[number]) for number in (4, 10, 11))
    except (IndexError, ValueError):
        return None
    if fields[-1] == "Not synchronised":
        return {"synchronised": False, "offset_ms": None, "error_ms": None, "source": None}
    return {
        "synchronised": True,
        "offset_ms": round(-slow * 1000, 3),
        "error_ms": round((abs(slow) + delay / 2 + dispersion) * 1000, 3),
        "source": fields[1] or None,
    }


def clock() -> dict:
    """Return how right the clock is; without chrony, whether the kernel was told that it is."""
    found = chrony_clock(output(["chronyc", "-n", "-c", "tracking"]) or "")
    if found:
        return found
    said = output(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    synchronised = {"yes": True, "no": False}.get(said or "")
    return {"synchronised": synchronised, "offset_ms": None, "error_ms": None, "source": None}


def incidents(lines: str, now: datetime) -> dict:
    """Return how often what happened lately, and what happened last.

    Args:
        lines: What the role C(logs) recorded; a line that a power cut tore is left out.
        now: The host's time.
    """
    since = (now - timedelta(days=INCIDENT_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    counts = dict.fromkeys(COUNTED.values(), 0)
    last = None
    for line in lines.splitlines():
        try:
            record = json.loads(line)
            name, count, time = COUNTED[record["kind"]], int(record["count"]), str(record["time"])
        except (ValueError, KeyError, TypeError):
            continue
        if time >= since:
            counts[name] += count
        last = {key: record.get(key) for key in OF_INCIDENT}
    return {"days": INCIDENT_DAYS, **counts, "last": last}


def incident_status(now: datetime) -> dict | None:
    """Return the object about incidents, or None where nobody records them."""
    lines = read_text(f"{INCIDENTS}.jsonl")
    if lines is None and read_text(f"{INCIDENTS}.boot") is None:
        return None
    return incidents(lines or "", now)


def seconds_since(moment: str, now: datetime) -> int | None:
    """Return the whole seconds since a time as Docker writes it, or None for none."""
    try:
        started = datetime.fromisoformat(moment[:19] + "+00:00")
    except ValueError:
        return None
    return max(0, int((now - started).total_seconds())) if started.year > 1 else None


def inspect(container: str) -> dict | None:
    """Return what Docker knows of a container, or None where there is none."""
    said = output(["docker", "container", "inspect", container])
    return json.loads(said)[0] if said else None


def docker_answers() -> bool:
    """Tell whether Docker can be asked; where it is not installed, there is nothing to ask."""
    return shutil.which("docker") is None or output(["docker", "version"]) is not None


def image_bytes(identity: str) -> int | None:
    """Return an image's uncompressed size."""
    said = output(["docker", "image", "inspect", "--format", "{{.Size}}", identity])
    return int(said) if said else None


def cgroup_directory(lines: str) -> str | None:
    """Return a process's cgroup, from its /proc/PID/cgroup; None without cgroup v2."""
    for line in lines.splitlines():
        if line.startswith("0::"):
            return CGROUPS + line.removeprefix("0::")
    return None


def cgroup_memory(process: int) -> tuple[int | None, int | None]:
    """Return the limit and the use, in bytes, of a container's memory as the kernel has them.

    Args:
        process: The number of the container's first process; 0 where it does not run.
    """
    directory = cgroup_directory(read_text(f"/proc/{process}/cgroup") or "")
    if not process or directory is None:
        return None, None
    limit, used = (read_number(f"{directory}/memory.{name}") for name in ("max", "current"))
    return limit, used


def ask_bot(details: dict) -> dict:
    """Return the bot's own status, or C(error) with the reason why it does not answer."""
    networks = details["NetworkSettings"]["Networks"].values()
    addresses = [network["IPAddress"] for network in networks if network["IPAddress"]]
    if not addresses:
        return {"error": "it has no address"}
    url = f"http://{addresses[0]}:8080/api/status"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        return {"error": str(error)}


def grid_reason(grid: dict) -> str | None:
    """Return why a grid does not buy: its kill switch, or what pauses it; None where it does."""
    halt = grid.get("halt")
    return (halt["text"] if halt else grid.get("paused")) or None


def profit(grid: dict) -> str | None:
    """Return what a running grid has gained or lost in all (quote); None where none runs."""
    equity, investment = grid.get("equity"), grid.get("investment")
    if equity is None or investment is None:
        return None
    return format(Decimal(equity) - Decimal(investment), "f")


def answers(grids: list[dict]) -> dict:
    """Return what the exchange said to the orders of all grids; the slowest one's milliseconds."""
    said = [grid["answers"] for grid in grids if "answers" in grid]
    times = [one["milliseconds"] for one in said if one["milliseconds"] is not None]
    sums = {key: sum(one[key] for one in said) for key in ANSWERS}
    return {**sums, "milliseconds": max(times, default=None)}


def what_it_says(said: dict) -> dict:
    """Return what is shown of the bot's own status.

    Args:
        said: Its document; empty or only an C(error) where it does not answer.
    """
    grids = said.get("grids", [said] if "symbol" in said else [])
    health, connection = said.get("health"), said.get("connection", {})
    reasons = [said["error"]] if "error" in said else health["reasons"] if health else []
    return {
        **{key: said.get(key) for key in FROM_BOT},
        "profit": profit(said),
        "reason": "; ".join(reasons) or None,
        "grids": [
            {
                **{key: grid.get(key) for key in OF_GRID},
                "profit": profit(grid),
                "reason": grid_reason(grid),
            }
            for grid in grids
        ],
        "unsettled": sum(grid.get("unsettled", 0) for grid in grids),
        "answers": answers(grids),
        "reconnects": connection.get("reconnects"),
        "circuit": connection.get("circuit", {}).get("state"),
        "account_stream": connection.get("account_stream"),
    }


def fenced(details: dict) -> str | None:
    """Return why a bot is fenced: it was moved, and another one has its books; None where not."""
    places = [one["Source"] for one in details.get("Mounts", []) if one["Destination"] == BOOKS]
    return read_text(f"{places[0]}/fenced") if places else None


def bot_status(details: dict | None, now: datetime, *, known: bool = True) -> dict:
    """Return the object about the bot.

    Args:
        details: What Docker knows of its container, or None where there is none.
        now: The host's time.
        known: Whether Docker answers; where it does not, there may be a container.
    """
    if details is None:
        return {
            "state": "absent" if known else "unknown",
            **what_it_says({} if known else {"error": "Docker does not answer"}),
            "health": None,
            "memory_limit_bytes": None,
            "memory_used_bytes": None,
            "uptime_seconds": None,
            "restarts": None,
        }
    running, fence = details["State"]["Status"] == "running", fenced(details)
    limit, used = cgroup_memory(details["State"]["Pid"])
    said = ask_bot(details) if running else {"error": fence} if fence else {}
    stopped = "fenced" if fence else details["State"]["Status"]
    state = said.get("state", "silent") if running else stopped
    uptime = seconds_since(details["State"]["StartedAt"], now) if running else None
    return {
        "state": state,
        **what_it_says(said),
        "health": details["State"].get("Health", {}).get("Status"),
        "memory_limit_bytes": limit,
        "memory_used_bytes": used,
        "uptime_seconds": said.get("uptime_seconds", uptime),
        "restarts": details["RestartCount"],
    }


def last_pull() -> dict | None:
    """Return what came of the last pull (role pull); None where the host follows no repository."""
    try:
        found = json.loads(read_text(PULL) or "")
        return {name: found.get(name) for name in OF_PULL}
    except (ValueError, AttributeError):
        return None


def host_status(reboot_reason: str) -> dict:
    """Return the object about the host.

    Args:
        reboot_reason: A shell program that says why a reboot is due, if it is.
    """
    system = os.uname()
    return {
        "arch": system.machine,
        "kernel": system.release,
        "ipv6": Path("/proc/sys/net/ipv6").exists(),
        "reboot_required": bool(output(["sh", "-c", reboot_reason])),
        "temperature_c": temperature(read_text("/sys/class/thermal/thermal_zone0/temp")),
        "throttled": throttled(),
        "memory_available_bytes": memory_available(read_text("/proc/meminfo") or ""),
    }


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "default": "gridberry-bot"},
            "reboot_reason": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    details = inspect(module.params["container"])
    identity = details["Image"] if details else None
    now = datetime.now(UTC)
    status = {
        **host_status(module.params["reboot_reason"]),
        "clock": clock(),
        "incidents": incident_status(now),
        "pull": last_pull(),
        "image_id": identity,
        "image_bytes": image_bytes(identity) if identity else None,
        "bot": bot_status(details, now, known=details is not None or docker_answers()),
    }
    module.exit_json(changed=False, status=status)


if __name__ == "__main__":
    main()
