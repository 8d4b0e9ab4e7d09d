"""Role logs: the record of incidents as the program that it is, where the journal goes, status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from roles.logs.files import incidents
from roles.logs.filter_plugins import logs
from roles.status.filter_plugins import status_table
from roles.status.library import pi_status

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "roles/logs/files/incidents.py"
MEMORY = ROOT / "roles/logs/files/logs_in_memory.py"
LOOK = ROOT / "roles/logs/files/look.sh"
FIXTURES = ROOT / "tests/fixtures/pi"
CONTAINER = "c0ffee" + "0" * 58
CGROUP = f"/system.slice/docker-{CONTAINER}.scope"
BOOT = "11111111111111111111111111111111"
EARLIER = "22222222222222222222222222222222"
PATIENCE = 30

# As Linux 6.12 prints them.
CONTEXT = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={cgroup},mems_allowed=0,"
    "oom_memcg={cgroup},task_memcg={cgroup},task=python3,pid={pid},uid=1000"
)
KILLED = (
    "{whose} of memory: Killed process {pid} ({name}) total-vm:120000kB, anon-rss:20480kB,"
    " file-rss:4096kB, shmem-rss:0kB, UID:1000 pgtables:100kB oom_score_adj:0"
)
IN_CONTAINER = [
    CONTEXT.format(cgroup=CGROUP, pid=77),
    KILLED.format(whose="Memory cgroup out", pid=77, name="python3"),
]
UNDER_VOLTAGE = "hwmon hwmon1: Undervoltage detected!"


def found(*messages: str) -> list[dict]:
    """The incidents that messages tell of."""
    kernel = incidents.Kernel()
    return [one for one in map(kernel.incident, messages) if one]


class TestMessages:
    def test_a_kill_tells_process_and_cgroup(self):
        [one] = found(*IN_CONTAINER)
        assert one == {
            "kind": "oom_kill",
            "process": "python3",
            "pid": 77,
            "cgroup": CGROUP,
            "container": CONTAINER[:12],
            "at_its_limit": True,
            "memory_bytes": 20480 * 1024,
        }

    def test_a_kill_because_all_memory_is_used_up_is_told_apart(self):
        [one] = found(KILLED.format(whose="Out", pid=5, name="a (b) c"))
        assert (one["process"], one["cgroup"], one["container"]) == ("a (b) c", None, None)
        assert not one["at_its_limit"]

    def test_the_context_of_another_process_is_not_taken(self):
        [one] = found(
            CONTEXT.format(cgroup="/a", pid=1), KILLED.format(whose="Out", pid=2, name="x")
        )
        assert one["cgroup"] is None

    @pytest.mark.parametrize(
        "message",
        [UNDER_VOLTAGE, "Under-voltage detected! (0x00050005)", "rpi_volt: undervoltage detected"],
    )
    def test_under_voltage_of_old_and_new_kernels(self, message):
        assert found(message) == [{"kind": "under_voltage"}]

    @pytest.mark.parametrize(
        ("kind", "device", "message"),
        [
            (
                "drive_down",
                "nvme0",
                "nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10",
            ),
            ("drive_down", "nvme0", "nvme nvme0: Disabling device after reset failure: -19"),
            ("drive_error", "nvme0", "nvme nvme0: I/O 12 QID 4 timeout, aborting"),
            (
                "drive_error",
                "nvme0",
                "nvme nvme0: I/O tag 832 (1340) opcode 0x1 (Write) QID 3 timeout, reset controller",
            ),
            (
                "drive_error",
                "mmcblk0",
                "I/O error, dev mmcblk0, sector 6045800 op 0x0:(READ) flags 0x80700 phys_seg 1",
            ),
            ("drive_error", "sda", "critical medium error, dev sda, sector 8 op 0x1:(WRITE)"),
            ("drive_error", "mmc0", "mmc0: Timeout waiting for hardware interrupt."),
            ("drive_error", "mmc0", "mmc0: Timeout waiting for hardware cmd interrupt."),
            ("drive_error", "mmc0", "mmc0: running CQE recovery"),
            ("drive_error", "mmcblk0", "mmcblk0: recovery failed!"),
            ("drive_error", "mmcblk0", "mmcblk0: error -110 sending status command, retrying"),
            (
                "filesystem_error",
                "mmcblk0p2",
                "EXT4-fs error (device mmcblk0p2): ext4_find_entry:1455: inode #2: comm init: x",
            ),
            (
                "filesystem_error",
                "nvme0n1p2",
                "EXT4-fs error (device nvme0n1p2) in ext4_reserve_inode_write:5763: IO failure",
            ),
            ("filesystem_error", "mmcblk0p2", "Aborting journal on device mmcblk0p2-8."),
            (
                "filesystem_error",
                "mmcblk0p2",
                "EXT4-fs (mmcblk0p2): Remounting filesystem read-only",
            ),
            (
                "filesystem_error",
                "mmcblk0p1",
                "FAT-fs (mmcblk0p1): error, invalid access to FAT (entry 0x0000f000)",
            ),
            (
                "filesystem_error",
                "mmcblk0p1",
                "FAT-fs (mmcblk0p1): Filesystem has been set read-only",
            ),
        ],
    )
    def test_a_drive_or_file_system_that_fails(self, kind, device, message):
        assert found(message) == [{"kind": kind, "device": device, "message": message}]

    def test_a_pis_wifi_is_no_drive(self, tmp_path, monkeypatch):
        monkeypatch.setattr(incidents, "SYS", tmp_path)
        for name, kind in (("mmc0/mmc0:59b4", "SD"), ("mmc1/mmc1:0001", "SDIO")):
            (tmp_path / "class/mmc_host" / name).mkdir(parents=True)
            (tmp_path / "class/mmc_host" / name / "type").write_text(f"{kind}\n")
        late = "{}: Timeout waiting for hardware interrupt."
        [one] = found(late.format("mmc0"), late.format("mmc1"))
        assert one["device"] == "mmc0"

    @pytest.mark.parametrize(
        "message",
        [
            "nvme nvme0: I/O tag 832 (1340) QID 3 timeout, completion polled",
            "nvme nvme0: 4/0/0 default/read/poll queues",
            "I/O error, dev loop3, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1",
            "EXT4-fs (mmcblk0p2): re-mounted 6ad1 r/w. Quota mode: none.",
            "EXT4-fs (nvme0n1): mounted filesystem 6ad1 r/w with ordered data mode.",
            "FAT-fs (mmcblk0p1): Volume was not properly unmounted. Please run fsck.",
            "mmc0: new ultra high speed SDR104 SDHC card at address 59b4",
            "hwmon hwmon1: Voltage normalised",
            "python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
            "oom_reaper: reaped process 77 (python3), now anon-rss:0kB",
            "systemd[1]: Started something about memory.",
            "",
        ],
    )
    def test_all_else_is_left_alone(self, message):
        assert found(message) == []

    def test_a_container_has_its_name_where_docker_keeps_it(self, tmp_path, monkeypatch):
        details = tmp_path / "data/containers" / CONTAINER / "config.v2.json"
        details.parent.mkdir(parents=True)
        details.write_text('{"Name": "/gridberry-bot"}')
        daemon = tmp_path / "daemon.json"
        daemon.write_text(json.dumps({"data-root": str(tmp_path / "data")}))
        monkeypatch.setattr(incidents, "DOCKER", daemon)
        assert incidents.container_name(CGROUP) == "gridberry-bot"
        assert incidents.container_name(f"/docker/{CONTAINER}") == "gridberry-bot"
        details.write_text("{half")
        assert incidents.container_name(CGROUP) == CONTAINER[:12]
        assert incidents.container_name("/user.slice") is None

    def test_lines_of_the_kernel_have_a_time(self):
        chunk = (
            "6,339,5140900,-;one; two\n SUBSYSTEM=usb\n3,340,5140901,-,caller=T1;three\nrubbish\n"
        )
        assert incidents.kernel_records(chunk) == [(5140900, "one; two"), (5140901, "three")]


class Pi:
    """A machine made of files, and the program that watches it as a process."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.state.mkdir()
        self.records_file = self.state / "incidents.jsonl"
        self.marker = self.state / "incidents.boot"
        self._directory = directory
        self._programs = directory / "bin"
        self._programs.mkdir()
        self._uptime = 0
        self._answers = directory / "answers"
        self._answers.write_text("get_throttled throttled=0x0\n")
        shutil.copytree(FIXTURES / "pi5/sys", directory / "sys", symlinks=True)
        self.sys = directory / "sys"
        self.process: subprocess.Popen | None = None
        self._kmsg: int | None = None
        self._log = ""
        self.boot(BOOT)

    def boot(self, identity: str) -> None:
        """Begin another boot: an empty kernel log."""
        boot_id = self._directory / "proc/sys/kernel/random/boot_id"
        boot_id.parent.mkdir(parents=True, exist_ok=True)
        boot_id.write_text(f"{identity}\n")
        self._log, self._uptime = "", 0

    def has_vcgencmd(self, answer: str) -> None:
        """Give it the firmware's program, with an answer to get_throttled."""
        self._answers.write_text(f"get_throttled throttled={answer}\n")
        if not (self._programs / "vcgencmd").exists():
            shutil.copy(FIXTURES / "bin/vcgencmd", self._programs)

    def has_vcgencmd_that_refuses(self, *, without_rights: bool) -> None:
        """Give it the firmware's program, which has no answer."""
        self.has_vcgencmd("0x0")
        self._answers.unlink()
        if not without_rights:
            self._answers.touch()

    def has_journal(self, messages: list[dict]) -> None:
        """Give it a journalctl that has these kernel messages, whatever boot is asked for."""
        program = self._programs / "journalctl"
        lines = "\n".join(json.dumps(message) for message in messages)
        program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{lines}\nEOF\n")
        program.chmod(0o755)

    def start(self) -> None:
        """Start the program; the kernel's log so far is there to be read."""
        fifo = self._directory / "kmsg"
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo)
        environment = {
            "PATH": f"{self._programs}:/usr/bin:/bin",
            "STATE_DIRECTORY": str(self.state),
            "KMSG": str(fifo),
            "PROC": str(self._directory / "proc"),
            "SYS": str(self.sys),
            "DOCKER": str(self._directory / "daemon.json"),
            "VCGENCMD_ANSWERS": str(self._answers),
        }
        # Both ends, so that it is neither waited for nor ever ends.
        self._kmsg = os.open(fifo, os.O_RDWR)
        os.write(self._kmsg, self._log.encode())
        self.process = subprocess.Popen([sys.executable, "-IS", PROGRAM], env=environment)
        self.wait(self.listens)
        self.wait(lambda: self.marker.exists() and self.marker.stat().st_size)

    def listens(self) -> bool:
        """Whether the program has a handler for the signal that ends it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def kernel(self, *messages: str) -> None:
        """Let the kernel say something."""
        for message in messages:
            self._uptime += 1_000_000
            line = f"4,{self._uptime // 1_000_000},{self._uptime},-;{message}\n"
            self._log += line
            if self._kmsg is not None:
                os.write(self._kmsg, line.encode())

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the program."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        os.close(self._kmsg)
        self._kmsg = self.process = None
        assert status == (0 if number == signal.SIGTERM else -number)

    def records(self) -> list[dict]:
        """What was recorded."""
        text = self.records_file.read_text() if self.records_file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def kinds(self) -> list[str]:
        """What kinds of incidents were recorded."""
        return [record["kind"] for record in self.records()]

    @staticmethod
    def wait(condition) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)


@pytest.fixture
def pi(tmp_path):
    one = Pi(tmp_path)
    yield one
    if one.process:
        one.stop(signal.SIGKILL)


class TestProgram:
    def test_a_kill_is_on_the_disk_while_it_runs(self, pi):
        pi.start()
        pi.kernel("something else", *IN_CONTAINER)
        pi.wait(pi.records)
        [record] = pi.records()
        assert (record["kind"], record["process"], record["boot"]) == ("oom_kill", "python3", BOOT)
        assert record["uptime_us"] == 3_000_000
        assert record["count"] == 1
        assert datetime.fromisoformat(record["time"]).tzinfo == UTC

    def test_what_was_before_its_start_is_found_and_only_once(self, pi):
        pi.kernel(*IN_CONTAINER)
        pi.start()
        pi.wait(pi.records)
        pi.stop(signal.SIGKILL)
        pi.start()
        pi.kernel(UNDER_VOLTAGE)
        pi.wait(lambda: len(pi.records()) > 1)
        assert pi.kinds() == ["oom_kill", "under_voltage"]

    def test_the_same_again_is_only_counted(self, pi):
        pi.start()
        pi.kernel(*[UNDER_VOLTAGE] * 5)
        pi.wait(pi.records)
        pi.kernel(*IN_CONTAINER)
        pi.wait(lambda: len(pi.records()) > 1)
        assert [(one["kind"], one["count"]) for one in pi.records()] == [
            ("under_voltage", 1),
            ("oom_kill", 1),
        ]
        pi.stop()
        assert [one["count"] for one in pi.records()] == [1, 1, 4]

    def test_two_drives_are_two_incidents(self, pi):
        pi.start()
        for device in ("mmcblk0", "sda", "sda"):
            pi.kernel(f"I/O error, dev {device}, sector 8 op 0x0:(READ)")
        pi.wait(lambda: len(pi.records()) > 1)
        assert [one["device"] for one in pi.records()] == ["mmcblk0", "sda"]

    def test_nothing_is_written_while_nothing_happens(self, pi):
        pi.start()
        pi.kernel(*["usb 1-1: new device"] * 50)
        pi.stop()
        assert list(pi.state.iterdir()) == []

    def test_an_end_without_shutdown_is_recorded_at_the_next_boot(self, pi):
        pi.boot(EARLIER)
        pi.start()
        pi.stop(signal.SIGKILL)
        pi.boot(BOOT)
        pi.start()
        pi.wait(pi.records)
        [record] = pi.records()
        assert (record["kind"], record["before"]) == ("unclean_boot", EARLIER)
        assert record["watchdog"] is None
        pi.wait(lambda: pi.marker.read_text().strip() == BOOT)

    def test_the_watchdog_says_that_it_was_it(self, pi):
        pi.boot(EARLIER)
        pi.start()
        pi.stop(signal.SIGKILL)
        (pi.sys / "class/watchdog/watchdog0/bootstatus").write_text("32\n")
        pi.boot(BOOT)
        pi.start()
        pi.wait(pi.records)
        assert pi.records()[0]["watchdog"] is True

    def test_an_end_with_shutdown_and_a_restarted_program_are_none(self, pi):
        pi.boot(EARLIER)
        pi.start()
        pi.stop()
        pi.boot(BOOT)
        pi.start()
        pi.stop(signal.SIGKILL)
        pi.start()
        pi.stop()
        assert pi.records() == []

    def test_what_only_the_journal_of_the_earlier_boot_has_is_recorded(self, pi):
        pi.boot(EARLIER)
        pi.kernel(*IN_CONTAINER)
        pi.start()
        pi.wait(pi.records)
        pi.stop(signal.SIGKILL)
        at = 1_763_745_000_000_000
        pi.has_journal(
            [
                {
                    "MESSAGE": message,
                    "_SOURCE_MONOTONIC_TIMESTAMP": str(uptime),
                    "__REALTIME_TIMESTAMP": str(at + uptime),
                }
                for uptime, message in [
                    (1_000_000, IN_CONTAINER[0]),
                    (2_000_000, IN_CONTAINER[1]),
                    (9_000_000, [1, 2, 3]),  # as journalctl gives what is no text
                    (9_000_000, KILLED.format(whose="Out", pid=5, name="sshd")),
                ]
            ]
        )
        pi.boot(BOOT)
        pi.start()
        pi.wait(lambda: len(pi.records()) > 2)
        first, second, third = pi.records()
        assert (first["process"], first["boot"]) == ("python3", EARLIER)
        assert (second["process"], second["boot"]) == ("sshd", EARLIER)
        assert (third["kind"], third["last_message"]) == ("unclean_boot", second["time"])

    def test_the_firmwares_bits_are_recorded_once_a_boot(self, pi):
        pi.has_vcgencmd("0xd0005")
        pi.start()
        pi.wait(lambda: len(pi.records()) > 2)
        kinds = ["under_voltage", "throttled", "temperature_limit"]
        assert pi.kinds() == kinds
        assert pi.records()[0]["bits"] == "0xd0005"
        pi.stop()
        pi.start()
        pi.stop()
        assert pi.kinds() == kinds
        pi.boot(EARLIER)
        pi.start()
        pi.wait(lambda: len(pi.records()) > 5)
        assert pi.kinds() == kinds * 2

    def test_under_voltage_that_the_kernel_told_of_is_not_told_again_by_the_firmware(self, pi):
        pi.has_vcgencmd("0x50005")
        pi.kernel(UNDER_VOLTAGE)
        pi.start()
        pi.wait(lambda: len(pi.records()) > 1)
        assert pi.kinds() == ["under_voltage", "throttled"]

    def test_without_vcgencmd_the_sensor_is_asked(self, pi):
        alarm = pi.sys / "class/hwmon/hwmon1/in0_lcrit_alarm"
        alarm.parent.mkdir(parents=True)
        alarm.write_text("1\n")
        pi.start()
        pi.wait(pi.records)
        assert pi.kinds() == ["under_voltage"]

    @pytest.mark.parametrize("without_rights", [False, True])
    def test_where_the_firmware_refuses_the_sensor_is_asked(self, pi, without_rights):
        pi.has_vcgencmd_that_refuses(without_rights=without_rights)
        alarm = pi.sys / "class/hwmon/hwmon1/in0_lcrit_alarm"
        alarm.parent.mkdir(parents=True)
        alarm.write_text("1\n")
        pi.start()
        pi.wait(pi.records)
        assert pi.kinds() == ["under_voltage"]

    def test_a_line_that_a_power_cut_tore_costs_only_itself(self, pi):
        pi.records_file.write_text('{"kind": "oom_kill", "boot": "x"}\n{"kind": "under_vol')
        pi.kernel(*IN_CONTAINER)
        pi.start()
        pi.wait(lambda: len(pi.records()) > 1)
        assert pi.kinds() == ["oom_kill", "oom_kill"]

    def test_it_keeps_so_many_records(self, pi):
        old = json.dumps({"kind": "under_voltage", "boot": "x", "time": "old"})
        pi.records_file.write_text(f"{old}\n" * (incidents.KEPT + incidents.SPARE))
        pi.start()
        pi.kernel(*IN_CONTAINER)
        pi.wait(lambda: pi.kinds()[-1:] == ["oom_kill"])
        assert len(pi.records()) == incidents.KEPT


class TestSettings:
    def test_the_journal_stays_off_the_card(self):
        assert logs.storage("auto", "auto", ["logs disk"]) == "persistent"
        assert logs.storage("auto", "auto", ["logs card"]) == "volatile"
        assert logs.storage("auto", "auto", ["logs memory"]) == "volatile"
        assert logs.storage("persistent", "auto", ["logs card"]) == "persistent"
        assert logs.storage("volatile", "auto", ["logs disk"]) == "volatile"
        # It lies in the same directory.
        assert logs.storage("auto", "volatile", ["logs disk"]) == "volatile"

    def test_files_stay_off_the_card_unless_the_journal_must_be_on_it(self):
        card, disk = ["logs card", "megabytes 5"], ["logs disk", "megabytes 5"]
        assert logs.files_storage("auto", "auto", 32, card) == "volatile"
        assert logs.files_storage("auto", "volatile", 32, disk) == "persistent"
        # Somebody else's log2ram is left alone.
        assert logs.files_storage("auto", "auto", 32, ["logs memory"]) == "persistent"
        assert logs.files_storage("auto", "persistent", 32, card) == "persistent"
        assert logs.files_storage("volatile", "auto", 32, disk) == "volatile"
        assert logs.files_storage("persistent", "auto", 32, card) == "persistent"

    def test_files_go_into_memory_only_if_they_fit(self):
        for size, place in ((24, "volatile"), (25, "persistent"), ("", "persistent")):
            seen = ["logs card", f"megabytes {size}"]
            assert logs.files_storage("auto", "auto", 32, seen) == place
        hides = ["logs card", "mounted /var/log/web", "megabytes 5"]
        assert logs.files_storage("auto", "auto", 32, hides) == "persistent"

    def test_settings_that_will_not_do_are_named(self):
        fine = dict.fromkeys(logs.BOUNDS, 16)
        assert logs.setting_problems(fine, "auto", "persistent") == []
        assert logs.setting_problems(fine | {"logs_days": 0}, "auto", "auto") == [
            "logs_days is 0; use 1 to 3650"
        ]
        [problem] = logs.setting_problems(fine, "volatile", "persistent")
        assert problem.startswith("logs_files_storage is volatile")

    @pytest.mark.parametrize(
        ("source", "disks", "kind", "place"),
        [
            ("/dev/mmcblk0p2", "mmcblk0p2\nmmcblk0", "SD", "card"),
            ("/dev/mmcblk0p2[/var/log]", "mmcblk0p2\nmmcblk0", "SD", "card"),
            ("/dev/mapper/root", "root\nmmcblk0p2\nmmcblk0", "SD", "card"),
            ("/dev/mmcblk0p2", "mmcblk0p2\nmmcblk0", "MMC", "disk"),
            ("/dev/nvme0n1p1", "nvme0n1p1\nnvme0n1", "", "disk"),
            ("/dev/sda2", "sda2\nsda", "", "card"),
            ("/dev/sdb2", "sdb2\nsdb", "", "disk"),
            ("tmpfs", "", "", "memory"),
            ("/dev/zram1", "zram1", "", "memory"),
            # Ours over it: below is what counts, and that the second answer tells.
            ("gridberry-logs\n/dev/mmcblk0p2", "mmcblk0p2\nmmcblk0", "SD", "card"),
            ("gridberry-logs\n/dev/nvme0n1p1", "nvme0n1p1\nnvme0n1", "", "disk"),
        ],
    )
    def test_the_host_tells_what_logs_are_on(self, tmp_path, source, disks, kind, place):
        below = source.splitlines()[-1]
        answer = (
            f'case $4 in /var/log) echo "{source.splitlines()[0]}" ;; *) echo "{below}" ;; esac'
        )
        for name, said in (("findmnt", answer), ("lsblk", f"echo '{disks}'")):
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\n{said}\n")
            program.chmod(0o755)
        device = tmp_path / "sys/block/mmcblk0/device"
        device.mkdir(parents=True)
        (device / "type").write_text(f"{kind}\n")
        for name, removable in (("sda", 1), ("sdb", 0)):  # a stick, and a drive
            (tmp_path / "sys/block" / name).mkdir()
            (tmp_path / "sys/block" / name / "removable").write_text(f"{removable}\n")
        environment = os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin", "SYS": f"{tmp_path}/sys"}
        said = subprocess.run(
            ["sh", LOOK], env=environment, capture_output=True, text=True, check=True
        )
        assert said.stdout.splitlines()[0] == f"logs {place}"


class InMemory:
    """A /var/log of its own, and the program that keeps it in memory, with mounts of their own."""

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "log"
        (self.logs / "apt").mkdir(parents=True)
        (self.logs / "journal").mkdir()
        (self.logs / "journal/system.journal").write_text("journald's own")
        (self.logs / "apt/history.log").write_text("one\n")
        (self.logs / "wtmp").write_text("logins")
        self.logs.joinpath("wtmp").chmod(0o664)
        self.run = directory / "run"

    def __call__(self, script: str) -> str:
        """Run a shell script among the mounts, with the program as `logs`; return its output."""
        program = f"{sys.executable} -IS {MEMORY}"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-euc", f'logs() {{ {program} "$@"; }}\n{script}'],
            env={"PATH": os.environ["PATH"], "LOGS": str(self.logs), "RUN": str(self.run)},
            cwd=self.logs.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr


@pytest.fixture
def in_memory(tmp_path):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting needs root; the virtual Pis run it too")
    return InMemory(tmp_path)


class TestInMemory:
    def test_all_is_there_from_the_first_moment_and_goes_back_at_the_end(self, in_memory):
        said = in_memory(
            """
            logs start 8
            findmnt -nro SOURCE -M log
            cat log/apt/history.log; stat -c '%a' log/wtmp; ls log
            echo two >>log/apt/history.log
            rm log/wtmp
            mkdir log/new; echo three >log/new/file
            logs stop
            findmnt -nro SOURCE -M log || echo nothing over it
            """
        )
        assert said.split() == [
            *("gridberry-logs", "one", "664", "apt", "wtmp"),
            *("nothing", "over", "it"),
        ]
        assert (in_memory.logs / "apt/history.log").read_text() == "one\ntwo\n"
        assert (in_memory.logs / "new/file").read_text() == "three\n"
        assert not (in_memory.logs / "wtmp").exists()
        assert (in_memory.logs / "journal/system.journal").read_text() == "journald's own"

    def test_the_disk_has_what_was_saved_and_nothing_after_it(self, in_memory):
        in_memory(
            """
            logs start 8
            echo two >>log/apt/history.log
            mv log/apt/history.log log/apt/history.log.1; echo new >log/apt/history.log
            logs save
            echo lost >>log/apt/history.log
            """
        )
        assert (in_memory.logs / "apt/history.log.1").read_text() == "one\ntwo\n"
        assert (in_memory.logs / "apt/history.log").read_text() == "new\n"

    def test_only_what_changed_is_written(self, in_memory):
        unchanged = in_memory.logs / "wtmp"
        before = unchanged.stat().st_ino
        in_memory("logs start 8; echo two >>log/apt/history.log; logs save; logs save")
        assert unchanged.stat().st_ino == before
        assert (in_memory.logs / "apt/history.log").read_text() == "one\ntwo\n"

    def test_what_is_too_large_stays_on_the_disk(self, in_memory):
        (in_memory.logs / "large").write_bytes(bytes(7 * 2**20))
        said = in_memory("logs start 8 || echo $?; findmnt -M log || echo nothing over it")
        assert said.startswith("1\nnothing over it\n")
        assert "holds 7 MB, too much for 8 MB in memory" in said
        assert "use 10 MB" in said

    def test_half_a_save_leaves_no_copies_behind(self, in_memory):
        torn = in_memory.logs / "wtmp.gridberry-new"
        torn.write_text("half")
        assert "gridberry-new" not in in_memory("logs start 8; ls log; logs stop")
        assert not torn.exists()

    def test_started_twice_it_is_there_once(self, in_memory):
        said = in_memory("logs start 8; logs start 8; grep -c gridberry-logs /proc/self/mounts")
        assert said == "1\n"

    def test_links_and_kinds_that_change(self, in_memory):
        (in_memory.logs / "link").symlink_to("wtmp")
        in_memory(
            """
            logs start 8
            rm -r log/apt; echo file >log/apt
            rm log/link; ln -s nowhere log/link
            rm log/wtmp; mkdir log/wtmp
            logs stop
            """
        )
        assert (in_memory.logs / "apt").read_text() == "file\n"
        assert (in_memory.logs / "link").readlink() == Path("nowhere")
        assert (in_memory.logs / "wtmp").is_dir()

    def test_what_is_mounted_below_is_not_hidden(self, in_memory):
        said = in_memory("mkdir log/web; mount -t tmpfs web log/web; logs start 8 || echo $?")
        assert said.startswith("1\n")
        assert "log/web is mounted in" in said

    def test_no_mount_is_left_for_a_shutdown_to_take_away_first(self, in_memory):
        said = in_memory(
            "logs start 8; logs save; awk '{print $1}' /proc/self/mounts | grep -c gridberry-logs;"
            ' grep -c " $PWD/" /proc/self/mounts; echo new >log/new; logs stop;'
            ' grep -c " $PWD/" /proc/self/mounts || :'  # the computer may have mounts of its own
        )
        assert said == "1\n1\n0\n"
        assert (in_memory.logs / "new").read_text() == "new\n"

    def test_it_says_what_it_takes(self, in_memory):
        assert "use start MEGABYTES, save or stop" in in_memory("logs start much || true")
        assert "is not in memory: nothing to save" in in_memory("logs save || true")


NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def line(kind: str, day: int, count: int = 1, **more: object) -> str:
    """A line of the record."""
    return json.dumps({"time": f"2026-11-{day:02}T11:00:00Z", "kind": kind, "count": count, **more})


class TestStatus:
    def test_counts_what_happened_lately(self):
        lines = [
            line("oom_kill", 10),
            line("oom_kill", 20, 3),
            line("throttled", 20),
            line("temperature_limit", 20),
            "{torn",
            '"text"',
            line("something new", 20),
            line("drive_down", 20),
            line("filesystem_error", 20),
            line("oom_kill", 21, process="python3", container="gridberry-bot"),
        ]
        assert pi_status.incidents("\n".join(lines), NOW) == {
            "days": 7,
            "oom_kills": 4,
            "under_voltage": 0,
            "throttled": 2,
            "drive_errors": 2,
            "unclean_boots": 0,
            "last": {
                "time": "2026-11-21T11:00:00Z",
                "kind": "oom_kill",
                "process": "python3",
                "container": "gridberry-bot",
            },
        }

    def test_nothing_recorded_is_not_the_same_as_nobody_records(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pi_status, "INCIDENTS", str(tmp_path / "incidents"))
        assert pi_status.incident_status(NOW) is None
        (tmp_path / "incidents.boot").write_text(BOOT)
        assert pi_status.incident_status(NOW)["oom_kills"] == 0
        (tmp_path / "incidents.jsonl").write_text(line("unclean_boot", 21))
        assert pi_status.incident_status(NOW)["unclean_boots"] == 1

    def test_every_kind_that_is_recorded_is_counted(self):
        kinds = {"oom_kill", "unclean_boot", *incidents.OCCURRED.values()}
        kinds |= {kind for kind, _ in incidents.DRIVES}
        assert kinds == set(pi_status.COUNTED)

    def test_table_notes_them(self):
        said = pi_status.incidents("\n".join([line("oom_kill", 20, 2), line("throttled", 20)]), NOW)
        table = status_table.status_table([{"host": "pi1", "incidents": said}])
        assert "2 OOM kills in 7 days, 1 throttling in 7 days" in table
        quiet = status_table.status_table([{"host": "pi1", "incidents": None}])
        assert "days" not in quiet


@pytest.mark.parametrize(
    ("answers", "bits"),
    [("get_throttled throttled=0x50000\n", "0x50000"), ("", None), (None, None)],
)
def test_status_has_the_firmwares_bits_where_it_answers(tmp_path, monkeypatch, answers, bits):
    if answers is not None:
        (tmp_path / "answers").write_text(answers)
    monkeypatch.setenv("VCGENCMD_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.setenv("PATH", f"{FIXTURES}/bin:/usr/bin:/bin")
    assert pi_status.throttled() == bits
