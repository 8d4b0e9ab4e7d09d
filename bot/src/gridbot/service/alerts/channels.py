"""Ways on which alerts leave the bot. What is logged of them never holds an address."""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.errors import UserError
from gridbase.secret_files import read_secret
from requests.adapters import HTTPAdapter

from gridbot.config.alerts import AlertsConfig
from gridbot.service.alerts import messages
from gridbot.service.alerts.ledger import Alert
from gridbot.service.alerts.messages import Sender

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 120.0
LONGEST_ASKED_SECONDS = 600.0  # a receiver may ask for so long a pause
TIMEOUT = (3.0, 5.0)  # seconds: to connect, and for an answer


class UndeliveredError(Exception):
    """A receiver did not take a message; the text names no address.

    Args:
        why: for the log.
        retry_after: seconds that it asks to wait; None where it does not say.
    """

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Letter:
    """What is posted."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Trust:
    """By what a server is known over TLS.

    Attributes:
        ca_file: certificates that have signed the server's, or are it; None: the public ones.
        name: in the server's certificate; None: the one in its address.
    """

    ca_file: Path | None = None
    name: str | None = None


class _Named(HTTPAdapter):
    """Asks for a server by another name than that in its address."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **words: Any) -> None:
        super().init_poolmanager(*args, server_hostname=self._name, **words)


def _session(trust: Trust) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    if trust.ca_file is not None:
        session.verify = str(trust.ca_file)
    if trust.name is not None:
        session.mount("https://", _Named(trust.name))
    return session


def post(
    url: str,
    letter: Letter,
    timeout: tuple[float, float] = TIMEOUT,
    trust: Trust = Trust(),
) -> None:
    """Post a message; no redirect is followed, and no proxy asked.

    Raises:
        UndeliveredError: it was not taken.
    """
    session = _session(trust)
    try:
        with (
            session,
            session.post(
                url,
                data=letter.body,
                headers=dict(letter.headers),
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            ) as answer,
        ):
            status, asked = answer.status_code, answer.headers.get("Retry-After", "")
    except (requests.RequestException, OSError, ValueError) as error:
        raise UndeliveredError(type(error).__name__) from None  # its text has the address
    if not requests.codes.ok <= status < requests.codes.multiple_choices:
        raise UndeliveredError(f"status {status}", _seconds(asked))


def _seconds(asked: str) -> float | None:
    try:
        return min(max(float(asked), 0.0), LONGEST_ASKED_SECONDS)
    except ValueError:
        return None  # a date, or nothing


class Channel:
    """One receiver, left in peace for a while after it has failed.

    Args:
        name: for the log.
        url: a secret.
        write: makes the message, from an alert and its news.
        clock: time.
        timeout: seconds to connect, and for an answer.
        trust: by what the receiver is known.
    """

    def __init__(
        self,
        name: str,
        url: str,
        write: Callable[[Alert, str], Letter],
        clock: Clock,
        timeout: tuple[float, float] = TIMEOUT,
        *,
        trust: Trust = Trust(),
    ) -> None:
        self.name = name
        self._url = url
        self._write = write
        self._clock = clock
        self._timeout = timeout
        self._trust = trust
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._failures = 0
        self._ready_at = float("-inf")

    @property
    def ready(self) -> bool:
        """Whether it may be tried now."""
        return self._clock.monotonic() >= self._ready_at

    def send(self, alert: Alert, news: str) -> None:
        """Deliver news of an alert.

        Raises:
            UndeliveredError: it was not taken.
        """
        try:
            post(self._url, self._write(alert, news), self._timeout, self._trust)
        except UndeliveredError as error:
            self._failures += 1
            pause = self._backoff.pause(self._failures, error.retry_after)
            self._ready_at = self._clock.monotonic() + pause
            raise
        self._failures = 0


def _json_letter(document: Any, **headers: str) -> Letter:
    return Letter(json.dumps(document).encode(), {"Content-Type": "application/json", **headers})


def alertmanager(
    config: AlertsConfig, sender: Sender, clock: Clock, timeout: tuple[float, float] = TIMEOUT
) -> Channel | None:
    """The way to Alertmanager; None where there is none.

    Raises:
        UserError: its token or its certificates cannot be read.
    """
    if config.alertmanager_url is None:
        return None
    given = {}
    if config.alertmanager_token_file is not None:
        token = read_secret(config.alertmanager_token_file, "alerts.alertmanager_token_file")
        given = {"Authorization": f"Bearer {token}"}

    if config.ca_file is not None:
        _check_certificates(config.ca_file)

    def write(alert: Alert, news: str) -> Letter:
        return _json_letter(messages.for_alertmanager(sender, alert, news, clock.now_ms()), **given)

    url = f"{config.alertmanager_url}/api/v2/alerts"
    trust = Trust(config.ca_file, config.tls_name)
    return Channel("Alertmanager", url, write, clock, timeout, trust=trust)


def _check_certificates(file: Path) -> None:
    """Refuse what holds none, before an alert has to find that out."""
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        reason = "needs certificates in PEM format"
    except OSError as error:
        reason = str(error.strerror)
    else:
        return
    raise UserError(f"alerts.ca_file = {file}: {reason}")


def direct(
    config: AlertsConfig, sender: Sender, clock: Clock, timeout: tuple[float, float] = TIMEOUT
) -> list[Channel]:
    """The ways past Alertmanager, in the order in which they are tried.

    Raises:
        UserError: a secret file cannot be read, or holds no address.
    """

    def discord(alert: Alert, news: str) -> Letter:
        return _json_letter(messages.for_discord(sender, alert, news))

    def ntfy(alert: Alert, news: str) -> Letter:
        return Letter(*messages.for_ntfy(sender, alert, news))

    def webhook(alert: Alert, news: str) -> Letter:
        return _json_letter(messages.for_webhook(sender, alert, news))

    ways = (
        ("Discord", "discord_url_file", discord),
        ("ntfy", "ntfy_url_file", ntfy),
        ("webhook", "webhook_url_file", webhook),
    )
    found = []
    for name, setting, write in ways:
        file = getattr(config, setting)
        if file is not None:
            url = read_secret(file, f"alerts.{setting}")
            _check_address(url, f"alerts.{setting} = {file}")
            found.append(Channel(name, url, write, clock, timeout))
    return found


def _check_address(url: str, told: str) -> None:
    """Refuse what is no address, without showing it."""
    try:
        parts = urlsplit(url)
        well = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well:
        raise UserError(f"{told} needs one address that begins with https:// or http://")
