#!/usr/bin/python3 -IS
"""Keeps what a Pi's logs forget when it restarts: kills, bad power, bad drives, sudden ends.

Follows the kernel's log and appends a line of JSON for each incident to incidents.jsonl, flushed to
the disk at once, as a machine that runs out of memory is often reset moments later. Nothing is
written while nothing happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
import time
from pathlib import Path

STATE = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/gridberry"))
KMSG = os.environ.get("KMSG", "/dev/kmsg")
PROC = Path(os.environ.get("PROC", "/proc"))
SYS = Path(os.environ.get("SYS", "/sys"))
DOCKER = Path(os.environ.get("DOCKER", "/etc/docker/daemon.json"))

KEPT = 500  # records
SPARE = 50  # more than that before the file is written anew
# Seconds in which the same again is only counted.
QUIET_SECONDS = 600
POLL_SECONDS = 300
CARD_RESET = 0x20  # of linux/watchdog.h: WDIOF_CARDRESET

OOM_CONTEXT = re.compile(r"oom-kill:.*\btask_memcg=(?P<cgroup>[^,]*),.*\bpid=(?P<pid>\d+)")
OOM_KILL = re.compile(
    r"(?P<limit>Memory cgroup out|Out) of memory\b.*?: Killed process (?P<pid>\d+) "
    r"\((?P<name>.*)\),? total-vm:.*\banon-rss:(?P<rss>\d+)kB"
)
UNDER_VOLTAGE = re.compile(r"\bunder-?voltage detected", re.IGNORECASE)
DISK = r"(?P<device>(?:nvme|mmcblk|sd)\w+)"
# What the kernel says of drives that fail, and of the file systems on them: Linux 6.1 to 6.18, in
# drivers/nvme/host/pci.c, block/blk-core.c and blk-mq.c, drivers/mmc, fs/ext4, fs/jbd2, fs/fat.
DRIVES = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("drive_down", r"\bnvme (?P<device>nvme\d+): controller is down; will reset"),
        ("drive_down", r"\bnvme (?P<device>nvme\d+): Disabling device after reset failure"),
        ("drive_error", r"\bnvme (?P<device>nvme\d+): I/O .* timeout, (?:abort|reset|disable)"),
        ("drive_error", rf"\b(?:I/O|critical \w+|timeout) error, dev {DISK}, sector "),
        ("drive_error", r"^(?P<device>mmc\d+): Timeout waiting for hardware "),
        ("drive_error", r"^(?P<device>mmc\d+): (?:running CQE recovery|cqhci: timeout for tag)"),
        ("drive_error", r"^(?P<device>mmcblk\w+): (?:recovery failed!|error -\d+ )"),
        ("filesystem_error", r"^EXT4-fs error \(device (?P<device>[^)]+)\)"),
        ("filesystem_error", r"^Aborting journal on device (?P<device>\S+)-\d+\."),
        (
            "filesystem_error",
            r"^FAT-fs \((?P<device>[^)]+)\): (?:error, |Filesystem has been set read-only)",
        ),
        ("filesystem_error", r"^EXT4-fs \((?P<device>[^)]+)\): Remounting filesystem read-only"),
    )
)
MESSAGE_CHARACTERS = 200
CONTAINER = re.compile(r"\bdocker[-/](?P<id>[0-9a-f]{64})\b")
# What the firmware tells has happened since the boot, by the number of the bit.
OCCURRED = {
    16: "under_voltage",
    17: "frequency_capped",
    18: "throttled",
    19: "temperature_limit",
}


def read(path: Path) -> str:
    """Return a file's text, or nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def when(seconds: float) -> str:
    """Return a time as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def container_name(cgroup: str) -> str | None:
    """Return the name of the container that a cgroup is of, or None.

    Docker itself is not asked: short of memory, it may not answer soon.
    """
    found = CONTAINER.search(cgroup)
    if not found:
        return None
    with contextlib.suppress(ValueError):
        root = Path(json.loads(read(DOCKER) or "{}").get("data-root", "/var/lib/docker"))
        details = json.loads(read(root / "containers" / found["id"] / "config.v2.json") or "{}")
        return details.get("Name", "").lstrip("/") or found["id"][:12]
    return found["id"][:12]


def is_radio(device: str) -> bool:
    """Tell whether an MMC controller has no card on it, but the Wi-Fi of a Pi."""
    kinds = [read(path).strip() for path in SYS.glob(f"class/mmc_host/{device}/{device}:*/type")]
    return "SDIO" in kinds


def drive_incident(message: str) -> dict | None:
    """Return what a message tells of a drive or a file system that fails, or None."""
    for kind, pattern in DRIVES:
        told = pattern.search(message)
        if told:
            if is_radio(told["device"]):
                return None
            return {
                "kind": kind,
                "device": told["device"],
                "message": message[:MESSAGE_CHARACTERS],
            }
    return None


class Kernel:
    """Finds incidents in the kernel's messages, given in order."""

    def __init__(self) -> None:
        self._cgroups: dict[str, str] = {}

    def incident(self, message: str) -> dict | None:
        """Return the incident that a message tells of, or None."""
        context = OOM_CONTEXT.search(message)
        if context:
            # The next message of this process says that it was killed.
            self._cgroups = {context["pid"]: context["cgroup"]}
            return None
        killed = OOM_KILL.search(message)
        if killed:
            cgroup = self._cgroups.get(killed["pid"])
            return {
                "kind": "oom_kill",
                "process": killed["name"],
                "pid": int(killed["pid"]),
                "cgroup": cgroup,
                "container": container_name(cgroup or ""),
                "at_its_limit": killed["limit"] != "Out",
                "memory_bytes": int(killed["rss"]) * 1024,
            }
        if UNDER_VOLTAGE.search(message):
            return {"kind": "under_voltage"}
        return drive_incident(message)


