"""What preflight says of a host: its real script against fixture trees, and what is made of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from roles.preflight.filter_plugins import preflight

ROOT = Path(__file__).resolve().parents[2]
LOOK = ROOT / "roles/preflight/files/look.sh"
PI = ROOT / "tests/fixtures/pi"
WANTED = {
    "nvme_device": "",
    "free_mb": 1,
    "memory_mb": 850,
    "releases": ["bookworm", "trixie"],
    "architectures": ["aarch64", "x86_64"],
    "sudo": True,
    "throttled": "warn",
    "clock_seconds": 60,
    "ipv6_off": False,
    "address": "pi4.local",
    "host": "pi4",
    "pciex1": False,
    "boot_only": False,
    "drive": True,
    "boot": True,
    "limits": {},
}
GOOD = """clock -2
user trader
sudo yes
machine aarch64
packages arm64
board Raspberry Pi 4 Model B Rev 1.4
release trixie
family debian
free 9000
memory 906
python yes
disks /dev/mmcblk0 (30G)
throttled 0x0
temperature 47712
"""


@pytest.fixture
def host(tmp_path):
    """The function that runs the script on a host of paper; it returns what the script said."""
    for name in ("etc", "proc", "dpkg/updates", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=trixie\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:         927744 kB\nMemFree: 1 kB\n")
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 1\nprocessor\t: 1\n")
    (tmp_path / "proc/mounts").write_text("/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n")

    def look(board: str = "pi4", answers: str = "", clock: int = 0, proc: str = "proc") -> str:
        link = tmp_path / "proc/device-tree"
        link.unlink(missing_ok=True)
        link.symlink_to((PI / board / "sys/firmware/devicetree/base").resolve())
        sys = PI / board / "sys" if not (tmp_path / "sys").exists() else tmp_path / "sys"
        (tmp_path / "answers").write_text(answers)
        path = [str(tmp_path / "bin"), os.environ["PATH"]]
        if answers:
            path.insert(0, str(PI / "bin"))
        result = subprocess.run(
            ["sh", "-c", f"NVME=; CLOCK=$(($(date +%s) - {clock}))\n{LOOK.read_text()}"],
            check=True,
            env={
                "PATH": ":".join(path),
                "PROC": str(tmp_path / proc),
                "SYS": str(sys),
                "ETC": str(tmp_path / "etc"),
                "DPKG": str(tmp_path / "dpkg"),
                "BOOT": str(tmp_path / "boot"),
                "VCGENCMD_ANSWERS": str(tmp_path / "answers"),
            },
            capture_output=True,
            text=True,
        )
        assert result.stderr == ""
        return result.stdout

    look.path = tmp_path
    return look


def program(host, name: str, text: str) -> None:
    """Put a program of paper before the real one."""
    (host.path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
    (host.path / "bin" / name).chmod(0o755)


@pytest.mark.parametrize(
    ("board", "model"),
    [
        ("pi3b+", "Raspberry Pi 3 Model B Plus Rev 1.3"),
        ("pi4", "Raspberry Pi 4 Model B Rev 1.4"),
        ("cm4", "Raspberry Pi Compute Module 4 Rev 1.1"),
        ("pi5", "Raspberry Pi 5 Model B Rev 1.0"),
        ("virtual", "linux,dummy-virt"),
    ],
)
def test_every_board_is_known_and_healthy(host, board, model):
    look = host(board, "get_throttled throttled=0x0\n")
    found = preflight.looked(look)
    assert found["board"] == model
    assert found["memory"] == "906"
    assert preflight.host_problems(look, WANTED) == []
    assert preflight.host_warnings(look, WANTED) == []


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"grid_bot_memory": "450m", "grid_bot_exchange_memory": "262144K"}, ""),
        (
            {"grid_bot_memory": "451M", "grid_bot_exchange_memory": "256mb"},
            (
                "grid_bot_memory is 451M and grid_bot_exchange_memory is 256mb: the board has"
                " 706 MB for containers; use less, or another board"
            ),
        ),
        ({"grid_bot_cpus": "2"}, ""),
        (
            {"grid_bot_cpus": "2.5"},
            "grid_bot_cpus is 2.5 and the board has 2 processors; use fewer",
        ),
        ({"grid_bot_memory": "lots"}, "grid_bot_memory is 'lots'; use a number such as 384m"),
        ({"grid_bot_cpus": "all"}, "grid_bot_cpus is 'all'; use a number such as 0.75"),
    ],
)
def test_limits_are_held_against_the_board(host, limits, said):
    found = preflight.host_problems(host(), WANTED | {"limits": limits})
    assert found == ([said] if said else [])


def test_the_monitoring_server_needs_trixie():
    look = GOOD.replace("trixie", "bookworm")
    assert preflight.host_problems(look, WANTED) == []
    [line] = preflight.host_problems(look, WANTED | {"keeps_metrics": True, "host": "pi1"})
    assert line.startswith("monitoring_server is pi1 and its system is bookworm")
    assert preflight.host_problems(GOOD, WANTED | {"keeps_metrics": True}) == []


@pytest.mark.parametrize(
    "model", ["Raspberry Pi Zero 2 W Rev 1.0", "Raspberry Pi 3 Model A Plus Rev 1.0"]
)
def test_a_board_with_too_little_memory_is_on_no_list(model):
    look = GOOD.replace("Raspberry Pi 4 Model B Rev 1.4", model).replace("906", "416")
    assert any("416 MB of memory" in line for line in preflight.host_problems(look, WANTED))
    lowered = WANTED | {"memory_mb": 400}
    assert preflight.host_problems(look, lowered) == []
    [line] = preflight.host_warnings(look, lowered)
    assert line == f"it is a {model}, which the roles were not made for; they go on"


@pytest.mark.parametrize(
    ("bits", "now", "once"),
    [
        ("0x1", ["too little voltage now"], []),
        ("0x50005", ["too little voltage now", "is throttled now"], []),
        ("0x8", ["soft temperature limit now"], []),
        (
            "0x50000",
            [],
            ["since its last boot its supply gave too little voltage, its processor was"],
        ),
    ],
)
def test_what_the_firmware_says_of_power_and_heat(host, bits, now, once):
    look = host(answers=f"get_throttled throttled={bits}\n")
    lines = preflight.host_warnings(look, WANTED)
    assert len(lines) == len(now + once)
    assert all(words in line for words, line in zip(now + once, lines, strict=True))
    assert preflight.host_problems(look, WANTED) == []
    refused = preflight.host_problems(look, WANTED | {"throttled": "fail"})
    assert len(refused) == len(now)
    assert all("preflight_throttled" in line for line in refused)
    assert preflight.host_warnings(look, WANTED | {"throttled": "fail"}) == lines[len(now) :]
    assert preflight.host_warnings(look, WANTED | {"throttled": "ignore"}) == []


def test_without_vcgencmd_the_kernels_sensors_are_asked(host):
    sensors = host.path / "sys/class"
    (sensors / "hwmon/hwmon1").mkdir(parents=True)
    (sensors / "thermal/thermal_zone0").mkdir(parents=True)
    (sensors / "hwmon/hwmon1/name").write_text("rpi_volt\n")
    (sensors / "hwmon/hwmon1/in0_lcrit_alarm").write_text("0\n")
    (sensors / "thermal/thermal_zone0/temp").write_text("79900\n")
    program(host, "vcgencmd", "exit 255")
    program(host, "sudo", "exit 1")
    assert preflight.host_warnings(host(), WANTED) == []
    (sensors / "thermal/thermal_zone0/temp").write_text("81234\n")
    [line] = preflight.host_warnings(host(), WANTED)
    assert "at 81 °C" in line
    (sensors / "hwmon/hwmon1/in0_lcrit_alarm").write_text("1\n")
    [line] = preflight.host_warnings(host(), WANTED)
    assert "too little voltage now" in line


@pytest.mark.parametrize("answers", ["/dev/null", "/nonexistent"])
def test_a_firmware_that_refuses_to_answer_is_as_none(host, answers):
    program(host, "vcgencmd", f'VCGENCMD_ANSWERS={answers} exec {PI}/bin/vcgencmd "$@"')
    program(host, "sudo", 'shift\nexec "$@"')
    assert "throttled" not in preflight.looked(host())
    assert preflight.host_warnings(host(), WANTED) == []


def test_program_that_only_root_may_ask_is_asked_as_root(host):
    program(host, "vcgencmd", "exit 255")
    program(host, "sudo", "[ $# -eq 3 ] && echo throttled=0x50000")
    assert preflight.looked(host())["throttled"] == "0x50000"


def test_disks_are_told_apart_in_any_language(host):
    program(host, "lsblk", 'echo "sda 29$([ "$LC_ALL" = C.UTF-8 ] && echo . || echo ,)7G disk"')
    assert preflight.looked(host())["disks"] == "/dev/sda (29.7G)"


def test_a_power_cut_during_an_installation_is_told(host):
    (host.path / "dpkg/updates/0001").write_text("")
    [line] = preflight.host_warnings(host(answers="get_throttled throttled=0x0\n"), WANTED)
    assert "dpkg was interrupted" in line


def test_a_disk_that_the_kernel_gave_up_is_refused(host):
    (host.path / "proc/mounts").write_text("/dev/mmcblk0p2 / ext4 ro,noatime 0 0\n")
    [line] = preflight.host_problems(host(), WANTED)
    assert "read-only" in line


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        (
            "overlayroot / overlay rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/x 0 0",
            "overlay",
        ),
        ("/dev/mmcblk0p2 /media/root-ro ext4 ro,relatime 0 0\ntmpfs-root / tmpfs rw 0 0", "tmpfs"),
        ("rootfs / rootfs rw 0 0\noverlayroot / overlay ro,relatime 0 0", "overlay"),
    ],
)
def test_a_system_that_forgets_everything_at_a_reboot_is_refused(host, mounts, kind):
    (host.path / "proc/mounts").write_text(f"{mounts}\n")
    [line] = preflight.host_problems(host(), WANTED)
    assert f"/ is {kind}" in line
    assert "Overlay File System" in line


def test_an_overlay_elsewhere_is_nobodys_matter(host):
    docker = "overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0"
    (host.path / "proc/mounts").write_text(f"/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n{docker}\n")
    assert preflight.host_problems(host(), WANTED) == []


PI5 = GOOD.replace("Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 5 Model B Rev 1.0")
COMMAND = "playbooks/harden.yml --tags boot_config --limit pi4"


@pytest.mark.parametrize(
    ("look", "hinted"),
    [
        (GOOD, False),
        (PI5, True),
        (PI5 + "pcie disabled\n", True),
        (PI5 + "pcie okay\n", False),  # a HAT+, and the drive is what is missing
        (PI5 + "pciex1 written\n", False),
        (PI5.replace("Pi 5 Model B", "Pi 500"), True),
        (PI5.replace("Pi 5 Model B", "Compute Module 5"), False),
        (PI5.replace("Pi 5 Model B", "Compute Module 5") + "pcie disabled\n", True),
    ],
)
def test_a_missing_drive_on_a_pi_5_may_need_a_setting(look, hinted):
    [line] = preflight.host_problems(look, WANTED | {"nvme_device": "/dev/nvme0n1"})
    assert "preflight_nvme_device is /dev/nvme0n1 and the host has no such block" in line
    assert ("boot_config_dtparam: [pciex1]" in line and COMMAND in line) is hinted
    assert preflight.host_problems(look, WANTED) == []


@pytest.mark.parametrize("device", ["", "/dev/nvme0n1"])
def test_drive_that_is_to_come_is_waited_for(device):
    """Else Docker's data would be on the card, and stay there."""
    wanted = WANTED | {"nvme_device": device, "pciex1": True}
    [line] = preflight.host_problems(PI5, wanted)
    assert "PCIe" in line
    assert COMMAND in line
    assert preflight.host_warnings(PI5, wanted) == []
    wanted["boot_only"] = True
    assert preflight.host_problems(PI5, wanted) == []
    [line] = preflight.host_warnings(PI5, wanted)
    assert "PCIe" in line
    assert COMMAND not in line
    # Not rebooted yet.
    [line] = preflight.host_problems(
        PI5 + "pcie disabled\npciex1 written\n", wanted | {"boot_only": False}
    )
    assert "playbooks/reboot.yml --limit pi4" in line
    there = PI5.replace("(30G)", "(30G), /dev/nvme0n1 (500G)") + "nvme yes\npcie okay\n"
    assert preflight.host_problems(there, wanted | {"boot_only": False}) == []
    assert preflight.host_warnings(there, wanted) == []


