"""`gridbot tokens`: create, list and revoke the tokens with which people and programs may ask."""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from gridbase.errors import ExitCode
from gridbase.tokens import SCOPES, changing, created, load, revoked, save

from gridbot.commands.arguments import add_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token and show it, this once")
    create.add_argument("name", metavar="NAME", help="whose it is, such as phone")
    create.add_argument(
        "--scope", choices=list(SCOPES), required=True, help="act includes read, and may trade"
    )
    listed = actions.add_parser("list", help="print names, scopes and ages")
    revoke = actions.add_parser("revoke", help="make a token worthless at once")
    revoke.add_argument("name", metavar="NAME", help="as in the list")
    for action in (create, listed, revoke):
        action.add_argument(
            "--file",
            type=Path,
            required=True,
            metavar="FILE",
            help="where the tokens are kept, as SHA-256: the setting page.tokens_file",
        )
    add_json(listed)


def run(args: argparse.Namespace) -> int:
    """Do what is asked; whoever serves the file takes it over with the next request."""
    if args.action == "list":
        return _list(args.file, as_json=args.json)
    with changing(args.file) as tokens:
        if args.action == "revoke":
            save(args.file, revoked(tokens, args.name))
            print(f"{args.name}: revoked")
            return ExitCode.OK
        now_ms = time.time_ns() // 1_000_000
        more, secret = created(tokens, args.name, args.scope, now_ms)
        save(args.file, more)
    # To standard output, alone: it can go into a file or a program without being seen.
    print(secret)
    return ExitCode.OK


def _list(path: Path, *, as_json: bool) -> int:
    tokens = load(path)
    if as_json:
        document = [
            {"name": one.name, "scopes": list(one.scopes), "created_ms": one.created_ms}
            for one in tokens
        ]
        print(json.dumps(document))
        return ExitCode.OK
    for one in tokens:
        created_at = datetime.fromtimestamp(one.created_ms / 1000, UTC)
        print(f"{one.name:<32} {','.join(one.scopes):<8} {created_at:%Y-%m-%d %H:%M} UTC")
    return ExitCode.OK
