"""`recorder compact`: one file a day, for days that are over."""

import argparse
import time

from gridbase.errors import ExitCode, UserError

from recorder.commands.arguments import add_directory, disk_told, open_catalog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_directory(parser)


def run(args: argparse.Namespace) -> int:
    """Compact, and say how many files were replaced."""
    from recorder.files.compact import UnequalError, compact, over_before

    catalog = open_catalog(args.directory, read_only=False)
    try:
        with disk_told("--directory", args.directory):
            replaced = compact(catalog, over_before(time.time_ns() // 10**6))
    except UnequalError as error:
        raise UserError(str(error), ExitCode.STATE) from error
    finally:
        catalog.close()
    print(f"replaced {replaced} files")
    return 0
