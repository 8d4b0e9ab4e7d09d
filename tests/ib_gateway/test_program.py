"""The program of the role ib_gateway: handshakes with real processes, states, pictures, files."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
from gridexchange.ib.account import AccountSettings
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock

from bot.tests.exchange.ib.conftest import GatewayClock, serving

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "roles/ib_gateway/files/ib_gateway"
TOLD = {
    "mode": "paper",
    "port": 4002,
    "account": "",
    "restart": "23:55",
    "sunday": "14:00",
    "second_factor": True,
    "start_seconds": 300,
    "pictures": 2,
}
WEDNESDAY = datetime(2026, 11, 25, 12, tzinfo=UTC)


def loaded(name: str) -> ModuleType:
    """A module of the program."""
    sys.path.insert(0, str(SOURCE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SOURCE))


handshake, states, display, install = map(loaded, ("handshake", "states", "display", "install"))


def settings(**more: object) -> object:
    """The role's settings."""
    return states.Settings(**TOLD | more)


@contextlib.contextmanager
def gateway(directory: Path, account: str) -> Iterator[int]:
    """The practice Gateway as a process; gives its port."""
    command = [sys.executable, "-m", "gridexchange.ib", "--state-directory", str(directory)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--account", account],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "bot/src")},
    )
    assert process.stdout
    try:
        yield int(process.stdout.readline().rsplit(":", 1)[1])
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def listener(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Somebody who listens and is no Gateway."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = server.accept()
                    answer(line)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_gateway_answers_and_its_account_has_to_fit(tmp_path):
    with gateway(tmp_path / "paper", "DU1234567") as port:
        said = handshake.handshake(port)
        assert (said.version, said.accounts) == (178, ("DU1234567",))
        assert said.misfit("paper", "") == said.misfit("paper", "DU1234567") == ""
        assert "is not logged in" in said.misfit("paper", "DU7654321")
        assert "is a paper account, and ib_gateway_mode is live" in said.misfit("live", "")
    with gateway(tmp_path / "live", "U1234567") as port:
        said = handshake.handshake(port)
        assert said.misfit("live", "") == ""
        refused = said.misfit("paper", "")
        assert refused == "U1... is a live account, and ib_gateway_mode is paper"
    with pytest.raises(handshake.AwayError, match=f"port {port}"):
        handshake.handshake(port)


def test_a_gateway_that_has_lost_its_servers_is_not_ready_though_it_answers(tmp_path, monkeypatch):
    ib_gateway = program()
    told = open_gateway(
        GatewaySettings(AccountSettings(), Stock()), MarketSettings(), tmp_path, GatewayClock()
    )
    with serving(told) as (port, call):
        own = settings(port=port)
        assert ib_gateway.ask(own)[0] == "ready"
        call(told.lose_link)
        lost = handshake.handshake(port)
        assert (lost.accounts, lost.linked) == (("DU1234567",), False)
        answer, why = ib_gateway.ask(own)
        assert answer == "offline"
        seen = states.Seen(WEDNESDAY, "active", 0, 9e4, answer, why)
        assert states.judge(seen, own) == ("offline", why)
        monkeypatch.setattr(ib_gateway, "told", lambda: own)
        assert ib_gateway.wait("0") == 1
        # It comes back while the check listens.
        threading.Timer(0.3, lambda: call(lambda: told.restore_link(data_lost=False))).start()
        assert handshake.handshake(port).linked
        assert ib_gateway.ask(settings(port=port, mode="live"))[0] == "misfit"


def test_an_account_of_the_wrong_kind_is_refused_among_right_ones():
    assert handshake.Answer(178, ("DU1234567", "U1234567")).misfit("paper", "DU1234567")


def test_a_client_id_in_use_is_no_reason_to_call_it_hung(tmp_path):
    with gateway(tmp_path, "DU1234567") as port:
        lines = []
        for client in handshake.CLIENT_IDS[:2]:
            line = handshake._Line(port, 10)
            line.send(greeting=b"API\0")
            line.frame()
            line.send(handshake.START_API, "2", str(client), "")
            line.frame()
            lines.append(line)
        assert handshake.handshake(port).accounts == ("DU1234567",)
        for line in lines:
            line.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (socket.socket.fileno, "does not answer within 0.3 s"),
        (lambda line: line.close(), "ends the connection|connection breaks"),
        (
            lambda line: line.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n"),
            "no Gateway: a message of",
        ),
        (lambda line: line.sendall(struct.pack(">I", 2 << 30)), "a message of 2147483648 bytes"),
        (lambda line: line.sendall(struct.pack(">I", 4) + b"abc\0"), "names no version"),
        (lambda line: line.sendall(struct.pack(">I", 0)), "a message of 0 bytes"),
    ],
    ids=["silent", "closes", "http", "too-long", "no-version", "empty"],
)
def test_what_is_no_gateway_is_said(answer, why):
    kept = []
    with (
        listener(lambda line: (kept.append(line), answer(line))) as port,
        pytest.raises(handshake.SilentError, match=why),
    ):
        handshake.handshake(port, 0.3)
    for line in kept:
        line.close()


