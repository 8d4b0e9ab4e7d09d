"""Ansible filters: which swap a host gets, by what mechanism, and what has to go for it.

What the mechanisms take: rpi-swap, swap.conf(5) and its generator; dphys-swapfile(8);
zram-generator.conf(5); systemd.swap(5).
"""

from __future__ import annotations

import re

# A swap file works on these. On others it has holes or no fixed place.
FILE_SYSTEMS = ("ext4", "btrfs", "xfs", "f2fs")
WITH_FILE = ("rpi-swap", "dphys-swapfile", "file")
SIZES = (16, 65536)  # MB
FILE = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
SYSTEM_PLACES = re.compile(r"/(bin|boot|dev|etc|lib\w*|proc|root|run|sbin|sys|tmp|usr)(/.*)?")
# Where the Pi's own mechanisms put it, on the card.
USUAL = "/var/swap"

UNITS = "/etc/systemd/system"
RPI = "/etc/rpi/swap.conf.d/90-gridberry.conf"
RPI_UNIT = f"{UNITS}/rpi-resize-swap-file.service.d/gridberry.conf"
DPHYS = "/etc/dphys-swapfile"
DPHYS_UNIT = f"{UNITS}/dphys-swapfile.service.d/gridberry.conf"
ZRAM = "/etc/systemd/zram-generator.conf"
WAS_THERE = (DPHYS, ZRAM)  # files that may have been there before
HEAD = "# Written by Gridberry, role swap.\n"
SILENT = (
    f"{HEAD}# A line of /etc/fstab would have swap on the card.\n"
    "[Unit]\nConditionPathExists=/nonexistent\n"
)


def setting_problems(settings: dict) -> list[str]:
    """Return a line for each setting that is not allowed.

    Args:
        settings: As the role's C(vars/main.yml) has them.
    """
    low, high = SIZES
    problems = []
    if not low <= settings["size_mb"] <= high:
        problems.append(f"swap_size_mb is {settings['size_mb']}; use {low} to {high}")
    place = settings["file"]
    if not FILE.fullmatch(place) or place.count("/") < 2 or SYSTEM_PLACES.fullmatch(place):
        problems.append(f"swap_file is {place!r}; use a path such as /mnt/data/swapfile")
    return problems


def unit_of(path: str, kind: str = "swap") -> str:
    """Return systemd's name for the unit of a file, device or mount: systemd.unit(5), escaping."""
    words = [
        "".join(
            letter if re.match(r"[A-Za-z0-9:_.]", letter) else f"\\x{ord(letter):02x}"
            for letter in word
        )
        for word in path.strip("/").split("/")
    ]
    return f"{'-'.join(words)}.{kind}"


def read(look: str) -> dict:
    """Return what look.sh printed: words with one value, and lists of the others."""
    found: dict = {"has": set(), "made": [], "active": [], "configured": [], "silenced": []}
    for line in look.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "has":
            found["has"].add(rest)
        elif word in ("made", "silenced"):
            found[word].append(rest)
        elif word == "active":
            name, _kind, _size, _used, where = rest.split()
            found["active"].append((name, where))
        elif word == "configured":
            name, _, where = rest.rpartition(" ")
            found["configured"].append((name, where))
        elif word:
            found[word] = rest
    return found


def mount_lines(target: str) -> str:
    """Return a unit's lines that keep it from working on the directory below a missing drive."""
    if target == "/":
        return ""
    return f"RequiresMountsFor={target}\nConditionPathIsMountPoint={target}\n"


def files_of(mechanism: str, found: dict, wanted: dict) -> dict[str, str]:
    """Return the files of a mechanism by path, and those that switch the others off."""
    place, size = wanted["file"], wanted["size_mb"]
    below = mount_lines(found["target"])
    # Also when the drive appears late, after the boot has given it up.
    late = f" {unit_of(found['target'], 'mount')}" if below else ""
    files = {}
    if mechanism == "file":
        files[f"{UNITS}/{unit_of(place)}"] = (
            f"{HEAD}[Unit]\nDescription=Swap on {place}\nConditionPathExists={place}\n{below}\n"
            f"[Swap]\nWhat={place}\nTimeoutSec=60\n\n[Install]\nWantedBy=swap.target{late}\n"
        )
    elif mechanism == "dphys-swapfile":
        # The file is there already, in its full size: dphys-swapfile would write it to the end and
        # edit fstab for it.
        files[DPHYS] = (
            f"{HEAD}CONF_SWAPFILE={place}\nCONF_SWAPSIZE={size}\nCONF_MAXSWAP={size}\n"
            "CONF_MAXDISK_PCT=\n"
        )
        if below:
            files[DPHYS_UNIT] = f"{HEAD}[Unit]\n{below}"
    elif mechanism == "zram" and "rpi-swap" not in found["has"]:
        files[ZRAM] = f"{HEAD}[zram0]\nzram-size = min(ram, {size})\nswap-priority = 100\n"
    if "rpi-swap" in found["has"]:
        sections = {
            "rpi-swap": f"Mechanism=swapfile\n\n[File]\nPath={place}\nFixedSizeMiB={size}\n",
            "zram": f"Mechanism=zram\n\n[Zram]\nRamMultiplier=1\nMaxSizeMiB={size}\n",
        }
        off = f"Mechanism=none\n\n[File]\nPath={USUAL}\n"
        files[RPI] = f"{HEAD}[Main]\n{sections.get(mechanism, off)}"
        if mechanism == "rpi-swap" and below:
            # It runs before drives are mounted, and would make the file on the card.
            files[RPI_UNIT] = f"{HEAD}[Unit]\n{below}"
    for name, where in found["configured"]:
        if name != place and (where == "card" or mechanism == "none"):
            files[f"{UNITS}/{unit_of(name)}.d/gridberry-off.conf"] = SILENT
    return files


