"""Answers that break off or mean nothing, over real sockets and in ccxt's parsers."""

import contextlib
import json
import socket
import threading
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from gridbot.config.load import ExchangeConfig
from gridbot.exchanges.binance.rest import BinanceRest
from gridbot.exchanges.ccxt.account import CcxtAccount
from gridbot.exchanges.port import BrokerError, Failure

from bot.tests.together.in_process import answer_of

from .conftest import trading

HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
CUT = b'{"orderId": 1'


def answer(status: bytes, rest: bytes) -> bytes:
    return HEAD % status + rest


CUT_ANSWERS = {
    "short": answer(b"200 OK", b"Content-Length: 1000\r\n\r\n" + CUT),
    "chunked": answer(b"200 OK", b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + CUT),
    "empty": answer(b"200 OK", b"Content-Length: 1000\r\n\r\n"),
    "garbled": answer(b"200 OK", b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde"),
    # It may be one that says that nobody knows what became of the request.
    "refusal": answer(b"408 Timeout", b"Content-Length: 1000\r\n\r\n" + b'{"code": -10'),
}


@pytest.fixture
def serve():
    """`serve(answer)` is the address of who gives every request this answer, and hangs up."""
    with contextlib.ExitStack() as stack:

        def start(said: bytes, *, hangs: bool = False) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=_answer_all, args=(listener, said, hangs, over))
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            stack.callback(over.set)
            thread.start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        over = threading.Event()
        yield start


def _answer_all(listener, said, hangs, over) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(said)
                if hangs:
                    over.wait()


def rest(url: str, timeout: str = "5") -> BinanceRest:
    files = Path("key"), Path("secret")
    config = ExchangeConfig("binance", url, None, *files, Decimal(timeout))
    return BinanceRest(config, "k", "s", now_ms=lambda: 1, on_weight=lambda _used: None)


def order_after(failing: BinanceRest, client: BinanceRest) -> None:
    """Order where another request has just failed, as the kill switches are judged there."""
    try:
        failing.ask("publicGetTime", {})
    except BrokerError:
        client.ask("privatePostOrder", {"symbol": "BTCUSDT"})


def test_an_earlier_refused_connection_tells_nothing_of_this_order(serve):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = rest(f"http://127.0.0.1:{closed.getsockname()[1]}")
        client = rest(serve(b""))
        with pytest.raises(BrokerError, match="Connection refused"):
            nowhere.ask("publicGetTime", {})
        with pytest.raises(BrokerError) as told:
            order_after(nowhere, client)
    assert told.value.failure is Failure.AMBIGUOUS
    assert "refused" not in str(told.value)
    client.close()
    nowhere.close()


@pytest.mark.parametrize("name", CUT_ANSWERS)
def test_an_answer_that_breaks_off_is_none(serve, name):
    client = rest(serve(CUT_ANSWERS[name]))
    with pytest.raises(BrokerError, match="its answer broke off") as told:
        client.ask("privatePostOrder", {"symbol": "BTCUSDT"})
    assert told.value.failure is Failure.AMBIGUOUS
    assert "signature" not in str(told.value)
    client.close()


def test_an_answer_that_stops_coming_is_none(serve):
    client = rest(serve(CUT_ANSWERS["short"], hangs=True), timeout="0.2")
    with pytest.raises(BrokerError, match="its answer broke off") as told:
        client.ask("privatePostOrder", {"symbol": "BTCUSDT"})
    assert told.value.failure is Failure.AMBIGUOUS
    client.close()


@pytest.fixture
def world(tmp_path):
    world = trading.World(tmp_path, trading.zigzag(5), at_end="hold")
    yield world
    world.close()


def ccxt_broker(world):
    session = requests.Session()
    session.mount("http://", world.wire)
    account = CcxtAccount(
        world.config.account.exchange,
        trading.KEY,
        trading.SECRET,
        clock=world.clock,
        session=session,
    )
    broker = account.broker("BTC/USDT")
    broker.connect()
    return broker


def test_an_answer_that_ccxt_can_not_read_is_none(world, monkeypatch):
    broker = ccxt_broker(world)

    def parse(*_arguments):
        raise TypeError("unsupported operand type(s) for +: 'NoneType' and 'str'")

    monkeypatch.setattr(broker.account.client, "parse_ticker", parse)
    with pytest.raises(BrokerError, match="answer to fetch_ticker makes no sense") as told:
        broker.last_price()
    assert told.value.failure is Failure.AMBIGUOUS


NONSENSE = [None, 0, "", "x", [], [[]], [None], {}, {"code": None}, {"code": {}}, {"msg": 1}]


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "418 I'm a teapot", "500 Error"])
@pytest.mark.parametrize("said", NONSENSE, ids=json.dumps)
@pytest.mark.parametrize("make", [trading.World.broker, ccxt_broker], ids=["binance", "ccxt"])
def test_nonsense_is_a_failure_of_the_exchange(world, make, said, status):
    broker = make(world)
    broker.connect()
    world.wire.before = lambda *_: answer_of(status, json.dumps(said).encode())
    for ask in (broker.last_price, lambda: broker.find("pi1-a"), lambda: broker.cancel("pi1-a")):
        with pytest.raises(BrokerError):
            ask()
