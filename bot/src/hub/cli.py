"""The `hub` command: reads arguments, hands over to one subcommand, reports errors."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gridbase.clock import SystemClock
from gridbase.command_line import program_parser, run_command
from gridbase.errors import ExitCode, UserError

from hub import __version__
from hub.config import Config, load

DEFAULT_CONFIG = Path("/etc/gridberry-hub/hub.toml")


def _migrate(config: Config, _: argparse.Namespace) -> int:
    from hub.database import AWAY, connect, in_one_line, migrate

    async def run() -> list[str]:
        connection = await connect(config.need("database"))
        try:
            return await migrate(connection)
        finally:
            await connection.close()

    try:
        applied = asyncio.run(run())
    except AWAY as error:
        raise UserError(in_one_line(error), ExitCode.EXCHANGE) from error
    print("applied: " + ", ".join(applied) if applied else "the schema is up to date")
    return ExitCode.OK


def _collect(config: Config, _: argparse.Namespace) -> int:
    from hub.collector import Loop

    clock = _stopping_clock()
    loop = Loop(config.need("bot"), config.need("collector"), config.need("database"), clock)
    asyncio.run(loop.run())
    return ExitCode.OK


def _archive(config: Config, _: argparse.Namespace) -> int:
    from hub.database import AWAY, in_one_line
    from hub.keeper import archive, book

    address, settings = config.need("database"), config.need("archive")

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        moved = asyncio.run(archive(address, settings, say))
        asyncio.run(book(address, settings, say))
    except AWAY as error:
        raise UserError(in_one_line(error), ExitCode.EXCHANGE) from error
    for table, one in moved.items():
        print(
            f"{table}: archived {one.rows} rows of {one.chunks} chunks: {one.before} bytes in the"
            f" database, {one.size} in the archive; {one.late} came late"
        )
    return ExitCode.OK


def _keep(config: Config, _: argparse.Namespace) -> int:
    from hub.keeper import keep

    asyncio.run(keep(config, _stopping_clock()))
    return ExitCode.OK


def _serve(config: Config, _: argparse.Namespace) -> int:
    from hub.api.serving import serve

    serve(config)
    return ExitCode.OK


def _tokens(config: Config, args: argparse.Namespace) -> int:
    import time

    from gridbase import tokens

    path = config.need("server").tokens_file
    if path is None:
        raise UserError("server.tokens_file is missing: it names the file that tokens are kept in")
    if args.action == "list":
        for one in tokens.load(path):
            print(one.name, " ".join(one.scopes), one.created_ms)
        return ExitCode.OK
    if args.name is None:
        raise UserError(f"{args.action} needs the token's NAME")
    with tokens.changing(path) as kept:
        if args.action == "revoke":
            tokens.save(path, tokens.revoked(kept, args.name))
            return ExitCode.OK
        now_ms = time.time_ns() // 1_000_000
        more, secret = tokens.created(kept, args.name, tokens.READ, now_ms)
        tokens.save(path, more)
    print(secret)
    return ExitCode.OK


# Each with one line of help.
COMMANDS: dict[str, tuple[Callable[[Config, argparse.Namespace], int], str]] = {
    "migrate": (_migrate, "bring the database's schema up to date"),
    "collect": (_collect, "copy one bot's books to the database until stopped"),
    "archive": (_archive, "move old rows to verified Parquet files, and book trades, once"),
    "keep": (_keep, "keep schema, archive and ledger in order until stopped"),
    "serve": (_serve, "serve the API and the fleet's page until stopped"),
    "tokens": (_tokens, "create, list and revoke the tokens of API and page"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit status (see `gridbase.command_line.EXIT_CODES`).
    """
    args = _parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    if args.command == "version":
        print(f"hub {__version__}")
        return ExitCode.OK
    run, _ = COMMANDS[args.command]
    return run_command(f"hub {args.command}", lambda: run(load(args.config), args))


def _parser() -> argparse.ArgumentParser:
    parser = program_parser("hub", "The fleet's memory: one database, API and page over all bots.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s"
        )
        if name == "tokens":
            command.add_argument("action", choices=("create", "list", "revoke"))
            command.add_argument("name", nargs="?", metavar="NAME")
    commands.add_parser("version", help="print the version")
    return parser


def _stopping_clock() -> SystemClock:
    """A clock that SIGTERM and SIGINT stop."""
    clock = SystemClock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())
    return clock
