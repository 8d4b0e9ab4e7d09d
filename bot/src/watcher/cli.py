"""The command `watcher`."""

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gridbase.clock import SystemClock
from gridbase.command_line import program_parser, run_command
from gridbase.errors import ExitCode

from watcher.config import Config, load_config

HEALTHY_SECONDS = 1200


def main(argv: Sequence[str] | None = None) -> int:
    """Watch options until stopped.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit status (see `gridbase.command_line.EXIT_CODES`).
    """
    parser = program_parser(
        "watcher", "Watch options at Interactive Brokers: chains, Greeks, bars. Trades nothing."
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, metavar="FILE", help="TOML file")
    add("--write", action="store_true", help="keep what it sees; without: print, write no data")
    add("--once", action="store_true", help="end after one cycle")
    add("--check", action="store_true", help="read the settings, and stop")
    add("--health", action="store_true", help="exit 0 where a watcher that writes is alive, else 1")
    args = parser.parse_args(argv)
    return run_command("watcher", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    if args.check:
        print("settings are valid")
        return 0
    if args.health:
        return _health(config)
    from watcher.files import Files
    from watcher.service import Watcher

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)  # the watcher says what happened

    async def watch() -> None:
        files = Files(config.directory) if args.write else None
        watcher = Watcher(config, SystemClock(), files)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, watcher.stop)
        await watcher.run(once=args.once)

    asyncio.run(watch())
    return 0


def _health(config: Config) -> int:
    """Whether the signal file was written lately; what its state is does not matter."""
    try:
        document = json.loads((config.directory / "signal.json").read_text())
        age = time.time() - document["written_ms"] / 1000
        print(f"{document['state']}, told {age:.0f} s ago")
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"no signal file: {error}")
        return ExitCode.DIFFERS
    return ExitCode.OK if age < HEALTHY_SECONDS else ExitCode.DIFFERS
