"""Ansible filters: what a host's drives call for, and what fstab should say then.

What fstab takes: util-linux, fstab(5); systemd, systemd.mount(5).
"""

from __future__ import annotations

import base64
import json
import re

# Data can be on these. What is made is ext4.
FILE_SYSTEMS = ("ext4", "btrfs", "xfs", "f2fs")
# How a drive that is no SD card is attached. A card is `mmc`, or nothing at all in older tools.
DRIVES = ("nvme", "usb", "sata", "ata", "sas")
TIMEOUTS = (5, 300)  # seconds
MARKER = "# Gridberry, role storage: the next line is its own; storage_state: absent takes it out"
KEPT = "#gridberry-kept# "  # before a line that was there for the same file system
UNSIGNED = "data without a known signature"  # as look.sh says it
ATIMES = {"atime", "relatime", "strictatime", "norelatime", "nostrictatime"}

MOUNT = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
SYSTEM_PLACES = re.compile(
    r"/(bin|etc|home|lib\w*|mnt|opt|root|sbin|srv|tmp|usr|var)|/(boot|dev|proc|run|sys)(/.*)?"
)
TEMPORARY = "/tmp"  # noqa: S108 # no file is made there: it is looked for in fstab
LABEL = re.compile(r"[A-Za-z0-9_.-]{1,16}")
SIZE = re.compile(r"[1-9]\d*[MG]|[1-9]\d?%|")
SYSTEM_MOUNT = re.compile(r"/|/(boot|etc|usr|var)|/boot/.*")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DEVICE = re.compile(r"auto|/dev/[A-Za-z0-9_./:+=-]+")


class FstabError(Exception):
    """Why fstab cannot be edited, in one line for the user."""


def setting_problems(settings: dict) -> list[str]:
    """Return a line for each setting that is not allowed.

    Args:
        settings: As the role's C(vars/main.yml) has them.
    """
    wanted = (
        ("mount", MOUNT, "a path such as /mnt/data"),
        ("label", LABEL, "1 to 16 letters, digits, and any of ._-"),
        ("tmp_size", SIZE, "a size such as 256M or 25%, or ''"),
        ("device", DEVICE, "auto, or a drive's path such as /dev/nvme0n1"),
    )
    problems = [
        f"storage_{name} is {settings[name]!r}; use {what}"
        for name, pattern, what in wanted
        if not pattern.fullmatch(settings[name])
    ]
    low, high = TIMEOUTS
    if not low <= settings["timeout"] <= high:
        problems.append(f"storage_timeout is {settings['timeout']}; use {low} to {high}")
    if not problems and SYSTEM_PLACES.fullmatch(settings["mount"]):
        problems.append(
            f"storage_mount is {settings['mount']!r}, which the system needs; use /mnt/data"
        )
    return problems


# ---- fstab ----


def fields(line: str) -> list[str]:
    """Return the fields of a line of fstab; none of a comment or an empty line."""
    return [] if line.lstrip().startswith("#") else line.split()


def replace_options(line: str, options: str) -> str:
    """Return a line of fstab with other options and every other character as it was."""
    return re.sub(r"^(\s*\S+\s+\S+\s+\S+\s+)\S+", lambda found: found[1] + options, line, count=1)


def with_noatime(text: str) -> str:
    """Return fstab with C(noatime) for the root file system."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        words = fields(line)
        if len(words) < 4 or words[1] != "/" or words[2] not in FILE_SYSTEMS:
            continue
        options = words[3].split(",")
        if "noatime" not in options:
            rest = [one for one in options if one not in ATIMES]
            lines[number] = replace_options(line, ",".join([*rest, "noatime"]))
    return "".join(lines)


def with_original_root(text: str, original: str) -> str:
    """Return fstab with the root file system's line as it was, if only C(noatime) differs."""
    roots = [line.rstrip("\n") for line in original.splitlines() if fields(line)[1:2] == ["/"]]
    made = {with_noatime(line): line for line in roots}
    return "".join(
        made.get(line.rstrip("\n"), line.rstrip("\n")) + ("\n" if line.endswith("\n") else "")
        for line in text.splitlines(keepends=True)
    )