def others(mechanism: str, found: dict, wanted: dict) -> list[str]:
    """Return the swap in use that goes once the wanted one is there."""
    ours = {wanted["file"]} if mechanism in WITH_FILE else set()
    if mechanism == "zram" or (mechanism != "none" and "rpi-swap" not in found["has"]):
        ours.add("/dev/zram0")  # ours, or somebody's who wants both
    return [
        name
        for name, where in found["active"]
        if name not in ours
        and (
            mechanism == "none"
            or where == "card"
            or name in ("/dev/zram0", f"{wanted['file']}.old")
        )
    ]


def choose(found: dict, wanted: dict) -> dict:
    """Return the mechanism for a host, or C(refuse) or C(say): why there is none."""
    mechanism = wanted["mechanism"]
    if mechanism in ("rpi-swap", "dphys-swapfile") and mechanism not in found["has"]:
        return {"refuse": f"swap_mechanism is {mechanism}, which is not installed; use auto"}
    if mechanism == "auto":
        mechanism = next((one for one in WITH_FILE if one in found["has"]), "file")
    if mechanism not in WITH_FILE:
        return {"mechanism": mechanism}
    if found["card"] == "yes" and not wanted["on_sd"]:
        why = f"swap_file is {wanted['file']}, which is on the card ({found['target']})"
        hint = "use swap_on_sd: true or swap_mechanism: zram"
        if wanted["mechanism"] == "auto":
            return {"say": f"{why}: no swap is made and what is there stays; {hint}"}
        return {"refuse": f"{why}; {hint}"}
    problem = place_problem(found, wanted)
    if mechanism == "rpi-swap":
        problem = problem or early_problem(found, wanted)
    return {"refuse": problem} if problem else {"mechanism": mechanism}


def place_problem(found: dict, wanted: dict) -> str:
    """Return why the swap file cannot be where it is wanted, or nothing."""
    place = wanted["file"]
    if found["type"] not in FILE_SYSTEMS:
        some = " or ".join(FILE_SYSTEMS)
        return f"swap_file is {place}, on {found['type']}; use a place on {some}"
    if found.get("place", "swap") != "swap":
        return f"swap_file is {place}, and that is no swap file; name another place"
    if "link" in found:
        unit = f"{UNITS}/{unit_of(place)}"
        return f"{unit} is a link to {found['link']}; remove it, or name another swap_file"
    return ""


def early_problem(found: dict, wanted: dict) -> str:
    """Return why rpi-swap would have no swap after a boot, or nothing.

    Its generator resolves the file's path before drives are mounted, and gives up where the
    directory is not there: below an unmounted drive there is none but the mount point itself.
    """
    directory, _, name = wanted["file"].rpartition("/")
    target = found["target"]
    if target in ("/", directory):
        return ""
    return (
        f"swap_file is {wanted['file']}, and at a boot rpi-swap looks for {directory} before"
        f" {target} is mounted; use {target}/{name}, or swap_mechanism: file"
    )


def swap_plan(look: str, wanted: dict) -> dict:
    """Return what is to be done on a host.

    Args:
        look: What the role's look.sh printed.
        wanted: The settings, as the role's C(vars/main.yml) has them.

    Returns:
        C(refuse), C(say): why nothing is done; C(mechanism); C(files): for file_set;
        C(directories): likewise; C(stale): files of other mechanisms; C(others): swap in use that
        goes; C(moved): swap files that the role made elsewhere; C(unit); C(zram): whether the
        package zram-generator is needed; C(has): what is installed.
    """
    found = read(look)
    coming = wanted["coming"]
    if coming and wanted["file"].startswith(f"{coming}/"):
        # Check mode: the drive is not mounted yet.
        found |= {"card": "no", "type": "ext4", "target": coming}
        found.pop("place", None)
    unit = f"{UNITS}/{unit_of(wanted['file'])}"
    silenced = set(found["silenced"])
    made = [f"{UNITS}/{unit_of(name)}" for name in found["made"]]
    known = {unit, RPI, RPI_UNIT, DPHYS, DPHYS_UNIT, ZRAM, *made, *silenced}
    plan = {"refuse": "", "say": "", "mechanism": "", "files": [], "stale": [], "others": []}
    plan |= {"moved": [], "unit": unit_of(wanted["file"]), "zram": False, "directories": []}
    plan["has"] = sorted(found["has"])
    if wanted["state"] == "absent":
        plan["files"] = [
            {"path": path, "content": "", "keep_original": path in WAS_THERE}
            for path in sorted(known)
        ]
        plan["directories"] = directories_of(known)
        plan["moved"] = found["made"]
        return plan
    plan |= choose(found, wanted)
    mechanism = plan["mechanism"]
    if not mechanism:
        return plan
    files = files_of(mechanism, found, wanted)
    place = wanted["file"] if mechanism in WITH_FILE else ""
    plan["files"] = [
        {"path": path, "content": content, "keep_original": path in WAS_THERE}
        for path, content in files.items()
    ]
    plan["directories"] = directories_of(files)
    plan["stale"] = sorted(known - set(files) - silenced)
    plan["others"] = others(mechanism, found, wanted)
    plan["moved"] = [name for name in found["made"] if name != place]
    plan["zram"] = mechanism == "zram" and "rpi-swap" not in found["has"]
    return plan


def directories_of(paths: object) -> list[dict]:
    """Return the drop-in directories of files, for file_set."""
    found = {path.rpartition("/")[0] for path in paths}
    return [{"path": one} for one in sorted(found) if one.endswith(".d")]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "swap_problems": setting_problems,
            "swap_plan": swap_plan,
            "swap_unit": unit_of,
        }
