"""A boot that only tries new boot files (tryboot): what it reads, and where it can be had."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.boot_disk import Plan, read_if_there
from ansible.module_utils.boot_text import (
    SPACE,
    TOKEN,
    BootFileError,
    key_of,
    the_line,
    with_more,
)

# What a boot that is only tried reads (tryboot), and how to tell afterwards that it did.
TRIED_CMDLINE = "cmdline-try.txt"
TRIED_TOKEN = "gridberry.tryboot=1"  # noqa: S105 - no password
TRIED_PANIC = "panic=10"
# The firmware starts the watchdog, and the kernel resets the board unless somebody has begun to
# serve it after so many seconds. Raspberry Pi's initramfs would switch it off again.
TRIED_WATCHDOG = "kernel_watchdog_timeout=120"
TRIED_ARMED = "watchdog_disarm=0"
TRIED_HEADER = "# gridberry: what one boot tries; written by Ansible"
UNWATCHED = (
    "nobody serves this host's watchdog: if it hangs in the boot that tries the new settings, it"
    " needs its power cut; use the role watchdog"
)


def tried_cmdline(text: str, *, watched: bool) -> str:
    """Return the command line of a boot that tries a new cmdline.txt.

    Args:
        text: The new cmdline.txt.
        watched: Whether somebody serves the watchdog once the system is up.

    Raises:
        BootFileError: The token that tells of the try does not fit in.
    """
    line = the_line(text, "cmdline.txt").rstrip(SPACE)
    # A kernel that gives up resets the board: the next boot is with the old files.
    reset = [] if any(key_of(token) == "panic" for token in TOKEN.findall(line)) else [TRIED_PANIC]
    armed = [TRIED_ARMED] if watched else []
    line = with_more(line, [*reset, *armed, TRIED_TOKEN])
    the_line(line, "cmdline.txt with the token of a try")
    return line + "\n"


def tried_config(text: str, *, watched: bool) -> str:
    """Return the tryboot.txt that tries a new config.txt.

    Args:
        text: The new config.txt.
        watched: Whether somebody serves the watchdog once the system is up. Else one that the
            firmware starts would reset a boot that went well.
    """
    if text and not text.endswith("\n"):
        text += "\n"
    reset = f"{TRIED_WATCHDOG}\n" if watched else ""
    return f"{TRIED_HEADER}\n{text}[all]\n{reset}cmdline={TRIED_CMDLINE}\n"


def why_no_tryboot(bootloader: Path, directory: Path) -> str | None:
    """Return why the firmware cannot boot once from tryboot.txt, or None where it can."""
    if not Path(bootloader, "tryboot").exists():
        return "the firmware of this board says nothing of tryboot"
    autoboot = read_if_there(directory / "autoboot.txt") or ""
    if "tryboot_a_b=1" in autoboot:
        return "autoboot.txt has tryboot_a_b=1, with which another partition is tried"
    # autoboot.txt is on the first partition, which is not mounted where another one was booted.
    number = Path(bootloader, "partition")
    partition = int.from_bytes(number.read_bytes(), "big") if number.exists() else 0
    if partition > 1:
        return f"it booted from partition {partition}, and autoboot.txt of the first one decides"
    return None


def is_watched(state: Path) -> bool:
    """Tell from what the kernel says of its watchdog whether somebody serves it."""
    return (read_if_there(state) or "").strip() == "active"


def plan_try(directory: Path, found: list[Plan], *, watched: bool) -> list[Plan]:
    """Return the plans that try the new contents in one boot.

    Args:
        directory: Where the boot files are.
        found: The plans for the two files.
        watched: Whether somebody serves the watchdog once the system is up.

    Raises:
        BootFileError: There is a tryboot.txt of somebody else.
    """
    new = {plan.path.name: plan.new or "" for plan in found if plan.boots}
    contents = {
        TRIED_CMDLINE: tried_cmdline(new["cmdline.txt"], watched=watched),
        "tryboot.txt": tried_config(new["config.txt"], watched=watched),
    }
    tryboot = read_if_there(directory / "tryboot.txt")
    if tryboot and not tryboot.startswith(TRIED_HEADER):
        raise BootFileError(
            f"{directory / 'tryboot.txt'} is not Gridberry's; move it away, or set"
            " boot_config_tryboot: false"
        )
    return [
        Plan(directory / name, read_if_there(directory / name), text, keep=False)
        for name, text in contents.items()
    ]


def plan_after_try(directory: Path) -> list[Plan]:
    """Return the plans that take away what an earlier try left."""
    tryboot = read_if_there(directory / "tryboot.txt") or ""
    if not tryboot.startswith(TRIED_HEADER):
        return []
    names = [TRIED_CMDLINE, "tryboot.txt"]  # the second is what tells of both
    found = [(directory / name, read_if_there(directory / name)) for name in names]
    return [
        Plan(path, old, None, boots=False, keep=False) for path, old in found if old is not None
    ]
