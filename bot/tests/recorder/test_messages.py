"""Messages that make no sense do no harm: each is counted, and no row of them is written."""

from recorder.core.rows import Kind, Stream
from recorder.files.catalog import Catalog
from recorder.recording.symbol import SymbolRecording

from bot.tests.recorder.test_files import SIZES, START_MS, Clock, open_store, rows_of

TRADE = {"E": START_MS, "T": START_MS, "a": 7, "p": "43000.00", "q": "0.1", "f": 1, "l": 1}
TRADE |= {"m": True}
DIFFERENCE = {"E": START_MS, "U": 1, "u": 2, "b": [["42999.00", "1"]], "a": []}
QUOTE = {"u": 5, "b": "1.00", "B": "1", "a": "2.00", "A": "1"}
WRONG = (None, "1", 1.5, True, -2, 2**63, 10**25)


def cases():
    for wrong in (*WRONG, 10**17):  # as a time: after the year 9999
        yield "aggTrade", TRADE, {"T": wrong}
        yield "depth@100ms", DIFFERENCE, {"E": wrong}
    for wrong in WRONG:
        for name in ("a", "f", "l"):
            yield "aggTrade", TRADE, {name: wrong}
        for name in ("U", "u"):
            yield "depth@100ms", DIFFERENCE, {name: wrong}
        yield "bookTicker", QUOTE, {"u": wrong}
    # So fine a step that no real price would fit into 64 bits any more.
    yield "aggTrade", TRADE, {"p": "0.000000000000000001"}


def test_values_that_make_no_sense_are_refused_one_by_one(tmp_path):
    clock = Clock()
    store = open_store(tmp_path, clock)
    kinds = (Kind.TRADES, Kind.QUOTES, Kind.DEPTH)
    store.open({Stream("binance", kind, "BTCUSDT"): SIZES for kind in kinds})
    symbol = SymbolRecording(
        "binance", "BTCUSDT", kinds, SIZES, sink=store, last=store.catalog.last
    )
    wrong = list(cases())
    for stream, good, change in wrong:
        before = symbol.senseless
        symbol.handlers[stream](good | change, clock.ms)
        assert symbol.senseless == before + 1, change
    for stream, good in (("aggTrade", TRADE), ("bookTicker", QUOTE)):
        symbol.handlers[stream](good, clock.ms)
    store.close()
    assert store.trouble == ""
    assert [row[1] for row in rows_of(tmp_path, Stream("binance", Kind.TRADES, "BTCUSDT"))] == [7]
    assert Catalog(tmp_path, read_only=True).totals()[1] == 2
