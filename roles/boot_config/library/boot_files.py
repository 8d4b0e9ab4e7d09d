#!/usr/bin/python
"""Ansible module: change a Raspberry Pi's boot files so that it boots again afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ansible.module_utils import boot_text, boot_try
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.boot_disk import (
    CREATED_SUFFIX,
    ORIGINAL_SUFFIX,
    TEMPORARY_SUFFIX,
    TOKENS_SUFFIX,
    Plan,
    beside,
    carry_out,
    check_pcie_speed,
    kept_original,
    names_in,
    note_changed,
    read,
    read_if_there,
)
from ansible.module_utils.boot_text import BootFileError, Past, Tokens

DEVICES = Path("/dev")

DOCUMENTATION = r"""
module: boot_files
short_description: Changes a Raspberry Pi's cmdline.txt and config.txt safely
description:
  - Adds, replaces and removes whole tokens of the kernel command line, and keeps every other.
  - Keeps one marked block of lines under C([all]) in config.txt, at its end at first.
  - Refuses a file that could not boot a Pi, before and after the change. The file is kept as
    C(NAME.gridberry-original) before the first change; C(NAME.gridberry-created) says that there
    was none, or an empty one. All changes are written to temporary files in the same directory and
    flushed, and only then renamed, one after the other, so that a power cut leaves the old file or
    the new one, and a full disk changes none.
  - Where Debian's package raspi-firmware writes both files anew at every kernel upgrade, what it
    puts into them is changed as well.
options:
  state:
    description: C(absent) takes the changes back; where nobody else changed a file since, it is
      then the original, byte for byte. C(original) puts the kept files back whatever happened
      since.
    type: str
    choices: [present, absent, original]
    default: present
  cmdline_present: {type: list, elements: str, default: [], description: Tokens that must be there,
    added at the end. Other tokens with the same key stay.}
  cmdline_replace: {type: list, elements: str, default: [], description: C(key=value) tokens that
    must be there and be the only ones with their key.}
  cmdline_absent: {type: list, elements: str, default: [], description: Tokens that must not be
    there, compared whole.}
  config_lines: {type: list, elements: str, default: [], description: Lines for config.txt. An empty
    list removes the block.}
  tryboot: {type: bool, default: false, description: Where the firmware can boot once from
    tryboot.txt, write that and leave the two files alone. Running again without it after such a
    boot writes them.}
  directories: {type: list, elements: path, default: [/boot/firmware, /boot], description: Where to
    look for the boot files; the first that has a cmdline.txt is used.}
  running_cmdline: {type: path, default: /proc/cmdline, description: The command line that the
    running kernel was started with.}
  generator: {type: path, default: /etc/kernel/postinst.d/z50-raspi-firmware, description: The
    program that writes both files at kernel upgrades on Debian.}
  defaults: {type: path, default: /etc/default, description: Where that program finds what to put
    into them.}
  bootloader: {type: path, default: /proc/device-tree/chosen/bootloader, description: What the
    firmware says of itself.}
  watchdog: {type: path, default: /sys/class/watchdog/watchdog0/state, description: Says C(active)
    where somebody serves the watchdog. Then a try that hangs is reset.}
  mark: {type: path, default: /run/gridberry/boot-files-changed, description: Names the boot files
    that were changed since the system started. It goes with the next boot.}
  pcie_gen3_boot: {type: bool, default: false, description: Accept C(pciex1_gen=3) where the boot
    files are on an NVMe drive. Some drives do not come back with it.}
  block_devices: {type: path, default: /sys/dev/block, description: What the kernel says of them.}
  in_force: {type: bool, default: false, description: Says that the system was started with these
    settings, as a try. No reboot is due for them.}
author: [Gridberry]
"""

EXAMPLES = r"""
- name: Switch IPv6 off in the kernel
  boot_files:
    cmdline_replace: [ipv6.disable=1]
"""

RETURN = r"""
directory: {description: Where the boot files are., type: str, returned: success}
paths: {description: What was changed, or would be in check mode., type: list, elements: str,
  returned: success}
reboot_required: {description: Whether the running kernel lacks a wanted token, or a boot file is
  changed now or was since the system started., type: bool, returned: success}
missing: {description: Wanted tokens that the running kernel was not started with., type: list,
  elements: str, returned: success}
