#!/usr/bin/python3 -IS
"""Keeps /var/log in memory, and what is in it on the disk from time to time.

    logs-in-memory start MEGABYTES   puts a file system in memory over /var/log, with what is there
    logs-in-memory save              writes what changed since to the disk
    logs-in-memory stop              saves, and takes the file system in memory away

The journal's directory is left out of both: journald keeps its own in memory. To reach what lies
below, `save` takes the file system in memory away where nobody else sees it, in mounts of its own:
a mount that others saw would be taken away by systemd at a shutdown before this is asked to save.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

LOGS = Path(os.environ.get("LOGS", "/var/log"))
RUN = Path(os.environ.get("RUN", "/run/gridberry"))
READY = RUN / "logs-ready"
SOURCE = "gridberry-logs"  # what the kernel shows as the file system's device
LEFT_OUT = "journal"
NEW = ".gridberry-new"
FULL = 0.75  # what may be in it from the start


class RefusedError(Exception):
    """Why nothing is done, in one line."""


def run(*command: str) -> None:
    """Run a command of the system."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise RefusedError(f"{Path(command[0]).name}: {said}")


def mounts() -> list[tuple[str, Path]]:
    """Return the source and the place of each mount, as they came one over the other."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [(line.split(" ")[0], Path(line.split(" ")[1])) for line in lines]


def in_memory() -> bool:
    """Tell whether /var/log is in memory now."""
    return next((source for source, place in reversed(mounts()) if place == LOGS), "") == SOURCE


def entries(top: Path) -> list[Path]:
    """Return what is in a directory, as paths from there, directories before what is in them."""
    found: list[Path] = []
    waiting = [Path()]
    while waiting:
        here = waiting.pop()
        for entry in sorted(os.scandir(top / here), key=lambda one: one.name):
            path = here / entry.name
            if path == Path(LEFT_OUT):
                continue
            found.append(path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
    return found


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Tell whether a file need not be written again."""
    names = ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def status(path: Path) -> os.stat_result | None:
    """Return what the file system says of a path, or None where there is none."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def remove(path: Path) -> None:
    """Remove a file or a directory with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def copy(source: Path, target: Path) -> None:
    """Make a path's copy what it is: a directory is made, a file replaced in one step."""
    wanted, there = source.lstat(), status(target)
    kind = stat.S_IFMT(wanted.st_mode)
    if there and stat.S_IFMT(there.st_mode) != kind:
        remove(target)
        there = None
    if kind == stat.S_IFDIR:
        if not there:
            target.mkdir()
        os.chown(target, wanted.st_uid, wanted.st_gid)
        shutil.copystat(source, target)
    elif kind in (stat.S_IFREG, stat.S_IFLNK) and not (there and same(wanted, there)):
        new = target.with_name(target.name + NEW)
        new.unlink(missing_ok=True)
        shutil.copy2(source, new, follow_symlinks=False)
        os.chown(new, wanted.st_uid, wanted.st_gid, follow_symlinks=False)
        if kind == stat.S_IFREG:
            new.chmod(stat.S_IMODE(wanted.st_mode))  # a change of owner clears bits
            # As it was when the copy began: what was written since is seen the next time.
            os.utime(new, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
        new.replace(target)


def mirror(source: Path, target: Path) -> None:
    """Make a directory the same as another, except for what is left out."""
    # What a power cut left of a save is no log.
    wanted = [path for path in entries(source) if not path.name.endswith(NEW)]
    for path in reversed([one for one in entries(target) if one not in set(wanted)]):
        if status(target / path):
            remove(target / path)
    for path in wanted:
        try:
            copy(source / path, target / path)
        except FileNotFoundError:  # rotated away in the meantime
            continue
    copy(source, target)


def start(megabytes: int) -> None:
    """Put a file system in memory over /var/log, full from the first moment on."""
    if in_memory():
        return
    hidden = [str(place) for _, place in mounts() if LOGS in place.parents]
    if hidden:
        raise RefusedError(f"{hidden[0]} is mounted in {LOGS} and would be hidden: logs stay there")
    size = sum((LOGS / path).lstat().st_size for path in entries(LOGS))
    if size > megabytes * 2**20 * FULL:
        raise RefusedError(
            f"{LOGS} holds {size // 2**20} MB, too much for {megabytes} MB in memory:"
            f" it stays on the disk; use {int(size / 2**20 / FULL) + 1} MB"
        )
    READY.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = f"size={megabytes}M,mode=0755,nosuid,nodev,noexec"
    run("mount", "-t", "tmpfs", "-o", options, SOURCE, str(READY))
    try:
        mirror(LOGS, READY)
        run("mount", "--bind", str(READY), str(LOGS))
    finally:
        run("umount", str(READY))


def save() -> None:
    """Write what changed to the disk."""
    if not in_memory():
        raise RefusedError(f"{LOGS} is not in memory: nothing to save")
    READY.mkdir(mode=0o700, parents=True, exist_ok=True)
    run("unshare", "--mount", sys.executable, "-IS", str(Path(__file__)), "save-apart")


def save_apart() -> None:
    """Write what changed to the disk, with mounts that nobody else sees."""
    run("mount", "--bind", str(LOGS), str(READY))
    run("umount", "--lazy", str(LOGS))
    if in_memory():
        raise RefusedError(f"{LOGS} is in memory twice: nothing was saved")
    mirror(READY, LOGS)
    os.sync()


def stop() -> None:
    """Save, and take the file system in memory away; programs keep what they have open."""
    if in_memory():
        save()
        run("umount", "--lazy", str(LOGS))


def main() -> int:
    """Do what is asked for; return the exit status."""
    try:
        match sys.argv[1:]:
            case ["start", megabytes] if megabytes.isdecimal():
                start(int(megabytes))
            case ["save"]:
                save()
            case ["save-apart"]:
                save_apart()
            case ["stop"]:
                stop()
            case _:
                sys.stderr.write("use start MEGABYTES, save or stop\n")
                return 2
    except (RefusedError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
