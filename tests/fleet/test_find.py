"""`./gridberry find`: its messages, its tables, and a network of its own with two hosts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import find, mdns

ROOT = Path(__file__).resolve().parents[2]
RESPONDER = Path(__file__).with_name("responder.py")
HERE, THERE = "10.77.0.1", "10.77.0.2"
MAC = "dc:a6:32:01:02:03"
IP_NEIGH = """\
192.168.1.21 dev eth0 lladdr dc:a6:32:01:02:03 REACHABLE
192.168.1.1 dev eth0 lladdr 00:11:22:33:44:55 router STALE
192.168.1.9 dev eth0  FAILED
fe80::dea6:32ff:fe01:203 dev eth0 lladdr dc:a6:32:01:02:03 STALE
"""
ARP = """\
? (192.168.1.22) at b8:27:eb:1:2:3 on en0 ifscope [ethernet]
? (192.168.1.9) at (incomplete) on en0 ifscope [ethernet]
"""
IP_ADDR = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
    inet 127.0.0.1/8 scope host lo
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 192.168.1.5/24 brd 192.168.1.255 scope global dynamic eth0
"""
IFCONFIG = """\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
\tinet 127.0.0.1 netmask 0xff000000
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tinet 192.168.1.6 netmask 0xffffff00 broadcast 192.168.1.255
"""


def message(*answers: bytes, flags: int = 0x8400, questions: int = 0) -> bytes:
    return struct.pack("!6H", 7, flags, questions, len(answers), 0, 0) + b"".join(answers)


def answer(name: bytes, kind: int, data: bytes, kind_class: int = 1) -> bytes:
    return name + struct.pack("!2HIH", kind, kind_class, 120, len(data)) + data


def test_the_tables_of_linux_and_macos() -> None:
    assert find.neighbors_in(IP_NEIGH)["192.168.1.21"] == MAC
    assert set(find.neighbors_in(IP_NEIGH)) == {
        "192.168.1.21", "192.168.1.1", "fe80::dea6:32ff:fe01:203",
    }  # fmt: skip
    assert find.neighbors_in(ARP) == {"192.168.1.22": "b8:27:eb:01:02:03"}
    assert find.interfaces_in(IP_ADDR) == ["192.168.1.5"]
    assert find.interfaces_in(IFCONFIG) == ["192.168.1.6"]


def test_a_host_is_listed_once_and_a_pi_without_a_name_too() -> None:
    named = {"pi1": {"fe80::dea6:32ff:fe01:203", "192.168.1.21"}, "desk": {"192.168.1.1"}}
    neighbors = find.neighbors_in(IP_NEIGH + ARP)
    desk, first, nameless = find.merged(named, neighbors)
    assert (desk.name, desk.raspberry) == ("desk", False)
    assert first == find.Pi("pi1", ("192.168.1.21", "fe80::dea6:32ff:fe01:203"), MAC)
    assert first.raspberry
    assert nameless == find.Pi("", ("192.168.1.22",), "b8:27:eb:01:02:03")
    lines = find.table([desk, first, nameless]).splitlines()
    assert lines[0] == "desk.local  192.168.1.1"
    assert lines[1] == "pi1.local   192.168.1.21  Raspberry Pi  fe80::dea6:32ff:fe01:203"
    assert lines[2] == "(no name)   192.168.1.22  Raspberry Pi"


def test_a_question_is_one_that_a_resolver_reads() -> None:
    asked = mdns.question(["pi1"])
    assert struct.unpack_from("!6H", asked)[1:] == (0, 4, 0, 0, 0)
    # RFC 6762, 5.4: an answer straight to whoever asks is enough.
    assert b"\x03pi1\x05local\x00\x00\x01\x80\x01" in asked
    assert b"\x04_ssh\x04_tcp\x05local\x00\x00\x0c\x80\x01" in asked


def test_answers_with_pointers_and_the_flush_bit() -> None:
    name = b"\x03Pi1\x05local\x00"
    first = answer(name, mdns.A, bytes([192, 168, 1, 21]), 0x8001)
    second = answer(b"\xc0\x0c", mdns.AAAA, socket.inet_pton(socket.AF_INET6, "fe80::1"))
    found = mdns.records(message(first, second))
    assert mdns.hosts(found) == {"pi1": {"192.168.1.21", "fe80::1"}}
    assert mdns.records(message(first, flags=0)) == []
    assert mdns.records(message(answer(name, mdns.A, bytes(4), 254))) == []


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"no message",
        message(answer(b"\xc0\x0c", mdns.A, bytes(4))),  # a pointer to itself
        message(answer(b"\xc0\xff", mdns.A, bytes(4))),  # one behind the end
        message(b"\x03pi1"),
        message(answer(b"\x3f" + b"a" * 63 + b"\x40", mdns.A, bytes(4))),
        message(answer((b"\x3f" + b"a" * 63) * 5 + b"\0", mdns.A, bytes(4))),
        message(answer(b"\x02\xff\xfe\0", mdns.A, bytes(4))),
    ],
)
def test_broken_messages_are_refused(broken: bytes) -> None:
    with pytest.raises(mdns.BadMessageError):
        mdns.records(broken)


