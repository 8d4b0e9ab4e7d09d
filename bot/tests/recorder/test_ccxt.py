"""Recording by ccxt.pro, unmodified, from the practice exchange, which speaks as Binance does."""

import asyncio
import itertools
from decimal import Decimal

import ccxt
import pytest
import requests
from gridbase.clock import SystemClock
from gridbase.errors import UserError
from recorder.cli import main
from recorder.config import load_config
from recorder.core.book import Book
from recorder.core.inbox import Inbox
from recorder.core.own_numbers import OwnNumbers
from recorder.core.rows import COLUMNS, Kind, Part, Side, Stream
from recorder.core.steps import Sizes, Steps
from recorder.files.catalog import Catalog
from recorder.files.parquet import groups, schema_of, sizes_of
from recorder.recording import ccxt_messages
from recorder.recording.ccxt_streams import UNPROVEN, CcxtStreams
from recorder.recording.messages import trade as parsed
from recorder.recording.symbol import Request

from bot.tests.recorder.processes import LIMIT_S, Recorder, start_exchange, wait_until

COINS = ("BTC", "ETH")
SYMBOLS = ["BTC-USDT", "ETH-USDT"]
FAULTS = {"lost": 0.02, "duplicate": 0.02, "reordered": 0.02, "late": 0.01, "cut": 0.001}
FAULTS |= {"crossed": 0.01}
CUT = {"cut": 0.01}


def exchange_of(directory, faults: dict[str, float], speed: int):
    rules = (
        f'[[faults.rules]]\nkind = "{kind}_event"\nprobability = {rate}\n'
        for kind, rate in faults.items()
    )
    more = "[faults]\nseed = 5\n" + "".join(rules) if faults else ""
    return start_exchange(directory / "exchange", COINS, speed, more)


def rows_of(recorder: Recorder, kind: Kind, symbol: str):
    """Rows in order, and what parses the exchange's messages at their steps."""
    found, steps = [], None
    catalog = Catalog(recorder.data, read_only=True)
    for entry in catalog.files(Stream("binance", kind, symbol)):
        path = recorder.data / "ready" / entry.path
        steps = Steps(sizes_of(schema_of(path)))
        for batch in groups(path):
            columns = [batch.column(name).to_pylist() for name in COLUMNS[kind]]
            found += zip(*columns, strict=True)
    catalog.close()
    return found, steps


def gaps_of(recorder: Recorder, kind: Kind, symbol: str):
    catalog = Catalog(recorder.data, read_only=True)
    found = catalog.gaps(Stream("binance", kind, symbol))
    catalog.close()
    return found


def served(server, symbol: str, steps: Steps, first: int) -> list[tuple[int, ...]]:
    """The trades that the exchange made, from a number on."""
    found: list[tuple[int, ...]] = []
    with requests.Session() as session:
        while True:
            answer = session.get(
                f"{server.url}/api/v3/aggTrades",
                params={"symbol": symbol.replace("-", ""), "fromId": first, "limit": 1000},
            )
            if not answer.ok:  # a fault
                continue
            page = [parsed(each, steps) for each in answer.json()]
            found += page
            if len(page) < 1000:
                return found
            first = page[-1][1] + 1


def books_of(recorder: Recorder, symbol: str) -> dict[int, tuple[dict, dict]]:
    """The book after each recorded update."""
    rows, _ = rows_of(recorder, Kind.DEPTH, symbol)
    found: dict[int, tuple[dict, dict]] = {}
    book, collecting = Book(), ([], [])
    for update, group in itertools.groupby(rows, key=lambda row: row[2]):
        for _, _, _, part, side, *level in group:
            if part == Part.SNAPSHOT:
                collecting[side].append(tuple(level))
            elif part == Part.CHECKSUM:
                book, collecting = Book(*collecting), ([], [])
                assert book.checksum() == level[1]
            elif side != Side.NONE:
                book.change(*([[level], []] if side == Side.BID else [[], [level]]))
        assert not book.crossed
        found[update] = dict(book.bids), dict(book.asks)
    return found


def recorded(recorder: Recorder, messages: int, losses: int = 0) -> None:
    """Record so many messages at least, over connections that were lost so often."""
    recorder.start()

    def enough() -> bool:
        document = recorder.status()["exchanges"]["binance"]
        return (
            document["books"] == len(SYMBOLS)
            and document["messages"] >= messages
            and document["connections_lost"] >= losses
        )

    wait_until(enough, 4 * LIMIT_S)


@pytest.fixture
def make(tmp_path):
    """Makes an exchange with faults; ends it, and recorders, after the test."""
    alive = []

    def start(faults, market, name="recorder", server=None, speed=60):
        if server is None:
            server = exchange_of(tmp_path, faults, speed)
            alive.append(server)
        symbols = SYMBOLS if "by_ccxt" in market else [each.replace("-", "") for each in SYMBOLS]
        recorder = Recorder(tmp_path / name, server, symbols, market)
        alive.append(recorder)
        return server, recorder

    yield start
    for each in reversed(alive):
        if isinstance(each, Recorder) and (each.process is None or each.process.poll() is not None):
            continue
        each.kill()