def test_only_an_nvme_drive_is_waited_for():
    wanted = WANTED | {"pciex1": True, "drive": False}
    assert preflight.host_problems(PI5, wanted) == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", False),
        ("dtparam=pciex1\n", True),
        ("dtparam=audio=off,nvme\n", True),
        ("  dtparam=pciex1=on # the drive\r\n", True),
        ("dtparam=pciex1_gen=3\n", False),
        ("#dtparam=pciex1\ndtparam=pciex1=off\n", False),
    ],
)
def test_pcie_is_looked_for_in_config_txt_and_the_kernel(host, text, written):
    (host.path / "boot").mkdir()
    (host.path / "boot/config.txt").write_text(text)
    found = preflight.looked(host("pi5"))
    assert ("pciex1" in found, "pcie" in found) == (written, False)
    shutil.copytree(PI / "pi5/sys/firmware/devicetree/base", host.path / "tree/device-tree")
    (host.path / "tree/device-tree/axi/pcie@1000110000").mkdir(parents=True)
    (host.path / "tree/device-tree/axi/pcie@1000110000/status").write_bytes(b"disabled\0")
    for name in ("meminfo", "mounts"):
        shutil.copy(host.path / "proc" / name, host.path / "tree" / name)
    assert preflight.looked(host("pi5", proc="tree"))["pcie"] == "disabled"


