"""What goes wrong in a way a user can act on, and the exit status that reports it."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of every `gridbot` command (documented in docs/bot.md and in --help)."""

    OK = 0
    DIFFERS = 1
    USAGE = 2
    EXCHANGE = 3
    STATE = 4


class UserError(Exception):
    """One clear line for the user; the command prints it without a traceback.

    Args:
        message: what is wrong, naming the setting, its value and what is allowed.
        exit_code: the status the process ends with.
    """

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MismatchError(UserError):
    """The bot's books and the exchange disagree: nothing is traded until they agree.

    Args:
        message: one clear line that says what differs.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"books and exchange disagree: {message}", ExitCode.DIFFERS)


def named(symbol: str, message: str) -> str:
    """A message that begins with the symbol of the grid that it is about, once."""
    return message if message.startswith(f"{symbol}: ") else f"{symbol}: {message}"


@contextmanager
def of_grid(symbol: str) -> Iterator[None]:
    """Have a mistake in the settings of one grid name that grid.

    Args:
        symbol: the grid's.
    """
    try:
        yield
    except UserError as error:
        if type(error) is not UserError:
            raise
        raise UserError(named(symbol, str(error)), error.exit_code) from error
