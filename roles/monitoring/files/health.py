#!/usr/bin/python3 -IS
"""Writes a Pi's health as metrics, for node exporter's textfile collector.

Each part reads what another program of Gridberry, the kernel or the firmware already knows. A part
that cannot be read is counted in gridberry_health_unreadable, and the others are written.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

SYS = Path(os.environ.get("SYS", "/sys"))
PROC = Path(os.environ.get("PROC", "/proc"))
DEV = Path(os.environ.get("DEV", "/dev"))
ETC = Path(os.environ.get("ETC", "/etc/gridberry"))
STATE = Path(os.environ.get("STATE", "/var/lib/gridberry"))
RESULT = Path(os.environ.get("RESULT", "/var/lib/gridberry/metrics/health.prom"))
REBOOT_REASON = os.environ.get("REBOOT_REASON", "/usr/local/lib/gridberry/reboot-reason.sh")
TIMEOUT = 30  # seconds for each program that is asked
CONTAINERS = 20  # more are not told

# Name: what it is. All are gauges; units are in the names.
METRICS = {
    "gridberry_temperature_celsius": "Temperature of the processor",
    "gridberry_power_problem": "Whether the firmware has a problem with power or heat, by kind",
    "gridberry_drive_wear_percent": "Part of a drive's life that is used, as the drive says",
    "gridberry_drive_media_errors": "Data that an NVMe drive could not read or write, all its life",
    "gridberry_drive_critical_warning": "Bits of an NVMe drive's critical warning; 0 is well",
    "gridberry_drive_temperature_celsius": "Temperature of an NVMe drive",
    "gridberry_drive_spare_percent": "Spare blocks that an NVMe drive has left",
    "gridberry_filesystem_read_only": "Whether a file system on a drive is mounted read-only",
    "gridberry_incident_last_timestamp_seconds": "When the role logs last saw an incident, by kind",
    "gridberry_clock_synchronised": "Whether the clock follows a time server",
    "gridberry_clock_offset_seconds": "By how much the clock is fast, as chrony says",
    "gridberry_backup_configured": "Whether this host makes backups",
    "gridberry_backup_ok": "Whether the last backup went well",
    "gridberry_backup_last_success_timestamp_seconds": "When the last good backup was made",
    "gridberry_reboot_waiting": "Whether boot files, a kernel or a package wait for a reboot",
    "gridberry_container_running": "Whether a container of Gridberry runs",
    "gridberry_container_healthy": "Whether a container's health check passes",
    "gridberry_container_memory_bytes": "Memory that a container cannot give back",
    "gridberry_container_memory_limit_bytes": "The most memory that a container may use",
    "gridberry_health_unreadable": "Whether a part of this file could not be read, by part",
    "gridberry_health_timestamp_seconds": "When this file was written",
}
Sample = tuple[str, dict[str, str], float]

# The firmware's bits for what is so now.
PROBLEMS = ("under_voltage", "frequency_capped", "throttled", "temperature_limit")
NVME_ADMIN = 0xC0484E41  # linux/nvme_ioctl.h: NVME_IOCTL_ADMIN_CMD
NVME_COMMAND = struct.Struct("<BBHIIIQQII8I")
SMART_BYTES = 512


def text(path: Path) -> str:
    """Return a file's text without white space around it, or nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def said(*command: str) -> str:
    """Return what a program prints; nothing where it is not installed.

    Raises:
        OSError: It failed, or took too long.
    """
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT, errors="replace"
        )
    except subprocess.SubprocessError as error:
        raise OSError(f"{command[0]}: {error}") from error
    return done.stdout.strip()


def heat() -> Iterable[Sample]:
    """Tell the temperature."""
    degrees = text(SYS / "class/thermal/thermal_zone0/temp")
    if degrees:
        yield "gridberry_temperature_celsius", {}, int(degrees) / 1000


def power() -> Iterable[Sample]:
    """Tell what the firmware says of power and heat; of under-voltage also the kernel knows."""
    bits = said("vcgencmd", "get_throttled").partition("=")[2]
    if bits:
        for bit, kind in enumerate(PROBLEMS):
            yield "gridberry_power_problem", {"kind": kind}, int(bits, 16) >> bit & 1
        return
    alarms = [text(path) for path in SYS.glob("class/hwmon/hwmon*/in0_lcrit_alarm")]
    if alarms:
        yield "gridberry_power_problem", {"kind": PROBLEMS[0]}, float("1" in alarms)


