"""Carries judgments from the judge to the other bots of its account, over HTTP.

Question and answer bear an HMAC by a token that all bots of the account have, and that never leaves
them. The answer's covers a random number of the question: an old answer is none. It tells the age
of the judgment, not its time: the hosts' clocks may differ.
"""

import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections.abc import Iterable
from typing import Any

import requests
from gridbase.clock import Clock

from gridbot.service.answers import StartResponse
from gridbot.trading.account_guard import AccountGuard

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0
MOST_BYTES = 1000
PATH = "/verdict"
NONCE, SIGNATURE = "X-Gridberry-Nonce", "X-Gridberry-Signature"


class NoVerdictError(Exception):
    """There was no answer, or none that can be believed."""


def signature(token: str, kind: str, nonce: str, body: bytes = b"") -> str:
    """The HMAC of a message.

    Args:
        token: the account's secret.
        kind: question or answer, so that one is never taken for the other.
        nonce: the question's random number.
        body: of the message.
    """
    message = b"\n".join((kind.encode(), nonce.encode(), body))
    return hmac.new(token.encode(), message, hashlib.sha256).hexdigest()


def is_signed(given: str, token: str, kind: str, nonce: str, body: bytes = b"") -> bool:
    """Whether a message bears its HMAC; takes as long wherever it differs."""
    return hmac.compare_digest(given.encode(), signature(token, kind, nonce, body).encode())


class VerdictPage:
    """The judge's WSGI application: it tells those who have the token, and nothing else.

    Args:
        guard: has the judgment.
        token: the account's secret.
        clock: the guard's.
    """

    def __init__(self, guard: AccountGuard, token: str, clock: Clock) -> None:
        self._guard = guard
        self._token = token
        self._clock = clock

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one question."""
        if environ["REQUEST_METHOD"] != "GET" or environ.get("PATH_INFO") != PATH:
            return _refuse(start_response, "404 Not Found")
        nonce = environ.get(_environ(NONCE), "")
        given = environ.get(_environ(SIGNATURE), "")
        if not nonce or not is_signed(given, self._token, "question", nonce):
            return _refuse(start_response, "401 Unauthorized")
        made_at, fired = self._guard.heard
        if made_at == float("-inf"):
            return _refuse(start_response, "503 Service Unavailable")
        age = max(0.0, self._clock.monotonic() - made_at)
        body = json.dumps({"fired": fired, "age_seconds": age}).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            (SIGNATURE, signature(self._token, "answer", nonce, body)),
        ]
        start_response("200 OK", headers)
        return [body]


def _refuse(start_response: StartResponse, status: str) -> list[bytes]:
    start_response(status, [("Content-Length", "0")])
    return []


def _environ(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


class Follower:
    """Asks the judge, again and again, from a thread of its own: trading never waits for it.

    Args:
        url: the judge's.
        token: the account's secret.
        clock: the guard's; its stop ends the thread.
        guard: is told what the judge says.
        session: HTTP session.
    """

    def __init__(
        self,
        url: str,
        token: str,
        clock: Clock,
        guard: AccountGuard,
        session: requests.Session | None = None,
    ) -> None:
        self._url = url + PATH
        self._token = token
        self._clock = clock
        self._guard = guard
        self._session = requests.Session() if session is None else session
        self._session.trust_env = False  # no proxy: the judge is near
        self._trouble = ""

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name="account guard", daemon=True).start()

    def _run(self) -> None:
        while not self._clock.stopping:
            self.ask()
            self._clock.sleep(ASK_SECONDS)

    def ask(self) -> None:
        """Ask once; what is no answer is silence."""
        asked_at = self._clock.monotonic()
        try:
            fired, age = self._verdict()
        except NoVerdictError as error:
            if str(error) != self._trouble:
                log.warning("the account's judge %s: %s", self._url, error)
            self._trouble = str(error)
            return
        if self._trouble:
            log.info("the account's judge answers again")
        self._trouble = ""
        self._guard.hear(asked_at - age, fired=fired)

    def _verdict(self) -> tuple[bool, float]:
        """Whether the limit was passed, and how old that judgment is (seconds)."""
        nonce = secrets.token_hex(16)
        headers = {NONCE: nonce, SIGNATURE: signature(self._token, "question", nonce)}
        try:
            with self._session.get(
                self._url,
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                body = answer.raw.read(MOST_BYTES)
                status, given = answer.status_code, answer.headers.get(SIGNATURE, "")
        except (requests.RequestException, OSError) as error:
            raise NoVerdictError(f"cannot be reached ({type(error).__name__})") from error
        if status != requests.codes.ok:
            raise NoVerdictError(_WHY.get(status, f"answers with status {status}"))
        if not is_signed(given, self._token, "answer", nonce, body):
            raise NoVerdictError("its answer is not signed with account_guard.token_file")
        try:
            document = json.loads(body)
            return bool(document["fired"]), max(0.0, float(document["age_seconds"]))
        except (ValueError, TypeError, KeyError) as error:
            raise NoVerdictError("its answer makes no sense") from error


_WHY = {
    401: "does not accept this bot's account_guard.token_file",
    503: "has not judged the account yet",
}
