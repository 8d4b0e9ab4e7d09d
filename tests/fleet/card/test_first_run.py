"""firstrun.sh of bookworm: its bytes, and what it does in a small root of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.card import first_run
from fleet.card.settings import FirstBoot, read_address, read_keys, read_wifi

HERE = Path(__file__).parent
KEYS = read_keys("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== it's me\n", "k")
WIFI = read_wifi("The Café's", "correct horse", "DE")
ADDRESS = read_address("192.168.1.21/24", "192.168.1.1")
HASH = "$6$saltsalt$" + "a" * 86
PROGRAMS = (
    "sh", "cat", "cut", "tr", "sed", "rm", "chmod", "chown", "install", "getent", "usermod",
    "groupmod", "chpasswd", "mkdir", "env",
)  # fmt: skip
# It notes how it was called, and writes a network as the real one does.
STAND_IN = """#!/bin/sh
{ printf '%s' "${0##*/}"; for word in "$@"; do printf '|%s' "$word"; done; echo; } >>/calls
if [ "$1" = set_wlan ]; then
    printf '[connection]\\nid=preconfigured\\n[wifi]\\nssid=%s\\n[ipv4]\\nmethod=auto\\n[ipv6]\\n' \
        "$2" >/etc/NetworkManager/system-connections/preconfigured.nmconnection
    printf 'method=auto\\n[wifi-security]\\npsk=%s\\n' "$3" \
        >>/etc/NetworkManager/system-connections/preconfigured.nmconnection
fi
"""


def text(settings: FirstBoot) -> str:
    return first_run.files(settings)["firstrun.sh"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("wired", FirstBoot("pi1", "trader", KEYS)),
        ("all", FirstBoot("pi2", "trader", KEYS, HASH, WIFI, ADDRESS)),
    ],
)
def test_its_bytes(name: str, settings: FirstBoot) -> None:
    assert text(settings) == (HERE / f"firstrun-{name}.sh").read_text()


def put_program(root: Path, name: str) -> None:
    """Copy a program and the libraries that it needs."""
    path = Path(shutil.which(name) or pytest.skip(f"{name} is not here")).resolve()
    (root / "usr/bin" / name).write_bytes(path.read_bytes())
    (root / "usr/bin" / name).chmod(0o755)
    needs = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    for library in re.findall(r"/\S+", needs):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)


def stand_in(root: Path, path: str) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(STAND_IN)
    file.chmod(0o755)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with what the script runs, and a first user as Raspberry Pi OS has it."""
    if os.geteuid() != 0:
        pytest.skip("only root can change its root directory")
    for folder in (
        "usr/bin", "usr/lib", "etc/ssh", "etc/sudoers.d", "home/pi", "boot", "dev", "proc", "tmp",
        "etc/NetworkManager/system-connections",
    ):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    for program in PROGRAMS:
        put_program(tmp_path, program)
    for program in ("systemctl", "rfkill", "iw"):
        stand_in(tmp_path, f"/usr/bin/{program}")
    for name, content in {
        "etc/passwd": "root:x:0:0:root:/:/bin/sh\npi:x:1000:1000:,,,:/home/pi:/bin/sh\n",
        "etc/shadow": "root:*:1::::::\npi:!:1::::::\n",
        "etc/group": "root:x:0:\npi:x:1000:\nsudo:x:27:pi\n",
        "etc/gshadow": "root:*::\npi:!::\nsudo:*::pi\n",
        "etc/hostname": "raspberrypi\n",
        "etc/hosts": "127.0.0.1\tlocalhost\n127.0.1.1\t\traspberrypi\n",
        "etc/ssh/sshd_config": "",
        "etc/sudoers.d/010_pi-nopasswd": "pi ALL=(ALL) NOPASSWD: ALL\n",
        "boot/cmdline.txt": "root=/dev/x quiet " + " ".join(first_run.KERNEL_WORDS) + "\n",
        "dev/null": "",
        "calls": "",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "etc/shadow").chmod(0o600)
    return tmp_path


