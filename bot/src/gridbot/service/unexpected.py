"""Errors that nobody expected: what the log and the page say about them. Pure."""

import re
import traceback
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Unexpected:
    """An error that nobody expected: a mistake in the bot, or in a library that it uses.

    Attributes:
        what: its kind and where it arose. What it says may hold an address, and that a signature.
        times: how many such errors there were, with less than `UNEXPECTED_SECONDS` in between.
        at: when it came (monotonic seconds).
    """

    what: str
    times: int
    at: float

    @property
    def reason(self) -> str:
        """One line for people."""
        again = "" if self.times == 1 else f", {self.times} times"
        return f"unexpected {self.what}{again}: its trace is in the log"


def what(error: Exception) -> str:
    """Kind of an error, and the place where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where


def trace(error: Exception) -> str:
    """An error's trace, without the signatures of addresses that it speaks of."""
    text = "".join(traceback.format_exception(error)).rstrip()
    return re.sub(r"(signature=)\w+", r"\1...", text)
