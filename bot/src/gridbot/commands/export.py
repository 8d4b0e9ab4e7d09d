"""`gridbot export`: every order of the books with its trades, as one file."""

import argparse
import csv
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from gridbase.atomic_file import WholeFile
from gridbase.errors import ExitCode, UserError

from gridbot.accounting import trade_history
from gridbot.commands.books_arguments import add_state, open_books
from gridbot.core.orders import number_or_text
from gridbot.store import Store
from gridbot.store.settled import BY_TIME, COLUMNS

HEAD = ("symbol", *COLUMNS)
BATCH_ROWS = 5000
_INTEGERS = {"generation", "line", "cycle", "created_ms", "time_ms", "maker"}
_IDENTITIES = {"exchange_id", "trade_id"}  # numbers on some exchanges

Rows = Callable[[], Iterator[tuple[Any, ...]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_state(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".csv or .parquet")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    if args.out.suffix not in writers:
        raise UserError(f"--out {args.out} needs a name that ends with .csv or .parquet")
    with open_books(args) as (store, symbols), WholeFile(args.out, "--out") as out:
        writers[args.out.suffix](out.file, lambda: _rows(store, symbols))
    print(f"written: {args.out}")
    return ExitCode.OK


def _rows(store: Store, symbols: list[str]) -> Iterator[tuple[Any, ...]]:
    for symbol in symbols:
        for row in trade_history.cells(store, symbol, order=BY_TIME):
            yield symbol, *row


def _write_csv(file: TextIO, rows: Rows) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(rows())


def _write_parquet(file: TextIO, rows: Rows) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(
            "--out: Parquet takes pyarrow, which is not installed here; name a .csv file"
        ) from error
    texts: set[str] = set()
    for row in rows():
        named = dict(zip(HEAD, row, strict=True))
        given = {name: named[name] for name in _IDENTITIES if named[name] is not None}
        texts |= {name for name, cell in given.items() if isinstance(number_or_text(cell), str)}
    numbers = _INTEGERS | _IDENTITIES - texts
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in HEAD])
    every = rows()
    with pq.ParquetWriter(file.buffer, schema) as writer:
        while part := list(islice(every, BATCH_ROWS)):
            arrays = [pa.array(column) for column in zip(*part, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, list(HEAD)).cast(schema))