@pytest.mark.parametrize(
    ("mounts", "free", "says"),
    [
        ("/dev/mmcblk0p1 BOOT vfat rw,relatime 0 0\n", 5000, ""),
        ("/dev/mmcblk0p1 BOOT vfat rw 0 0\n", 255, "has 255 KB free and the boot files need 256"),
        ("/dev/mmcblk0p1 BOOT vfat ro,relatime 0 0\n", 5000, "mounted read-only"),
        # What is mounted last is what is seen.
        ("/dev/a BOOT vfat ro 0 0\n/dev/b BOOT vfat rw,errors=remount-ro 0 0\n", 5000, ""),
    ],
)
def test_a_boot_partition_that_cannot_be_written_is_told_first(host, mounts, free, says):
    place = str(host.path / "boot")
    (host.path / "boot").mkdir()
    (host.path / "boot/cmdline.txt").write_text("root=/dev/mmcblk0p2\n")
    (host.path / "proc/mounts").write_text(
        "/dev/mmcblk0p2 / ext4 rw 0 0\n" + mounts.replace("BOOT", place)
    )
    answer = f'case "$1" in -Pk) free={free} ;; *) free=9000 ;; esac'
    program(host, "df", f'{answer}; echo head; echo "/dev/x 9 9 $free 1% /x"')
    problems = preflight.host_problems(host(), WANTED)
    assert [says in line and line.startswith(place) for line in problems] == [True] * bool(says)
    assert preflight.host_problems(host(), WANTED | {"boot": False}) == []