def without_data(text: str) -> str:
    """Return fstab without the role's line, and with the line back that it stands for."""
    kept: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        if line.strip() == MARKER:
            ours = True
        elif ours and line.startswith(KEPT):
            kept.append(line.removeprefix(KEPT))
        elif ours and fields(line):
            ours = False
        else:
            ours = False
            kept.append(line)
    return "".join(kept)


def marked_spec(text: str) -> str:
    """Return the first field of the role's line, or nothing."""
    ours = False
    for line in text.splitlines():
        if line.strip() == MARKER:
            ours = True
        elif ours and not line.startswith(KEPT):
            return [*fields(line), ""][0]
    return ""


def owners_line(text: str, node: dict, mount: str) -> bool:
    """Tell whether a line that is not the role's mounts a file system at its place."""
    lines = [fields(line) for line in without_data(text).splitlines()]
    return not marked_spec(text) and any(
        words[1:2] == [mount] and means(words[0], node) for words in lines
    )


def means(spec: str, node: dict) -> bool:
    """Tell whether a line's first field names a file system."""
    names = {f"UUID={node['uuid']}", f"LABEL={node['label']}", node["path"]}
    names |= {f"/dev/disk/by-uuid/{node['uuid']}", f"/dev/disk/by-label/{node['label']}"}
    if node.get("partuuid"):
        names |= {f"PARTUUID={node['partuuid']}", f"/dev/disk/by-partuuid/{node['partuuid']}"}
    return spec.replace('"', "") in names


def options_of(timeout: int) -> str:
    """Return the options that data is mounted with: a dead drive must not stop the boot.

    Args:
        timeout: Seconds that the boot waits for the drive.
    """
    return f"defaults,noatime,nofail,x-systemd.device-timeout={timeout}s"


def with_data(text: str, node: dict, mount: str, timeout: int) -> str:
    """Return fstab with a line that mounts a file system for data.

    Args:
        text: The present fstab.
        node: The file system: C(path), C(label), C(uuid), C(type).
        mount: Where.
        timeout: Seconds that the boot waits for the drive.

    Raises:
        FstabError: Another line mounts something else there.
    """
    check = 2 if node["type"] == "ext4" else 0  # the others have no check at boot
    wanted = f"UUID={node['uuid']} {mount} {node['type']} {options_of(timeout)} 0 {check}\n"
    block = f"{MARKER}\n{wanted}"
    if re.search(rf"^{re.escape(MARKER)}\n({KEPT}.*\n)*{re.escape(wanted)}", text, re.MULTILINE):
        return text
    lines = without_data(text).splitlines(keepends=True)
    place = None
    for number, line in enumerate(lines):
        words = fields(line)
        if words[1:2] != [mount]:
            continue
        if not means(words[0], node):
            raise FstabError(
                f"/etc/fstab mounts {words[0]} at storage_mount, {mount}, and the drive is"
                f" {node['path']}; take that line out, or set another storage_mount"
            )
        place = number
    if place is not None:
        kept = lines[place].rstrip("\n")
        lines[place] = f"{MARKER}\n{KEPT}{kept}\n{wanted}"
        return "".join(lines)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, block])


# ---- drives ----


def read(look: str) -> dict:
    """Return what look.sh printed, by word; words that come again as lists."""
    found: dict = {"probe": {}, "holds": {}, "blank": set()}
    for line in look.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "probe":
            node, key, value = [*rest.split(" ", 2), ""][:3]
            found["probe"].setdefault(node, {})[key] = value
        elif word == "holds":
            node, _, what = rest.partition(" ")
            found["holds"][node] = what
        elif word == "blank":
            found["blank"].add(rest)
        elif word:
            found[word] = rest
    return found