def test_with_all_faults_it_records_what_was_served_and_the_books_that_the_native_way_has(make):
    server, recorder = make(FAULTS, "by_ccxt = true")
    _, native = make(FAULTS, "weight_per_minute = 6000", "native", server)
    native.start()
    recorded(recorder, 600)
    document = recorder.status()["exchanges"]["binance"]
    assert document["trades_missed_known_by"] == "number"
    assert recorder.stop() == 0
    assert native.stop() == 0
    assert "Traceback" not in recorder.log.read_text()
    compared = 0
    for symbol in SYMBOLS:
        rows, steps = rows_of(recorder, Kind.TRADES, symbol)
        numbers = [row[1] for row in rows]
        missing = [
            n
            for gap in gaps_of(recorder, Kind.TRADES, symbol)
            for n in range(gap.first, gap.last + 1)
        ]
        assert sorted(numbers + missing) == list(range(numbers[0], numbers[-1] + 1))
        made = {trade[1]: trade for trade in served(server, symbol, steps, numbers[0])}
        # ccxt does not tell of which single trades one is made.
        assert all((*row[:4], row[6]) == (*made[row[1]][:4], made[row[1]][6]) for row in rows)
        assert len(rows) > 20
        books, others = books_of(recorder, symbol), books_of(native, symbol.replace("-", ""))
        both = books.keys() & others.keys()
        assert all(books[update] == others[update] for update in both)
        compared += len(both)
        quotes, _ = rows_of(recorder, Kind.QUOTES, symbol)
        assert len(quotes) > 3
        assert all(row[2] < row[4] for row in quotes)
        assert all(a[1] < b[1] for a, b in itertools.pairwise(quotes))
        times = [row[0] for row in rows_of(recorder, Kind.CANDLES, symbol)[0]]
        assert {b - a for a, b in itertools.pairwise(times)} <= {60_000}
        assert times
    assert compared > 20


def test_where_numbers_tell_nothing_a_lost_connection_is_filled_and_a_restart_is_a_gap(make):
    market = 'by_ccxt = true\ncontiguous_ids = false\nkinds = ["trades", "depth"]'
    # Slow enough that a page of trades reaches back over a stall of this machine.
    server, recorder = make(CUT, market, speed=15)
    recorded(recorder, 300, losses=4)
    document = recorder.status()["exchanges"]["binance"]
    assert document["trades_missed_known_by"] == "time"
    assert recorder.stop() == 0
    for symbol in SYMBOLS:
        rows, steps = rows_of(recorder, Kind.TRADES, symbol)
        assert [row[1] for row in rows] == list(range(1, len(rows) + 1))
        assert not gaps_of(recorder, Kind.TRADES, symbol)
        seen = [(row[0], *row[2:4], row[6]) for row in rows]
        made = [(row[0], *row[2:4], row[6]) for row in served(server, symbol, steps, 0)]
        begin = made.index(seen[0])
        assert made[begin : begin + len(seen)] == seen
        assert len(seen) > 20
    before = {symbol: len(rows_of(recorder, Kind.TRADES, symbol)[0]) for symbol in SYMBOLS}
    recorded(recorder, 50)
    # The first trade after the restart tells it, and may come after many messages about books.
    wait_until(lambda: all(gaps_of(recorder, Kind.TRADES, each) for each in SYMBOLS))
    assert recorder.stop() == 0
    for symbol in SYMBOLS:
        [gap] = gaps_of(recorder, Kind.TRADES, symbol)
        assert (gap.first, gap.last, gap.reason) == (
            before[symbol] + 1,
            before[symbol] + 1,
            UNPROVEN,
        )
        numbers = [row[1] for row in rows_of(recorder, Kind.TRADES, symbol)[0]]
        assert numbers[before[symbol]] == before[symbol] + 2


def test_a_connection_that_is_lost_while_nobody_waits_is_noticed(tmp_path, monkeypatch):
    server = exchange_of(tmp_path, {}, 30)
    places = {"rest": server.url, "streams": server.stream_url}
    kinds = (Kind.TRADES,)
    streams = CcxtStreams(
        "binance", ["BTC-USDT"], kinds, clock=SystemClock(), contiguous=False, **places
    )
    inbox, taken, calls = Inbox(), [], []
    take = streams._trades

    async def slow(name, trades):
        calls.append(len(trades))
        if len(calls) == 3:
            for each in streams._client.clients.values():
                each.connection._conn.transport.abort()
            await asyncio.sleep(2)  # of these two seconds nothing comes by itself
        await take(name, trades)

    def enough() -> bool:
        streams.pump(0.2)
        messages, _ = inbox.take(0)
        taken.extend(data for (_, data), _ in messages if isinstance(data, dict))
        return streams.losses > 0 and len(calls) > 8

    monkeypatch.setattr(streams, "_trades", slow)
    try:
        streams.learn()
        streams.begin(inbox, lambda _: (None, 0))
        wait_until(enough)
        steps = Steps(Sizes(Decimal("0.01"), Decimal("0.00001"), Decimal("1e-7")))
        made = [(row[0], *row[2:4]) for row in served(server, "BTC-USDT", steps, 0)]
    finally:
        streams.close()
        server.kill()
    seen = [parsed(each, steps) for each in taken]
    assert [row[1] for row in seen] == list(range(1, len(seen) + 1))
    found = [(row[0], *row[2:4]) for row in seen]
    begin = made.index(found[0])
    assert found == made[begin : begin + len(found)]