ETHERNET = "2: eth0    inet 192.0.2.7/24 brd 192.0.2.255 scope global dynamic eth0"
DOCKER = "5: docker0    inet 10.213.0.1/26 brd 10.213.0.63 scope global docker0"
TUNNEL = "6: wg0    inet 10.9.0.2/32 scope global wg0"


@pytest.mark.parametrize(
    ("addresses", "address", "says"),
    [
        ([ETHERNET], "pi4.local", ""),
        ([DOCKER, ETHERNET], "192.0.2.7", ""),
        ([ETHERNET], "::ffff:192.0.2.7", ""),
        ([ETHERNET], "2001:db8::7", "ansible_host is 2001:db8::7"),
        ([ETHERNET], "fe80::7%eth0", "ansible_host is fe80::7%eth0"),
        ([ETHERNET], "[2001:db8::7]", "ansible_host is [2001:db8::7]"),
        ([], "pi4.local", "it has no IPv4 address"),
        ([DOCKER, TUNNEL], "pi4.local", "it has no IPv4 address"),
    ],
)
def test_ipv6_goes_only_where_the_host_is_reached_without(host, addresses, address, says):
    program(host, "ip", "\n".join(f"echo '{line}'" for line in addresses))
    wanted = WANTED | {"ipv6_off": True, "address": address}
    assert preflight.host_problems(host(), wanted) == []  # its kernel has none any more
    (host.path / "proc/sys/net/ipv6").mkdir(parents=True)
    lines = preflight.host_problems(host(), wanted)
    assert len(lines) == bool(says)
    assert all(says in line and "boot_config_cmdline_replace: []" in line for line in lines)
    assert preflight.host_problems(host(), wanted | {"ipv6_off": False}) == []