def test_a_gateway_that_is_not_logged_in_has_no_account():
    def answer(line: socket.socket) -> None:
        def say(*fields: str) -> None:
            body = "".join(f"{one}\0" for one in fields).encode()
            line.sendall(struct.pack(">I", len(body)) + body)

        say("178", "20261125 12:00:00 UTC")
        say("9", "1", "7")
        say("15", "1", "")

    kept = []
    with (
        listener(lambda line: (kept.append(line), answer(line))) as port,
        pytest.raises(handshake.SilentError, match=r"within 0\.3 s"),
    ):
        handshake.handshake(port, 0.3)


def test_a_gateway_that_speaks_too_slowly_is_not_waited_for():
    def drip(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for byte in struct.pack(">I", 200) + bytes(200):
                line.sendall(bytes([byte]))
                time.sleep(0.01)

    with listener(drip) as port, pytest.raises(handshake.SilentError, match=r"within 0\.3 s"):
        handshake.handshake(port, 0.3)


UNITS = ("active", "activating", "inactive", "failed", "deactivating")
ANSWERS = ("ready", "misfit", "offline", "away", "silent")


def test_a_gateway_that_hangs_and_takes_no_connection_is_silent():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        # Those of the looks before, and of bots: nobody has taken them.
        with socket.create_connection(address), socket.socket() as another:
            another.settimeout(0)
            another.connect_ex(address)
            with pytest.raises(handshake.SilentError, match="takes no connection"):
                handshake.handshake(address[1], seconds=0.2)


def test_ready_is_only_what_answers_with_an_account_that_fits():
    times = [WEDNESDAY + timedelta(hours=7 * step) for step in range(24)]
    for now, unit, answer, age, person, status in product(
        times, UNITS, ANSWERS, (10.0, 9000.0), ("", "confirm"), (0, 1, 87)
    ):
        seen = states.Seen(now, unit, status, age, answer, "why", person)
        state, why = states.judge(seen, settings())
        alive = unit in ("active", "activating")
        assert state in states.STATES
        assert why
        assert (state == "ready") == (alive and answer == "ready")
        if person and alive and answer in ("offline", "away", "silent"):
            assert state == "needs a person"
        elif alive and answer == "offline":
            assert state == "offline"
        if state == "hung":
            assert age > TOLD["start_seconds"]


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        ({"unit": "failed", "status": 87}, "needs a person"),
        ({"unit": "failed", "status": 1}, "stopped"),
        ({"unit": "inactive"}, "stopped"),
        ({"unit": "activating"}, "starting"),
        ({"unit": "active", "age": 299.0}, "starting"),
        ({"unit": "active", "age": 301.0}, "hung"),
        ({"unit": "active", "age": 301.0, "answer": "silent"}, "hung"),
        ({"unit": "active", "age": 9.0, "answer": "misfit"}, "needs a person"),
        ({"now": datetime(2026, 11, 26, 0, 4, tzinfo=UTC), "age": 9e4}, "restarting"),
        ({"now": datetime(2026, 11, 25, 23, 54, tzinfo=UTC), "age": 9e4}, "hung"),
        ({"now": datetime(2026, 11, 26, 0, 5, tzinfo=UTC), "age": 9e4}, "hung"),
        ({"now": datetime(2026, 11, 29, 14, 9, tzinfo=UTC), "age": 9e4}, "restarting"),
        ({"now": datetime(2026, 11, 28, 14, 9, tzinfo=UTC), "age": 9e4}, "hung"),
    ],
)
def test_the_state_of_what_was_seen(seen, state):
    found = states.Seen(**{"now": WEDNESDAY, "unit": "active", "detail": "why"} | seen)
    assert states.judge(found, settings())[0] == state


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], ""),
        (["IBC: Login attempt: 1", "IBC: Second Factor Authentication initiated"], "IBKR Mobile"),
        (["Second Factor Authentication initiated", "IBC: Login has completed"], ""),
        (["IBC: Login failed"], "password"),
        (["IBC: Login failed", "Starting IBC version 3.24.1 on 2026-11-25"], ""),
    ],
)
def test_what_a_person_has_to_do_is_what_ibc_says_last(lines, wanted):
    assert wanted in states.person_wanted(lines)
    assert bool(states.person_wanted(lines)) == bool(wanted)