def kernel_records(chunk: str) -> list[tuple[int, str]]:
    """Return time since boot, in microseconds, and text of what was read from /dev/kmsg."""
    found = []
    for line in chunk.splitlines():
        head, separator, message = line.partition(";")
        fields = head.split(",")
        # Lines that begin with a space belong to the record before.
        if separator and len(fields) > 2 and not line.startswith(" ") and fields[2].isdecimal():
            found.append((int(fields[2]), message))
    return found


class Records:
    """The file of records, and what is not to be written into it again."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._lines = [line for line in read(path).splitlines() if self._parse(line)]
        self._quiet: dict[tuple, float] = {}
        self._held: dict[tuple, dict] = {}

    @staticmethod
    def _parse(line: str) -> dict | None:
        """Return a line's record; None where a power cut left half of it."""
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            return record if isinstance(record, dict) else None
        return None

    def of_boot(self, boot: str) -> list[dict]:
        """Return what was recorded of a boot."""
        records = (self._parse(line) for line in self._lines)
        return [record for record in records if record and record.get("boot") == boot]

    def last_kernel_time(self, boot: str) -> int:
        """Return the time since boot, in microseconds, of the last message recorded of a boot."""
        return max((record.get("uptime_us") or 0 for record in self.of_boot(boot)), default=0)

    def add(self, incident: dict, seconds: float, *, boot: str | None = None) -> None:
        """Record an incident, or count it where the same was recorded a moment ago.

        Args:
            incident: What happened.
            seconds: When, since 1970.
            boot: In which boot, if not this one.
        """
        record = {"time": when(seconds), "boot": boot or self._boot, **incident, "count": 1}
        key = tuple(record.get(name) for name in ("boot", "kind", "process", "cgroup", "device"))
        now = time.monotonic()
        if now < self._quiet.get(key, 0):
            record["count"] += self._held.get(key, {"count": 0})["count"]
            self._held[key] = record
        else:
            self._quiet[key] = now + QUIET_SECONDS
            self._write(record)

    def flush(self, *, everything: bool = False) -> None:
        """Write what was only counted, once its time is over."""
        now = time.monotonic()
        for key in [key for key in self._held if everything or now >= self._quiet[key]]:
            self._quiet[key] = now + QUIET_SECONDS
            self._write(self._held.pop(key))

    def _write(self, record: dict) -> None:
        line = json.dumps(record)
        self._lines.append(line)
        if len(self._lines) > KEPT + SPARE:
            self._lines = self._lines[-KEPT:]
            self._replace()
            return
        new = not self._path.exists()
        torn = not new and not read(self._path).endswith("\n")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n" if torn else f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_directory(self._path)

    def _replace(self) -> None:
        replace_file(self._path, "".join(f"{line}\n" for line in self._lines))


