"""Bearer tokens of people and programs: who may read, and who may act.

A token is 32 random bytes. It is shown once; the file keeps only its SHA-256. A slow hash, as
passwords need it, would protect nothing here: nobody can try 2**256 tokens, while the server would
pay for it with every request.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbase.atomic_file import write_whole
from gridbase.errors import ExitCode, UserError

READ, ACT = "read", "act"
# Who may act may also read: a second confirmation shows what would be done.
SCOPES = {READ: (READ,), ACT: (READ, ACT)}
PREFIX = "gridberry_"  # so that a search for lost secrets can find one
MOST_TOKENS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_SECRET_BYTES = 32
_MOST_BYTES = 65_536


@dataclass(frozen=True)
class Token:
    """What is kept of a token.

    Attributes:
        name: whose it is; the audit log has it.
        scopes: what it allows: `read`, `act`.
        created_ms: when (Unix milliseconds).
        digest: SHA-256 of the token, as hexadecimal digits.
    """

    name: str
    scopes: tuple[str, ...]
    created_ms: int
    digest: str

    def allows(self, scope: str) -> bool:
        """Whether it allows so much."""
        return scope in self.scopes


def digest_of(secret: str) -> str:
    """What is kept of a token's text: its SHA-256, as hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def created(
    tokens: Sequence[Token], name: str, scope: str, now_ms: int
) -> tuple[tuple[Token, ...], str]:
    """A list with one token more, and the text of that token.

    Args:
        tokens: those that there are.
        name: of the new one.
        scope: `read` or `act`.
        now_ms: Unix milliseconds.

    Raises:
        UserError: the name is not allowed or taken, or there are too many.
    """
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"NAME = {name!r} needs 1 to 32 letters, digits, hyphens, dots or underscores"
        )
    if any(one.name == name for one in tokens):
        raise UserError(f"NAME = {name} is taken; revoke that token first, or use another name")
    if len(tokens) >= MOST_TOKENS:
        raise UserError(f"there are {len(tokens)} tokens, at most {MOST_TOKENS} are allowed")
    secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    return (*tokens, Token(name, SCOPES[scope], now_ms, digest_of(secret))), secret


def revoked(tokens: Sequence[Token], name: str) -> tuple[Token, ...]:
    """A list without one token.

    Raises:
        UserError: there is none of that name.
    """
    left = tuple(one for one in tokens if one.name != name)
    if len(left) == len(tokens):
        raise UserError(f"NAME = {name}: there is no such token", ExitCode.DIFFERS)
    return left


def matching(tokens: Sequence[Token], secret: str) -> Token | None:
    """The token of which this is the text; takes as long whether or not there is one.

    Args:
        tokens: those that there are.
        secret: what somebody sent.
    """
    digest, found = digest_of(secret), None
    for one in tokens:
        if hmac.compare_digest(one.digest, digest):
            found = one
    return found


def load(path: Path) -> tuple[Token, ...]:
    """The tokens of a file; none where there is no file.

    Raises:
        UserError: others can read the file, or it is not one of tokens.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UserError(f"tokens {path}: {error.strerror}", ExitCode.STATE) from error
    if mode & 0o077:
        raise UserError(
            f"tokens {path} has mode {mode:04o}, so that others can read it; set its mode to 0600",
            ExitCode.STATE,
        )
    try:
        return tuple(_token(one) for one in json.loads(content)["tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"tokens {path} is damaged; restore it, or remove it and create the tokens anew",
            ExitCode.STATE,
        ) from error


def _token(entry: dict[str, Any]) -> Token:
    scopes = tuple(entry["scopes"])
    if not set(scopes) <= set(SCOPES) or re.fullmatch("[0-9a-f]{64}", entry["sha256"]) is None:
        raise ValueError("no token")
    return Token(str(entry["name"]), scopes, int(entry["created_ms"]), entry["sha256"])


def save(path: Path, tokens: Sequence[Token]) -> None:
    """Replace a file of tokens; only its owner can read it.

    Raises:
        UserError: it cannot be written.
    """
    entries = [
        {
            "name": one.name,
            "scopes": list(one.scopes),
            "created_ms": one.created_ms,
            "sha256": one.digest,
        }
        for one in tokens
    ]
    write_whole(path, json.dumps({"tokens": entries}, indent=1).encode() + b"\n", mode=0o600)


@contextmanager
def changing(path: Path) -> Iterator[tuple[Token, ...]]:
    """The tokens of a file, while nobody else changes it: what is revoked stays revoked.

    Raises:
        UserError: as `load`, or the directory is missing.
    """
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UserError(f"tokens {path}: {error.strerror}", ExitCode.STATE) from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield load(path)
        os.fsync(directory)
    finally:
        os.close(directory)


class TokenFile:
    """The tokens of a file, for a server: read again whenever the file is another one.

    Args:
        path: the file; where there is none, no token is right.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._tokens: tuple[Token, ...] = ()

    def find(self, secret: str) -> Token | None:
        """The token of which this is the text.

        Raises:
            UserError: as `load`; then no token is right.
        """
        return matching(self._read(), secret)

    def by_digest(self, digest: str) -> Token | None:
        """The token with this digest, such as that of a session; None once it is revoked.

        Raises:
            UserError: as `load`; then no token is right.
        """
        return next((one for one in self._read() if one.digest == digest), None)

    def _read(self) -> tuple[Token, ...]:
        now = self._mark()
        if now != self._seen:
            self._tokens = load(self._path)
            self._seen = now  # a file that was replaced in between is read again the next time
        return self._tokens

    def _mark(self) -> tuple[int, ...]:
        """What is another one for another file."""
        try:
            seen = self._path.stat()
        except OSError:
            return ()
        return (seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size)
