"""Arguments that the pool's subcommands share."""

import argparse
from pathlib import Path


def add_tls(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--tls`."""
    parser.add_argument(
        "--tls",
        type=Path,
        required=required,
        metavar="DIR",
        help="has the pool's certificate and key: pool.crt and pool.key",
    )
