"""Ansible filters: what a host's watchdog can do, and what is wrong with the settings."""

from __future__ import annotations

import re

TIMEOUT = (10, 600)
REBOOT_TIMEOUT = (15, 3600)
# For each test of the daemon, between what it may be where it is not 0, and why.
TESTS = {
    "max_load_1": (8, 1000, "less is an ordinary upgrade"),
    "min_memory_mb": (1, 512, "more is short on an ordinary day"),
    "max_temperature": (86, 110, "below 86 the Pi slows itself down and is well"),
}
HEARTBEAT_AGE = (300, 86400)
PATH = re.compile(r"/[A-Za-z0-9_./-]*[A-Za-z0-9_-]")

# A Pi's hardware counts to just under 16 seconds. Kernels from 6.8 on take more, count further
# themselves and pet the hardware every 8 seconds; but until the middle of 2026 they told it the
# rest of a division by 16. So where less than 12 is left the Pi may reset itself again and again
# (raspberrypi/linux#7432, systemd/systemd#38289).
PI_IDENTITY = "BCM2835"
PI_SECONDS = 16
PI_LEAST = 12
# What every watchdog of a Pi takes, where the kernel does not say what it does.
SAFE_SECONDS = 15
# The daemon counts memory in the largest pages that its architecture could have, whatever those of
# the kernel are: it says so in the journal when it starts.
DAEMON_PAGES = {"arm64": 65536}
OTHER_PAGES = 4096


def bounds_problem(name: str, value: int, low: int, high: int, more: str = "") -> list[str]:
    """Return a line if a setting is not within its bounds, both included."""
    if low <= value <= high:
        return []
    return [f"watchdog_{name} is {value}; use a whole number from {low} to {high}{more}"]


def setting_problems(settings: dict) -> list[str]:
    """Return a line for each thing in the settings that is not allowed.

    Args:
        settings: As the role's C(vars/main.yml) has them.
    """
    lines = bounds_problem("timeout", settings["timeout"], *TIMEOUT)
    lines += bounds_problem("reboot_timeout", settings["reboot_timeout"], *REBOOT_TIMEOUT)
    file = settings["heartbeat_file"]
    if settings["mechanism"] == "systemd":
        asked = [name for name in (*TESTS, "heartbeat_file") if settings[name]]
        return lines + [
            f"watchdog_{name} is {settings[name]!r} and watchdog_mechanism is systemd, which does"
            " not test it; use daemon"
            for name in asked
        ]
    for name, (low, high, reason) in TESTS.items():
        if settings[name]:
            lines += bounds_problem(name, settings[name], low, high, f", or 0: {reason}")
    if file and (not PATH.fullmatch(file) or file.startswith(("/proc/", "/sys/", "/dev/"))):
        lines.append(
            f"watchdog_heartbeat_file is {file!r}; use a path of letters, digits and _ . / -"
            " outside /proc, /sys and /dev"
        )
    if file:
        lines += bounds_problem(
            "heartbeat_age",
            settings["heartbeat_age"],
            *HEARTBEAT_AGE,
            ": the program needs time to start after a boot",
        )
    return lines


def safe_on_pi(seconds: int) -> bool:
    """Tell whether a Pi may be asked for so many seconds with any kernel that takes them."""
    return seconds < PI_SECONDS or seconds % PI_SECONDS >= PI_LEAST


def span(seconds: int) -> str:
    """Return seconds as systemctl shows them, such as C(2min 5s)."""
    parts, left = [], seconds
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts) or "0"


def seconds_on(found: dict[str, str], name: str, wanted: int) -> tuple[int, list[str]]:
    """Return what a device is asked to count to, and a line if it cannot be asked for it.

    Args:
        found: What look.sh says of the device.
        name: Of the setting.
        wanted: The setting.
    """
    highest = int(found.get("max_timeout", SAFE_SECONDS))
    seconds = min(wanted, highest) if highest else wanted
    if PI_IDENTITY in found.get("identity", "") and not safe_on_pi(seconds):
        line = (
            f"watchdog_{name} is {wanted}, with which a Pi's watchdog would fire after"
            f" {seconds % PI_SECONDS} s and reset it again and again; use up to 15, or 28 to 31,"
            " 44 to 47, 60 to 63, 76 to 79, 92 to 95, 108 to 111, 124 to 127 and so on"
        )
        return seconds, [line]
    return seconds, []


def module_for(lines: list[str], settings: dict) -> str:
    """Return the module that the host must load at boot to have a watchdog; empty for none."""
    known = [line.partition(" ")[2] for line in lines if line.startswith(("loads ", "module "))]
    wanted = [name for name in known if name != "softdog" or settings["softdog"]]
    needed = not any(line.startswith("device ") for line in lines)
    loaded = any(line.startswith("loads ") for line in lines)
    return wanted[0] if wanted and (needed or loaded) else ""


def plan(look: str, settings: dict) -> dict[str, object]:
    """Return what the role does on a host.

    Args:
        look: The output of the role's look.sh.
        settings: As the role's C(vars/main.yml) has them.

    Returns:
        C(device): whether there is one, or will be once C(module) is loaded. C(module): what must
        be loaded at boot. C(load): whether it must be loaded first. C(timeout), C(reboot_timeout):
        what the device counts to. C(sensor), C(pages): for the daemon's tests; empty and 0 for
        none. C(daemon): whether it is installed. C(problems), C(says): lines.
    """
    lines = look.splitlines()
    found = dict(line.partition(" ")[::2] for line in lines)
    module = module_for(lines, settings)
    load = bool(module) and "device" not in found
    timeout, problems = seconds_on(found, "timeout", settings["timeout"])
    reboot_timeout, more = seconds_on(found, "reboot_timeout", settings["reboot_timeout"])
    device = "device" in found or load
    says = []
    if not device:
        text = "it has no watchdog device"
        if settings["required"]:
            text += " and watchdog_required is true; use false, or watchdog_softdog"
            problems.append(text)
        else:
            says.append(f"{text}; nothing resets it when it hangs")
    elif "device" in found and timeout < settings["timeout"]:
        says.append(f"its watchdog counts to {timeout} s; watchdog_timeout is taken down to that")
    sensor = found.get("sensor", "") if settings["max_temperature"] else ""
    if settings["max_temperature"] and not sensor:
        says.append("it has no temperature sensor; watchdog_max_temperature is not tested")
    page = DAEMON_PAGES.get(found.get("architecture", ""), OTHER_PAGES)
    return {
        "device": device,
        "module": module,
        "load": load,
        "timeout": timeout,
        "reboot_timeout": reboot_timeout,
        "sensor": sensor,
        "pages": settings["min_memory_mb"] * 1024 * 1024 // page,
        "daemon": found.get("daemon") == "installed",
        "problems": problems + more,
        "says": says,
    }


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "watchdog_setting_problems": setting_problems,
            "watchdog_plan": plan,
            "watchdog_span": span,
        }