tried: {description: Whether tryboot.txt was written instead., type: bool, returned: success}
"""

# What Debian's generator has in it, and Raspberry Pi OS's of the same name has not.
GENERATOR_READS = "raspi-extra-cmdline"


@dataclass(frozen=True)
class Wanted:
    """What the module is told to do.

    Attributes:
        state: As the option of the same name.
        tokens: For the kernel command line.
        lines: For config.txt.
    """

    state: str
    tokens: Tokens
    lines: tuple[str, ...]


def find_directory(candidates: list[str]) -> Path:
    """Return the directory of the files that boot this Pi.

    On current systems /boot has stubs of the same names, so that the order decides.

    Raises:
        BootFileError: There are no such files.
    """
    for candidate in candidates:
        if Path(candidate, "cmdline.txt").is_file():
            return Path(candidate)
    raise BootFileError(
        f"no cmdline.txt in {' or '.join(candidates)}: this host does not boot like a Raspberry Pi;"
        " boot_config_enabled: false leaves its boot files alone"
    )


def new_content(kind: str, text: str, wanted: Wanted, name: str) -> str:
    """Return what a file should contain with Gridberry's settings.

    Raises:
        BootFileError: It is not valid, or would not be.
    """
    if kind == "cmdline":
        return boot_text.new_cmdline(text, wanted.tokens, name)
    if kind == "extra":
        return boot_text.new_extra(text, wanted.tokens, name)
    return boot_text.new_config(text, wanted.lines, name)


def check_root(text: str, original: str, name: str) -> None:
    """Check that a kept cmdline.txt names a root file system that this host has.

    The card may be a clone, or the system may have moved to another drive, since it was kept.

    Args:
        text: The present content.
        original: What was kept.
        name: What to call the kept file in an error.

    Raises:
        BootFileError: It does not, or a Pi would not boot with it.
    """
    kept = boot_text.root_of(boot_text.the_line(original, name))
    if kept in text.split():
        return
    kind, _, value = kept.removeprefix("root=").partition("=")
    device = DEVICES / "disk" / f"by-{kind.lower()}" / value if value else Path(kind)
    if not device.exists():
        raise BootFileError(
            f"{name} has {kept}, which this host does not have; boot_config_state: absent takes"
            " Gridberry's settings back and leaves the rest as it is"
        )


def undone_content(kind: str, text: str, original: str, wanted: Wanted, name: str) -> str:
    """Return what a file should contain without Gridberry's settings.

    Raises:
        BootFileError: It is not valid, or would not be.
    """
    if wanted.state == "original":
        if kind == "cmdline":
            check_root(text, original, f"{name}{ORIGINAL_SUFFIX}")
        elif kind == "config":
            names = names_in(Path(name).parent)
            boot_text.check_named_files(original, names, f"{name}{ORIGINAL_SUFFIX}")
        return original
    if kind == "cmdline":
        return boot_text.original_cmdline(text, original, wanted.tokens, name)
    if kind == "extra":
        return boot_text.original_extra(text, original, wanted.tokens, name)
    return boot_text.original_config(text, original, name)


def plan_file(path: Path, kind: str, wanted: Wanted, *, boots: bool = True) -> Plan:
    """Return what has to happen to one file.

    Args:
        path: The file; only a cmdline.txt must be there.
        kind: C(cmdline) or C(config), or what Debian adds to them: C(extra) or C(custom).
        wanted: What the module is told to do.
        boots: Whether the firmware reads it.

    Raises:
        BootFileError: It is not valid, or would not be.
    """
    old = read_if_there(path)
    if wanted.state == "present":
        new = new_content(kind, old or "", wanted, str(path))
        return Plan(path, old, None if old is None and not new else new, boots=boots)
    kept, created = kept_original(path), read_if_there(beside(path, CREATED_SUFFIX))
    if kept is None and created is None and wanted.state == "original":
        return Plan(path, old, old, boots=boots)
    original = kept or ("" if created is not None else old or "")
    new = undone_content(kind, old or "", original, wanted, str(path))
    if created is not None and not new.strip():
        none = "" if created else None
        drop = [beside(path, CREATED_SUFFIX)]
        return Plan(path, old, none, boots=boots, keep=False, drop=drop)
    drop = [beside(path, ORIGINAL_SUFFIX)] if kept is not None and new == original else []
    return Plan(path, old, None if old is None and not new else new, boots, keep=False, drop=drop)


def plan_tokens(path: Path, kind: str, wanted: Wanted, *, boots: bool = True) -> list[Plan]:
    """Return what has to happen to a file of tokens and to the note of what was done to it.

    The note comes first, as otherwise a power cut would leave tokens of which nobody knows.

    Raises:
        BootFileError: The file is not valid, or would not be.
    """
    note = beside(path, TOKENS_SUFFIX)
    noted = read_if_there(note)
    past = Past.parse(noted or "")
    undo = wanted.state != "present"
    tokens = past.correct(wanted.tokens, undo=undo)
    plan = plan_file(path, kind, replace(wanted, tokens=tokens), boots=boots)
    if undo:
        return [replace(plan, drop=plan.drop + ([note] if noted is not None else []))]
    first, last = (one.text or None for one in past.after(plan.old or "", plan.new or ""))
    return [
        Plan(note, noted, first, boots=False, keep=False, note=True),
        plan,
        Plan(note, first, last, boots=False, keep=False, note=True),
    ]


def is_generated(generator: Path) -> bool:
    """Tell whether Debian's raspi-firmware writes the boot files anew at kernel upgrades."""
    return generator.is_file() and GENERATOR_READS in generator.read_text(errors="replace")


