"""The drive is in use as it should be, after a reboot."""

import json


def options(pi, place: str) -> set[str]:
    """What a file system is mounted with."""
    return set(pi.check_output("findmnt -nro OPTIONS --mountpoint %s", place).split(","))


def test_data_is_on_the_nvme_drive(pi):
    said = pi.check_output("findmnt -nro SOURCE,FSTYPE,LABEL --mountpoint /mnt/data")
    assert said == "/dev/nvme0n1 ext4 gridberry"


def test_no_access_times_are_written(pi):
    assert "noatime" in options(pi, "/mnt/data")
    assert "noatime" in options(pi, "/")


def test_data_can_be_written_and_stays(pi):
    pi.check_output("echo kept >/mnt/data/molecule && sync /mnt/data/molecule")
    assert pi.check_output("cat /mnt/data/molecule && rm /mnt/data/molecule") == "kept"


def test_a_dead_drive_stops_no_boot(pi):
    # What systemd made of fstab: the boot does not require the mount, and waits briefly.
    required = pi.check_output("systemctl show -P RequiredBy mnt-data.mount")
    assert "local-fs.target" not in required
    line = pi.check_output("findmnt --fstab -no OPTIONS --target /mnt/data").split(",")
    assert "nofail" in line
    (timeout,) = [one for one in line if one.startswith("x-systemd.device-timeout=")]
    said = pi.check_output(
        "systemctl show -P JobRunningTimeoutUSec"
        ' "$(systemd-escape --path --suffix=device /dev/disk/by-uuid/%s)"',
        pi.check_output("findmnt -nro UUID --mountpoint /mnt/data"),
    )
    seconds = {"30s": 30, "1min": 60, "1min 30s": 90, "2min": 120}[said]
    assert timeout == f"x-systemd.device-timeout={seconds}s"


def test_nothing_can_be_written_below_the_mount(pi):
    script = (
        "set -e; below=$(mktemp -d); mount --bind / $below; "
        "touch $below/mnt/data/x 2>&1 || true; ls -A $below/mnt/data; umount $below; rmdir $below"
    )
    assert "Operation not permitted" in pi.check_output(script)


def test_tmp_is_in_memory_with_a_bound(pi):
    kind, size = pi.check_output("findmnt -bnro FSTYPE,SIZE --mountpoint /tmp").split()
    total = int(pi.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo")) * 1024
    assert kind == "tmpfs"
    assert abs(int(size) - total // 4) < 2**20


def test_drives_are_trimmed(pi):
    assert pi.service("fstrim.timer").is_enabled
    assert pi.service("fstrim.timer").is_running
    assert "trimmed" in pi.check_output("fstrim -v /mnt/data")


def test_the_drive_tells_its_health(pi):
    drives = json.loads(pi.check_output("/usr/local/lib/gridberry/storage-health"))
    (one,) = [drive for drive in drives if drive["device"] == "/dev/nvme0n1"]
    assert one["serial"] == "gridberry"
    assert one["passed"] is True
    assert one["failing"] is False
    assert one["temperature_c"] is not None


def test_fstab_is_valid(pi):
    assert pi.run("findmnt --verify").rc == 0


def test_no_note_of_an_unfinished_file_system(pi):
    assert not pi.file("/var/lib/gridberry/storage-formatting").exists
