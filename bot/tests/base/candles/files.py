"""Candle files that tests write, and what is in them."""

import os
from pathlib import Path

from gridbase.candles.reader import load_series

HEADER = "timestamp,open,high,low,close,volume\n"
START = 1_640_991_660_000
ROWS = [
    (START, "46319.0", "46385.0", "46319.0", "46377.0", "2300413.7295"),
    (START + 60_000, "46377.0", "46411.5", "46377.0", "46411.25", "1829623.1938"),
    (START + 120_000, "46411.25", "46425.0", "46400.125", "46420.0", "466452.1722"),
]
EXPECTED = [
    (START, 4_631_900_000_000, 4_638_500_000_000, 4_631_900_000_000, 4_637_700_000_000),
    (START + 60_000, 4_637_700_000_000, 4_641_150_000_000, 4_637_700_000_000, 4_641_125_000_000),
    (START + 120_000, 4_641_125_000_000, 4_642_500_000_000, 4_640_012_500_000, 4_642_000_000_000),
]
DATA = Path(os.environ.get("GRIDBERRY_TEST_DATA", Path(__file__).parents[5] / "shared" / "data"))
REAL = DATA / "btc-usd-perp-1m-2022-01.csv"


def csv_text(rows=ROWS, header=HEADER) -> str:
    return header + "".join(",".join(map(str, row)) + "\n" for row in rows)


def candles(path: Path) -> list[tuple]:
    series = load_series(path)
    return [series.candle(index)[:5] for index in range(series.length)]


def dump_text(scale: int) -> str:
    """As Binance publishes klines: no header, twelve columns."""
    lines = []
    for time, *prices, volume in ROWS:
        end = (time + 60_000) * scale - 1
        lines.append(f"{time * scale},{','.join(prices)},{volume},{end},1.0,9,0.5,0.5,0\n")
    return "".join(lines)


def row(**changes) -> str:
    names = ("timestamp", "open", "high", "low", "close", "volume")
    values = dict(zip(names, ROWS[1], strict=True)) | changes
    return csv_text([ROWS[0], tuple(values[name] for name in names)])
