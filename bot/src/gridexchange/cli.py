"""The `gridexchange` command: serve the practice exchange."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gridbase.command_line import program_parser, run_command

from gridexchange.config import load_config

FLAGS = (
    ("host", "ADDRESS", "address to listen on (127.0.0.1)"),
    ("port", "PORT", "port to listen on (8000); 0: any"),
    ("stream_port", "PORT", "port of streams and WebSocket API (none); 0: any"),
    ("state_directory", "DIR", "where the books are kept"),
    ("api_key_file", "FILE", "file with the API key, mode 0600"),
    ("api_secret_file", "FILE", "file with the API secret, mode 0600"),
    ("candles", "FILE", "recorded market: CSV, CSV.GZ, zip or Parquet (none: synthetic)"),
    ("live", "binance|binanceus", "follow the live prices of an exchange (none)"),
    ("live_rest", "URL", "where that exchange answers (its own address)"),
    ("live_streams", "URL", "where that exchange streams (its own address)"),
    ("at_end", "repeat|hold", "after the last recorded candle (repeat)"),
    ("speed", "N", "market seconds in a real second (60)"),
    ("seed", "N", "of the synthetic market (7)"),
    ("start_price", "AMOUNT", "where the synthetic market begins (50000)"),
    ("symbol", "BASE/QUOTE", "what is traded (BTC/USDT)"),
    ("tick_size", "AMOUNT", "step of prices (fits the first price: 0.01 for BTC/USDT)"),
    ("lot_size", "AMOUNT", "step of quantities (likewise: 0.00001)"),
    ("min_notional", "AMOUNT", "smallest price times quantity (5)"),
    ("fee_rate", "SHARE", "commission (0.001)"),
    ("fee_in", "received|quote|bnb", "coin that the commission is taken from (received)"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit status (see `gridbase.command_line.EXIT_CODES`).
    """
    parser = program_parser("gridexchange", "Serve the practice exchange.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    for name, metavar, text in FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    parser.add_argument(
        "--balance",
        action="append",
        metavar="COIN=AMOUNT",
        help="start balance of a new account, may be repeated (USDT=10000)",
    )
    args = parser.parse_args(argv)
    return run_command("gridexchange", lambda: _serve(args))


def _serve(args: argparse.Namespace) -> int:
    flags: dict[str, object] = {name: getattr(args, name) for name, _, _ in FLAGS}
    if args.balance:
        flags["balances"] = dict(_coin(text) for text in args.balance)
    config = load_config(args.config, flags)
    # Not before the settings are known to be good: the server's imports cost a second on a Pi.
    from gridbase.clock import SystemClock

    from gridexchange.server import serve

    return serve(config, SystemClock())


def _coin(text: str) -> tuple[str, str]:
    coin, _, amount = text.partition("=")
    return coin, amount
