"""Ansible filters: what is wrong with Docker's settings, and what is to be done on a host."""

from __future__ import annotations

import ipaddress
import re
from itertools import combinations
from pathlib import PurePosixPath

# What a copy may need beyond what du counts, in MB.
SPARE_MB = 256
DIRECTORIES_OF_THE_SYSTEM = ("/", "/boot", "/dev", "/etc", "/home", "/mnt", "/proc", "/run", "/srv")
DIRECTORIES_OF_THE_SYSTEM += ("/sys", "/usr", "/var", "/var/lib")
SIZE = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(b|k|m|g|t|kb|mb|gb|tb)?", re.IGNORECASE)


def lines_of(look: str) -> dict[str, list[str]]:
    """Return what look.sh said: the values of each word."""
    found: dict[str, list[str]] = {}
    for line in look.splitlines():
        word, _, value = line.strip().partition(" ")
        found.setdefault(word, []).append(value)
    return found


def pool_problems(pools: list[dict]) -> list[str]:
    """Return a line for each address pool that Docker could not use."""
    problems, networks = [], []
    for number, pool in enumerate(pools, 1):
        name = f"docker_address_pools, entry {number}"
        try:
            network = ipaddress.IPv4Network(str(pool["base"]))
        except ValueError as error:
            problems.append(f"{name}: base is {pool['base']} ({error}); use 10.213.0.0/16")
            continue
        networks.append((name, network))
        if not network.prefixlen <= int(pool["size"]) <= 30:
            problems.append(
                f"{name}: size is {pool['size']}; use {network.prefixlen} (one network of all of"
                f" {network}) to 30"
            )
    for (_, one), (name, other) in combinations(networks, 2):
        if one.overlaps(other):
            problems.append(f"{name}: base is {other}, which overlaps {one}")
    return problems


def docker_problems(settings: dict) -> list[str]:
    """Return a line for each of the role's settings that is not allowed, without asking a host.

    Args:
        settings: C(data_root), C(options) (of daemon.json), C(pools), C(prune_days),
            C(keep_images), C(build_cache).
    """
    problems = []
    root = settings["data_root"]
    if root not in ("", "auto"):
        path = PurePosixPath(root)
        if not root.startswith("/") or ".." in path.parts or str(path) != root:
            problems.append(
                f"docker_data_root is {root}; use an absolute path such as"
                " /mnt/data/docker, or auto"
            )
        elif root in DIRECTORIES_OF_THE_SYSTEM:
            problems.append(
                f"docker_data_root is {root}; use a directory of Docker's own such as"
                f" {root.rstrip('/')}/docker"
            )
    if "data-root" in settings["options"]:
        problems.append(
            "docker_daemon_options has data-root; use docker_data_root, which also moves what"
            " is there"
        )
    problems += pool_problems(settings["pools"])
    problems += [
        f"docker_{key} is {settings[key]}; use a number from 0"
        for key in ("prune_days", "keep_images")
        if int(settings[key]) < 0
    ]
    if settings["build_cache"] and not SIZE.fullmatch(settings["build_cache"]):
        problems.append(
            f"docker_build_cache is {settings['build_cache']}; use a size such as 1GB, or '' for"
            " Docker's own bound"
        )
    return problems


def move_problems(found: dict[str, list[str]], wanted: str) -> list[str]:
    """Return a line for each thing that is in the way of moving Docker's data.

    Args:
        found: What look.sh said.
        wanted: The setting docker_data_root, which differs from where the data are.
    """
    root = found["root"][0]
    named = f"docker_data_root is {wanted}"
    if "there" in found and "copy" not in found:
        return [
            (
                f"{named}, where another Docker's data are, and {root} holds containers, images or"
                " volumes too; move the one away that is not wanted"
            )
        ]
    if (
        PurePosixPath(root) in PurePosixPath(wanted).parents
        or PurePosixPath(wanted) in PurePosixPath(root).parents
    ):
        return [f"{named} and the data are in {root}; one must not be in the other"]
    if found["mount"] == [wanted]:
        return [
            (
                f"{named}, which is a mount point; use a directory on it such as"
                f" {wanted}/docker, as the copy becomes it by a single step"
            )
        ]
    size, room = int(found["size"][0]), int(found["room"][0])
    if room < size + SPARE_MB:
        return [
            (
                f"{named} with {room} MB free, and {size + SPARE_MB} MB are needed for what {root}"
                " holds; make room there, or remove what nobody needs: docker system prune"
            )
        ]
    return []


