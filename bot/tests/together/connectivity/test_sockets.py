"""Real sockets on the loopback: the exchange in a process of its own, and peers that misbehave."""

import contextlib
import copy
import datetime
import http.server
import ipaddress
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.clock import SystemClock
from gridbase.sockets.dialer import ThreadDialer
from gridbase.sockets.socket import SocketClosed
from gridbase.sockets.websocket import LARGEST_MESSAGE, connect
from gridbot.config.load import parse_config
from gridbot.exchanges.binance.account import BinanceAccount
from gridbot.exchanges.port import BrokerError, Failure, StreamGap
from websockets.exceptions import ConnectionClosedError
from websockets.sync.server import serve

from bot.tests.exchange import conftest as exchange_tests

from .conftest import trading
from .test_streams import order

PATIENCE_S = 30.0


@pytest.fixture
def exchange(tmp_path):
    server = exchange_tests.Server(tmp_path, "--stream-port", "0", "--speed", "600")
    yield server
    if server.process.poll() is None:
        server.kill()


def config_for(url, stream_url, directory, **exchange):
    document = {
        "bot_name": "pi1",
        "exchange": {
            "name": "binance",
            "url": url,
            "api_key_file": str(directory / "key"),
            "api_secret_file": str(directory / "secret"),
        }
        | ({} if stream_url is None else {"stream_url": stream_url})
        | exchange,
        "market": {"symbol": "BTC/USDT"},
        "grid": {"lower": "47000", "upper": "53000", "grids": 20, "investment": "9000"},
        "state": {"directory": str(directory / "bot")},
    }
    return parse_config(copy.deepcopy(document), Path("bot.toml")).account


@contextlib.contextmanager
def opened(config, clock=None):
    account = BinanceAccount(config, trading.KEY, trading.SECRET, clock=clock or SystemClock())
    try:
        yield account
    finally:
        account.close()


def until(true, wait):
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        wait()


def test_an_order_and_its_fill_over_real_sockets(exchange, tmp_path):
    with opened(config_for(exchange.url, exchange.stream_url, tmp_path)) as account:
        broker = account.broker("BTC/USDT")
        broker.connect()
        assert broker.streaming
        assert broker.events() == [StreamGap()]
        price = broker.last_price() - 1
        broker.place(order("pi9-a", price=str(price.quantize(Decimal("0.01")))))
        told = []

        def wait():
            broker.wait(1.0)
            told.extend(event.trade for event in broker.events() if event.trade is not None)

        until(lambda: told, wait)
        assert broker.trades_after("0")[0] == told
        assert account.document()["account_stream"]


def test_an_exchange_that_restarts_is_found_again(exchange, tmp_path):
    ports = [url.rsplit(":", 1)[1] for url in (exchange.url, exchange.stream_url)]
    with opened(config_for(exchange.url, exchange.stream_url, tmp_path)) as account:
        broker = account.broker("BTC/USDT")
        broker.connect()
        broker.events()
        exchange.stop()
        until(lambda: not broker.streaming, lambda: broker.wait(0.2))
        exchange.start("--port", ports[0], "--stream-port", ports[1])
        until(lambda: broker.streaming, lambda: broker.wait(0.5))
        assert StreamGap() in broker.events()
        assert broker.open_orders() == []


