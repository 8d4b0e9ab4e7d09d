"""What facts.yml writes of a host: the role's real script against fixture trees, and its filter."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from roles.facts.filter_plugins import facts

ROOT = Path(__file__).resolve().parents[2]
LOOK = ROOT / "roles/facts/files/look.sh"
REBOOT_REASON = ROOT / "roles/maintenance/files/reboot_reason.sh"
PI = ROOT / "tests/fixtures/pi"
FIELDS = (ROOT / "roles/facts/README.md").read_text()
PROGRAMS = {
    "lsblk": """echo '{"blockdevices": [
        {"name": "mmcblk0", "type": "disk", "model": null, "size": 31914983424, "tran": "mmc"},
        {"name": "nvme0n1", "type": "disk", "model": "Fast One", "size": 256060514304,
        "tran": "nvme"},
        {"name": "zram0", "type": "disk", "model": null, "size": 1, "tran": null}]}'""",
    "findmnt": """echo '{"filesystems": [
        {"source": "/dev/nvme0n1p1", "fstype": "ext4", "size": 1000, "avail": 400,
        "target": "/mnt/data"},
        {"source": "tmpfs", "fstype": "tmpfs", "size": 1, "avail": 1, "target": "/run"}]}'""",
    "smartctl": """for disk; do :; done
        [ "$disk" = /dev/nvme0n1 ] && echo '{"smart_status": {"passed": true},
        "temperature": {"current": 41}, "power_on_time": {"hours": 900},
        "nvme_smart_health_information_log": {"percentage_used": 3}}'""",
    "systemctl": """case "$*" in
        "is-active -q chrony" | "is-active -q docker") exit 0 ;;
        "show -p RuntimeWatchdogUSec --value") echo 1min 30s ;;
        list-units*) echo "x.service loaded failed failed X" ;;
        *) exit 3 ;; esac""",
    "timedatectl": 'case "$*" in *NTPSynchronized*) echo yes ;; *) echo Europe/Berlin ;; esac',
    "docker": """echo 'docker {"version":"26.1.5","data_root":"/mnt/data/docker"}'""",
    "ss": """echo 'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))'
        echo 'tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=1,fd=4))'
        echo 'udp UNCONN 0 0 127.0.0.54:53 0.0.0.0:*'""",
    "uname": 'case "$1" in -r) echo 6.12.30+rpt-rpi-v8 ;; *) echo aarch64 ;; esac',
}