def sync_directory(path: Path) -> None:
    """Make a file's name survive a power cut."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that after a power cut it is the old one or the new one."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path)


def output(command: list[str]) -> str:
    """Return what a command prints, or nothing where it is missing or fails."""
    import subprocess  # costs two megabytes, and most hosts never need it

    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def on_path(program: str) -> bool:
    """Tell whether there is a program of this name."""
    places = os.environ.get("PATH", os.defpath).split(":")
    return any(os.access(f"{place}/{program}", os.X_OK) for place in places)


def hardware_incidents() -> list[dict]:
    """Return what the firmware says has happened since the boot, or happens now without one."""
    if on_path("vcgencmd"):
        said = output(["vcgencmd", "get_throttled"]).strip().partition("=")[2]
        with contextlib.suppress(ValueError):
            bits = int(said, 16)
            return [{"kind": OCCURRED[bit], "bits": said} for bit in OCCURRED if bits >> bit & 1]
    alarms = SYS.glob("class/hwmon/hwmon*/in0_lcrit_alarm")
    if any(read(path).strip() == "1" for path in alarms):
        return [{"kind": "under_voltage"}]
    return []


def record_hardware(records: Records, boot: str) -> None:
    """Record what the hardware tells, once a boot: its bits stay until the next one."""
    known = {record["kind"] for record in records.of_boot(boot)}
    for incident in hardware_incidents():
        if incident["kind"] not in known:
            records.add(incident, time.time())


def journal_of(boot: str) -> list[dict]:
    """Return the kernel's messages of an earlier boot; none where the journal was lost with it."""
    fields = "MESSAGE,_SOURCE_MONOTONIC_TIMESTAMP"
    said = output(
        ["journalctl", "-q", "--dmesg", f"--boot={boot}", "-o", "json", f"--output-fields={fields}"]
    )
    messages = []
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            messages.append(json.loads(line))
    return messages


def record_earlier(records: Records, boot: str) -> None:
    """Record that a boot ended without a shutdown, and what its journal has beyond the records."""
    known, kernel, last = records.last_kernel_time(boot), Kernel(), None
    for message in journal_of(boot):
        text, uptime = message.get("MESSAGE"), message.get("_SOURCE_MONOTONIC_TIMESTAMP")
        last = int(message["__REALTIME_TIMESTAMP"]) / 1e6
        incident = kernel.incident(text) if isinstance(text, str) and uptime else None
        if incident and int(uptime) > known:
            records.add(incident | {"uptime_us": int(uptime)}, last, boot=boot)
    status = read(SYS / "class/watchdog/watchdog0/bootstatus").strip()
    by_watchdog = status.isdecimal() and int(status) & CARD_RESET != 0
    records.add(
        {
            "kind": "unclean_boot",
            "before": boot,
            # Not every watchdog tells.
            "watchdog": True if by_watchdog else None,
            "last_message": None if last is None else when(last),
        },
        time.time(),
    )


def follow(records: Records, boot: str) -> None:
    """Follow the kernel's log, from its beginning, until it ends, which /dev/kmsg does not."""
    kernel, known = Kernel(), records.last_kernel_time(boot)
    log = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(log, select.POLLIN)
    next_look = time.monotonic()
    while True:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    chunk = os.read(log, 65536)
                except BrokenPipeError:  # the next record was overwritten before it was read
                    continue
                if not chunk:
                    return
                since_boot = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
                for uptime, message in kernel_records(chunk.decode("utf-8", "replace")):
                    incident = kernel.incident(message)
                    if incident and uptime > known:
                        records.add(incident | {"uptime_us": uptime}, since_boot + uptime / 1e6)
        if time.monotonic() >= next_look:
            record_hardware(records, boot)
            next_look = time.monotonic() + POLL_SECONDS
        records.flush()
        poll.poll(POLL_SECONDS * 1000)


def main() -> None:
    """Run until the system shuts down."""
    # At a shutdown systemd ends this before it takes the disks away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    boot = read(PROC / "sys/kernel/random/boot_id").strip().replace("-", "")
    records = Records(STATE / "incidents.jsonl", boot)
    # There while it runs: left by another boot, that one ended without a shutdown.
    marker = STATE / "incidents.boot"
    before = read(marker).strip()
    if before and before != boot:
        record_earlier(records, before)
    with contextlib.suppress(SystemExit):
        if before != boot:
            replace_file(marker, f"{boot}\n")
        follow(records, boot)
    records.flush(everything=True)
    marker.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
