from collections.abc import Callable
from pathlib import Path

import pytest

from virtual_pi.firmware import (
    Boot,
    BootConfig,
    BootPartition,
    BrickedError,
    choose_boot,
    initramfs_for,
    kernel_command_line,
    parse_config,
    with_device_tree,
)

MakeImage = Callable[..., Path]


def test_config_of_a_fresh_pi_names_no_kernel_and_wants_the_initramfs() -> None:
    assert parse_config("[all]\nauto_initramfs=1\n") == BootConfig(auto_initramfs=True)


def test_config_lines_of_other_boards_do_not_apply() -> None:
    text = "[cm5]\nkernel=cm5.img\n[pi4]\nkernel=pi4.img\n[none]\nkernel=none.img\n"
    assert parse_config(text).kernel is None
    assert parse_config(text + "[pi5]\nkernel=pi5.img").kernel == "pi5.img"
    assert parse_config(text + "[all]\nkernel=all.img").kernel == "all.img"


def test_config_for_tryboot_does_not_apply_to_a_normal_boot() -> None:
    assert parse_config("[tryboot]\ncmdline=try.txt\n[all]\n").cmdline == "cmdline.txt"


def test_config_comments_blanks_and_unknown_settings_are_skipped() -> None:
    text = "# kernel=comment.img\n\n  dtparam=audio=on\ninitramfs mine followkernel\nnonsense\n"
    assert parse_config(text) == BootConfig(initramfs="mine")


def test_config_later_lines_win() -> None:
    assert parse_config("kernel=a.img\nkernel=b.img\nauto_initramfs=1\nauto_initramfs=0\n") == (
        BootConfig(kernel="b.img")
    )


@pytest.mark.parametrize(
    ("kernel", "initramfs"),
    [
        ("kernel8.img", "initramfs8"),
        ("kernel_2712.img", "initramfs_2712"),
        ("kernel.img", "initramfs"),
        ("other.img", "initramfs"),
    ],
)
def test_initramfs_is_named_after_the_kernel(kernel: str, initramfs: str) -> None:
    assert initramfs_for(kernel) == initramfs


def test_memory_controller_is_off_unless_enabled() -> None:
    assert kernel_command_line(b"root=/dev/vda rw\n") == "cgroup_disable=memory root=/dev/vda rw"


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("root=x cgroup_enable=memory", "root=x cgroup_enable=memory"),
        ("root=x cgroup_enable=cpu,memory", "root=x cgroup_enable=cpu,memory"),
        (
            "root=x cgroup_disable=memory cgroup_enable=memory",
            "root=x cgroup_enable=memory",
        ),
        (
            "root=x cgroup_enable=memory cgroup_disable=memory",
            "cgroup_disable=memory root=x cgroup_enable=memory cgroup_disable=memory",
        ),
        ("root=x cgroup_enable=memory2", "cgroup_disable=memory root=x cgroup_enable=memory2"),
        ("root=x xcgroup_enable=memory", "cgroup_disable=memory root=x xcgroup_enable=memory"),
    ],
)
def test_last_word_on_the_memory_controller_wins(line: str, whole: str) -> None:
    assert with_device_tree(line) == whole


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "0 lines"),
        (b"\n", "0 lines"),
        (b"   \n", "must be exactly one"),
        (b"root=/dev/vda\nipv6.disable=1\n", "2 lines"),
        (b"root=/dev/vda\r\nipv6.disable=1\r\n", "2 lines"),
        (b"console=ttyAMA0 rootwait\n", "no root="),
        (b"console=ttyAMA0 root=\n", "no root="),
        (b"console=ttyAMA0 xroot=/dev/vda\n", "no root="),
        (b"root=/dev/vda\0\0\0\n", "control characters"),
        (b"root=/dev/vda \xff\n", "not plain text"),
        (b"root=/dev/vda " + b"x" * 2048, "longer than"),
    ],
)
def test_bad_command_lines_brick(content: bytes, why: str) -> None:
    with pytest.raises(BrickedError, match=why):
        kernel_command_line(content)


def test_fresh_boot_partition_boots(boot_image: MakeImage) -> None:
    boot = choose_boot(BootPartition(boot_image()))
    assert (boot.kernel, boot.initramfs) == ("kernel8.img", "initramfs8")
    assert boot.cmdline.startswith("cgroup_disable=memory console=ttyAMA0,115200 root=LABEL=rootfs")


def test_named_files_are_taken(boot_image: MakeImage, tmp_path: Path) -> None:
    image = boot_image(
        config__txt=b"kernel=Mine.img\ninitramfs my.gz followkernel\ncmdline=my.txt\n",
        mine__img=b"my kernel",
        my__gz=b"my initramfs",
        my__txt=b"root=/dev/vda\n",
    )
    partition = BootPartition(image)
    assert choose_boot(partition) == Boot(
        "Mine.img", "my.gz", "cgroup_disable=memory root=/dev/vda"
    )
    partition.copy_out("Mine.img", tmp_path / "kernel")
    assert (tmp_path / "kernel").read_bytes() == b"my kernel"


def test_pi5_kernel_comes_before_the_common_one(boot_image: MakeImage) -> None:
    boot = choose_boot(BootPartition(boot_image(kernel_2712__img=b"a kernel")))
    assert (boot.kernel, boot.initramfs) == ("kernel_2712.img", None)


def test_no_config_means_the_firmware_defaults(boot_image: MakeImage) -> None:
    boot = choose_boot(BootPartition(boot_image(config__txt=None)))
    assert (boot.kernel, boot.initramfs) == ("kernel8.img", None)


@pytest.mark.parametrize(
    ("replaced", "why"),
    [
        ({"cmdline__txt": None}, "cmdline.txt is missing"),
        ({"cmdline__txt": b"console=ttyAMA0\n"}, "cmdline.txt has no root="),
        ({"kernel8__img": None}, "no kernel: looked for kernel_2712.img, kernel8.img"),
        ({"config__txt": b"kernel=gone.img\n"}, "no kernel: looked for gone.img"),
        ({"config__txt": b"initramfs gone followkernel\n"}, "initramfs gone, which is missing"),
        ({"config__txt": b"cmdline=gone.txt\n"}, "gone.txt is missing"),
    ],
)
def test_what_a_pi_cannot_boot_is_bricked(
    boot_image: MakeImage, replaced: dict[str, bytes | None], why: str
) -> None:
    with pytest.raises(BrickedError, match=why):
        choose_boot(BootPartition(boot_image(**replaced)))


def test_partition_without_a_file_system_is_bricked(tmp_path: Path) -> None:
    image = tmp_path / "boot.img"
    image.write_bytes(bytes(4 * 1024**2))
    with pytest.raises(BrickedError, match="cannot be read"):
        choose_boot(BootPartition(image))
