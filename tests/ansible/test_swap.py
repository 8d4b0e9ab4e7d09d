"""What role swap decides, and what its shell does with files."""

import os
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml

from roles.swap.filter_plugins import swap

FILES = Path(__file__).resolve().parents[2] / "roles/swap/files"
WANTED = {
    "state": "present",
    "mechanism": "auto",
    "size_mb": 2048,
    "file": "/mnt/data/swapfile",
    "on_sd": False,
    "coming": "",
}
UNIT = "/etc/systemd/system/mnt-data-swapfile.swap"
DRIVE = "target /mnt/data\ntype ext4\ncard no"
CARD = "target /\ntype ext4\ncard yes"


def plan(*lines, **settings):
    """The plan for what look.sh printed, with some settings."""
    return swap.swap_plan("\n".join(lines), WANTED | settings)


def contents(made):
    """The files of a plan by path."""
    return {one["path"]: one["content"] for one in made["files"]}


@pytest.mark.parametrize(
    ("disk", "card"),
    [
        ("nvme 0", "no"),
        ("usb 0", "no"),
        ("usb 1", "yes"),  # a stick, or a card reader
        ("sata 0", "no"),
        ("mmc 0", "yes"),
        (" 0", "yes"),
    ],
)
def test_the_host_tells_whether_swap_would_wear_it_out(tmp_path, disk, card):
    for name, said in (("findmnt", "/dev/sda1"), ("lsblk", f"part  0\ndisk {disk}")):
        (tmp_path / name).write_text(f"#!/bin/sh\nprintf '%s\\n' '{said}'\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", FILES / "look.sh"],
        check=True,
        capture_output=True,
        text=True,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PLACE": f"{tmp_path}/swapfile",
            "UNIT": "x.swap",
            "ETC": str(tmp_path),
        },
    )
    assert f"card {card}" in done.stdout.splitlines()


class TestMechanism:
    def test_plain_debian_has_a_file_and_a_unit(self):
        made = plan(DRIVE)
        assert made["mechanism"] == "file"
        (path,) = contents(made)
        text = contents(made)[path]
        assert path == UNIT
        assert "What=/mnt/data/swapfile\n" in text
        assert "WantedBy=swap.target mnt-data.mount\n" in text
        # A missing drive: no swap on the directory below it, and nothing that fails.
        assert "RequiresMountsFor=/mnt/data\nConditionPathIsMountPoint=/mnt/data\n" in text

    def test_rpi_swap(self):
        made = plan("has rpi-swap", DRIVE)
        assert made["mechanism"] == "rpi-swap"
        files = contents(made)
        assert "[Main]\nMechanism=swapfile\n" in files[swap.RPI]
        assert "Path=/mnt/data/swapfile\nFixedSizeMiB=2048\n" in files[swap.RPI]
        assert "ConditionPathIsMountPoint=/mnt/data" in files[swap.RPI_UNIT]
        assert UNIT in made["stale"]

    @pytest.mark.parametrize("mechanism", ["auto", "rpi-swap"])
    @pytest.mark.parametrize(
        ("place", "where", "refused"),
        [
            ("/mnt/data/swapfile", DRIVE, False),
            ("/mnt/data/swap/file", DRIVE, True),
            ("/data/swap/file", "target /\ntype ext4\ncard no", False),  # the system is on a drive
        ],
    )
    def test_rpi_swap_finds_only_what_is_there_before_drives_are(
        self, mechanism, place, where, refused
    ):
        made = plan("has rpi-swap", where, mechanism=mechanism, file=place)
        if not refused:
            assert (made["refuse"], made["mechanism"]) == ("", "rpi-swap")
            return
        assert made["refuse"] == (
            "swap_file is /mnt/data/swap/file, and at a boot rpi-swap looks for /mnt/data/swap"
            " before /mnt/data is mounted; use /mnt/data/file, or swap_mechanism: file"
        )
        assert made["files"] == []
        assert plan("has rpi-swap", where, mechanism="file", file=place)["refuse"] == ""

    def test_rpi_swap_in_check_mode_before_the_drive_is_mounted(self):
        made = plan("has rpi-swap", CARD, coming="/mnt/data", file="/mnt/data/swap/file")
        assert "/mnt/data/file" in made["refuse"]

    def test_dphys_swapfile(self):
        made = plan("has dphys-swapfile", DRIVE)
        assert made["mechanism"] == "dphys-swapfile"
        assert (
            "CONF_SWAPFILE=/mnt/data/swapfile\nCONF_SWAPSIZE=2048\n" in contents(made)[swap.DPHYS]
        )
        assert next(one for one in made["files"] if one["path"] == swap.DPHYS)["keep_original"]

    def test_both_take_rpi_swap(self):
        assert plan("has dphys-swapfile", "has rpi-swap", DRIVE)["mechanism"] == "rpi-swap"

    @pytest.mark.parametrize("mechanism", ["rpi-swap", "dphys-swapfile"])
    def test_not_installed(self, mechanism):
        made = plan(DRIVE, mechanism=mechanism)
        assert made["refuse"] == (
            f"swap_mechanism is {mechanism}, which is not installed; use auto"
        )

    def test_zram_on_debian_needs_its_package(self):
        made = plan(CARD, mechanism="zram")
        assert made["zram"]
        assert "zram-size = min(ram, 2048)" in contents(made)[swap.ZRAM]

    def test_zram_by_rpi_swap(self):
        made = plan("has rpi-swap", CARD, mechanism="zram")
        assert not made["zram"]
        (text,) = contents(made).values()
        assert text.endswith("[Main]\nMechanism=zram\n\n[Zram]\nRamMultiplier=1\nMaxSizeMiB=2048\n")

    @pytest.mark.parametrize("mechanism", ["file", "none"])
    def test_rpi_swap_is_told_to_do_nothing(self, mechanism):
        made = plan("has rpi-swap", DRIVE, mechanism=mechanism)
        assert "Mechanism=none\n" in contents(made)[swap.RPI]
        # It removes what it thinks is its own file.
        assert "Path=/var/swap\n" in contents(made)[swap.RPI]


