"""`recorder sync`: copy to S3 what has not been copied."""

import argparse
import sys
import time
from contextlib import closing
from pathlib import Path

from gridbase.errors import UserError

from recorder.commands.arguments import disk_told, open_catalog
from recorder.config import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file")
    parser.add_argument("--dry-run", action="store_true", help="say what would be copied")


def run(args: argparse.Namespace) -> int:
    """Copy, and keep the disk within its budget."""
    from recorder.files.compact import compact, over_before
    from recorder.sync.budget import keep_within
    from recorder.sync.copy import open_bucket, sync

    config = load_config(args.config)
    settings = config.sync
    if settings is None:
        raise UserError(
            f"{args.config}: needs a section [sync] with bucket, key_id_file and secret_file"
        )
    with (
        disk_told("directory =", config.directory),
        closing(open_catalog(config.directory, read_only=False)) as catalog,
    ):
        before = over_before(time.time_ns() // 10**6)
        if not args.dry_run:
            compact(catalog, before)
        report = sync(
            catalog,
            open_bucket(settings),
            before=before,
            kilobytes_per_second=settings.kilobytes_per_second,
            dry_run=args.dry_run,
            told=lambda name: print(name, file=sys.stderr),
        )
        verb = "would copy" if args.dry_run else "copied"
        print(f"{verb} {len(report.copied)} files, {report.bytes} bytes; {report.there} were there")
        if not args.dry_run:
            away, lost = keep_within(catalog, config.budget_bytes)
            if away or lost:
                print(f"removed {away} files that are copied, and {lost} that are not")
    return 0
