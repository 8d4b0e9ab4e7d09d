"""How boot files are read and replaced: a power cut leaves the old one or the new one.

On FAT a name, what it names and which clusters are taken are three writes to the disk. Between two
flushes they reach it in any order, and vfat itself flushes nothing. So:

- A file is complete and flushed under a temporary name before it is renamed.
- The old file stays open meanwhile: vfat frees its clusters when it is closed. A name never points
  at free clusters, which fsck.vfat would cut off.
- The temporary name goes first (the directory is flushed), and then the file's name gets the new
  clusters (the file is flushed): one sector, old before and new after. The other way round both
  names would have the same clusters for a moment, and fsck.vfat cuts off one of the two.
- A name that is new exists first, empty, because rename makes it so.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.boot_text import ENCODING, BootFileError
from ansible.module_utils.whole_file import diff_of, flush

ORIGINAL_SUFFIX = ".gridberry-original"  # beside a file: what it was before the first change
CREATED_SUFFIX = ".gridberry-created"  # beside a file: it was not there before, or was empty
WAS_EMPTY = "it was there, and empty\n"  # what the latter says
TOKENS_SUFFIX = ".gridberry-tokens"  # beside a file: which tokens were put in and taken out
PCIE_GEN3 = re.compile(r"\s*dtparam=(\S*,)?pciex1_gen=3\b")
TEMPORARY_SUFFIX = ".gridberry-new"  # beside a file: what it will be


@dataclass(frozen=True)
class Plan:
    """What one file contains and should contain; None where there is or should be no file.

    Attributes:
        path: The file.
        old: Its content now.
        new: What it should be.
        boots: Whether the firmware reads it.
        keep: Whether what it was before the first change is kept beside it.
        note: Whether it is only a note of the role's own.
        drop: Notes beside it that are of no use once it is so.
    """

    path: Path
    old: str | None
    new: str | None
    boots: bool = True
    keep: bool = True
    note: bool = False
    drop: list[Path] = field(default_factory=list)

    @property
    def diff(self) -> dict[str, str]:
        """The change as Ansible shows it."""
        return diff_of(str(self.path), self.old or "", self.new or "")


def read(path: Path) -> str:
    """Return a boot file's content; bytes that are not UTF-8 survive."""
    return path.read_bytes().decode(**ENCODING)


def read_if_there(path: Path) -> str | None:
    """Return a file's content, or None where there is none."""
    return read(path) if path.exists() else None


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a note beside a file."""
    return path.with_name(path.name + suffix)


def kept_original(path: Path) -> str | None:
    """Return what a file was before the first change; None where that is not kept.

    An empty one says nothing: the power went before it was written, or fsck.vfat cut it off.
    """
    return read_if_there(beside(path, ORIGINAL_SUFFIX)) or None


def names_in(directory: Path) -> frozenset[str]:
    """Return the names of a directory's files in lower case, as vfat compares them."""
    return frozenset(path.name.lower() for path in directory.iterdir())


def check_pcie_speed(lines: tuple[str, ...], directory: Path, blocks: Path) -> None:
    """Refuse PCIe 3.0 where the Pi starts from a drive at it (raspberrypi/rpi-eeprom#531).

    Args:
        lines: The lines for config.txt.
        directory: Where it is.
        blocks: What the kernel says of block devices, by their numbers.

    Raises:
        BootFileError: It is asked for there.
    """
    asked = [line for line in lines if PCIE_GEN3.match(line)]
    number = directory.stat().st_dev
    device = (blocks / f"{os.major(number)}:{os.minor(number)}").resolve()
    if asked and "/nvme" in str(device):
        raise BootFileError(
            f"config.txt is to have {asked[0]!r} and this Pi starts from {device.name}: some drives"
            " do not come back with it after a power cut; leave it out, or accept that with"
            " boot_config_pcie_gen3_boot: true"
        )


def stage(temporary: Path, path: Path, text: str) -> None:
    """Write what a file will be beside it, and flush it; make the file, empty, if it is not there.

    Raises:
        OSError: The disk is full, or worse; names the file.
        BootFileError: What was read back is not what was written.
    """
    try:
        with temporary.open("wb") as stream:
            stream.write(text.encode(**ENCODING))
            stream.flush()
            # vfat knows no modes and refuses to set most; where they exist, they stay.
            mode = path.stat().st_mode & 0o7777 if path.exists() else None
            if mode is not None and mode != os.fstat(stream.fileno()).st_mode & 0o7777:
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # of a write, Python does not say it
        raise
    if read(temporary) != text:
        raise BootFileError(f"{temporary} reads back differently; {path} was left alone")
    if not path.exists():
        path.touch()


def put(temporary: Path, path: Path) -> None:
    """Replace a file by one that was staged: after a power cut it is the old or the new one."""
    with path.open("rb"), temporary.open("rb") as new:
        temporary.replace(path)
        flush(path.parent)
        os.fsync(new.fileno())


def remove(path: Path) -> None:
    """Remove a file: after a power cut it is there, whole, or not."""
    with path.open("rb"):
        path.unlink()
        flush(path.parent)


def steps_of(plan: Plan) -> list[tuple[Path, str | None]]:
    """Return the files to write, and to remove (None), in order: what was is noted first."""
    steps: list[tuple[Path, str | None]] = []
    if plan.new != plan.old:
        created = beside(plan.path, CREATED_SUFFIX)
        if plan.keep and kept_original(plan.path) is None and not created.exists():
            kept = beside(plan.path, ORIGINAL_SUFFIX)
            none = "" if plan.old is None else WAS_EMPTY
            steps.append((kept, plan.old) if plan.old else (created, none))
        steps.append((plan.path, plan.new))
    return steps + [(note, None) for note in plan.drop]


def carry_out(plans: list[Plan]) -> None:
    """Put new contents in place, none before there is room on the disk for all.

    Raises:
        OSError: The disk cannot be written. Where it is full, nothing has changed.
        BootFileError: A file reads back differently.
    """
    steps = [step for plan in plans for step in steps_of(plan)]
    temporaries: dict[int, Path] = {}
    made: list[Path] = []
    try:
        for number, (path, text) in enumerate(steps):
            if text is None:
                continue
            earlier = sum(other == path for other, _ in steps[:number])
            temporaries[number] = beside(path, TEMPORARY_SUFFIX + "er" * earlier)
            made += [] if path.exists() else [path]
            stage(temporaries[number], path, text)
        for directory in {path.parent for path in made}:
            flush(directory)
        for number, (path, text) in enumerate(steps):
            if text is None:
                remove(path)
                continue
            made = [other for other in made if other != path]
            put(temporaries.pop(number), path)
            if read(path) != text:
                raise BootFileError(f"{path} reads back differently; the original is beside it")
    finally:
        for path in [*temporaries.values(), *made]:
            if path.exists():
                path.unlink()


def note_changed(mark: Path, found: list[Plan]) -> None:
    """Note which boot files have changed, for all who ask whether a reboot is due."""
    changed = {
        plan.path.name for plan in found if plan.boots and read_if_there(plan.path) != plan.old
    }
    if changed:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(" ".join(sorted(changed | set((read_if_there(mark) or "").split()))))
