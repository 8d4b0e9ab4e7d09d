"""`./gridberry prepare`: on real FAT, what it writes, keeps and refuses."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.card import cloud_init, prepare
from fleet.card.place import CardImage, MountedCard, open_place
from fleet.card.settings import FirstBoot, read_address, read_keys, read_wifi

from .conftest import BOOKWORM, CMDLINE, OFFSET, TRIXIE

Card = Callable[..., Path]
HASH = "$6$saltsalt$" + "a" * 86
NETPLAN = Path(os.environ.get("GRIDBERRY_NETPLAN", "/usr/libexec/netplan/generate"))
CLOUD_INIT = os.environ.get("GRIDBERRY_CLOUD_INIT", "/usr/lib/python3/dist-packages")


def words(image: Path, key: Path, *more: str) -> list[str]:
    return [str(image), "--host", "pi1", "--user", "trader", "--key", str(key), *more]


def status_of(line: list[str]) -> object:
    try:
        return prepare.main(line)
    except SystemExit as end:
        return end.code


def read(image: Path, name: str) -> str:
    return CardImage(image, OFFSET).read(name).decode()


def secret(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def document(image: Path, name: str) -> Any:
    return yaml.safe_load(read(image, name))


def test_a_wired_trixie(card: Card, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = card(TRIXIE)
    assert prepare.main(words(image, key)) == 0
    user = document(image, "user-data")
    assert read(image, "user-data").startswith("#cloud-config\n")
    assert user["hostname"] == "pi1"
    assert user["ssh_pwauth"] is False
    assert user["user"] == {
        "name": "trader",
        "shell": "/bin/bash",
        "lock_passwd": True,
        "ssh_authorized_keys": [key.read_text().strip()],
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
    }
    assert user["runcmd"][0] == ["systemctl", "enable", "--now", "ssh"]
    kept = [f"/boot/firmware/{name}.before-prepare" for name in ("network-config", "user-data")]
    assert user["runcmd"][-1] == ["rm", "-f", *kept]
    eth0 = {"dhcp4": True, "dhcp6": True, "optional": True}
    network = {"version": 2, "ethernets": {"eth0": eth0}}
    assert document(image, "network-config") == {"network": network}
    name = document(image, "meta-data")["instance-id"]
    assert read(image, "cmdline.txt") == f"{CMDLINE.strip()} ds=nocloud;i={name}\n"
    for file in ("user-data", "meta-data", "network-config", "cmdline.txt"):
        assert read(image, file + ".before-prepare") == TRIXIE[file]
    said = capsys.readouterr().out
    assert "Next: flash this file as it is" in said
    assert "ssh trader@pi1.local" in said
    assert "Wi-Fi" not in said


def test_wifi_a_static_address_and_a_password(
    card: Card, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = card(TRIXIE)
    passphrase = secret(tmp_path, "correct horse")
    (tmp_path / "hash").touch(mode=0o600)
    (tmp_path / "hash").write_text(HASH)
    static = ["--address", "192.168.1.21/24", "--gateway", "192.168.1.1"]
    wifi = ["--wifi", "Home", "--country", "DE", "--wifi-passphrase-file", str(passphrase)]
    hashed = ["--password-hash-file", str(tmp_path / "hash")]
    assert prepare.main(words(image, key, *static, *wifi, *hashed)) == 0
    network = document(image, "network-config")["network"]
    wlan0 = network["wifis"]["wlan0"]
    key_of_wifi = read_wifi("Home", "correct horse", "DE").psk
    assert wlan0["access-points"] == {"Home": {"password": key_of_wifi}}
    assert wlan0["regulatory-domain"] == "DE"
    assert wlan0["addresses"] == ["192.168.1.21/24"]
    assert wlan0["routes"] == [{"to": "default", "via": "192.168.1.1"}]
    assert wlan0["dhcp4"] is False
    assert network["ethernets"]["eth0"]["dhcp4"] is True
    user = document(image, "user-data")
    assert user["user"]["passwd"] == HASH
    assert user["user"]["lock_passwd"] is False
    assert "sudo" in user["user"]
    assert user["user"]["sudo"] is None
    places = [f"/boot/firmware/{name}" for name in ("network-config", "user-data")]
    kept = [path + ".before-prepare" for path in places]
    assert user["runcmd"][-1] == ["rm", "-f", *places, *kept]
    said = capsys.readouterr().out
    assert "lies readable on the card until its first boot has removed it" in said
    assert "ssh trader@192.168.1.21" in said
    assert "correct horse" not in image.read_bytes().decode("latin-1")


def test_the_key_of_a_wifi_is_what_ieee_802_11_says() -> None:
    # The standard's own example, IEEE 802.11-2012, M.4.3.
    key = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    assert read_wifi("IEEE", "password", "US").psk == key
    assert read_wifi("IEEE", key.upper(), "US").psk == key


def test_a_second_time_it_replaces_its_own_words_and_keeps_the_first_originals(
    card: Card, key: Path
) -> None:
    image = card(TRIXIE)
    assert prepare.main(words(image, key)) == 0
    first = read(image, "cmdline.txt")
    assert prepare.main(words(image, key)) == 0
    assert read(image, "cmdline.txt") == first
    assert prepare.main([*words(image, key)[:2], "pi2", *words(image, key)[3:]]) == 0
    second = read(image, "cmdline.txt")
    assert second != first
    assert second.count("ds=nocloud") == 1
    assert read(image, "cmdline.txt.before-prepare") == CMDLINE
    assert prepare.main(words(image, key, "--release", "bookworm")) == 0
    assert "ds=nocloud" not in read(image, "cmdline.txt")


def test_an_image_without_a_partition_table(card: Card, key: Path) -> None:
    image = card(TRIXIE, partitioned=False)
    assert prepare.main(words(image, key)) == 0
    assert b"ds=nocloud" in CardImage(image, 0).read("cmdline.txt")


def test_the_file_system_is_whole_afterwards(card: Card, key: Path, tmp_path: Path) -> None:
    image = card(TRIXIE)
    assert prepare.main(words(image, key)) == 0
    (tmp_path / "fat").write_bytes(image.read_bytes()[OFFSET:])
    checked = subprocess.run(
        ["fsck.vfat", "-n", tmp_path / "fat"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    assert ".gridberry-new" not in " ".join(CardImage(image, OFFSET).names())


def test_a_mounted_card_is_flushed_name_first(tmp_path: Path, monkeypatch: Any) -> None:
    for name, text in TRIXIE.items():
        (tmp_path / name).write_text(text)
    seen: list[tuple[str, bool, bytes]] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        real(descriptor)
        flushed = Path(f"/proc/self/fd/{descriptor}").readlink().name
        new = (tmp_path / "cmdline.txt.gridberry-new").exists()
        seen.append((flushed, new, (tmp_path / "cmdline.txt").read_bytes()))

    monkeypatch.setattr(os, "fsync", note)
    MountedCard(tmp_path).write({"cmdline.txt": b"new\n"})
    old = CMDLINE.encode()
    assert seen == [
        ("cmdline.txt.gridberry-new", True, old),
        (tmp_path.name, False, b"new\n"),
        ("cmdline.txt", False, b"new\n"),
    ]


def test_a_card_without_room_is_left_as_it_was(card: Card) -> None:
    image = card(TRIXIE)
    place = CardImage(image, OFFSET)
    with pytest.raises(Exception, match="no room for big"):
        place.write({"cmdline.txt": b"root=/dev/x\n", "big": bytes(60 * 1024**2)})
    assert read(image, "cmdline.txt") == CMDLINE
    assert ".gridberry-new" not in " ".join(place.names())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_real_mounted_card(card: Card, key: Path, tmp_path: Path) -> None:
    image = card(TRIXIE, partitioned=False)
    (tmp_path / "bootfs").mkdir()
    mount = ["mount", "-o", "loop", "-t", "vfat", image, tmp_path / "bootfs"]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"vfat cannot be mounted here: {done.stderr.strip()}")
    try:
        assert prepare.main(words(tmp_path / "bootfs", key)) == 0
    finally:
        subprocess.run(["umount", tmp_path / "bootfs"], check=True)
    assert b"ds=nocloud" in CardImage(image, 0).read("cmdline.txt")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_is_mounted_but_not_fat_is_refused(
    key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mount = subprocess.run(["mount", "-t", "tmpfs", "x", tmp_path], check=False)
    if mount.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        assert prepare.main([str(tmp_path), *words(tmp_path, key)[1:-1], "/dev/null"]) == 2
        (tmp_path / "id.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== x\n")
        assert prepare.main(words(tmp_path, tmp_path / "id.pub")) == 2
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert "is tmpfs; a Pi's boot partition is FAT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--host", "Pi_1", "--host is 'Pi_1'"),
        ("--user", "root", "--user is 'root'"),
        ("--user", "A b", "--user is 'A b'"),
        ("--address", "192.168.1.0/24", "--address is '192.168.1.0/24'"),
        ("--address", "192.168.1.21", "--address is '192.168.1.21'"),
        ("--address", "x", "--address is 'x'"),
        ("--gateway", "10.0.0.1", "another host of 192.168.1.0/24"),
        ("--gateway", "192.168.1.21", "another host of 192.168.1.0/24"),
        ("--country", "de", "--country is 'de'"),
        ("--wifi", "x" * 33, "1 to 32 printable bytes"),
        ("--wifi", "a\nb", "1 to 32 printable bytes"),
        ("--release", "buster", "invalid choice"),
    ],
)
def test_wrong_use_is_one_line(
    *, key: Path, tmp_path: Path, capsys: Any, option: str, value: str, said: str
) -> None:
    options = {
        "--host": "pi1", "--user": "trader", "--key": str(key), "--wifi": "Home", "--country": "DE",
        "--wifi-passphrase-file": str(secret(tmp_path, "12345678")),
        "--address": "192.168.1.21/24", "--gateway": "192.168.1.1",
    }  # fmt: skip
    options[option] = value
    line = [word for pair in options.items() for word in pair]
    assert status_of([str(tmp_path / "none.img"), *line]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda card, _: card({"config.txt": "x"}), "there is no cmdline.txt"),
        (lambda card, _: card({"cmdline.txt": "x"}), "there is no config.txt"),
        (lambda card, _: card(TRIXIE | {"cmdline.txt": "quiet\n"}), "names no root="),
        (lambda card, _: card(TRIXIE | {"cmdline.txt": "root=a\nb\n"}), "has 2 lines"),
        (lambda card, _: card({"cmdline.txt": CMDLINE, "config.txt": ""}), "add --release"),
        (lambda card, _: card(TRIXIE, kind=0x83), "has no FAT partition"),
        (lambda _, path: path / "none.img", "there is no such image"),
        (lambda _, path: path, "nothing is mounted there"),
        (lambda *_: Path("/"), "belongs to the system that runs here"),
        (lambda *_: Path("/boot"), "belongs to the system that runs here"),
    ],
)
def test_what_is_no_card_is_refused_and_left_alone(
    *, card: Card, key: Path, tmp_path: Path, capsys: Any, make: Any, said: str
) -> None:
    path = make(card, tmp_path)
    before = path.read_bytes() if path.is_file() else b""
    assert prepare.main(words(path, key)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not path.is_file() or path.read_bytes() == before


def test_a_packed_image_and_a_private_key_are_named(key: Path, tmp_path: Path, capsys: Any) -> None:
    packed = tmp_path / "os.img.xz"
    packed.write_bytes(b"\xfd7zXZ\x00rest")
    assert prepare.main(words(packed, key)) == 2
    assert "unpack it first: xz -dk os.img.xz" in capsys.readouterr().err
    assert prepare.main(words(packed, key.with_suffix(""))) == 2
    assert "is a private key; name the public one" in capsys.readouterr().err


def test_a_disk_is_refused() -> None:
    disks = [path for path in Path("/dev").iterdir() if path.is_block_device()]
    if not disks:
        pytest.skip("no block device is here")
    with pytest.raises(Exception, match="is a whole disk or a partition"):
        open_place(disks[0])


def test_a_passphrase_is_never_taken_from_the_command_line_or_a_readable_file(
    card: Card, key: Path, tmp_path: Path, capsys: Any
) -> None:
    image = card(TRIXIE)
    wifi = words(image, key, "--wifi", "Home", "--country", "DE")
    assert prepare.main(wifi) == 2
    assert "asks for the passphrase" in capsys.readouterr().err
    path = secret(tmp_path, "12345678")
    path.chmod(0o644)
    assert prepare.main([*wifi, "--wifi-passphrase-file", str(path)]) == 2
    assert "set its mode to 0600" in capsys.readouterr().err


def test_a_passphrase_that_is_typed_is_not_shown(card: Card, key: Path) -> None:
    image = card(TRIXIE)
    line = words(image, key, "--wifi", "Home", "--country", "DE")
    screen, far = pty.openpty()
    command = [sys.executable, "-m", "fleet.card.prepare", *line]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        command, stdin=far, stdout=far, stderr=far, cwd=root, start_new_session=True
    ) as process:
        os.close(far)
        said = b""
        while not said.endswith(b": "):
            said += os.read(screen, 4096)
        os.write(screen, b"correct horse\n")
        with contextlib.suppress(OSError):  # Linux's word for the end
            while part := os.read(screen, 4096):
                said += part
    os.close(screen)
    assert process.returncode == 0, said
    assert b"Passphrase of the Wi-Fi Home: " in said
    assert b"correct horse" not in said
    points = document(image, "network-config")["network"]["wifis"]["wlan0"]["access-points"]
    assert points == {"Home": {"password": read_wifi("Home", "correct horse", "DE").psk}}


def test_bookworm_is_known_by_its_date(card: Card, key: Path) -> None:
    image = card(BOOKWORM)
    assert prepare.main(words(image, key)) == 0
    run = "systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot"
    end = f" {run} systemd.unit=kernel-command-line.target\n"
    assert read(image, "cmdline.txt") == CMDLINE.strip() + end
    assert "set_hostname pi1" in read(image, "firstrun.sh")
    assert not CardImage(image, OFFSET).names() & {"user-data", "meta-data"}


def every_setting() -> list[FirstBoot]:
    """Settings of every kind."""
    keys = read_keys('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== it\'s "me"\n', "k")
    wifi = read_wifi('Say "hi" \\ 日本: #1', "correct horse", "JP")
    address = read_address("10.1.2.3/16", "10.1.0.1")
    return [
        FirstBoot("pi1", "trader", keys, password, network, static)
        for password in ("", HASH)
        for network in (None, wifi)
        for static in (None, address)
    ]


@pytest.mark.parametrize("settings", every_setting(), ids=lambda s: s.device + s.password_hash[:2])
def test_cloud_init_finds_nothing_wrong(settings: FirstBoot, tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, (CLOUD_INIT, os.environ.get("PYTHONPATH", ""))))
    if not (Path(CLOUD_INIT) / "cloudinit").is_dir() and not importlib.util.find_spec("cloudinit"):
        pytest.skip("cloud-init is not here; GRIDBERRY_CLOUD_INIT names where it is unpacked")
    files = cloud_init.files(settings, ".before-prepare")
    for name, kind in (("user-data", "cloud-config"), ("network-config", "network-config")):
        text = files[name]
        if kind == "network-config":
            # cloud-init's schema knows no wifis: where netplan is, it asks netplan instead (below).
            network = yaml.safe_load(text)["network"]
            network.pop("wifis", None)
            text = yaml.safe_dump({"network": network})
        (tmp_path / name).write_text(text)
        command = [sys.executable, "-m", "cloudinit.cmd.main", "schema"]
        checked = subprocess.run(
            [*command, "--schema-type", kind, "--config-file", tmp_path / name],
            check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        assert checked.returncode == 0, checked.stderr
        assert "Valid" in checked.stdout
        assert "deprecat" not in (checked.stdout + checked.stderr).lower()


@pytest.mark.parametrize("settings", every_setting(), ids=lambda s: s.device + s.password_hash[:2])
def test_netplan_makes_connections_of_it(settings: FirstBoot, tmp_path: Path) -> None:
    if not NETPLAN.exists():
        pytest.skip("netplan is not here; GRIDBERRY_NETPLAN names its program `generate`")
    file = tmp_path / "etc" / "netplan" / "50-cloud-init.yaml"
    file.parent.mkdir(parents=True)
    network = cloud_init.files(settings, ".before-prepare")["network-config"]
    # Raspberry Pi OS says so in a file of its own.
    file.write_text(network.replace("version: 2", "version: 2\n  renderer: NetworkManager"))
    file.chmod(0o600)
    command = [NETPLAN, "--root-dir", tmp_path]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    connections = {
        path.name: path.read_text()
        for path in (tmp_path / "run/NetworkManager/system-connections").iterdir()
    }
    assert len(connections) == 1 + bool(settings.wifi)
    wlan0 = next((text for name, text in connections.items() if "wlan0" in name), "")
    static = wlan0 if settings.wifi else connections["netplan-eth0.nmconnection"]
    assert ("address1=10.1.2.3/16\ndns=10.1.0.1;" in static) == bool(settings.address)
    if settings.wifi:
        assert f"psk={settings.wifi.psk}" in wlan0
        assert 'ssid=Say "hi" \\\\ 日本: #1' in wlan0