def tree(disk: dict) -> list[dict]:
    """Return a disk and everything that is made of it."""
    below = [one for child in disk.get("children", []) for one in tree(child)]
    return [disk, *below]


def mounted(disk: dict) -> list[str]:
    """Return where something of a disk is mounted; C([SWAP]) where it is swap."""
    return [place for one in tree(disk) for place in one["mountpoints"] if place]


def is_system(disk: dict) -> bool:
    """Tell whether the running system is on a disk, or what it boots with."""
    return any(SYSTEM_MOUNT.fullmatch(place) for place in mounted(disk))


def describe(disk: dict) -> str:
    """Return a disk in words."""
    model = (disk["model"] or "no model").strip()
    size = int(disk["size"]) / 1e9
    return f"{disk['path']} ({model}, {size:.0f} GB, serial {serial(disk) or 'unknown'})"


def usb_notes(disk: dict, wanted: dict) -> list[str]:
    """Return a line for each thing that is worth knowing of a drive on USB.

    A stick or a card reader says that it is removable, which drives do not. Most bridges between
    USB and a drive do not pass TRIM on, and the kernel discards nothing on them then.
    """
    if disk["tran"] != "usb":
        return []
    lines = []
    if disk.get("rm"):
        lines.append(
            f"{describe(disk)} is a USB stick or a card reader: it wears out as a card does"
        )
    if wanted["trim"] and not int(disk.get("disc-max") or 0):
        lines.append(
            f"TRIM does nothing on {disk['path']}, as its USB bridge does not pass it on"
            " (discard_max_bytes is 0)"
        )
    return lines


def serial(disk: dict) -> str:
    """Return a disk's serial number; empty where it has none."""
    return (disk["serial"] or "").strip()


def usable(disk: dict, probed: dict) -> list[dict]:
    """Return the file systems on a disk that data can be on."""
    return [
        {"path": path, "type": said["TYPE"], "label": said.get("LABEL", ""), "uuid": said["UUID"]}
        | ({"partuuid": said["PARTUUID"]} if "PARTUUID" in said else {})
        for path, said in probed.items()
        if path in {one["path"] for one in tree(disk)}
        and said.get("TYPE") in FILE_SYSTEMS
        and said.get("UUID")
    ]


def own(disk: dict, probed: dict, label: str) -> list[dict]:
    """Return the file systems on a disk that carry the label."""
    return [one for one in usable(disk, probed) if one["label"] == label]


def in_place(disk: dict, found: dict, mount: str) -> list[dict]:
    """Return the file system on a disk that is mounted where data is to be."""
    here = {one["path"] for one in tree(disk) if mount in one["mountpoints"]}
    return [
        one
        for one in usable(disk, found["probe"])
        if one["path"] in here and one["uuid"] == found.get("mounted")
    ]


def noted_uuid(disk: dict, found: dict) -> str:
    """Return which file system was being made on a disk when that was broken off, or nothing."""
    identity, _, uuid = found.get("note", "").rpartition(" ")
    same = identity == (serial(disk) or disk["path"])
    return uuid if same and UUID.fullmatch(uuid) else ""


def goes_on(disk: dict, found: dict) -> bool:
    """Tell whether a disk is as the formatting left it that was broken off.

    There is what was being made, or something that no program knows. Another file system was made
    since then, by somebody who may have filled it.
    """
    uuid = noted_uuid(disk, found)
    if not uuid or not serial(disk):
        return False
    there = {
        path: said
        for path, said in found["probe"].items()
        if path in {one["path"] for one in tree(disk)}
    }
    if there:
        said = there.get(disk["path"], {})
        return len(there) == 1 and (said.get("TYPE"), said.get("UUID")) == ("ext4", uuid)
    return found["holds"].get(disk["path"]) == UNSIGNED