def plans(directory: Path, parameters: dict, wanted: Wanted) -> list[Plan]:
    """Return what has to happen to each file.

    Raises:
        BootFileError: One is not valid, or would not be.
    """
    found = [
        *plan_tokens(directory / "cmdline.txt", "cmdline", wanted),
        plan_file(directory / "config.txt", "config", wanted),
    ]
    if is_generated(Path(parameters["generator"])):
        defaults = Path(parameters["defaults"])
        found += [
            *plan_tokens(defaults / "raspi-extra-cmdline", "extra", wanted, boots=False),
            plan_file(defaults / "raspi-firmware-custom", "custom", wanted, boots=False),
        ]
    return found


def specification() -> dict:
    """Return the module's parameters as Ansible checks them."""
    strings = {"type": "list", "elements": "str", "default": []}
    boot = ["/boot/firmware", "/boot"]
    return {
        "state": {
            "type": "str",
            "choices": ["present", "absent", "original"],
            "default": "present",
        },
        "cmdline_present": strings,
        "cmdline_replace": strings,
        "cmdline_absent": strings,
        "config_lines": strings,
        "tryboot": {"type": "bool", "default": False},
        "directories": {"type": "list", "elements": "path", "default": boot},
        "running_cmdline": {"type": "path", "default": "/proc/cmdline"},
        "generator": {"type": "path", "default": "/etc/kernel/postinst.d/z50-raspi-firmware"},
        "defaults": {"type": "path", "default": "/etc/default"},
        "bootloader": {"type": "path", "default": "/proc/device-tree/chosen/bootloader"},
        "watchdog": {"type": "path", "default": "/sys/class/watchdog/watchdog0/state"},
        "mark": {"type": "path", "default": "/run/gridberry/boot-files-changed"},
        "pcie_gen3_boot": {"type": "bool", "default": False},
        "block_devices": {"type": "path", "default": "/sys/dev/block"},
        "in_force": {"type": "bool", "default": False},
    }


def what_is_wanted(parameters: dict) -> Wanted:
    """Return what the parameters ask for.

    Raises:
        BootFileError: A token cannot be asked for.
    """
    tokens = Tokens(
        tuple(parameters["cmdline_present"]),
        tuple(parameters["cmdline_replace"]),
        tuple(parameters["cmdline_absent"]),
    )
    boot_text.check_wanted(tokens)
    return Wanted(parameters["state"], tokens, tuple(parameters["config_lines"]))


def run(parameters: dict, *, check_mode: bool) -> dict:
    """Do what the parameters say.

    Returns:
        What the module reports.

    Raises:
        BootFileError: A file or a parameter is not valid; nothing was changed.
    """
    wanted = what_is_wanted(parameters)
    directory = find_directory(parameters["directories"])
    if wanted.state == "present":
        boot_text.check_cut_down(wanted.lines, names_in(directory), str(directory))
        if not parameters["pcie_gen3_boot"]:
            check_pcie_speed(wanted.lines, directory, Path(parameters["block_devices"]))
    found = plans(directory, parameters, wanted)
    boots = any(plan.boots and plan.new != plan.old for plan in found)
    missing, warnings = [], []
    if wanted.state == "present":
        running = read(Path(parameters["running_cmdline"]))
        missing = boot_text.missing_tokens(running, wanted.tokens)
    tried = parameters["tryboot"] and wanted.state == "present" and boots
    if tried:
        why_not = boot_try.why_no_tryboot(Path(parameters["bootloader"]), directory)
        tried = why_not is None
        if why_not:
            warnings = [f"not tried with tryboot: {why_not}; the boot files are changed at once"]
    if tried:
        watched = boot_try.is_watched(Path(parameters["watchdog"]))
        warnings = [] if watched else [boot_try.UNWATCHED]
        steps = boot_try.plan_try(directory, found, watched=watched)
    else:
        steps = found + boot_try.plan_after_try(directory)
    steps = [plan for plan in steps if plan.new != plan.old or plan.drop]
    mark = Path(parameters["mark"])
    due = bool(missing) or boots or mark.exists()
    if not check_mode:
        try:
            carry_out(steps)
        finally:
            if not parameters["in_force"]:
                note_changed(mark, found)
    # A try ends with the same two files: its diff is theirs.
    shown = [plan for plan in found if plan.new != plan.old] if tried else steps
    shown = [plan for plan in shown if not plan.note]
    return {
        "changed": bool(shown),
        "diff": [plan.diff for plan in shown],
        "directory": str(directory),
        "paths": [str(plan.path) for plan in steps],
        "missing": missing,
        "reboot_required": due,
        "tried": tried,
        "warnings": warnings,
    }


def refusal(error: BootFileError | OSError) -> str:
    """Return an error as the one line that the user sees."""
    if isinstance(error, BootFileError):
        return f"{error}; nothing was changed"
    name = str(error.filename).removesuffix(TEMPORARY_SUFFIX)
    return f"{name} cannot be read or written ({error.strerror}); it was left as it was"


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(argument_spec=specification(), supports_check_mode=True)
    try:
        result = run(module.params, check_mode=module.check_mode)
    except (BootFileError, OSError) as error:
        module.fail_json(msg=refusal(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