def test_without_a_program_that_knows_addresses_nobody_is_refused(host):
    program(host, "ip", "exit 127")
    (host.path / "proc/sys/net/ipv6").mkdir(parents=True)
    look = host()
    assert "ipv4" not in preflight.looked(look)
    assert preflight.host_problems(look, WANTED | {"ipv6_off": True}) == []


def wanted_of(tmp_path, hosts: dict[str, dict], *options: str) -> dict[str, dict]:
    """Return what the role compares each host with, by the host's settings and a run's options."""
    defaults = yaml.safe_load((ROOT / "roles/preflight/defaults/main.yml").read_text())
    inventory = {"all": {"hosts": hosts, "vars": {"ansible_connection": "local"} | defaults}}
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    tasks = [
        {"include_vars": str(ROOT / "roles/preflight/vars/main.yml")},
        {
            "copy": {
                "content": "{{ __preflight_wanted | to_json }}",
                "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}.json",
            },
            "vars": {"role_path": str(ROOT / "roles/preflight")},
        },
    ]
    play = {"hosts": "all", "gather_facts": False, "tags": ["always"], "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", tmp_path / "hosts.yml"),
            *(tmp_path / "play.yml", *options),
        ],
        check=True,
        cwd=ROOT,
        env=os.environ
        | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        | {"ANSIBLE_FILTER_PLUGINS": str(ROOT / "roles/preflight/filter_plugins")},
        capture_output=True,
    )
    return {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in hosts}


def test_what_a_host_is_judged_by_follows_from_its_settings(tmp_path):
    hosts: dict[str, dict] = {
        "usual": {},
        "disabled": {"boot_config_enabled": False},
        "undone": {"boot_config_state": "absent"},
        "kept": {"boot_config_cmdline_replace": []},
        "pcie": {"boot_config_dtparam": ["audio=off", "pciex1"]},
        "fast": {"boot_config_sections": {"pi5": ["dtparam=pciex1_gen=3"]}},
        "section": {"boot_config_sections": {"pi5": ["dtparam=nvme"]}, "storage_enabled": False},
        "undone_pcie": {"boot_config_dtparam": ["pciex1"], "boot_config_state": "absent"},
        "usb": {"storage_device": "/dev/sda"},
        "present": {
            "ansible_host": "192.0.2.7",
            "boot_config_cmdline_replace": [],
            "boot_config_cmdline_present": ["ipv6.disable=1"],
        },
    }
    found = wanted_of(tmp_path, hosts)

    def of(key: str) -> set[str]:
        return {name for name, wanted in found.items() if wanted[key]}

    assert of("boot") == hosts.keys() - {"disabled"}
    without = {"disabled", "undone", "kept", "undone_pcie"}
    assert of("ipv6_off") == hosts.keys() - without
    assert of("pciex1") == {"pcie", "section"}
    assert of("drive") == hosts.keys() - {"section", "usb"}
    assert of("boot_only") == set()
    assert (found["usual"]["address"], found["present"]["address"]) == ("usual", "192.0.2.7")