def choose(found: dict, disks: list[dict], wanted: dict) -> tuple[dict | None, str]:
    """Return the disk for data, and if there is none, why."""
    if wanted["device"] != "auto":
        path = found.get("device") or wanted["device"]
        for disk in disks:
            if disk["path"] == path:
                return disk, ""
            if path in {one["path"] for one in tree(disk)}:
                return None, f"storage_device is {path}, a part of {disk['path']}; name that"
        names = ", ".join(disk["path"] for disk in disks) or "none"
        return None, f"storage_device is {path} and the host has no such disk, only {names}"
    nvme = [disk for disk in disks if disk["path"].startswith("/dev/nvme")]
    if not nvme:
        return None, "there is no NVMe drive, and storage_device is auto"
    free = [disk for disk in nvme if not is_system(disk)]
    marked = [disk for disk in free if own(disk, found["probe"], wanted["label"])]
    placed = [disk for disk in free if in_place(disk, found, wanted["mount"])]
    for some in (marked, placed, free or nvme):
        if len(some) == 1:
            return some[0], ""
    names = ", ".join(describe(disk) for disk in free or nvme)
    return None, f"storage_device is auto and there are several NVMe drives: {names}; name one"


def pcie_hint(found: dict, wanted: dict) -> str:
    """Return what a missing NVMe drive may need, or nothing: a Pi 5's PCIe is off by itself."""
    off = found.get("board", "").startswith("Raspberry Pi 5")
    if "pcie" in found:
        off = found["pcie"] == "disabled"
    nvme = wanted["device"] == "auto" or "nvme" in wanted["device"]
    if not off or not nvme or '"/dev/nvme' in found["lsblk"]:
        return ""
    return (
        "; an adapter that is no HAT+ needs boot_config_dtparam: [pciex1], and first"
        " ansible-playbook -i INVENTORY playbooks/harden.yml --tags boot_config --limit"
        f" {wanted['host']}"
    )


def decide(found: dict, disk: dict, wanted: dict) -> dict:
    """Return what happens to a disk that the system is not on.

    Returns:
        C(action): adopt or format, with C(node) and C(force), and C(left) where the owner's line
        in fstab stays; or C(refuse), a line, with C(unknown) where the drive holds what the role
        knows nothing of.
    """
    name = describe(disk)
    noted = noted_uuid(disk, found)
    told = bool(serial(disk)) and wanted["erase_serial"] == serial(disk)
    placed = in_place(disk, found, wanted["mount"])
    if placed:
        left = placed[0]["label"] != wanted["label"] and owners_line(
            fstab_text(found, "fstab"), placed[0], wanted["mount"]
        )
        return {"action": "adopt", "node": placed[0], "force": False, "left": left}
    marked = own(disk, found["probe"], wanted["label"])
    if len(marked) > 1:
        paths = " and ".join(one["path"] for one in marked)
        return {"refuse": f"{name} has the label {wanted['label']} twice, on {paths}; relabel one"}
    whole = [one for one in marked if one["uuid"] != noted or mounted(disk)]
    if not whole and not told and not mounted(disk):
        # The role's own line in fstab, of a file system that was taken over without the label.
        spec = marked_spec(fstab_text(found, "fstab"))
        there = usable(disk, found["probe"])
        whole = [one for one in there if means(spec, one) and one["uuid"] != noted]
    if whole:
        return {"action": "adopt", "node": whole[0], "force": False}
    new = {"path": disk["path"], "type": "ext4", "label": wanted["label"]}
    # The same again: cut off between the note and the first write, the drive still fits the note.
    new["uuid"] = noted or found["fresh"]
    if mounted(disk) or any(one["type"] not in ("disk", "part") for one in tree(disk)):
        places = ", ".join(mounted(disk)) or "part of a volume or array"
        return {
            "refuse": f"{name} is in use ({places}) and has no file system labelled"
            f" {wanted['label']} (storage_label); it is not touched",
            "unknown": True,
        }
    if goes_on(disk, found) or disk["path"] in found["blank"] or told:
        return {"action": "format", "node": new, "force": told}
    return {"refuse": f"{name} holds {what_would_do(found, disk, wanted)}", "unknown": True}


