"""The packets by the RFC's layout, and the server as a process."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from virtual_pi import time_server
from virtual_pi.machines import Machine
from virtual_pi.paths import CHECKOUT
from virtual_pi.ports import LOOPBACK, choose_ports
from virtual_pi.processes import is_alive, name_process
from virtual_pi.supervisor import Supervisor

CLIENT_SENT = 0x0123456789ABCDEF


def request(*, version: int = 4, mode: int = 3, poll: int = 6, length: int = 48) -> bytes:
    """A packet as clients send: all is zero but the first byte, the poll and the time sent."""
    first = version << 3 | mode
    packet = struct.pack("!BBb37xQ", first, 0, poll, CLIENT_SENT)
    return packet.ljust(length, b"\0")[:length]


def unix_time(stamp: int) -> float:
    """Seconds since 1970 of an NTP timestamp of this era."""
    return stamp / 2**32 - 2_208_988_800


def test_answer_is_laid_out_as_the_rfc_has_it() -> None:
    answer = time_server.answer(request(), received=5 * 10**9, sent=6 * 10**9 + 500_000_000)
    assert answer is not None
    assert len(answer) == 48
    assert answer[0] == 0b00_100_100  # no leap second, version 4, mode server
    assert answer[1] == 10
    assert answer[2] == 6
    assert answer[12:16] == bytes((127, 127, 1, 1))
    reference, origin, received, sent = struct.unpack("!QQQQ", answer[16:])
    assert origin == CLIENT_SENT
    assert (unix_time(reference), unix_time(received), unix_time(sent)) == (5, 5, 6.5)


def test_answer_has_the_version_of_the_question() -> None:
    for version in (1, 2, 3, 4):
        answer = time_server.answer(request(version=version), 0, 0)
        assert answer is not None
        assert answer[0] >> 3 & 7 == version


@pytest.mark.parametrize(
    "packet",
    [b"", request(length=47), request(mode=4), request(mode=6), request(mode=1),
     request(version=0), request(version=5)],
    ids=["empty", "short", "answer", "control", "symmetric", "version 0", "version 5"],
)  # fmt: skip
def test_what_no_client_sends_is_not_answered(packet: bytes) -> None:
    assert time_server.answer(packet, 0, 0) is None


def test_extensions_after_the_header_are_ignored() -> None:
    answer = time_server.answer(request(length=48 + 28), 0, 0)
    assert answer is not None
    assert len(answer) == 48


def test_time_goes_on_after_the_era_ends_in_2036() -> None:
    end_of_era = (2**32 - 2_208_988_800) * 10**9
    assert time_server.timestamp(end_of_era - 10**9) >> 32 == 2**32 - 1
    assert time_server.timestamp(end_of_era + 10**9) >> 32 == 1


def ask(port: int) -> bytes:
    """What a server says that is given some time to come up."""
    deadline = time.monotonic() + 30
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect((LOOPBACK, port))
        while time.monotonic() < deadline:
            # Refused until somebody listens, silent while it starts.
            with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                client.send(request())
                return client.recv(100)
    pytest.fail(f"nothing answers on UDP port {port}")


@pytest.fixture
def server() -> Iterator[int]:
    """A server as its own process; its port."""
    [port] = choose_ports(1, taken=())
    command = [sys.executable, "-m", "virtual_pi.time_server", str(port)]
    process = subprocess.Popen(command, cwd=CHECKOUT)
    yield port
    process.kill()
    process.wait()


def test_server_tells_this_computers_time(server: int) -> None:
    before = time.time()
    answer = ask(server)
    received, sent = struct.unpack("!QQ", answer[32:])
    assert before - 1e-3 <= unix_time(received) <= unix_time(sent) <= time.time() + 1e-3


def test_packets_that_are_no_questions_do_not_end_it(server: int) -> None:
    ask(server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for packet in (b"", b"\xff" * 47, os.urandom(1024), b"x" * 4000):
            client.sendto(packet, (LOOPBACK, server))
    assert ask(server)


def test_port_that_another_program_holds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_server, "BIND_SECONDS", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, 0))
        port = other.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["time_server", str(port)])
        with pytest.raises(SystemExit, match=f"UDP port {port} of {LOOPBACK}: Address already"):
            time_server.main()


def test_the_machines_of_one_snapshot_share_a_port(server: int) -> None:
    ask(server)
    with time_server.bind(server) as another:
        assert another.getsockname()[1] == server


def test_machine_has_one_of_its_own_while_it_is_on(machine: Machine) -> None:
    process = Supervisor(machine)._start_time_server()
    name = name_process(process.pid)
    try:
        assert machine.describe()["time_port"] == machine.settings().time_port
        assert ask(machine.settings().time_port)
    finally:
        process.kill()
        process.wait()
    assert not is_alive(name)
