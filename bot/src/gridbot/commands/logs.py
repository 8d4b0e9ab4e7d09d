"""What subcommands that trade share."""

import logging
import sys

from gridbase.log_lines import JSON, JsonLines, TextLines

from gridbot.config.load import BotConfig


def start_logging(config: BotConfig) -> None:
    """One line for each event, to standard output.

    Args:
        config: says how much is logged, and in which form.
    """
    symbols = [grid.symbol for grid in config.grids]
    name = config.account.bot_name
    handler = logging.StreamHandler(sys.stdout)
    json = config.log_format == JSON
    handler.setFormatter(JsonLines(name, symbols) if json else TextLines())
    # Only our own events: libraries would log requests with their signatures.
    for logger_name in ("gridbase", "gridbot"):
        logger = logging.getLogger(logger_name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(config.log_level.upper())