@pytest.fixture
def look(tmp_path):
    """The function that runs the script on a host of paper; it returns what the script said."""
    for name in ("bin", "etc/docker", "proc/sys/net/ipv6", "run", "boot", "modules/x", "sys/block"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text('PRETTY_NAME="Debian 13"\nVERSION_CODENAME=trixie\n')
    (tmp_path / "etc/rpi-issue").write_text("Raspberry Pi reference 2026-10-01\n")
    (tmp_path / "etc/docker/x.conf").write_text("# Written by Ansible (role docker).\n")
    (tmp_path / "etc/swap.conf").write_text("# Written by Gridberry, role swap.\n")
    (tmp_path / "boot/cmdline.txt").write_text("root=/dev/x ipv6.disable=1\n")
    (tmp_path / "boot/config.txt").write_text("# BEGIN gridberry\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable:   500 kB\n")
    (tmp_path / "proc/cmdline").write_text("cgroup_disable=memory root=/dev/x\n")
    (tmp_path / "proc/uptime").write_text("77.5 1\n")
    (tmp_path / "proc/swaps").write_text(
        "Filename\tType\tSize\tUsed\tPriority\n/mnt/data/swap   file\t2048\t\t8\t\t-2\n"
    )

    def run(board: str, **programs: str) -> str:
        for name, text in programs.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        link = tmp_path / "proc/device-tree"
        link.symlink_to((PI / board / "sys/firmware/devicetree/base").resolve())
        for place in ("class", "devices"):
            (tmp_path / "sys" / place).symlink_to(PI / board / "sys" / place)
        for disk in ("mmcblk0", "nvme0n1", "mmcblk0boot0"):
            (tmp_path / "sys/block" / disk / "device").mkdir(parents=True)
        (tmp_path / "sys/block/mmcblk0/device/name").write_text("SC32G\n")
        result = subprocess.run(
            ["sh", "-c", REBOOT_REASON.read_text() + LOOK.read_text()],
            check=True,
            env={
                "PATH": f"{tmp_path / 'bin'}:{PI / 'bin'}:{os.environ['PATH']}",
                "CLOCK": "0",
                **{name.upper(): str(tmp_path / name) for name in ("proc", "sys", "etc", "run")},
                "BOOT": str(tmp_path / "boot"),
                "MODULES": str(tmp_path / "modules"),
            },
            capture_output=True,
            text=True,
        )
        return result.stdout

    return run


EEPROM = {
    "vcgencmd": """[ "$1" = bootloader_config ] || exit 1
        printf '[all]\\nBOOT_ORDER=0xf416\\nPCIE_PROBE=1\\nPSU_MAX_CURRENT=5000\\n'""",
    # Its answer and its exit status 1, where a newer one is due, as rpi-eeprom has them.
    "rpi-eeprom-update": """[ "$*" = "-s -m /dev/stdout" ] || exit 2
        printf 'BOOTLOADER: update available\\nBOOTLOADER_CURRENT=%s\\n' 1733000000
        echo BOOTLOADER_LATEST=1747000000; exit 1""",
}


def test_the_bootloader_and_its_settings(look):
    masked = PROGRAMS["systemctl"].replace(
        "*) exit 3", "is-enabled*) echo masked; exit 1 ;; *) exit 3"
    )
    found = facts.host_facts(look("pi5", **(PROGRAMS | EEPROM | {"systemctl": masked})))
    assert found["bootloader"] == {
        "version": "2024-11-30",
        "newer": "2025-05-11",
        "boot_order": "0xf416",
        "pcie_probe": "1",
        "psu_max_current_ma": 5000,
        "unit": "masked",
    }


@pytest.mark.parametrize("program", ["vcgencmd", "rpi-eeprom-update"])
def test_what_one_of_the_bootloaders_programs_tells_alone(look, program):
    found = facts.host_facts(look("pi5", **(PROGRAMS | {program: EEPROM[program]})))
    told = {name for name, value in found["bootloader"].items() if value}
    wanted = {"boot_order", "pcie_probe", "psu_max_current_ma"}
    assert told == (wanted if program == "vcgencmd" else {"version", "newer"})


def test_a_pi_tells_all(look):
    found = facts.host_facts(look("pi4", **PROGRAMS))
    assert found["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert found["os"]["codename"] == "trixie"
    assert found["os"]["image"].startswith("Raspberry Pi reference")
    assert (found["memory_bytes"], found["memory_available_bytes"]) == (1024000, 512000)
    card, drive = found["disks"]
    assert (card["model"], card["health"]) == ("SC32G", None)
    assert (drive["model"], drive["health"], drive["wear_percent"]) == ("Fast One", "passed", 3)
    assert [one["path"] for one in found["mounts"]] == ["/mnt/data"]
    assert found["swap"] == [
        {"path": "/mnt/data/swap", "type": "file", "size_bytes": 2097152, "used_bytes": 8192}
    ]
    assert found["reboot_reason"] == (
        "cmdline.txt has ipv6.disable=1, which the kernel was not told"
    )
    assert (found["governor"], found["temperature_c"]) == ("ondemand", 47.7)
    assert found["bootloader"] is None
    assert found["throttled"] == "0x0"
    assert found["watchdog"]["systemd_seconds"] == 90
    assert found["watchdog"]["device"] == "Broadcom BCM2835 Watchdog timer"
    assert found["clock"]["service"] == "chrony"
    assert found["clock"]["synchronised"] is True
    assert found["docker"] == {"version": "26.1.5", "data_root": "/mnt/data/docker"}
    assert found["listening"] == [
        {"port": 22, "protocol": "tcp", "address": "0.0.0.0", "program": "sshd"},
        {"port": 22, "protocol": "tcp", "address": "::", "program": "sshd"},
        {"port": 53, "protocol": "udp", "address": "127.0.0.54", "program": None},
    ]
    assert found["failed_units"] == ["x.service"]
    assert found["roles"] == ["boot_config", "docker", "swap"]
    json.dumps(found)


def test_what_is_not_known_is_null(look):
    nothing = dict.fromkeys(PROGRAMS, "exit 1") | {
        "uname": PROGRAMS["uname"],
        "vcgencmd": "exit 255",
    }
    found = facts.host_facts(look("virtual", **nothing))
    assert found["board"] == "linux,dummy-virt"
    for field in ("governor", "temperature_c", "throttled", "docker", "serial"):
        assert found[field] is None, field
    assert found["disks"] == found["listening"] == []
    assert found["clock"]["synchronised"] is None
    assert found["watchdog"]["systemd_seconds"] is None


@pytest.mark.parametrize("answers", ["/dev/null", "/nonexistent"])
def test_a_firmware_that_refuses_to_answer_says_nothing(look, answers):
    refusing = f'VCGENCMD_ANSWERS={answers} exec {PI}/bin/vcgencmd "$@"'
    found = facts.host_facts(look("pi4", **PROGRAMS | {"vcgencmd": refusing}))
    assert found["throttled"] is None
    assert found["temperature_c"] == 47.7


def test_every_field_is_documented(look):
    found = facts.host_facts(look("pi5", **PROGRAMS))
    assert [name for name in found if f"`{name}`" not in FIELDS] == []
    inside = [*found["watchdog"], *found["clock"], *found["os"], *found["disks"][0]]
    assert [name for name in inside if name not in FIELDS] == []


def test_hosts_that_cannot_be_asked_are_in_it_with_the_reason():
    results = {
        "pi1": {"unreachable": True, "msg": "Failed to connect:\nno route"},
        "pi2": {"rc": 1, "stdout": "", "stderr": "sudo: a password is required\n"},
        "pi3": {},
        "pi4": {"rc": 0, "stdout": "kernel 6.1\nmachine aarch64\n"},
    }
    first, second, third, fourth = facts.facts_objects(results)
    assert first == {"host": "pi1", "error": "Failed to connect: no route"}
    assert second["error"] == "sudo: a password is required"
    assert third["error"] == "it was not asked"
    assert (fourth["host"], fourth["machine"]) == ("pi4", "aarch64")


@pytest.mark.parametrize("role", ["facts", "preflight"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_the_controllers_clock_is_right_wherever_it_stands(role, zone):
    tasks = yaml.safe_load((ROOT / f"roles/{role}/tasks/main.yml").read_text())
    lines = tasks[0]["ansible.builtin.raw"].splitlines()
    [line] = [line for line in lines if line.startswith("CLOCK=")]
    clock = line.removeprefix("CLOCK=")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "adhoc",
            "localhost",
            "-m",
            "debug",
            "-a",
            json.dumps({"msg": f"is_{clock}"}),
        ],
        env=os.environ | {"TZ": zone, "ANSIBLE_LOCALHOST_WARNING": "false"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = int(re.search(r"is_(\d+)", done.stdout)[1])
    assert abs(said - time.time()) < 60
