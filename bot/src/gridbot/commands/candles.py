"""`gridbot candles`: convert a candle file to the form that ships to a Pi, or describe one."""

import argparse
import csv
import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from gridbase.candles.columns import COLUMNS
from gridbase.candles.price_units import print_units
from gridbase.candles.reader import Reader, open_candles
from gridbase.candles.series import Candle
from gridbase.errors import ExitCode, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    convert = actions.add_parser(
        "convert",
        help="write a candle file as CSV with a header, gzip'd when OUT ends in .gz",
        description="Write a candle file as CSV with a header, gzip'd when OUT ends in .gz."
        " The same candles always give the same bytes.",
    )
    convert.add_argument("source", metavar="IN", type=Path, help="CSV, CSV.GZ, zip or Parquet")
    convert.add_argument("target", metavar="OUT", type=Path, help="file to write")
    info = actions.add_parser(
        "info", help="describe a candle file", description="Describe a candle file."
    )
    info.add_argument("source", metavar="FILE", type=Path, help="CSV, CSV.GZ, zip or Parquet")
    info.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run `convert` or `info`; returns the exit status."""
    if args.action == "convert":
        return _convert(args.source, args.target)
    return _info(args.source, as_json=args.json)


def _convert(source: Path, target: Path) -> int:
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target}: is the input as well; name another file")
    reader = open_candles(source)
    count = 0
    with _whole_file(target) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for count, candle in enumerate(reader, start=1):  # noqa: B007  the last one is printed
            prices = [print_units(units) for units in candle[1:5]]
            writer.writerow([candle.time, *prices, _print_volume(candle.volume)])
    print(f"{target}: {count} candles")
    _print_findings(reader)
    return ExitCode.OK


@contextmanager
def _whole_file(target: Path) -> Iterator[TextIO]:
    """A text file that appears under its name only once it is complete."""
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as raw:
            if target.suffix == ".gz":
                # No name and no time in the header: equal candles give equal bytes.
                with (
                    gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
                    io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
                ):
                    yield text
            else:
                with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                    yield text
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _info(source: Path, *, as_json: bool) -> int:
    reader = open_candles(source)
    candles = iter(reader)
    first = last = next(candles)
    low, high, count = first.low, first.high, 1
    for last in candles:
        low, high, count = min(low, last.low), max(high, last.high), count + 1
    facts = _facts(reader, first, last, count)
    facts["low"], facts["high"] = print_units(low), print_units(high)
    if as_json:
        print(json.dumps(facts))
        return ExitCode.OK
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):{width}}  {value}")
    return ExitCode.OK


def _facts(reader: Reader, first: Candle, last: Candle, count: int) -> dict[str, object]:
    found = reader.findings
    return {
        "file": str(reader.path),
        "format": reader.format,
        "candles": count,
        "interval_seconds": reader.steps.interval_ms() / 1000,
        "first": _iso(first.time),
        "last": _iso(last.time),
        "first_open": print_units(first.open),
        "last_close": print_units(last.close),
        "duplicates": found.duplicates,
        "gaps": found.gaps,
        "missing_candles": found.missing_candles,
        "rounded_prices": found.rounded_prices,
    }


def _print_findings(reader: Reader) -> None:
    for sentence in reader.findings.sentences():
        print(f"{reader.path}: {sentence}")


def _print_volume(volume: float) -> str:
    return repr(volume).removesuffix(".0")


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat().replace("+00:00", "Z")