def run(root: Path, settings: FirstBoot) -> None:
    (root / "boot/firstrun.sh").write_text(text(settings))
    done = subprocess.run(
        ["chroot", root, "/bin/sh", "/boot/firstrun.sh"],
        check=False, capture_output=True, text=True, env={"PATH": "/usr/bin:/usr/sbin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert not (root / "boot/firstrun.sh").exists()
    assert (root / "boot/cmdline.txt").read_text() == "root=/dev/x quiet\n"


def test_with_imager_custom(root: Path) -> None:
    for path in (first_run.IMAGER, first_run.USERCONF):
        stand_in(root, path)
    run(root, FirstBoot("pi2", "trader", KEYS, HASH, WIFI, ADDRESS))
    assert (root / "calls").read_text().splitlines() == [
        "imager_custom|set_hostname|pi2",
        f"imager_custom|enable_ssh|-k|{KEYS[0]}",
        f"userconf|trader|{HASH}",
        f"imager_custom|set_wlan|The Café's|{WIFI.psk}|DE",
    ]
    connection = root / "etc/NetworkManager/system-connections/preconfigured.nmconnection"
    assert connection.read_text() == (
        "[connection]\nid=preconfigured\n[wifi]\nssid=The Café's\n"
        "[ipv4]\nmethod=manual\naddress1=192.168.1.21/24,192.168.1.1\ndns=192.168.1.1;\n"
        f"[ipv6]\nmethod=auto\n[wifi-security]\npsk={WIFI.psk}\n"
    )
    assert not list((root / "etc/sudoers.d").iterdir())


def test_without_imager_custom(root: Path) -> None:
    run(root, FirstBoot("pi1", "trader", KEYS, "", WIFI, ADDRESS))
    assert (root / "etc/hostname").read_text() == "pi1\n"
    assert "127.0.1.1\tpi1\n" in (root / "etc/hosts").read_text()
    assert "trader:x:1000:1000:,,,:/home/trader:/bin/sh" in (root / "etc/passwd").read_text()
    assert "sudo:x:27:trader" in (root / "etc/group").read_text()
    keys = root / "home/trader/.ssh/authorized_keys"
    assert keys.read_text() == KEYS[0] + "\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert keys.stat().st_uid == 1000
    assert "PasswordAuthentication no" in (root / "etc/ssh/sshd_config").read_text()
    rule = root / "etc/sudoers.d/010_trader-nopasswd"
    assert rule.read_text() == "trader ALL=(ALL) NOPASSWD:ALL\n"
    assert rule.stat().st_mode & 0o777 == 0o440
    assert (root / "calls").read_text().splitlines() == [
        "systemctl|enable|ssh", "rfkill|unblock|wifi", "iw|reg|set|DE",
    ]  # fmt: skip
    connection = root / "etc/NetworkManager/system-connections/preconfigured.nmconnection"
    assert connection.stat().st_mode & 0o777 == 0o600
    written = connection.read_text()
    assert "method=manual\naddress1=192.168.1.21/24,192.168.1.1\ndns=192.168.1.1;\n" in written
    assert "ssid=The Café's\n" in written
    assert written.endswith(f"[wifi-security]\nkey-mgmt=wpa-psk\npsk={WIFI.psk}\n")


def test_a_wired_static_address(root: Path) -> None:
    run(root, FirstBoot("pi1", "trader", KEYS, "", None, ADDRESS))
    connection = root / "etc/NetworkManager/system-connections/gridberry.nmconnection"
    assert connection.read_text() == (
        "[connection]\nid=gridberry\ntype=ethernet\ninterface-name=eth0\n"
        "[ipv4]\nmethod=manual\naddress1=192.168.1.21/24,192.168.1.1\ndns=192.168.1.1;\n"
        "[ipv6]\nmethod=auto\n"
    )
    assert connection.stat().st_mode & 0o777 == 0o600


def test_the_initramfs_of_bookworm_finds_where_it_cuts_the_script_off() -> None:
    # It keeps what comes before the first line that ends so, and writes its own end.
    lines = text(FirstBoot("pi2", "trader", KEYS, HASH, WIFI, ADDRESS)).splitlines()
    cut = [number for number, line in enumerate(lines) if re.search(r"rm.*firstrun\.sh$", line)]
    assert cut == [len(lines) - 3]