@pytest.mark.parametrize(
    ("options", "judged"),
    [
        (("--tags", "boot_config"), True),
        (("--tags", "boot_config,swap"), True),
        (("--tags", "swap"), False),
        (("--skip-tags", "boot_config"), False),
    ],
)
def test_ipv6_is_judged_in_runs_that_touch_boot_files(tmp_path, options, judged):
    wanted = wanted_of(tmp_path, {"pi4": {"boot_config_dtparam": ["pciex1"]}}, *options)["pi4"]
    assert (wanted["ipv6_off"], wanted["boot"]) == (judged, judged)
    assert wanted["pciex1"] is True
    assert wanted["boot_only"] is (options == ("--tags", "boot_config"))


@pytest.mark.parametrize(
    ("offset", "refused", "told"),
    [
        (0, False, False),
        (-59, False, False),
        (-3600, False, True),
        (3600, False, True),
        (-3 * 86400, True, False),
        (6 * 86400, False, True),
        (8 * 86400, True, False),
    ],
)
def test_clock_is_refused_only_where_apt_and_tls_would_fail(offset, refused, told):
    look = GOOD.replace("clock -2", f"clock {offset}")
    problems, warnings = (
        preflight.host_problems(look, WANTED),
        preflight.host_warnings(look, WANTED),
    )
    assert [bool(problems), bool(warnings)] == [refused, told]
    assert all("its clock is" in line for line in problems + warnings)


def test_clock_is_compared_with_the_controllers(host):
    assert int(preflight.looked(host(clock=5000))["clock"]) in range(5000, 5030)
    [line] = preflight.clock_lines({"clock": "-300"}, 60)
    assert "5 minutes behind this computer's (preflight_clock_seconds is 60)" in line


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("packages arm64", "packages armhf", "a 32-bit one (armhf) on a 64-bit kernel"),
        ("python yes\n", "", "sudo apt-get install python3 python3-apt"),
        ("memory 906", "memory 429", "it has 429 MB of memory and preflight_memory_mb is 850"),
    ],
)
def test_each_problem_is_one_line(old, new, says):
    assert preflight.host_problems(GOOD, WANTED) == []
    [line] = preflight.host_problems(GOOD.replace(old, new), WANTED)
    assert says in line


def test_a_board_of_next_year_is_told_and_let_through():
    look = GOOD.replace("Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 6 Model B Rev 1.0")
    assert preflight.host_problems(look, WANTED) == []
    [line] = preflight.host_warnings(look, WANTED)
    assert "Raspberry Pi 6 Model B" in line


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("ssh: connect to host 10.0.0.9 port 22: No route to host", "is it on"),
        ("trader@10.0.0.9: Permission denied (publickey).", "ssh-copy-id"),
        ("Host key verification failed.", "ssh-keygen -R"),
        ("ssh: Could not resolve hostname pi7: Name or service not known", "inventory"),
        ("", "no answer; is it on"),
    ],
)
def test_why_a_host_cannot_be_reached_is_one_line(said, hint):
    line = preflight.unreachable_problem(
        f"Failed to connect to the host via ssh: {said}\r\n" * bool(said)
    )
    assert hint in line
    assert "\n" not in line


@pytest.mark.parametrize("playbook", ["preflight.yml", "upgrade.yml"])
def test_a_host_that_cannot_be_reached_fails_the_run(tmp_path, playbook):
    off = "{ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0}"
    (tmp_path / "hosts.yml").write_text(f"trading:\n  hosts:\n    pi9: {off}\n")
    result = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", tmp_path / "hosts.yml"),
            *(ROOT / "playbooks" / playbook, "--check"),
        ],
        check=False,
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert re.search(r"pi9: it cannot be reached: ssh: connect to host .*is it on", said), said