def smart_log(device: Path) -> bytes:
    """Return an NVMe drive's SMART log: NVM Express 1.4, 5.14.1.2, log page 2."""
    data = ctypes.create_string_buffer(SMART_BYTES)
    page = 2 | (SMART_BYTES // 4 - 1) << 16
    where = ctypes.addressof(data)
    command = NVME_COMMAND.pack(
        *(2, 0, 0, 0xFFFFFFFF, 0, 0, 0, where, 0, SMART_BYTES, page), *([0] * 7)
    )
    drive = os.open(device, os.O_RDONLY)
    try:
        fcntl.ioctl(drive, NVME_ADMIN, bytearray(command))
    finally:
        os.close(drive)
    return data.raw


def of_smart_log(log: bytes, device: str) -> Iterable[Sample]:
    """Tell what an NVMe drive's SMART log says."""
    values = {
        "gridberry_drive_critical_warning": log[0],
        "gridberry_drive_temperature_celsius": int.from_bytes(log[1:3], "little") - 273,
        "gridberry_drive_spare_percent": log[3],
        "gridberry_drive_wear_percent": log[5],
        "gridberry_drive_media_errors": int.from_bytes(log[160:176], "little"),
    }
    for name, value in values.items():
        yield name, {"device": device}, value


def drives() -> Iterable[Sample]:
    """Tell wear and errors of NVMe drives, and the wear of an eMMC, which it says in tenths."""
    for controller in sorted((SYS / "class/nvme").glob("nvme*")):
        yield from of_smart_log(smart_log(DEV / controller.name), controller.name)
    for life in sorted((SYS / "block").glob("mmcblk*/device/life_time")):
        tenths = max(int(word, 16) for word in text(life).split())
        device = life.parent.parent.name
        yield "gridberry_drive_wear_percent", {"device": device}, min(tenths, 11) * 10


def mounts() -> Iterable[Sample]:
    """Tell which file systems are read-only, as the kernel makes them when a drive fails."""
    seen = set()
    for line in text(PROC / "1/mounts").splitlines():
        source, path, kind, options = line.split()[:4]
        if source.startswith("/dev/") and kind not in ("squashfs", "iso9660") and path not in seen:
            seen.add(path)
            read_only = "ro" in options.split(",")
            yield "gridberry_filesystem_read_only", {"path": path}, float(read_only)


def incidents() -> Iterable[Sample]:
    """Tell when each kind of incident was last; a line that a power cut tore is left out."""
    last: dict[str, float] = {}
    for line in text(STATE / "incidents.jsonl").splitlines():
        try:
            record = json.loads(line)
            at, kind = datetime.fromisoformat(record["time"]).timestamp(), str(record["kind"])
        except (ValueError, KeyError, TypeError):
            continue
        if record.get("watchdog"):
            kind = "watchdog_reset"
        last[kind] = max(at, last.get(kind, 0.0))
    for kind, at in sorted(last.items()):
        yield "gridberry_incident_last_timestamp_seconds", {"kind": kind}, at


def clock() -> Iterable[Sample]:
    """Tell how right the clock is: chronyc's fifth field is by how many seconds it is slow."""
    fields = said("chronyc", "-n", "-c", "tracking").split(",")
    if len(fields) > 4:
        yield "gridberry_clock_synchronised", {}, float(fields[-1] != "Not synchronised")
        yield "gridberry_clock_offset_seconds", {}, -float(fields[4])
        return
    synchronised = said("timedatectl", "show", "--property=NTPSynchronized", "--value")
    yield "gridberry_clock_synchronised", {}, float(synchronised == "yes")


def backup() -> Iterable[Sample]:
    """Tell how the last backup went."""
    configured = (ETC / "backup/settings.json").exists()
    yield "gridberry_backup_configured", {}, float(configured)
    result = text(STATE / "backup.json")
    if configured and result:
        told = json.loads(result)
        yield "gridberry_backup_ok", {}, float(told["ok"])
        good = told.get("last_good") or 0
        yield "gridberry_backup_last_success_timestamp_seconds", {}, good


def reboot() -> Iterable[Sample]:
    """Tell whether something waits for a reboot."""
    yield "gridberry_reboot_waiting", {}, float(bool(said("sh", REBOOT_REASON)))


def containers() -> Iterable[Sample]:
    """Tell what Gridberry's containers do, and how much of their memory they use."""
    words = ("ps", "--all", "--no-trunc", "--filter", "name=^gridberry-", "--format", "{{json .}}")
    for line in said("docker", *words).splitlines()[:CONTAINERS]:
        told = json.loads(line)
        label = {"container": told["Names"]}
        running = told["State"] == "running"
        yield "gridberry_container_running", label, float(running)
        if not running:
            continue
        healthy = "(unhealthy)" not in told["Status"]
        yield "gridberry_container_healthy", label, float(healthy)
        group = SYS / f"fs/cgroup/system.slice/docker-{told['ID']}.scope"
        used, limit = text(group / "memory.current"), text(group / "memory.max")
        stat = dict(one.split() for one in text(group / "memory.stat").splitlines())
        if used:
            spare = int(stat.get("inactive_file", 0))
            yield "gridberry_container_memory_bytes", label, int(used) - spare
        if limit.isdecimal():
            yield "gridberry_container_memory_limit_bytes", label, int(limit)


PARTS: tuple[Callable[[], Iterable[Sample]], ...] = (
    heat, power, drives, mounts, incidents, clock, backup, reboot, containers,
)  # fmt: skip


def collect() -> list[Sample]:
    """Return the samples of all parts that can be read."""
    samples: list[Sample] = []
    for part in PARTS:
        unreadable = 0
        try:
            samples += list(part())
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.stderr.write(f"{part.__name__}: {error}\n")
            unreadable = 1
        samples.append(("gridberry_health_unreadable", {"part": part.__name__}, unreadable))
    samples.append(("gridberry_health_timestamp_seconds", {}, int(time.time())))
    return samples


def escaped(value: str) -> str:
    """Return a label's value as the text format has it, without what is no text."""
    value = "".join(one for one in value if one.isprintable())
    return value.replace("\\", "\\\\").replace('"', '\\"')


def exposition(samples: list[Sample]) -> str:
    """Return samples in Prometheus' text format."""
    lines = []
    for name, meaning in METRICS.items():
        of_name = [(labels, value) for known, labels, value in samples if known == name]
        if of_name:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
        for labels, value in of_name:
            pairs = ",".join(f'{key}="{escaped(told)}"' for key, told in labels.items())
            lines.append(f"{name}{{{pairs}}} {value:.12g}" if pairs else f"{name} {value:.12g}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file; a reader sees the old one or the new one."""
    new = RESULT.with_suffix(".new")
    new.write_text(exposition(collect()), encoding="utf-8")
    new.chmod(0o644)
    new.replace(RESULT)


if __name__ == "__main__":
    main()
