"""What the command lines of all programs have in common."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from gridbase.errors import ExitCode, UserError

EXIT_CODES = """exit status:
  0  everything is as it should be
  1  the answer is no: books differ, bot unhealthy
  2  usage or configuration is wrong
  3  exchange unreachable, or it refused
  4  state: disk, database or its lock
"""


class OneLineParser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """End with the line and status 2."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def run_command(name: str, run: Callable[[], int]) -> int:
    """Run a command to its end; an error of the user's is one line.

    Args:
        name: of the command, for that line.
        run: returns the exit status.

    Returns:
        The exit status (see `EXIT_CODES`).
    """
    try:
        return int(run())
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`head`) has gone; nothing is left to say to it.
        sys.stderr.close()
        return ExitCode.OK