def test_sundays_login_is_announced_the_day_before_and_not_without_a_second_factor():
    sunday = datetime(2026, 11, 29, 14, tzinfo=UTC)
    assert states.next_sunday(WEDNESDAY, "14:00") == sunday
    assert states.next_sunday(sunday - timedelta(seconds=1), "14:00") == sunday
    assert states.next_sunday(sunday, "14:00") == sunday + timedelta(days=7)
    assert not states.notice(sunday - timedelta(hours=24, seconds=1), settings())
    for hours in (24, 1):
        told = states.notice(sunday - timedelta(hours=hours), settings())
        assert "on Sunday at 14:00 UTC" in told
    assert not states.notice(sunday - timedelta(hours=1), settings(second_factor=False))


def test_metrics_have_one_state_and_the_next_login():
    text = states.metrics("hung", WEDNESDAY, settings())
    ones = [
        line for line in text.splitlines() if line.startswith("gridberry") and line.endswith(" 1")
    ]
    assert ones == ['gridberry_ib_gateway_state{state="hung"} 1']
    assert text.count("gridberry_ib_gateway_state{") == len(states.STATES)
    assert f"gridberry_ib_gateway_timestamp_seconds {WEDNESDAY.timestamp():.0f}\n" in text
    assert "second_factor_timestamp_seconds 1795960800\n" in text
    table = (ROOT / "docs/interactive-brokers.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(gridberry_\w+)` \| gauge \|", table, re.MULTILINE))
    assert named == set(re.findall(r"^# TYPE (\w+) gauge", text, re.MULTILINE))
    assert "second_factor" not in states.metrics("hung", WEDNESDAY, settings(second_factor=False))


def xwd(width: int, height: int, pixel: bytes, **more: int) -> bytes:
    """A screen of one color, as Xvfb writes it on a little-endian machine."""
    words = dict.fromkeys(range(25), 0) | {0: 100 + 8, 1: 7, 2: 2, 3: 24, 4: width, 5: height}
    words |= {11: 32, 12: 4 * width, 19: 2} | {int(key[1:]): value for key, value in more.items()}
    head = struct.pack(">25I", *words.values()) + b"screen\0\0" + bytes(24)
    return head + pixel * width * height


def test_a_screen_becomes_a_picture():
    made = display.png_of_xwd(xwd(3, 2, b"\xa0\x60\x20\0"))
    start = made.index(b"IDAT")
    (length,) = struct.unpack_from(">I", made, start - 4)
    assert struct.unpack_from(">II", made, 16) == (3, 2)
    assert (
        zlib.decompress(made[start + 4 : start + 4 + length]) == (b"\0" + b"\x20\x60\xa0" * 3) * 2
    )
    assert made.endswith(struct.pack(">I", zlib.crc32(b"IEND")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"root:x:0:0:root:/root:/bin/bash\n" * 9,
        xwd(3, 2, b"\0\0\0\0")[:-1],
        xwd(3, 2, b"\0\0\0\0", w4=1 << 31, w5=1 << 31),
        xwd(3, 2, b"\0\0\0\0", w4=0),
        xwd(3, 2, b"\0\0\0\0", w3=8, w11=8),
        xwd(3, 2, b"\0\0\0\0", w12=1),
    ],
)
def test_what_is_no_screen_is_no_picture(data):
    with pytest.raises(display.PictureError):
        display.png_of_xwd(data)


def test_pictures_are_bounded_private_and_of_the_screen_itself(tmp_path):
    screen = tmp_path / "Xvfb_screen0"
    screen.write_bytes(xwd(3, 2, b"\0\0\0\0"))
    for stamp in ("20261125T120000Z", "20261125T120100Z", "20261125T120200Z"):
        kept = display.keep_picture(screen, tmp_path, stamp, 2)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["ib-gateway-20261125T120100Z.png", kept.name]
    assert kept.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(screen)
    with pytest.raises(OSError, match="link"):
        display.keep_picture(tmp_path / "link", tmp_path, "20261125T120300Z", 2)
    screen.write_bytes(b"")
    with pytest.raises(display.PictureError):
        display.keep_picture(screen, tmp_path, "20261125T120400Z", 2)
    assert not list(tmp_path.glob("*.part"))