def what_would_do(found: dict, disk: dict, wanted: dict) -> str:
    """Return what a disk holds and how it could be used, erasing it last."""
    there = usable(disk, found["probe"])
    hints = [
        f"storage_label: {one['label']} would take {one['path']} as it is"
        for one in there
        if LABEL.fullmatch(one["label"]) and one["label"] != wanted["label"]
    ]
    if len(there) == 1 and not hints and there[0]["uuid"] != noted_uuid(disk, found):
        hint = f"with the label {wanted['label']} (storage_label), or mounted at {wanted['mount']},"
        hints = [f"{hint} {there[0]['path']} would be taken as it is"]
    if serial(disk):
        last = "or " if hints else ""
        hints.append(f"{last}storage_erase_serial: {serial(disk)!r}, which erases it")
    elif not hints:
        hint = f"use mkfs.ext4 -L {wanted['label']} {disk['path']} by hand, which erases it"
        hints = [f"it has no serial number to tell it by; {hint}"]
    line = f"{found['holds'].get(disk['path'], 'something')}; {', '.join(hints)}"
    if wanted["erase_serial"]:
        line += f" (it is {wanted['erase_serial']!r})"
    return line


def missing(found: dict, disk: dict, wanted: dict) -> str:
    """Return why a disk may not stand in for the one that fstab names, or nothing."""
    spec = marked_spec(fstab_text(found, "fstab")).replace('"', "")
    shown = [
        {"path": path, "uuid": said.get("UUID"), "label": said.get("LABEL")}
        | {"partuuid": said.get("PARTUUID")}
        for path, said in found["probe"].items()
    ]
    named = wanted["device"] != "auto"
    if serial(disk):
        named |= wanted["erase_serial"] == serial(disk) or bool(noted_uuid(disk, found))
    if not spec or named or any(means(spec, one) for one in shown):
        return ""
    name = f" or storage_erase_serial: {serial(disk)!r}" if serial(disk) else ""
    return (
        f"/etc/fstab has the data on {spec}, which no drive shows now, and {describe(disk)} is"
        f" another; attach the missing one, or name the new one (storage_device: {disk['path']}"
        f"{name}); nothing is formatted"
    )


def fstab_text(found: dict, word: str) -> str:
    """Return a copy of fstab that look.sh printed.

    Raises:
        FstabError: It is not text.
    """
    try:
        return base64.b64decode(found.get(word, "")).decode()
    except UnicodeDecodeError:
        raise FstabError("/etc/fstab has bytes that are not UTF-8; mend it first") from None


def plan_drive(found: dict, wanted: dict) -> dict:
    """Return what is to happen about the drive for data.

    Returns:
        C(kind): drive, root (the system is on the drive), or none; C(say): what the user should
        know; C(refuse): why nothing may be done; and for a drive what C(decide) returns.
    """
    disks = [
        disk
        for disk in json.loads(found["lsblk"])["blockdevices"]
        if disk["type"] == "disk" and not re.match(r"/dev/(zram|ram|loop)", disk["path"])
    ]
    disk, why = choose(found, disks, wanted)
    if disk is None:
        kind = {"kind": "none", "refuse": "", "say": ""}
        hint = pcie_hint(found, wanted)
        if wanted["required"] or "several" in why or "a part of" in why:
            why = why if "; " in why else f"{why}; storage_required is true"
            return kind | {"refuse": f"{why}{hint}"}
        return kind | {"say": f"{why}: data stays on the card{hint}"}
    if is_system(disk):
        if disk["tran"] not in DRIVES:
            return {
                "kind": "none",
                "say": "",
                "refuse": f"storage_device is {disk['path']}, the card that the system is on;"
                " use a drive, or auto",
            }
        return {
            "kind": "root",
            "refuse": "",
            "say": f"the system is on {describe(disk)}: data is a directory there",
        }
    return plan_disk(found, disk, wanted)


