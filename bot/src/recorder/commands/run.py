"""`recorder run`: record until stopped."""

import argparse
import logging
import signal
import sys
from pathlib import Path

from gridbase.clock import SystemClock
from gridbase.secret_files import read_secret

from recorder.commands.arguments import disk_told
from recorder.config import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file")
    parser.add_argument("--check", action="store_true", help="read the settings, and stop")


def run(args: argparse.Namespace) -> int:
    """Record; exit 75 where memory has grown too much and a new process should go on."""
    config = load_config(args.config)
    if args.check:
        print("settings are valid")
        return 0
    from recorder.service.recorder import Recorder
    from recorder.service.status import Status
    from recorder.service.web import Web, serve

    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    token = "" if config.token_file is None else read_secret(config.token_file, "token_file")
    clock = SystemClock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())

    def ready(recorder: Recorder) -> None:
        port = serve(Web(Status(recorder), token), config.listen)
        symbols = sum(len(market.symbols) for market in config.markets)
        logging.getLogger("recorder").info(
            "recording %d symbols into %s; status on port %d", symbols, config.directory, port
        )

    with disk_told("directory =", config.directory):
        return Recorder(config, clock).run(ready)
