import fnmatch
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from virtual_pi import emulation, image, rootfs
from virtual_pi.base_image import VARIANTS, base_request
from virtual_pi.errors import UsageError, VirtualPiError
from virtual_pi.paths import CHECKOUT, RECIPE


def test_lists_hold_names_without_comments(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("# all\n\nfirst   # why\nsecond\n")
    assert rootfs.read_list(path) == ("first", "second")


def test_hash_follows_everything_that_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    request = image.image_request("trixie")
    names = {rootfs.recipe_hash(request, image.__file__)}
    names.add(rootfs.recipe_hash(request, rootfs.__file__))
    names.add(rootfs.recipe_hash(image.image_request("bookworm"), image.__file__))
    monkeypatch.setenv("GRIDBERRY_DEBIAN_MIRROR", "http://mirror.example/debian")
    names.add(rootfs.recipe_hash(request, image.__file__))
    assert len(names) == 4
    monkeypatch.delenv("GRIDBERRY_DEBIAN_MIRROR")
    assert rootfs.recipe_hash(request, image.__file__) in names


def test_hash_follows_the_recipe_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "recipe"
    (recipe / "files").mkdir(parents=True)
    config = recipe / "files" / "config.txt"
    config.write_text("one")
    module = tmp_path / "rootfs.py"
    module.write_text("")
    monkeypatch.setattr(rootfs, "RECIPE", recipe)
    monkeypatch.setattr(rootfs, "__file__", str(module))
    request = base_request("trixie", "arm64", "minbase", [])
    names = {rootfs.recipe_hash(request, str(module))}
    config.write_text("two")
    names.add(rootfs.recipe_hash(request, str(module)))
    config.chmod(0o755)
    names.add(rootfs.recipe_hash(request, str(module)))
    assert len(names) == 3


@pytest.mark.parametrize("arch", ["arm64", "amd64"])
def test_usr_is_merged_before_the_first_package_of_an_older_release(
    arch: str, tmp_path: Path
) -> None:
    script = RECIPE / "merge-usr.sh"
    subprocess.run(["sh", script, tmp_path, arch], check=True)
    links = {path.name: str(path.readlink()) for path in tmp_path.iterdir() if path.is_symlink()}
    biarch = {"lib64": "usr/lib64"} if arch == "amd64" else {}
    assert links == {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib"} | biarch
    assert all((tmp_path / name).is_dir() for name in links)


def test_excluded_drivers_are_excluded_on_both_releases() -> None:
    options = rootfs.read_list(RECIPE / "dpkg-modules.cfg")
    patterns = [option.removeprefix("path-exclude=") for option in options]
    for directory in ("/lib/modules", "/usr/lib/modules"):
        sound, virtio = (
            f"{directory}/6.1.0-arm64/kernel/{name}.ko"
            for name in ("sound/core/snd", "drivers/net/virtio_net")
        )
        assert any(fnmatch.fnmatchcase(sound, pattern) for pattern in patterns)
        assert not any(fnmatch.fnmatchcase(virtio, pattern) for pattern in patterns)


def test_mirror_of_the_user_replaces_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDBERRY_DEBIAN_MIRROR", raising=False)
    monkeypatch.delenv("GRIDBERRY_DEBIAN_SECURITY_MIRROR", raising=False)
    assert rootfs.mirrors("trixie") == []
    monkeypatch.setenv("GRIDBERRY_DEBIAN_MIRROR", "http://m/debian")
    assert rootfs.mirrors("trixie") == [
        "deb http://m/debian trixie main",
        "deb http://m/debian trixie-updates main",
    ]
    monkeypatch.setenv("GRIDBERRY_DEBIAN_SECURITY_MIRROR", "http://m/security")
    assert rootfs.mirrors("trixie")[2] == "deb http://m/security trixie-security main"


def test_base_image_order_of_packages_does_not_matter() -> None:
    one = base_request("trixie", "arm64", "minbase", ["python3-minimal", "ca-certificates"])
    two = base_request("trixie", "arm64", "minbase", ["ca-certificates", "python3-minimal"])
    assert one == two
    assert set(VARIANTS["minbase"]) < set(one.packages)


@pytest.mark.parametrize("name", ["a b", "--option", "A", "x;y", "$(x)", "?essential"])
def test_base_image_packages_must_be_names(name: str) -> None:
    with pytest.raises(UsageError, match="--include"):
        base_request("trixie", "arm64", "minbase", [name])


def test_building_without_root_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(VirtualPiError, match="needs root"):
        rootfs.require_build_tools()


def test_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: None if name == "mke2fs" else name)
    with pytest.raises(VirtualPiError, match="mke2fs is missing"):
        rootfs.require_build_tools("mke2fs")


def test_failed_build_keeps_its_log_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDBERRY_CACHE", str(tmp_path))
    left = tmp_path / "virtual-pi" / "building-image-left"
    left.mkdir(parents=True)

    def fail() -> None:
        with image.build_directory("image") as work:
            (work / "build.log").write_text("it went wrong\n")
            raise VirtualPiError(f"failed; the log is {work / 'build.log'}")

    with pytest.raises(VirtualPiError, match=r"virtual-pi/build-image\.log$"):
        fail()
    cache = tmp_path / "virtual-pi"
    assert sorted(path.name for path in cache.iterdir()) == ["build-image.lock", "build-image.log"]
    assert (cache / "build-image.log").read_text() == "it went wrong\n"


def test_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDBERRY_CACHE", str(tmp_path))

    def interrupt() -> None:
        with image.build_directory("image") as work:
            (work / "tree").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert [path.name for path in (tmp_path / "virtual-pi").iterdir()] == ["build-image.lock"]


def test_two_builds_that_begin_at_once_register_the_emulation_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("enabled\nflags: F\n")
    mounts = []

    def mount(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        mounts.append(command)
        time.sleep(0.1)
        (tmp_path / "register").symlink_to("qemu-aarch64")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    monkeypatch.setattr(emulation, "RULES", rules)
    monkeypatch.setattr(emulation, "debian_architecture", lambda: "amd64")
    monkeypatch.setattr("subprocess.run", mount)
    with ThreadPoolExecutor(2) as pool:
        for begun in [pool.submit(emulation.enable_arm64) for _ in range(2)]:
            begun.result()
    assert len(mounts) == 1


@pytest.mark.parametrize(
    ("rule", "usable"),
    [
        ("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: PF\n", True),
        ("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: POCF\n", True),
        ("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: P\n", False),
        ("disabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: PF\n", False),
    ],
)
def test_emulation_must_work_in_a_chroot(rule: str, usable: bool) -> None:
    assert emulation.is_registered(rule) is usable


def test_fresh_boot_files_look_like_a_pi() -> None:
    boot = RECIPE / "files" / "boot"
    line = (boot / "firmware" / "cmdline.txt").read_text()
    assert line.count("\n") == 1
    assert {"rootwait", "fsck.repair=yes", "cfg80211.ieee80211_regdom=GB"} <= set(line.split())
    assert "[all]" in (boot / "firmware" / "config.txt").read_text()
    for name in ("cmdline.txt", "config.txt"):
        assert f"moved to /boot/firmware/{name}" in (boot / name).read_text()


def test_scripts_of_the_image_are_executable() -> None:
    etc = RECIPE / "files" / "etc"
    scripts = [*etc.glob("kernel/*/*"), *etc.glob("initramfs*/**/udev"), *etc.glob("initramfs/*/*")]
    assert len(scripts) == 4
    assert all(os.access(path, os.X_OK) for path in scripts)


def test_controller_packages_are_listed() -> None:
    names = rootfs.read_list(CHECKOUT / "virtual_pi" / "apt-packages.txt")
    assert {"qemu-system-arm", "mmdebstrap", "mtools"} <= set(names)