class TestCard:
    def test_auto_goes_on_without(self):
        made = plan(CARD, "active /var/swap file 102396 0 card")
        assert (made["files"], made["others"], made["mechanism"]) == ([], [], "")
        assert "is on the card (/)" in made["say"]

    def test_asked_for_is_refused(self):
        assert "swap_on_sd: true" in plan(CARD, mechanism="file")["refuse"]

    def test_told_to(self):
        made = plan(CARD, on_sd=True, file="/var/swap2")
        assert made["mechanism"] == "file"
        assert "RequiresMountsFor" not in contents(made)["/etc/systemd/system/var-swap2.swap"]

    def test_check_mode_before_the_drive_is_mounted(self):
        made = plan(CARD, coming="/mnt/data")
        assert made["mechanism"] == "file"
        assert "RequiresMountsFor=/mnt/data" in contents(made)[UNIT]

    def test_place_elsewhere_is_not_what_is_coming(self):
        assert plan(CARD, coming="/mnt/data", file="/mnt/data2/swapfile")["say"]


class TestOthers:
    ACTIVE = (
        "active /mnt/data/swapfile file 2097148 0 drive",
        "active /var/swap file 102396 0 card",
        "active /dev/mmcblk0p3 partition 102396 0 card",
        "active /dev/sda2 partition 102396 0 drive",
        "active /dev/zram0 partition 102396 0 memory",
    )

    def test_those_on_the_card_go(self):
        assert plan(DRIVE, *self.ACTIVE)["others"] == ["/var/swap", "/dev/mmcblk0p3"]

    def test_hybrid_of_rpi_swap_goes(self):
        made = plan("has rpi-swap", DRIVE, *self.ACTIVE)
        assert made["others"] == ["/var/swap", "/dev/mmcblk0p3", "/dev/zram0"]

    def test_all_go_where_none_is_wanted(self):
        assert len(plan(DRIVE, *self.ACTIVE, mechanism="none")["others"]) == 5

    def test_ours_on_the_card_stays(self):
        made = plan(CARD, *self.ACTIVE, on_sd=True, file="/var/swap")
        assert made["others"] == ["/dev/mmcblk0p3"]

    def test_what_a_broken_off_change_of_size_left(self):
        made = plan(DRIVE, "active /mnt/data/swapfile.old file 1048572 0 drive")
        assert made["others"] == ["/mnt/data/swapfile.old"]

    def test_fstab_brings_none_back_to_the_card(self):
        made = plan(DRIVE, "configured /swapfile card", "configured /dev/sda2 drive")
        assert f"{swap.UNITS}/swapfile.swap.d/gridberry-off.conf" in contents(made)
        assert len(contents(made)) == 2

    def test_moved_file_goes(self):
        made = plan(DRIVE, "made /mnt/old/swapfile", "made /mnt/data/swapfile")
        assert made["moved"] == ["/mnt/old/swapfile"]
        assert f"{swap.UNITS}/mnt-old-swapfile.swap" in made["stale"]