def plan_disk(found: dict, disk: dict, wanted: dict) -> dict:
    """Return what C(plan_drive) does for a disk that the system is not on."""
    drive = {"kind": "drive", "refuse": "", "say": "", "disk": disk["path"], "serial": serial(disk)}
    drive |= {"identity": serial(disk) or disk["path"], **decide(found, disk, wanted)}
    gone = "" if drive.get("action") == "adopt" else missing(found, disk, wanted)
    if gone:
        return {"kind": "none", "say": "", "refuse": gone}
    optional = wanted["device"] == "auto" and not wanted["required"]
    if drive.pop("unknown", False) and optional and not wanted["erase_serial"]:
        said = f"{drive['refuse']}: it is left alone, and no data goes there"
        return {"kind": "none", "say": said, "refuse": ""}
    if not drive["refuse"]:
        drive["refuse"] = place_problem(found, drive, wanted)
    if not drive["refuse"]:
        formatted = [f"{describe(disk)} is formatted"] if drive["action"] == "format" else []
        drive["say"] = "; ".join([*formatted, *usb_notes(disk, wanted)])
    return drive


def place_problem(found: dict, drive: dict, wanted: dict) -> str:
    """Return why a drive cannot be mounted at its place, or nothing."""
    if "mounted" in found and found["mounted"] != drive["node"]["uuid"]:
        return (
            f"something else than {drive['node']['path']} is mounted at storage_mount,"
            f" {wanted['mount']}; unmount it, or set another storage_mount"
        )
    if "underneath" in found:
        return (
            f"storage_mount, {wanted['mount']}, is a directory with files such as"
            f" {found['underneath']}, which the drive would hide; move them away"
        )
    return ""


def storage_plan(look: str, wanted: dict) -> dict:
    """Return what is to be done on a host.

    Args:
        look: What the role's look.sh printed.
        wanted: The settings, as the role's C(vars/main.yml) has them.

    Returns:
        What C(plan_drive) returns, with C(fstab): its text then; C(fstab_changes); C(ours):
        whether it has had the role's line; C(noatime): whether the root file system has that in
        it; C(tmp): whether /tmp can be bounded.
    """
    found = read(look)
    drive = {"action": "", "node": {}, "force": False, "disk": "", "serial": "", "identity": ""}
    drive["left"] = False
    try:
        text, original = fstab_text(found, "fstab"), fstab_text(found, "original")
        if wanted["state"] == "absent":
            drive |= {"kind": "none", "say": "", "refuse": ""}
            fstab = with_original_root(without_data(text), original)
        else:
            drive |= plan_drive(found, wanted)
            fstab = with_noatime(text) if wanted["root_noatime"] else text
            if drive["kind"] == "drive" and not drive["refuse"] and not drive["left"]:
                fstab = with_data(fstab, drive["node"], wanted["mount"], wanted["timeout"])
    except FstabError as error:
        return drive | {"kind": "none", "say": "", "refuse": str(error)}
    roots = [line for line in fstab.splitlines() if fields(line)[1:2] == ["/"]]
    places = [place for line in fstab.splitlines() for place in fields(line)[1:2]]
    return drive | {
        "fstab": fstab,
        "fstab_changes": fstab != text,
        "ours": MARKER in text,
        "noatime": any("noatime" in fields(line)[3].split(",") for line in roots),
        "tmp": bool(wanted["tmp_size"]) and TEMPORARY not in places and "tmp" not in found,
    }


def health_lines(text: str) -> list[str]:
    """Return a line for each drive that says it is failing.

    Args:
        text: What storage-health printed.
    """
    return [
        f"{one['device']} ({one['model']}, serial {one['serial']}) says that it is failing"
        f" (critical warning {one['critical_warning']}, {one['media_errors']} media errors,"
        f" {one['percentage_used']} % used)"
        for one in json.loads(text)
        if one["failing"]
    ]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "storage_problems": setting_problems,
            "storage_plan": storage_plan,
            "storage_failing": health_lines,
        }
