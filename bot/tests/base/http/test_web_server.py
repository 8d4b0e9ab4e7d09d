"""The web server: answers, streams, and what those meet who mean it no good. Real sockets."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest
from gridbase.http import Channel, EventStream, Limits, WebServer

LIMITS = Limits(
    connections=40,
    request_seconds=0.6,
    idle_seconds=1.5,
    answer_seconds=2.0,
    beat_seconds=1.0,
    unsent_bytes=20_000,
    unfetched_bytes=20_000_000,
)
BIG = 6_000_000


class Application:
    """Answers what it was asked, and serves a stream of three clients at most."""

    def __init__(self):
        self.channel = Channel(3)
        self.seen = []

    def __call__(self, environ, start_response):
        self.seen.append(environ)
        path = environ["PATH_INFO"]
        if path == "/stream":
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return EventStream(self.channel, b"data: first\n\n")
        if path == "/broken":
            raise ValueError("a mistake of ours")
        if path == "/nothing":
            start_response("304 Not Modified", [])
            return [b""]
        body = environ["wsgi.input"].read() or path.encode()
        if path == "/large":
            body = bytes(30_000_000)
        if path == "/big":
            body = bytes(BIG)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def server(application):
    server = WebServer(application, "127.0.0.1", 0, LIMITS)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.close()
    thread.join(10)
    assert not thread.is_alive()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def ask(server, method="GET", path="/here", body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def read_all(sock):
    chunks = []
    try:
        while chunk := sock.recv(65_536):
            chunks.append(chunk)
    except ConnectionResetError:
        pass
    return b"".join(chunks)


def test_it_answers(server, application):
    assert ask(server)[:2] == (200, b"/here")
    assert ask(server, "POST", "/x", b"hello")[:2] == (200, b"hello")
    assert ask(server, "HEAD")[:2] == (200, b"")
    status, _, headers = ask(server, path="/nothing")
    assert status == 304
    assert "Date" in headers
    assert ask(server, path="/a%20b?c=%31")[0] == 200
    assert application.seen[-1]["PATH_INFO"] == "/a b"
    assert application.seen[-1]["QUERY_STRING"] == "c=%31"


def test_a_mistake_of_the_application_is_no_end(server, caplog):
    assert ask(server, path="/broken")[0] == 500
    assert "a mistake of ours" in caplog.text
    assert ask(server)[0] == 200


def test_one_connection_carries_many_requests_also_sent_at_once(server):
    with connect(server) as sock:
        sock.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.sendall(b"GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        told = read_all(sock)
    assert told.count(b"HTTP/1.1 200") == 3
    assert told.index(b"/1") < told.index(b"/2") < told.index(b"/3")


def test_an_old_client_is_told_the_end(server):
    with connect(server) as sock:
        sock.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert read_all(sock).endswith(b"\r\n\r\n/health")


def test_names_that_pass_for_others_are_left_out(server, application):
    ask(server, headers={"X_Forwarded_Proto": "https", "X-Other": "1"})
    assert "HTTP_X_FORWARDED_PROTO" not in application.seen[-1]
    assert application.seen[-1]["HTTP_X_OTHER"] == "1"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_nothing_is_asked(server, application, garbage):
    with connect(server) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(garbage)
        told = read_all(sock)
    assert told.split(b" ")[1][:1] == b"4"
    assert application.seen == []
    assert ask(server)[0] == 200


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_refused_and_not_kept(server, application, announced):
    with connect(server) as sock:
        length = b"Content-Length: 10000000" if announced else b"Transfer-Encoding: chunked"
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n")
        try:
            for _ in range(160):
                chunk = bytes(65_536)
                sock.sendall(chunk if announced else b"%x\r\n%b\r\n" % (len(chunk), chunk))
        except OSError:
            pass  # told to stop
        assert b" 413 " in read_all(sock) + b" 413 " * (not announced)
    assert application.seen == []
    assert ask(server)[0] == 200


def test_who_does_not_end_a_request_is_dropped(server, application):
    with connect(server) as sock:
        begun = time.monotonic()
        try:
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"y" * 1000:
                sock.sendall(bytes([byte]))
                time.sleep(0.05)  # never idle
        except OSError:
            pass
        assert time.monotonic() - begun < 30
    assert application.seen == []


def test_who_is_idle_gives_way_to_who_asks(server):
    crowd = [connect(server) for _ in range(3 * LIMITS.connections)]
    try:
        for _ in range(5):
            assert ask(server)[0] == 200
    finally:
        for sock in crowd:
            sock.close()


def test_who_does_not_fetch_an_answer_is_dropped(server):
    with connect(server) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: any(one.state == "writing" for one in server._clients))
        until(lambda: not server._clients)


def test_answers_that_nobody_fetches_lock_nobody_out_and_stay_small(server):
    crowd = []
    try:
        for _ in range(2 * LIMITS.connections):
            crowd.append(socket.socket())
            crowd[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            crowd[-1].connect(("127.0.0.1", server.port))
            with contextlib.suppress(OSError):
                crowd[-1].sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: any(one.state == "writing" for one in list(server._clients)))
        for _ in range(5):
            assert ask(server)[0] == 200
            unfetched = sum(len(one.out) for one in list(server._clients))
            assert unfetched <= LIMITS.unfetched_bytes + BIG  # one has just begun
    finally:
        for sock in crowd:
            sock.close()
    until(lambda: not any(one.state == "working" for one in list(server._clients)))


def stream(server):
    sock = connect(server)
    sock.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    return sock


def heard(sock, words):
    told = b""
    while words not in told:
        chunk = sock.recv(65_536)
        assert chunk, told
        told += chunk
    return told


def test_a_stream_hears_of_every_event_and_of_silence(server, application):
    clients = [stream(server) for _ in range(3)]
    try:
        for one in clients:
            assert b"200 OK" in heard(one, b"data: first\n\n")
        before = threading.active_count()
        application.channel.publish(b"data: second\n\n")
        for one in clients:
            heard(one, b"data: second\n\n")
            heard(one, b": still here")
        assert threading.active_count() == before
        with stream(server) as fourth:
            assert b" 503 " in fourth.recv(65_536)
    finally:
        for one in clients:
            one.close()
    until(lambda: application.channel.clients == 0)
    with stream(server) as again:
        heard(again, b"data: first")


def test_a_client_that_does_not_listen_is_dropped_and_others_hear(server, application):
    with stream(server) as deaf, stream(server) as good:
        heard(deaf, b"first")
        heard(good, b"first")
        count = 0
        while application.channel.clients == 2:
            application.channel.publish(b"data: " + b"x" * 50_000 + b"\n\n")
            heard(good, b"x\n\n")
            count += 1
            assert count < 1000
        application.channel.publish(b"data: end\n\n")
        heard(good, b"data: end")


def test_json_of_a_crowd(server):
    """Many at once: each gets its own answer."""
    told = {}

    def one(number):
        told[number] = json.loads(ask(server, "POST", "/", json.dumps(number))[1])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {number: number for number in range(30)}
