"""What subcommands that trade share."""

import logging
import sys
import time


def start_logging(level: str) -> None:
    """One line for each event, to standard output, times in UTC."""
    formatter = logging.Formatter(
        "%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    # Only our own events: libraries would log requests with their signatures.
    for name in ("gridbase", "gridbot"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