class TestPlace:
    @pytest.mark.parametrize("kind", ["tmpfs", "vfat", "overlay", "nfs4"])
    def test_file_system_without_swap(self, kind):
        assert f"on {kind};" in plan(DRIVE.replace("ext4", kind))["refuse"]

    def test_no_file_of_somebody_else_is_replaced(self):
        assert "is no swap file" in plan(DRIVE, "place other")["refuse"]
        assert plan(DRIVE, "place swap")["refuse"] == ""

    def test_masked_unit(self):
        assert "is a link to /dev/null" in plan(DRIVE, "link /dev/null")["refuse"]

    @pytest.mark.parametrize(
        ("path", "unit"),
        [
            ("/mnt/data/swapfile", "mnt-data-swapfile.swap"),
            ("/mnt/my-data/swap_1", r"mnt-my\x2ddata-swap_1.swap"),
            ("/dev/disk/by-uuid/ab-c", r"dev-disk-by\x2duuid-ab\x2dc.swap"),
        ],
    )
    def test_unit_is_named_as_systemd_does(self, path, unit):
        assert swap.unit_of(path) == unit


def test_absent_names_all_that_may_be_there():
    made = plan("has rpi-swap", DRIVE, "made /mnt/old/swapfile", state="absent")
    paths = contents(made)
    assert {UNIT, swap.RPI, swap.RPI_UNIT, swap.DPHYS, swap.ZRAM} < set(paths)
    assert f"{swap.UNITS}/mnt-old-swapfile.swap" in paths
    assert made["moved"] == ["/mnt/old/swapfile"]


class TestSettings:
    def test_defaults_have_no_problem(self):
        assert swap.setting_problems(WANTED) == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("size_mb", 0),
            ("size_mb", 100_000),
            ("file", "swapfile"),
            ("file", "/swapfile"),
            ("file", "/etc/passwd"),
            ("file", "/usr/swap"),
            ("file", "/mnt/data/my swap"),
        ],
    )
    def test_problem_names_setting_and_value(self, name, value):
        (line,) = swap.setting_problems(WANTED | {name: value})
        assert line.startswith(f"swap_{name} is {value!r}")


@pytest.mark.parametrize(
    ("mechanism", "there", "stopped"),
    [
        # Writing back by hand: no timer, which systemctl cannot stop then.
        ("rpi-swap", ["systemd-zram-setup@zram0.service", "rpi-setup-loop@var-swap.service"], 2),
        ("rpi-swap", ["systemd-zram-setup@zram0.service"], 1),
        ("zram", ["rpi-zram-writeback.timer", "rpi-setup-loop@var-swap.service"], 2),
        ("zram", ["systemd-zram-setup@zram0.service"], 0),
        ("file", [], 0),
    ],
)
def test_each_unit_of_rpi_swap_is_stopped_by_itself(tmp_path, mechanism, there, stopped):
    text = yaml.safe_load((FILES.parent / "vars/main.yml").read_text())
    [effect] = text["__swap_effects"]["rpi_zram"]
    words = {"__swap_plan": {"mechanism": mechanism}}
    words["__swap_rpi_units"] = jinja2.Template(text["__swap_rpi_units"]).render(words)
    probe, apply = (jinja2.Template(effect[key]).render(words) for key in ("probe", "apply"))
    for unit in there:
        (tmp_path / unit).touch()
    (tmp_path / "systemctl").write_text(
        '#!/bin/sh\ncd "$(dirname "$0")" || exit\n'
        'case $1 in is-active) [ -e "$3" ] || exit 3 ;; stop) rm "$2" || exit 5 ;; esac\n'
    )
    (tmp_path / "systemctl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def sh(command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["sh", "-c", command], env=environment, check=False, capture_output=True, text=True
        )

    before = sh(probe)
    assert bool(before.returncode) is bool(stopped)
    assert bool(stopped) is any(f"{unit} is active" in before.stdout for unit in there)
    if stopped:
        assert sh(apply).returncode == 0
        assert sh(probe).returncode == 0
    assert sum(not (tmp_path / unit).exists() for unit in there) == stopped


@pytest.fixture
def shell(tmp_path):
    """Run the role's shell words with fixtures for /proc and for the programs that change swap."""
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename Type Size Used Priority\n")
    (tmp_path / "meminfo").write_text("MemTotal: 900000 kB\nMemAvailable: 200000 kB\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    record = '#!/bin/sh\necho "$(basename "$0") $*" >>"$LOG"\n'
    scripts = {
        "swapon": 'echo "$1 file $(($(stat -c %s "$1") / 1024 - 4)) 0 -2" >>"$SWAPS"\n',
        "swapoff": 'grep -v "^$1 " "$SWAPS" >"$SWAPS.new"; /bin/mv "$SWAPS.new" "$SWAPS"\n',
        "blkid": 'tail -c +4087 "$6" 2>/dev/null | head -c 10 | grep -q SWAPSPACE2 && echo swap\n',
        "findmnt": "echo ext4\n",
        # As the kernel does: what is in use keeps its name in the list when it is renamed.
        "mv": '/bin/mv "$@" && sed -i "s#^$1 #$2 #" "$SWAPS"\n',
    }
    for name, script in scripts.items():
        (programs / name).write_text(record + script)
        (programs / name).chmod(0o755)
    text = (FILES / "swap.sh").read_text().replace("/proc/swaps", str(swaps))
    text = text.replace("/proc/meminfo", str(tmp_path / "meminfo"))
    words = f"FILE={tmp_path}/data/swapfile\nNOTE={tmp_path}/state/swap-file\n{text}\n"
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "LOG": str(tmp_path / "log"),
        "SWAPS": str(swaps),
    }

    def run(command: str, size: int = 8) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["sh", "-c", f"SIZE={size}\n{words}{command}"],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )

    run.file = tmp_path / "data/swapfile"
    run.swaps = swaps
    run.note = tmp_path / "state/swap-file"
    run.log = tmp_path / "log"
    return run