def root_problems(found: dict[str, list[str]], settings: dict) -> list[str]:
    """Return a line for each thing that is wrong with where Docker's data shall be."""
    wanted, root, mount = settings["data_root"], found["root"][0], found["mount"][0]
    if mount == "/" and not wanted and found.get("guard") == [root]:
        return [
            (
                f"Docker's data are in {root}, on a drive that is not mounted now; mount it"
                " (findmnt, lsblk), or Docker and the bot would begin with nothing"
            )
        ]
    if mount == "/" and wanted and settings["needs_mount"]:
        return [
            (
                f"docker_data_root is {wanted}, where no drive is mounted: it would be on the"
                " system's own disk; mount the drive, or set docker_data_root_needs_mount to false"
            )
        ]
    if wanted and wanted != root:
        if "here" in found:
            return move_problems(found, wanted)
        if "copy" in found:
            return [
                (
                    f"docker_data_root is {wanted}, which is an unfinished copy of"
                    f" {found['copy'][0]}, and there is nothing any more; to use the copy:"
                    f" rm {wanted}/.gridberry-copy-of"
                )
            ]
    return []


def beside_drive(found: dict[str, list[str]], wanted: str, root: str) -> str:
    """Return a line if Docker's data stay on the system's disk while there is a drive for data.

    Args:
        found: What look.sh said.
        wanted: The setting docker_data_root; a path is what somebody decided.
        root: Where the data are.
    """
    of_system = found["mount"][0] in ("/", "/var", "/var/lib")
    if "beside" not in found or not of_system or wanted not in ("", "auto"):
        return ""
    drive = found["beside"][0]
    return (
        f"Docker's data, the bots' books among them, are in {root} on the system's own disk, and a"
        f" drive is mounted at {drive}; docker_data_root: {drive}/docker moves them there"
    )


def docker_plan(look: str, settings: dict) -> dict:
    """Decide what is to be done on a host.

    Args:
        look: The output of the role's look.sh.
        settings: C(data_root), C(needs_mount), C(packages), C(repository), C(mirror).

    Returns:
        C(problems) (lines; nothing may be done where there are any), C(say) (a line worth knowing,
        or empty), C(release), C(arch),
        C(missing) and C(outdated) (packages), C(complete) (apt has nothing to do), C(borrows)
        (packages come from the next release) with C(uris) of C(main) and C(security), C(leftover)
        (they did once), C(key), C(lists), C(root) (where the data are when daemon.json is written),
        C(target) (where they shall be in the end), C(move) (C(copy), C(finish) or empty),
        C(guard) by C(root) and C(target): the path without which Docker must not start, or empty.
    """
    found = lines_of(look)
    chosen = settings["data_root"]
    if chosen == "auto":
        settings = settings | {"data_root": found["chosen"][0]}
    root, mount = found["root"][0], found["mount"][0]
    target = settings["data_root"] or root
    move = "copy" if target != root and "here" in found else ""
    if target == root and "copy" in found:
        move = "finish"
    release = found["release"][0]
    borrows = settings["repository"] == "debian" and release == "bookworm"
    missing = [one for one in settings["packages"] if one not in found.get("installed", [])]
    uris = {word: found[word][0] for word in ("main", "security") if word in found}
    if settings["mirror"]:
        uris = {"main": settings["mirror"]}
    problems = root_problems(found, settings)
    if borrows and missing and "main" not in uris:
        problems.append(
            "apt names no source of Debian's bookworm-updates, so there is none for the packages of"
            " trixie that Docker needs; use docker_debian_mirror: http://mirror.lan/debian"
        )
    guarded = mount != "/" and (settings["needs_mount"] or not settings["data_root"])
    of_target = target if guarded else ""
    return {
        "problems": problems,
        "say": beside_drive(found, chosen, target),
        "release": release,
        "arch": found["arch"][0],
        "missing": missing,
        "outdated": found.get("outdated", []),
        "complete": not missing and "interrupted" not in found,
        "borrows": borrows,
        "uris": uris,
        "leftover": "borrowed" in found and not borrows,
        "key": "key" in found,
        "lists": "lists" in found,
        "root": root if move else target,
        "target": target,
        "move": move,
        "mount": mount,
        "guard": {
            "target": of_target,
            "root": (found.get("guard", [""])[0] if move == "copy" else of_target),
        },
    }


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"docker_plan": docker_plan, "docker_problems": docker_problems}
