"""`analytics nightly`: the jobs of a night, once."""

import argparse
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from gridbase.errors import ExitCode, UserError

from analytics.commands import compare, optimize
from analytics.nightly.config import Nightly

DEFAULT_CONFIG = Path("/etc/analytics/analytics.toml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="only read the configuration")


def run(args: argparse.Namespace) -> int:
    """Do them; exit 1 where one has no result."""
    from analytics.nightly.config import load
    from analytics.nightly.jobs import run_jobs

    settings = load(args.config)
    check_words(settings)
    if args.check:
        return ExitCode.OK
    # In a container it is the first process, which no signal ends by itself.
    signal.signal(signal.SIGTERM, _stop)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    done = run_jobs(settings, yesterday)
    for each in done:
        print(f"{each.kind} {each.name}: {each.trouble or f'done in {each.seconds:.0f} s'}")
    return ExitCode.DIFFERS if any(each.trouble for each in done) else ExitCode.OK


def _stop(number: int, _frame: object) -> NoReturn:
    """End; what runs is ended with it."""
    raise SystemExit(128 + number)


class _Words(argparse.ArgumentParser):
    """Says what is wrong with words of a file."""

    def error(self, message: str) -> NoReturn:
        """Raise it as the user's."""
        raise UserError(f"{self.prog}: {message}")


def check_words(settings: Nightly) -> None:
    """Have the jobs' own parsers read their words.

    Raises:
        UserError: one does not take them; says which.
    """
    from analytics.nightly.jobs import bot_jobs, search_jobs

    day = datetime.now(UTC).date()
    jobs = [job for bot in settings.bots for job in bot_jobs(settings, bot, bot.state, day)]
    commands = {"compare": compare, "optimize": optimize}
    for job in (*jobs, *search_jobs(settings)):
        if job.kind in commands:
            table = "bots" if job.kind == "compare" else "searches"
            parser = _Words(prog=f"{table}: {job.name}: options")
            commands[job.kind].add_arguments(parser)
            parser.parse_args(job.command[2:])