def test_no_message_whatever_its_bytes_does_more_than_be_refused() -> None:
    good = message(answer(b"\x03pi1\x05local\x00", mdns.A, bytes(4)))
    for place in range(len(good)):
        for value in (0, 1, 63, 64, 192, 255):
            changed = good[:place] + bytes([value]) + good[place + 1 :]
            for text in (changed, changed[:place]):
                with contextlib.suppress(mdns.BadMessageError):
                    mdns.records(text)


def test_a_name_cannot_write_to_the_terminal() -> None:
    evil = answer(b"\x05\x1b[31m\x05local\x00", mdns.A, bytes(4))
    assert mdns.hosts(mdns.records(message(evil))) == {}


@pytest.mark.parametrize("words", [["pi_1"], ["--seconds", "0"], ["--fast"]])
def test_wrong_use_is_exit_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        find.main(words)
    assert end.value.code == 2


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them; the far end's card is a Raspberry Pi's."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("only root can make a network namespace, with iproute2")
    here, there = (f"gb-{os.getpid()}-{end}" for end in "ab")
    made = subprocess.run(["ip", "netns", "add", here], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    try:
        ip("netns", "add", there)
        ends = ("va", "netns", here), ("vb", "netns", there)
        ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
        ip("-n", there, "link", "set", "vb", "address", MAC)
        for namespace, end, address in ((here, "va", HERE), (there, "vb", THERE)):
            ip("-n", namespace, "addr", "add", f"{address}/24", "brd", "+", "dev", end)
            ip("-n", namespace, "link", "set", end, "up")
        yield here, there
    finally:
        for namespace in (here, there):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


def run_find(namespace: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "fleet.find", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture
def responder(network: tuple[str, str]) -> Iterator[str]:
    here, there = network
    command = ["ip", "netns", "exec", there, sys.executable, str(RESPONDER), THERE, "pi1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield here
        finally:
            process.terminate()


def test_a_pi_is_found_by_its_name(responder: str) -> None:
    done = run_find(responder, "PI1.local", "--json", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    pi = {"name": "pi1", "addresses": [THERE], "mac": MAC, "raspberry": True}
    assert json.loads(done.stdout) == [pi]


def test_all_pis_are_found_by_what_they_announce(responder: str) -> None:
    done = run_find(responder, "--seconds", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"pi1.local  {THERE}  Raspberry Pi\n"


def test_one_that_is_missing_is_named(responder: str) -> None:
    done = run_find(responder, "pi1", "pi2", "--seconds", "1")
    assert done.returncode == 1
    assert "pi1.local" in done.stdout
    assert done.stderr.startswith("gridberry: pi2: no answer in 1 s.")
    assert done.stderr.count("\n") == 1


def test_a_network_without_pis(network: tuple[str, str]) -> None:
    done = run_find(network[0], "--seconds", "1")
    assert done.returncode == 1
    assert done.stderr.startswith("gridberry: no host: no answer")


def test_without_a_network(network: tuple[str, str]) -> None:
    ip("-n", network[0], "link", "set", "va", "down")
    ip("-n", network[0], "addr", "flush", "dev", "va")
    done = run_find(network[0], "pi1", "--seconds", "1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_debians_avahi_is_found(network: tuple[str, str], tmp_path: Path) -> None:
    avahi = shutil.which("avahi-daemon", path=os.environ["PATH"] + ":/usr/sbin")
    if not avahi:
        pytest.skip("avahi-daemon is not here")
    here, there = network
    (tmp_path / "avahi.conf").write_text(
        "[server]\nhost-name=pi1\nenable-dbus=no\nuse-ipv6=no\n[publish]\npublish-workstation=yes\n"
    )
    # Users and a folder of run files that the system's own stay free of.
    for name, line in (
        ("passwd", "avahi:x:65000:65000::/:/bin/false"),
        ("group", "avahi:x:65000:"),
    ):
        (tmp_path / name).write_text(f"root:x:0:{'0::/:/bin/sh' * (name == 'passwd')}\n{line}\n")
    binds = " ".join(
        f"mount --bind {tmp_path}/{name} /etc/{name} &&" for name in ("passwd", "group")
    )
    command = ["ip", "netns", "exec", there, "unshare", "--mount", "sh", "-c"]
    daemon = f"{binds} mount -t tmpfs run /run && exec {avahi} --no-drop-root --no-chroot -f"
    with subprocess.Popen([*command, f"{daemon} {tmp_path}/avahi.conf"]) as process:
        try:
            done = run_find(here, "pi1", "--json", "--seconds", "6")
            announced = run_find(here, "--json", "--seconds", "3")
        finally:
            process.terminate()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["addresses"][0] == THERE
    assert [pi["name"] for pi in json.loads(announced.stdout)] == ["pi1"], announced.stderr
