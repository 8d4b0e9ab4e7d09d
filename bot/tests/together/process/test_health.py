"""`gridbot health` against whoever answers on the port."""

import json
import socket
import threading

import pytest
from gridbase import health
from gridbase.health import fetch

from .conftest import free_port


@pytest.fixture
def answering():
    """Serves one connection: `answering(bytes)` is the URL of who answers so, piece by piece."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    threads = []

    def serve(*pieces):
        def answer():
            connection, _ = listener.accept()
            with connection:
                while not asked.endswith(b"\r\n\r\n"):
                    asked.extend(connection.recv(1000))
                for piece in pieces:
                    connection.sendall(piece)

        asked.clear()
        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/health"

    asked = serve.asked = bytearray()
    yield serve
    for thread in threads:
        thread.join()
    listener.close()


def test_status_and_body_whatever_pieces_they_come_in(answering):
    pieces = (b"HTTP/1.1 50", b"3 Service Unavailable\r\nContent-Length: 4\r\n", b"\r\nab", b"cd")
    assert fetch(answering(*pieces)) == (503, b"abcd")
    assert answering.asked.startswith(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1:")


def test_a_body_without_a_length_ends_with_the_connection(answering):
    assert fetch(answering(b"HTTP/1.0 200 OK\r\n\r\n", b"{}")) == (200, b"{}")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "no answer of HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no answer of HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "no answer of HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "cut off after 3 bytes"),
    ],
)
def test_what_is_no_whole_answer_is_none(answering, answer, why):
    with pytest.raises(OSError, match=why):
        fetch(answering(answer))


def test_a_name_is_looked_up():
    with pytest.raises(ConnectionRefusedError):
        fetch(f"http://localhost:{free_port()}/health")


STARTING = {"ok": False, "started": False, "reasons": ["starting"]}
NOT_WELL = {"ok": False, "started": True, "reasons": ["one", "two"]}
WELL = {"ok": True, "started": True, "reasons": []}


@pytest.fixture
def told(monkeypatch):
    """`told(*answers)`: what one who asks gets, one after the other; the pauses between."""

    def tell(*answers):
        left, pauses, now = list(answers), [], [0.0]

        def answer(_url):
            one = left.pop(0)
            if isinstance(one, Exception):
                raise one
            return (200 if one["ok"] else 503), json.dumps(one).encode()

        def sleep(seconds):
            pauses.append(seconds)
            now[0] += seconds

        monkeypatch.setattr(health, "fetch", answer)
        monkeypatch.setattr(health.time, "sleep", sleep)
        monkeypatch.setattr(health.time, "monotonic", lambda: now[0])
        return left, pauses

    return tell


def test_a_check_waits_for_a_program_that_starts(told, capsys):
    left, pauses = told(ConnectionRefusedError(), ConnectionRefusedError(), STARTING, WELL)
    assert health.main(["--wait", "10"]) == 0
    assert (left, len(pauses), capsys.readouterr().out) == ([], 3, "healthy\n")


def test_and_no_longer_than_it_may(told, capsys):
    left, pauses = told(*[STARTING] * 9)
    assert health.main(["--wait", "2"]) == 1
    assert (sum(pauses), len(left)) == (2, 4)
    assert capsys.readouterr().err == "starting\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (NOT_WELL, "one; two"),
        ({"ok": False, "reasons": ["its disk is full"]}, "its disk is full"),
        ({"ok": False, "reason": "none"}, "HTTP 503"),
        ({"ok": False, "reasons": []}, "HTTP 503"),
        (OSError("timed out"), "timed out"),
    ],
)
def test_one_that_has_started_is_not_waited_for(told, capsys, answer, why):
    left, pauses = told(answer, WELL)
    assert health.main(["--wait", "10"]) == 1
    assert (left, pauses) == ([WELL], [])
    assert capsys.readouterr().err.strip().endswith(why)


def test_a_check_that_may_not_wait_asks_once(told):
    left, pauses = told(STARTING, WELL)
    assert health.main([]) == 1
    assert (left, pauses) == ([WELL], [])
