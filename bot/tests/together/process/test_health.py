"""`gridbot health` against whoever answers on the port."""

import socket
import threading

import pytest
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
