"""How subcommands that trade put the parts together."""

import logging
import sys
import time

from gridbot.binance_broker import BinanceBroker
from gridbot.brokers import open_binance
from gridbot.clock import Clock
from gridbot.config import Config


def open_broker(config: Config, clock: Clock) -> BinanceBroker:
    """The exchange that a configuration names, with the keys from its files.

    Raises:
        UserError: a key file will not do.
    """
    return open_binance(config, clock).broker(config.symbol)


def start_logging(level: str) -> None:
    """One line for each event, to standard output, times in UTC."""
    formatter = logging.Formatter(
        "%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    # Only the bot's own events: libraries would log requests with their signatures.
    logger = logging.getLogger("gridbot")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())
