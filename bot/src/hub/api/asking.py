"""Asks bots and programs for what they say of themselves; see `hub.config.Live` and `Program`."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.secret_files import read_secret

from hub.config import Live, Program

# What an answer that is none looks like.
SENSELESS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    http.client.HTTPException,
    UserError,
)
_ANSWER_SECONDS = 4.0
_MOST_BYTES = 4 << 20


def told_by(source: Live | Program) -> tuple[dict[str, Any], int]:
    """What it says, and when it said so (Unix milliseconds).

    Raises:
        OSError: it does not answer, or its file cannot be read.
        ValueError, TypeError, RecursionError: its answer is no JSON object.
        LookupError, ArithmeticError: its file does not say when it was written.
        http.client.HTTPException: it does not speak HTTP.
        UserError: the file of its token cannot be read.
    """
    now_ms = time.time_ns() // 1_000_000
    if isinstance(source, Program) and source.file is not None:
        document = _read(source.file)
        # A file stays when its writer is gone: its own time counts.
        return document, min(now_ms, int(document["written_ms"]))
    return _answer(source), now_ms


def reason(error: BaseException) -> str:
    """Why there is no answer, in one line."""
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        error = error.reason if isinstance(error.reason, BaseException) else error
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return " ".join(str(error).split())[:300] or type(error).__name__


def _answer(source: Live | Program) -> dict[str, Any]:
    request = urllib.request.Request(source.url or "")  # noqa: S310  the configuration has http(s)
    if source.token_file is not None:
        token = read_secret(source.token_file, "token_file")
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
        return dict(json.loads(answer.read(_MOST_BYTES)))


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return dict(json.loads(file.read(_MOST_BYTES)))
