"""The power goes between any two steps on the disk: the Pi boots, and the next run ends well."""

import errno
import itertools
import os
from pathlib import Path

import pytest

from roles.boot_config.library import boot_files
from tests.boot.test_generated import contents, parameters

CMDLINE = b"console=tty1 root=PARTUUID=4e639091-02 cgroup_disable=memory rootwait\n"
CONFIG = b"auto_initramfs=1\n"


class PowerCutError(BaseException):
    """Ends the run as a power cut would: no handler of the module's sees it."""


class Disk:
    """Counts the steps on the disk, and cuts the power before one of them."""

    def __init__(self, monkeypatch, cut_before: int | None = None) -> None:
        self.steps: list[str] = []
        self._cut_before = cut_before
        monkeypatch.setattr(os, "fsync", self._after(os.fsync, self._flushed))
        monkeypatch.setattr(Path, "replace", self._after(Path.replace, self._renamed))
        monkeypatch.setattr(Path, "unlink", self._after(Path.unlink, lambda _: "remove"))

    @staticmethod
    def _flushed(descriptor: int) -> str:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return "flush directory" if path.is_dir() else f"flush {path.name}"

    @staticmethod
    def _renamed(temporary: Path) -> str:
        # vfat frees the clusters of a file that was renamed over once nobody has it open any more.
        old = temporary.with_name(temporary.name.partition(".gridberry-new")[0])
        opened = [Path("/proc/self/fd", one.name) for one in Path("/proc/self/fd").iterdir()]
        held = any(one.samefile(old) for one in opened if one.exists())
        return f"rename over {old.name}, {'open' if held else 'closed'}"

    def _after(self, real, name):
        def step(first, *more):
            if isinstance(self._cut_before, int) and len(self.steps) >= self._cut_before:
                raise PowerCutError
            self.steps.append(name(first))
            return real(first, *more)

        return step


@pytest.fixture
def boot(tmp_path):
    """A directory that stands for the boot partition."""
    (tmp_path / "cmdline.txt").write_bytes(CMDLINE)
    (tmp_path / "config.txt").write_bytes(CONFIG)
    return tmp_path


def run(boot, state="present"):
    """Run the module's function."""
    return boot_files.run(parameters(boot, state), check_mode=False)


def boots(boot) -> dict[str, bytes]:
    """What the firmware reads."""
    return {name: (boot / name).read_bytes() for name in ("cmdline.txt", "config.txt")}


def steps_of(boot, state="present") -> list[str]:
    """The steps of an undisturbed run."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        run(boot, state)
    return disk.steps


def test_all_is_written_first_and_each_rename_flushes_the_directory_before_the_file(boot):
    names = [
        "cmdline.txt.gridberry-tokens",
        "cmdline.txt.gridberry-original",
        "cmdline.txt",
        "config.txt.gridberry-original",
        "config.txt",
    ]
    renames = [[f"rename over {name}, open", "flush directory", f"flush {name}"] for name in names]
    written = [f"flush {name}.gridberry-new" for name in names]
    assert steps_of(boot) == [*written, "flush directory", *itertools.chain(*renames)]


def test_a_file_that_goes_is_open_until_its_directory_is_flushed(boot):
    run(boot)
    steps = steps_of(boot, "absent")
    removed = steps.index("remove")
    assert steps[removed : removed + 2] == ["remove", "flush directory"]


@pytest.mark.parametrize("name", ["cmdline.txt", "config.txt"])
def test_an_empty_original_is_none_and_is_kept_again(boot, name):
    (boot / f"{name}.gridberry-original").touch()  # cut off by fsck.vfat, or never written
    run(boot, "original")
    assert boots(boot) == {"cmdline.txt": CMDLINE, "config.txt": CONFIG}
    run(boot)
    run(boot, "original")
    assert boots(boot) == {"cmdline.txt": CMDLINE, "config.txt": CONFIG}


def test_a_full_disk_changes_nothing(boot, monkeypatch):
    """The disk is full from any write on, whatever it writes."""
    written: list[int] = []

    def seen() -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in boot.iterdir()}

    before = seen()
    for room in range(5):
        written.clear()

        def full(descriptor, room=room):
            written.append(descriptor)
            if len(written) > room and not Path(f"/proc/self/fd/{descriptor}").is_dir():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as failure:
            run(boot)
        assert seen() == before, room
        message = boot_files.refusal(failure.value)
        assert message.endswith(
            "cannot be read or written (No space left on device); it was left as it was"
        )
        assert message.startswith(str(boot))


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_cut_before_any_step_leaves_old_or_new_whole_and_the_next_run_ends_well(boot, state):
    if state == "absent":
        run(boot)
    before = contents(boot)
    old, cuts = boots(boot), len(steps_of(boot, state))
    new, after = boots(boot), contents(boot)
    assert old != new
    for cut in range(cuts):
        for path in boot.iterdir():
            path.unlink()
        for name, content in before.items():
            (boot / name).write_bytes(content)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, cut_before=cut)
            with pytest.raises(PowerCutError):
                run(boot, state)
        for name, content in boots(boot).items():
            assert content in (old[name], new[name]), (cut, name)
        run(boot, state)
        found = {n: c for n, c in contents(boot).items() if ".gridberry-new" not in n}
        assert found == after, cut
        run(boot, "absent")
        assert boots(boot) == {"cmdline.txt": CMDLINE, "config.txt": CONFIG}, cut
