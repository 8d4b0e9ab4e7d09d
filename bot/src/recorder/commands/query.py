"""`recorder query`: SQL over what was recorded, and over nothing else."""

import argparse
import csv
import sys

from gridbase.errors import UserError

from recorder.commands.arguments import add_directory

MEMORY = "1GB"  # beside a recorder, whose container has 1.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_directory(parser)
    parser.add_argument("sql", metavar="SQL", help="tables: trades, quotes, depth, candles, gaps")
    parser.add_argument("--json", action="store_true", help="one JSON object a row, not CSV")


def run(args: argparse.Namespace) -> int:
    """Print the answer as CSV, or as JSON."""
    import duckdb

    from recorder.reading.database import open_database

    database = open_database(args.directory, MEMORY)
    try:
        answer = database.execute(args.sql)
        names = [column[0] for column in answer.description or ()]
        if args.json:
            import json

            while rows := answer.fetchmany(10_000):
                for row in rows:
                    print(json.dumps(dict(zip(names, row, strict=True)), default=str))
        else:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(names)
            while rows := answer.fetchmany(10_000):
                writer.writerows(rows)
    except duckdb.Error as error:
        raise UserError(str(error).partition("\n")[0]) from error
    finally:
        database.close()
    return 0
