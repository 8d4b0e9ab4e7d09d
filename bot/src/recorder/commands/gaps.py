"""`recorder gaps`: what is missing in the recording."""

import argparse
import json

from gridbase.errors import ExitCode

from recorder.commands.arguments import add_directory, open_catalog
from recorder.core.rows import Gap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_directory(parser)
    parser.add_argument("--symbol", metavar="SYMBOL", help="of this symbol alone")
    parser.add_argument("--json", action="store_true", help="one JSON object a gap")


def run(args: argparse.Namespace) -> int:
    """Print each gap; exit 1 where there is one."""
    catalog = open_catalog(args.directory)
    gaps = [gap for gap in catalog.gaps() if args.symbol in (None, gap.stream.symbol)]
    catalog.close()
    for gap in gaps:
        print(_json(gap) if args.json else _line(gap))
    return ExitCode.DIFFERS if gaps else ExitCode.OK


def _json(gap: Gap) -> str:
    stream = gap.stream
    named = {"exchange": stream.exchange, "kind": stream.kind, "symbol": stream.symbol}
    values = {name: getattr(gap, name) for name in ("from_ms", "to_ms", "first", "last", "reason")}
    return json.dumps(named | values)


def _line(gap: Gap) -> str:
    from datetime import UTC, datetime

    begin = datetime.fromtimestamp(gap.from_ms / 1000, UTC).isoformat(timespec="milliseconds")
    seconds = (gap.to_ms - gap.from_ms) / 1000
    stream = gap.stream
    which = "" if gap.first is None else f", {gap.first} to {gap.last}"
    name = f"{stream.exchange} {stream.symbol} {stream.kind}"
    return f"{name}  {begin}  {seconds:.1f} s{which}: {gap.reason}"