@pytest.mark.skipif(os.geteuid() != 0, reason="the files must be root's")
class TestShell:
    def test_file_is_made_whole(self, shell):
        assert shell('is_made "$FILE"').returncode == 1
        done = shell("make_file")
        assert done.returncode == 0, done.stderr
        assert shell('is_made "$FILE"').returncode == 0
        assert shell.file.stat().st_mode & 0o777 == 0o600
        assert shell.note.read_text() == f"{shell.file}\n"
        assert [one.name for one in shell.file.parent.iterdir()] == ["swapfile"]

    def test_what_a_power_cut_left_is_made_again(self, shell):
        shell.file.parent.mkdir()
        shell.file.with_name("swapfile.new").write_bytes(b"half")
        shell.file.with_name("swapfile.old").write_bytes(b"old")
        assert shell("make_file").returncode == 0
        assert [one.name for one in shell.file.parent.iterdir()] == ["swapfile"]

    def test_file_with_holes_is_not_made(self, shell):
        shell("make_file")
        with shell.file.open("r+b") as stream:
            stream.truncate(4096)
            stream.truncate(8 * 1048576)
        assert "has holes" in shell('is_made "$FILE"').stdout

    def test_other_size_is_in_use_before_the_old_one_goes(self, shell):
        shell("make_file")
        shell('swapon "$FILE"')
        shell.log.unlink()
        done = shell("make_file", size=16)
        assert done.returncode == 0, done.stderr
        calls = [line for line in shell.log.read_text().splitlines() if line.startswith("swap")]
        assert calls == [f"swapon {shell.file}", f"swapoff {shell.file}.old"]
        assert shell('is_on "$FILE"', size=16).returncode == 0
        assert [one.name for one in shell.file.parent.iterdir()] == ["swapfile"]

    def test_used_swap_that_does_not_fit_stays(self, shell):
        shell.swaps.write_text("Filename\n/var/swap file 2097148 150000 -2\n")
        done = shell("switch_off /var/swap")
        assert done.returncode == 1
        assert done.stderr.startswith("/var/swap has 146 MB swapped out and only 195 MB")
        assert not shell.log.exists()

    def test_used_swap_that_fits_goes(self, shell):
        shell.swaps.write_text("Filename\n/var/swap file 2097148 100000 -2\n")
        assert shell("switch_off /var/swap").returncode == 0
        assert shell.log.read_text() == "swapoff /var/swap\n"

    def test_no_room(self, shell):
        done = shell("make_file", size=10_000_000)
        assert done.returncode == 1
        assert "at most" in done.stderr
        assert list(shell.file.parent.iterdir()) == []

    def test_forgotten_file_leaves_the_note(self, shell):
        shell("make_file")
        assert shell('forget_file "$FILE"').returncode == 0
        assert not shell.note.exists()
        assert not shell.file.exists()

    def test_put_back_touches_nothing_of_somebody_else(self, shell, tmp_path):
        ours, kept, foreign = (tmp_path / name for name in ("ours", "kept", "foreign"))
        ours.write_text("# Written by Gridberry, role swap.\n")
        kept.write_text("# Written by Gridberry, role swap.\n")
        kept.with_name("kept.gridberry-original").write_text("before\n")
        foreign.write_text("mine\n")
        assert shell(f"put_back {ours} {kept} {foreign}").returncode == 0
        assert not ours.exists()
        assert kept.read_text() == "before\n"
        assert foreign.read_text() == "mine\n"

    def test_put_back_forgets_a_file_that_was_written_anew_by_hand(self, shell, tmp_path):
        anew = tmp_path / "swap.conf"
        anew.write_text("mine\n")
        note = anew.with_name("swap.conf.gridberry-created")
        note.touch()
        assert shell(f"put_back {anew} && none_left {note}").returncode == 0
        assert anew.read_text() == "mine\n"
