"""Asks on the terminal; what an option says is not asked."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gridbase.errors import UserError
from gridbase.secret_files import read_secret

T = TypeVar("T")
Read = Callable[[str], T]


@dataclass(frozen=True)
class Questions:
    """Who asks.

    Attributes:
        defaults: Whether all that has a default takes it, unasked.
    """

    defaults: bool

    def ask(self, option: str, given: str | None, text: str, default: str, read: Read[T]) -> T:
        """Return an answer: the option's, else what is typed, else the default.

        Args:
            option: The option that says it as well.
            given: What that says; None: nothing.
            text: The question.
            default: What Enter means; empty: an answer is needed.
            read: What makes a value of it.

        Raises:
            UserError: The option is wrong, or nobody answers.
        """
        if given is not None:
            try:
                return read(given)
            except UserError as error:
                raise UserError(f"{option}: {error}") from error
        if self.defaults and default:
            return read(default)
        while True:
            answer = self._type(f"{text} [{default}]: " if default else f"{text}: ", option)
            try:
                return read(answer.strip() or default)
            except UserError as error:
                print(f"  {error}")

    def secret(self, option: str, given: Path | None, text: str) -> str:
        """Return a secret: of a file of mode 0600, else what is typed, which may be nothing.

        Args:
            option: The option that names the file.
            given: The file; None: ask.
            text: The question.

        Raises:
            UserError: The file cannot be used, or nobody answers.
        """
        if given is not None:
            return read_secret(given, option)
        if self.defaults:
            return ""
        if not sys.stdin.isatty():
            # Not through getpass, which would show what is typed where it cannot hide it.
            raise UserError(f"nobody is here to ask: add {option} FILE, or --yes for no keys")
        return getpass.getpass(f"{text}: ").strip()

    @staticmethod
    def _type(prompt: str, option: str) -> str:
        try:
            return input(prompt)
        except EOFError as error:
            print()
            raise UserError(f"nobody answers: add {option}, or --yes for the defaults") from error
