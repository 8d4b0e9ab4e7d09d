"""`recorder health`: what Docker asks."""

import argparse

from gridbase import health

run = health.run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    health.add_arguments(parser)
    parser.set_defaults(url="http://127.0.0.1:8090/health")