def test_a_symbol_that_it_does_not_trade_is_one_line(make):
    _, recorder = make({}, "by_ccxt = true")
    recorder.config.write_text(recorder.config.read_text().replace("ETH-USDT", "NONE-USDT"))
    recorder.launch()
    assert recorder.process.wait(LIMIT_S) == 3
    said = recorder.log.read_text()
    assert "recorder run: symbols: binance does not know NONE-USDT" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("market", "line"),
    [
        ('exchange = "krakn"', "exchange = 'krakn': needs binance, binanceus or a name"),
        ('exchange = "krakn"', "(did you mean kraken?)"),
        ('exchange = "kraken"\nby_ccxt = false', "kraken is recorded by ccxt alone"),
        ('exchange = "kraken"\nweight_per_minute = 60', "weight_per_minute is not for ccxt"),
        (
            'exchange = "binance"\ncontiguous_ids = true',
            "contiguous_ids is for an exchange by ccxt",
        ),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(tmp_path, capsys, market, line):
    path = tmp_path / "recorder.toml"
    path.write_text(f'directory = "d"\n[[markets]]\nsymbols = ["BTC-USD"]\n{market}')
    assert main(["run", "--check", "--config", str(path)]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_of_other_exchanges_nobody_assumes_that_numbers_have_no_holes(tmp_path):
    path = tmp_path / "recorder.toml"
    path.write_text('directory = "d"\n[[markets]]\nexchange = "kraken"\nsymbols = ["BTC-USD"]')
    [market] = load_config(path).markets
    assert (market.by_ccxt, market.contiguous_ids, market.rest) == (True, False, "")


def test_trades_after_the_last_known_one_are_those_that_were_missed():
    numbers = OwnNumbers(None)
    trades = [{"id": str(one), "timestamp": one} for one in range(6)]
    assert [numbers.number(trade) for trade in trades[:2]] == [1, 2]
    assert numbers.number(trades[1]) is None
    assert numbers.missed(trades[1:5]) == trades[1:5]
    assert numbers.missed(trades[3:5]) is None
    numbers.skip()
    assert numbers.number(trades[3]) == 4
    assert OwnNumbers(4).number(trades[0]) == 6


def as_ccxt(*names: str) -> list[dict]:
    """Trades of one millisecond, in the order in which ccxt returns them."""
    return ccxt.Exchange.sort_by_2([{"id": n, "timestamp": 7} for n in names], "timestamp", "id")


def test_trades_of_one_millisecond_are_missed_whatever_the_length_of_their_numbers():
    numbers = OwnNumbers(None)
    for name in ("98", "99"):
        numbers.number({"id": name, "timestamp": 7})
    page = as_ccxt("97", "98", "99", "100", "101")
    assert [trade["id"] for trade in page] == ["100", "101", "97", "98", "99"]
    assert [trade["id"] for trade in numbers.missed(page)] == ["98", "99", "100", "101"]


def test_trades_of_one_millisecond_whose_ids_tell_no_order_are_all_missed():
    numbers = OwnNumbers(None)
    numbers.number({"id": "b", "timestamp": 7})
    page = [{"id": "z", "timestamp": 6}, *as_ccxt("a", "b", "c")]
    assert [trade["id"] for trade in numbers.missed(page)] == ["a", "b", "c"]


def test_an_answer_is_in_the_order_of_its_numbers(monkeypatch):
    streams = CcxtStreams(
        "binance", ["BTC-USDT"], (Kind.TRADES,), clock=SystemClock(), contiguous=True
    )
    page = as_ccxt("98", "99", "100", "101")
    page = [each | {"price": 1.0, "amount": 1.0, "side": "buy"} for each in page]

    async def fetched(*_):
        return page

    monkeypatch.setattr(streams._client, "fetch_trades", fetched)
    asked = streams._found(Request("BTC-USDT", Kind.TRADES, 99))
    answer = streams._loop.run_until_complete(asked)
    streams.close()
    assert [each["a"] for each in answer] == [99, 100, 101]


def test_an_id_that_is_no_number_is_one_line():
    with pytest.raises(UserError, match="contiguous_ids = true, but the ID of a trade is 'a-1'"):
        ccxt_messages.whole_id("a-1")


def test_what_has_changed_in_a_book():
    before, now = {1.5: 2.0, 1.25: 3.0, 1.0: 1e-05}, {1.5: 2.0, 1.25: 4.0, 0.5: 1.0}
    assert ccxt_messages.changed(before, now) == [["1.0", "0"], ["1.25", "4.0"], ["0.5", "1.0"]]