def is_stopped(pid):
    """Whether a process is stopped with all its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


def test_an_exchange_that_hangs_is_given_up_and_found_again(exchange, tmp_path):
    config = config_for(exchange.url, exchange.stream_url, tmp_path, timeout_seconds=1)
    with opened(config) as account:
        broker = account.broker("BTC/USDT")
        broker.connect()
        exchange.process.send_signal(signal.SIGSTOP)
        # On a busy machine it goes on for a moment.
        until(lambda: is_stopped(exchange.process.pid), lambda: time.sleep(0.01))
        with pytest.raises(BrokerError) as error:
            broker.open_orders()
        assert error.value.failure is Failure.AMBIGUOUS
        assert not broker.streaming
        exchange.process.send_signal(signal.SIGCONT)
        until(lambda: broker.streaming, lambda: broker.wait(0.5))
        assert broker.open_orders() == []
        assert account.circuit.state == "closed"


def test_a_stop_ends_a_wait(exchange, tmp_path):
    clock = SystemClock()
    with opened(config_for(exchange.url, exchange.stream_url, tmp_path), clock) as account:
        broker = account.broker("BTC/USDT")
        broker.connect()
        broker.events()
        threading.Timer(0.3, clock.stop).start()
        broker.wait(100_000.0)
        assert clock.stopping


class CountingServer(http.server.ThreadingHTTPServer):
    """An exchange that knows the time only, and counts who connects."""

    daemon_threads = True
    connections = 0
    requests = 0

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)


class TellsTime(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests += 1
        body = json.dumps({"serverTime": time.time_ns() // 1_000_000}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


def test_one_connection_serves_all_requests(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    server = CountingServer(("127.0.0.1", 0), TellsTime)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with opened(config_for(url, None, tmp_path)) as account:
        for _ in range(20):
            account.synchronise()
    server.shutdown()
    server.server_close()
    assert (server.requests, server.connections) == (20, 1)


@contextlib.contextmanager
def peer(handle, **options):
    """A WebSocket server that does what a test wants."""
    options |= {"compression": None, "max_size": None}
    with serve(handle, "127.0.0.1", 0, **options) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/any"


def test_texts_come_and_go(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")

    def echo(client):
        for text in client:
            client.send(text + "!")

    with peer(echo) as url:
        client = connect(url, 5.0)
        assert client.receive(0.0) is None
        client.send("hello")
        assert client.receive(PATIENCE_S) == "hello!"
        client.close()
        with pytest.raises(SocketClosed):
            client.receive(1.0)
        with pytest.raises(SocketClosed):
            client.send("too late")


def test_what_came_before_the_end_is_handed_out():
    def say(client):
        client.send("last words")

    with peer(say) as url:
        client = connect(url, 5.0)
        assert client.receive(PATIENCE_S) == "last words"
        with pytest.raises(SocketClosed):
            client.receive(PATIENCE_S)


@pytest.mark.parametrize("message", [b"bytes", "x" * (LARGEST_MESSAGE + 1)])
def test_a_message_of_the_wrong_kind_or_size_is_an_end(message):
    def say(client):
        client.send(message)
        client.recv()

    with peer(say) as url:
        client = connect(url, 5.0)
        with pytest.raises(SocketClosed):
            client.receive(PATIENCE_S)
        client.close()


def test_nobody_there_is_an_error_and_no_server_as_well(exchange):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        connect(f"ws://127.0.0.1:{port}/", 5.0)
    with pytest.raises(SocketClosed):
        connect(exchange.url.replace("http", "ws") + "/stream", 5.0)
    with pytest.raises(SocketClosed, match="404"):
        connect(exchange.stream_url + "/nothing", 5.0)


def test_a_connection_that_breaks_while_it_is_opened_is_no_end_of_the_bot(monkeypatch):
    def broken(*_arguments, **_options):
        raise ConnectionClosedError(None, None)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("websockets.sync.client.connect", broken)
        dialer = ThreadDialer(connect)
        dialer.begin(f"ws://127.0.0.1:{listener.getsockname()[1]}/", 5.0)
        with pytest.raises(SocketClosed, match="no close frame"):
            dialer.result(PATIENCE_S)


def test_a_redirection_is_not_followed():
    class Redirects(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", "ws://127.0.0.1:9/")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Redirects)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(SocketClosed):
        connect(f"ws://127.0.0.1:{server.server_address[1]}/", 5.0)
    server.shutdown()
    server.server_close()


def test_a_host_that_never_answers_keeps_nobody_waiting():
    # Connections are accepted by the system; nobody ever speaks.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        dialer = ThreadDialer(connect)
        dialer.begin(url, 0.5)
        assert dialer.result(0.0) is None
        with pytest.raises(OSError, match="timed out"):
            dialer.result(PATIENCE_S)


def test_a_connection_that_is_not_wanted_any_more_is_closed():
    gone = threading.Event()

    def wait(client):
        with contextlib.suppress(Exception):
            client.recv()
        gone.set()

    with peer(wait) as url:
        dialer = ThreadDialer(connect)
        dialer.begin(url, 5.0)
        dialer.abandon()
        assert gone.wait(PATIENCE_S)
        assert dialer.result(0.0) is None


def test_without_streams_their_library_is_not_imported():
    code = (
        "import sys, gridbot.exchanges.open_account\n"
        "import gridbot.exchanges.binance.account, gridbot.exchanges.ccxt.account\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'websockets'])"
    )
    source = Path(__file__).parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody but this test trusts, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    document = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (tmp_path / "certificate.pem").write_bytes(document.public_bytes(encoding))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(encoding, *plain))
    return tmp_path / "certificate.pem", tmp_path / "key.pem"


def test_only_a_trusted_server_is_talked_to(certificate, monkeypatch):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    def say(client):
        client.send("hello")

    with peer(say, ssl=context) as plain_url:
        url = plain_url.replace("ws://", "wss://")
        with pytest.raises(SocketClosed, match="CERTIFICATE_VERIFY_FAILED"):
            connect(url, PATIENCE_S)
        monkeypatch.setattr("certifi.where", lambda: str(certificate[0]))
        client = connect(url, PATIENCE_S)
        assert client.receive(PATIENCE_S) == "hello"
        client.close()
        with pytest.raises(SocketClosed, match="CERTIFICATE_VERIFY_FAILED"):
            connect(url.replace("127.0.0.1", "localhost"), PATIENCE_S)