def test_a_cookie_fits_any_display_and_is_new_each_time():
    one, two = display.authority(), display.authority()
    assert one[:-16] == b"\xff\xff\0\0\0\0\0\x12MIT-MAGIC-COOKIE-1\0\x10"
    assert one[-16:] != two[-16:]


def test_jts_ini_keeps_what_the_gateway_has_written():
    main = program()
    before = (
        "[IBGateway]\nTrustedIPs=10.0.0.0\nLocalServerPort=4000\n"
        "[Logon]\nUserNameToDirectory=x\n[ns]\nd=1\n"
    )
    wanted = {"IBGateway": {"TrustedIPs": "127.0.0.1"}, "Logon": {"UseSSL": "true"}, "New": {}}
    after = main.with_keys(before, wanted)
    assert after == (
        "[IBGateway]\nTrustedIPs=127.0.0.1\nLocalServerPort=4000\n"
        "[Logon]\nUseSSL=true\nUserNameToDirectory=x\n[ns]\nd=1\n[New]\n"
    )
    assert main.with_keys(after, wanted) == after
    assert main.with_keys("", {"A": {"b": "1"}}) == "[A]\nb=1\n"


def program() -> ModuleType:
    """The program itself, which is no module of its own name here."""
    spec = importlib.util.spec_from_file_location("ib_main", SOURCE / "__main__.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(SOURCE))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SOURCE))
    return module


def test_one_that_hangs_again_and_again_is_not_started_more_often_than_its_unit_may(monkeypatch):
    ib_gateway, ran = program(), []
    monkeypatch.setattr(ib_gateway.subprocess, "run", lambda words, **_: ran.append(words[1]))
    told = settings(second_factor=False)
    before = {"state": "hung", "since": (WEDNESDAY - timedelta(seconds=120)).isoformat()}

    def act(age: float) -> list[str]:
        ran.clear()
        ib_gateway.act("hung", told, before, states.Seen(WEDNESDAY, "active", age=age))
        return ran

    assert act(899.0) == []  # 6 starts an hour, and then it would stay ended
    assert act(900.0) == ["restart"]
    told = settings()
    assert act(900.0) == []


def test_another_file_than_the_one_that_was_meant_is_not_run(tmp_path):
    package = tmp_path / "installer.sh"
    package.write_text("#!/bin/sh\ntouch ran\n")
    with pytest.raises(install.InstallError, match="has the checksum"):
        install.gateway(package, "0" * 64, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "ran").exists()


def zipped(path: Path, **files: str) -> str:
    """A zip; gives its checksum."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_ibc_is_unpacked_once_it_is_whole_and_nowhere_else(tmp_path):
    package, target = tmp_path / "ibc.zip", tmp_path / "place/ibc"
    checksum = zipped(package, **{"scripts/ibcstart.sh": "", "IBC.jar": "", "../up": "", "a": ""})
    install.ibc(package, checksum, target)
    assert (target / "gridberry-installed").is_file()
    assert (target / "scripts/ibcstart.sh").stat().st_mode & 0o777 == 0o755
    assert (target / "a").stat().st_mode & 0o777 == 0o644
    assert (target / "up").exists()
    assert not (tmp_path / "place/up").exists()
    assert not package.exists()
    checksum = zipped(package, **{"IBCWin.txt": ""})
    with pytest.raises(install.InstallError, match=r"none of IBC for Linux: no IBC\.jar"):
        install.ibc(package, checksum, tmp_path / "other")
    package.write_text("no zip")
    with pytest.raises(install.InstallError, match="no zip"):
        install.ibc(package, hashlib.sha256(b"no zip").hexdigest(), tmp_path / "other")
    assert not (tmp_path / "other/gridberry-installed").exists()


def test_javas_memory_is_set_once(tmp_path):
    options = tmp_path / "ibgateway.vmoptions"
    options.write_text("# memory\n-Xmx768m\n-XX:+UseG1GC\n")
    for _ in range(2):
        install.memory(tmp_path, 512)
    assert options.read_text() == "# memory\n-XX:+UseG1GC\n-Xmx512m\n"
    (tmp_path / "other").write_text("-Xmx1m\n")
    options.unlink()
    options.symlink_to(tmp_path / "other")
    with pytest.raises(install.InstallError, match="is a link"):
        install.memory(tmp_path, 512)
