"""Ansible filters: whether a host may be rebooted or upgraded, and whether it came back well."""

from __future__ import annotations

import json
import time

SHOWN = 8  # grids that are named, of a bot with many


def lines_of(look: str) -> dict[str, list[str]]:
    """Return what look.sh said: the values of each word."""
    found: dict[str, list[str]] = {}
    for line in look.splitlines():
        word, _, value = line.strip().partition(" ")
        found.setdefault(word, []).append(value)
    return found


def containers(look: str) -> list[str]:
    """Return the names of the bot's containers on a host."""
    return [line.split()[0] for line in lines_of(look).get("container", [])]


def books(look: str) -> dict[str, int] | None:
    """Return how often each symbol was bought and sold; None where a bot does not say."""
    counts: dict[str, int] = {}
    for said in lines_of(look).get("books", [""]):
        try:
            grids = json.loads(said).get("grids", [])
        except ValueError:
            return None
        for grid in grids:
            symbol, count = str(grid["symbol"]), int(grid["buys"]) + int(grid["sells"])
            counts[symbol] = counts.get(symbol, 0) + count
    return counts


def unwell(look: str) -> list[str]:
    """Return a line for each container of the bot that does not run or is not healthy."""
    states = [line.split() for line in lines_of(look).get("container", [])]
    return [
        f"{name} is {state} and {health}"
        for name, state, health in states
        if state != "running" or health not in {"healthy", "unchecked"}
    ]


def before_problems(look: str, wanted: dict) -> list[str]:
    """Return a line for each thing that speaks against touching a host.

    Args:
        look: The output of look.sh.
        wanted: C(force): whether a bot that is not well is touched; C(free_mb): the room that
            /var must have, 0 for any.
    """
    found = lines_of(look)
    problems = []
    if int(found["free"][0]) < wanted["free_mb"]:
        problems.append(
            f"/var has {found['free'][0]} MB free and maintenance_free_mb is {wanted['free_mb']};"
            " make room on the host: sudo apt-get clean"
        )
    if wanted["force"]:
        return problems
    hint = "see why, or go on nevertheless with -e maintenance_force=true"
    if found.get("docker") == ["silent"]:
        problems.append(f"Docker does not answer; {hint}")
    problems += [f"{line} before anything was done; {hint}" for line in unwell(look)]
    runs = any(name.endswith("-bot") for name in containers(look))
    if runs and not unwell(look) and books(look) is None:
        problems.append(f"the bot does not say what is in its books; {hint}")
    return problems


def day(seconds: str) -> str:
    """Return the day of a bootloader's version, which is a time in seconds since 1970."""
    return time.strftime("%Y-%m-%d", time.gmtime(int(seconds)))


def bootloader_problems(upgraded: str, is_now: dict[str, list[str]]) -> list[str]:
    """Return a line if the bootloader that was staged is not the one that runs after the reboot."""
    staged = lines_of(upgraded).get("bootloader", [])
    running = is_now.get("bootloader", ["0"])[0]
    return [
        f"its bootloader is of {day(running)}, and that of {day(version)} was staged;"
        " on the host: sudo rpi-eeprom-update"
        for version in (words.split()[1] for words in staged)
        if running != version
    ]


def after_problems(before: str, after: str, *, rebooted: bool, upgraded: str = "") -> list[str]:
    """Return a line for each thing that is worse than it was.

    Args:
        before: The output of look.sh before anything was done.
        after: The same after it, once waited for.
        rebooted: Whether the host was to start anew.
        upgraded: The output of upgrade.sh, if that ran in between.
    """
    was, is_now = lines_of(before), lines_of(after)
    problems = []
    if rebooted and was["boot"] == is_now["boot"]:
        problems.append("it was told to reboot and did not")
    elif rebooted:
        problems += bootloader_problems(upgraded, is_now)
    if is_now["system"][0] in {"starting", "initializing", "offline"}:
        problems.append(
            f"its system is still {is_now['system'][0]}; on the host: systemctl list-jobs"
        )
    new = sorted(set(is_now.get("failed", [])) - set(was.get("failed", [])))
    if new:
        problems.append(f"it has failed units that it did not have: {', '.join(new)}")
    if "docker" in was and is_now.get("docker") != ["answers"]:
        problems.append("Docker does not answer any more; on the host: journalctl -u docker")
    else:
        gone = [name for name in containers(before) if name not in containers(after)]
        problems += [f"{name} is not there any more" for name in gone]
        problems += unwell(after)
    old, new_books = books(before), books(after)
    if old is not None and not problems:
        if new_books is None:
            problems.append("the bot does not say what is in its books")
        else:
            problems += [
                f"{symbol} had {count} fills in the books and has {new_books.get(symbol, 'none')}"
                for symbol, count in old.items()
                if new_books.get(symbol, -1) < count
            ]
    return problems


def reboot_reason(look: str) -> str:
    """Return why a host should be rebooted, as reboot_reason.sh says; empty for no reason."""
    return lines_of(look).get("reboot_reason", [""])[0].strip()


def upgrade_words(said: str) -> list[str]:
    """Return in words what an upgrade did, or would do.

    Args:
        said: The output of upgrade.sh.
    """
    found = lines_of(said)
    lines = []
    for word, text in (
        ("upgraded", "upgraded"),
        ("new", "newly installed"),
        ("removed", "removed"),
    ):
        if word in found:
            lines.append(f"{text}: {', '.join(found[word])}")
    if "initramfs" in found:
        lines.append("made anew, as unattended upgrades left it: the initramfs")
    for versions in found.get("bootloader", []):
        old, new = map(day, versions.split())
        lines.append(f"bootloader, written by the reboot: {new} for {old}")
    lines = lines or ["nothing to upgrade"]
    lines += [f"bootloader left as it is: {why}" for why in found.get("bootloader_left", [])]
    if "held" in found:
        lines.append(f"left as they are: {', '.join(found['held'])}")
    if "lists" in found:
        lines.append(f"by package lists of {int(found['lists'][0]) // 3600} hours ago")
    return lines


def bot_words(look: str) -> str:
    """Return in words how the bot is."""
    names = containers(look)
    if not names:
        return "there is no bot"
    fills = books(look)
    if fills is None:
        return f"{', '.join(names)} run"
    grids = ", ".join(
        f"{symbol} with {count} fills" for symbol, count in list(fills.items())[:SHOWN]
    )
    return f"the bot is healthy and has its books: {grids or 'no grid yet'}"


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "maintenance_after_problems": after_problems,
            "maintenance_before_problems": before_problems,
            "maintenance_bot_words": bot_words,
            "maintenance_containers": containers,
            "maintenance_reboot_reason": reboot_reason,
            "maintenance_upgrade_words": upgrade_words,
        }
