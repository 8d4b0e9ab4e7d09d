"""Swap is in use on the drive and nowhere else, after a reboot."""


def in_use(pi) -> list[list[str]]:
    """The lines of /proc/swaps."""
    return [line.split() for line in pi.check_output("sed 1d /proc/swaps").splitlines()]


def test_swap_is_on_the_nvme_drive_alone(pi):
    (one,) = in_use(pi)
    assert one[:2] == ["/mnt/data/swapfile", "file"]
    assert pi.check_output("findmnt -nro SOURCE -T /mnt/data/swapfile") == "/dev/nvme0n1"


def test_it_has_its_size(pi):
    (one,) = in_use(pi)
    # The header takes a page.
    assert 2048 * 1024 - 64 <= int(one[2]) <= 2048 * 1024


def test_only_root_reads_it(pi):
    assert pi.check_output("stat -c '%a %U' /mnt/data/swapfile") == "600 root"


def test_none_is_on_the_card(pi):
    assert not pi.file("/var/swap").exists
    assert not pi.file("/swapfile").exists


def test_it_waits_for_its_drive(pi):
    show = "systemctl show -P %s mnt-data-swapfile.swap"
    assert "mnt-data.mount" in pi.check_output(show % "After")
    assert "mnt-data.mount" in pi.check_output(show % "Requires")


def test_no_unit_failed(pi):
    failed = pi.check_output("systemctl list-units --failed --no-legend --plain '*.swap' '*.mount'")
    assert failed == ""
