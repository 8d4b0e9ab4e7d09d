"""The program that writes a Pi's health, with fixtures in the place of its sensors."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "roles/monitoring/files/health.py"
THROTTLED = 1 << 2 | 1 << 18  # now; since the boot


def loaded() -> ModuleType:
    """The program as a module, for its pure parts."""
    spec = importlib.util.spec_from_file_location("health", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["health"] = module  # dataclasses and annotations look there
    spec.loader.exec_module(module)
    return module


class Pi:
    """A host's files, and the programs that it has."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.write("reboot-reason.sh", "true\n")
        (place / "bin").mkdir()
        (place / "bin/sh").symlink_to("/bin/sh")
        (place / "metrics").mkdir()
        self.program("timedatectl", "echo yes")

    def write(self, name: str, text: str) -> Path:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def program(self, name: str, line: str) -> None:
        (self.place / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.place / "bin" / name).chmod(0o755)

    def look(self) -> dict[str, float]:
        """Run the program; each series with its value."""
        result = self.place / "metrics/health.prom"
        environment = {
            "PATH": f"{self.place}/bin:/nowhere",
            "SYS": f"{self.place}/sys", "PROC": f"{self.place}/proc", "DEV": f"{self.place}/dev",
            "ETC": f"{self.place}/etc", "STATE": f"{self.place}/state", "RESULT": str(result),
            "REBOOT_REASON": f"{self.place}/reboot-reason.sh",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-IS", PROGRAM],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not result.with_suffix(".new").exists()
        lines = [line.rpartition(" ") for line in result.read_text().splitlines()]
        return {name: float(value) for name, _, value in lines if not name.startswith("#")}


@pytest.fixture
def pi(tmp_path):
    """A host."""
    return Pi(tmp_path)


def test_a_host_without_sensors_is_well_and_nothing_is_made_up(pi):
    found = pi.look()
    made_up = ("gridberry_temperature", "gridberry_power", "gridberry_drive")
    assert not any(name.startswith(made_up) for name in found)
    assert found["gridberry_backup_configured"] == 0
    assert found["gridberry_clock_synchronised"] == 1
    assert sum(value for name, value in found.items() if "unreadable" in name) == 0


def test_heat_and_power_come_from_the_firmware_where_it_can_be_asked(pi):
    pi.write("sys/class/thermal/thermal_zone0/temp", "81350\n")
    pi.program("vcgencmd", f"echo throttled={THROTTLED:#x}")
    found = pi.look()
    assert found["gridberry_temperature_celsius"] == 81.35
    assert found['gridberry_power_problem{kind="throttled"}'] == 1
    assert found['gridberry_power_problem{kind="under_voltage"}'] == 0


def test_without_vcgencmd_the_kernel_knows_under_voltage(pi):
    pi.write("sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n")
    found = pi.look()
    assert [name for name in found if "power_" in name] == [
        'gridberry_power_problem{kind="under_voltage"}'
    ]


def test_incidents_have_the_time_of_the_last_and_a_torn_line_is_left_out(pi):
    records = [
        {"time": "2026-11-01T00:00:00Z", "kind": "oom_kill"},
        {"time": "2026-11-02T00:00:00Z", "kind": "oom_kill"},
        {"time": "2026-11-01T12:00:00Z", "kind": "unclean_boot", "watchdog": True},
    ]
    pi.write("state/incidents.jsonl", "\n".join(map(json.dumps, records)) + '\n{"time": "2026-')
    found = pi.look()
    name = "gridberry_incident_last_timestamp_seconds"
    assert found[name + '{kind="oom_kill"}'] == 1793577600
    assert found[name + '{kind="watchdog_reset"}'] == 1793534400
    assert name + '{kind="unclean_boot"}' not in found


def test_a_backup_that_failed_keeps_the_time_of_the_last_good_one(pi):
    pi.write("etc/backup/settings.json", "{}")
    pi.write("state/backup.json", json.dumps({"time": 9, "ok": False, "last_good": 7}))
    found = pi.look()
    assert found["gridberry_backup_ok"] == 0
    assert found["gridberry_backup_last_success_timestamp_seconds"] == 7


def test_the_clock_is_that_of_chrony(pi):
    pi.program("chronyc", "echo A1,ntp,2,1793577600.1,0.25,0,0,0,0,0,0.01,0.01,64,Normal")
    found = pi.look()
    assert found["gridberry_clock_offset_seconds"] == -0.25
    assert found["gridberry_clock_synchronised"] == 1


def test_containers_have_state_health_and_the_memory_they_cannot_give_back(pi):
    line = {"Names": "gridberry-bot", "State": "running", "Status": "Up 1 h (unhealthy)", "ID": "a"}
    off = {"Names": "gridberry-exchange", "State": "exited", "Status": "Exited (1)", "ID": "b"}
    pi.program("docker", f"echo '{json.dumps(line)}'; echo '{json.dumps(off)}'")
    group = "sys/fs/cgroup/system.slice/docker-a.scope"
    pi.write(f"{group}/memory.current", "900\n")
    pi.write(f"{group}/memory.max", "1000\n")
    pi.write(f"{group}/memory.stat", "anon 1\ninactive_file 300\n")
    found = pi.look()
    bot = '{container="gridberry-bot"}'
    assert found[f"gridberry_container_memory_bytes{bot}"] == 600
    assert found[f"gridberry_container_memory_limit_bytes{bot}"] == 1000
    assert found[f"gridberry_container_healthy{bot}"] == 0
    assert found['gridberry_container_running{container="gridberry-exchange"}'] == 0


def test_a_read_only_disk_is_seen_and_an_image_that_always_is_not(pi):
    root, image = "/dev/mmcblk0p2 / ext4 ro,noatime 0 0", "/dev/loop0 /snap squashfs ro 0 0"
    pi.write("proc/1/mounts", f"{root}\n{image}\nproc /proc proc rw 0 0\n")
    found = pi.look()
    assert {name: found[name] for name in found if "read_only" in name} == {
        'gridberry_filesystem_read_only{path="/"}': 1
    }


def test_a_part_that_cannot_be_read_is_counted_and_the_others_are_written(pi):
    pi.program("docker", "exit 1")
    pi.write("sys/class/thermal/thermal_zone0/temp", "50000\n")
    found = pi.look()
    assert found['gridberry_health_unreadable{part="containers"}'] == 1
    assert found['gridberry_health_unreadable{part="heat"}'] == 0
    assert found["gridberry_temperature_celsius"] == 50
    assert found["gridberry_health_timestamp_seconds"] > time.time() - 60


def test_a_waiting_reboot_is_said(pi):
    pi.write("reboot-reason.sh", "echo reboot_reason kernel 6.12\n")
    assert pi.look()["gridberry_reboot_waiting"] == 1


def test_an_emmc_tells_its_wear_in_tenths(pi):
    pi.write("sys/block/mmcblk0/device/life_time", "0x01 0x09\n")
    assert pi.look()['gridberry_drive_wear_percent{device="mmcblk0"}'] == 90


def test_an_nvme_drives_log_is_read_at_the_places_of_its_standard():
    log = bytearray(512)
    log[0], log[3], log[5] = 4, 97, 42
    log[1:3] = (273 + 55).to_bytes(2, "little")
    log[160:176] = (7).to_bytes(16, "little")
    found = {name: value for name, _, value in loaded().of_smart_log(bytes(log), "nvme0")}
    assert found == {
        "gridberry_drive_critical_warning": 4,
        "gridberry_drive_temperature_celsius": 55,
        "gridberry_drive_spare_percent": 97,
        "gridberry_drive_wear_percent": 42,
        "gridberry_drive_media_errors": 7,
    }


def test_names_from_outside_do_not_break_the_text_format():
    health = loaded()
    sample = ("gridberry_container_running", {"container": 'a"\\\n{b'}, 1.0)
    assert health.exposition([sample]).splitlines()[-1] == (
        'gridberry_container_running{container="a\\"\\\\{b"} 1'
    )
