"""The power goes between any two steps on the disk: the Pi boots, and the next run ends well."""

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
        monkeypatch.setattr(Path, "replace", self._after(Path.replace, lambda _: "rename"))
        monkeypatch.setattr(Path, "unlink", self._after(Path.unlink, lambda _: "remove"))

    @staticmethod
    def _flushed(descriptor: int) -> str:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return "flush directory" if path.is_dir() else "flush file"

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


def test_each_file_is_flushed_renamed_and_its_directory_flushed(boot):
    # Removing the temporary file, which is no more, is a step that finds nothing.
    one = ["flush file", "rename", "flush directory", "remove"]
    assert steps_of(boot) == one * 5  # a note, two originals kept, two files written


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
        found = {n: c for n, c in contents(boot).items() if not n.endswith(".gridberry-new")}
        assert found == after, cut
        run(boot, "absent")
        assert boots(boot) == {"cmdline.txt": CMDLINE, "config.txt": CONFIG}, cut
