"""Who asks, from where, and what they are allowed to: tokens, sessions, hosts and origins."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gridbase.errors import UserError
from gridbase.tokens import ACT, Token, TokenFile

from gridbot.config.load import PageConfig

COOKIE = "gridberry_session"
SESSION_SECONDS = 12 * 3600
MOST_SESSIONS = 100
GATEWAY = "gateway"
_ROUTES = Path("/proc/net/route")
_FORWARDED = ("X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_HOST", "X_REAL_IP", "FORWARDED")
_WRONG_A_MINUTE, _ACTS_A_MINUTE = 20, 12


class RefusedError(Exception):
    """A request that is not allowed.

    Args:
        code: of HTTP.
        detail: one line that says what is allowed.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Asker:
    """Who asks.

    Attributes:
        token: theirs.
        address: of the other side.
        https: whether a proxy was asked over HTTPS.
    """

    token: Token
    address: str
    https: bool


class Bucket:
    """So many a minute.

    Args:
        rate: a minute, and at once.
    """

    def __init__(self, rate: int) -> None:
        self._rate = self._left = float(rate)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more is allowed, which then counts.

        Args:
            now: monotonic seconds.
        """
        self._left = min(self._rate, self._left + (now - self._at) * self._rate / 60)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Access:
    """The rules of one page.

    Args:
        rules: as configured.
        monotonic: seconds.
    """

    def __init__(self, rules: PageConfig, monotonic: Callable[[], float]) -> None:
        self._rules = rules
        self._monotonic = monotonic
        self._tokens = None if rules.tokens_file is None else TokenFile(rules.tokens_file)
        self._wrong = Bucket(_WRONG_A_MINUTE)
        self._acts: dict[str, Bucket] = {}
        self._sessions: dict[str, tuple[str, float]] = {}  # of a token's digest, until when
        self._act_from = [ip_network(one) for one in addresses(rules.act_from)]
        self._proxies = [ip_network(one) for one in addresses(rules.trusted_proxies)]

    def ask(self, environ: dict[str, Any], scope: str) -> Asker:
        """Who asks, where their token allows so much.

        Args:
            environ: of the request.
            scope: what they want to do.

        Raises:
            RefusedError: it is not allowed.
        """
        if self._tokens is None:
            raise RefusedError(403, "the API is off; page.tokens_file switches it on")
        secure = self._is_secure(environ)
        changes = environ["REQUEST_METHOD"] not in {"GET", "HEAD"}
        session = self._cookie(environ)
        bearer = environ.get("HTTP_AUTHORIZATION", "")
        if changes or session or "HTTP_ORIGIN" in environ:
            self._check_origin(environ)
        token = self._of_session(session) if session and not bearer else self._of_bearer(bearer)
        if token.allows(ACT) and not secure:
            raise RefusedError(
                403,
                f"token {token.name} can act, and came over plain HTTP from elsewhere: "
                "use HTTPS or an SSH tunnel",
            )
        if not token.allows(scope):
            raise RefusedError(403, f"token {token.name} has no scope {scope}")
        if scope == ACT:
            self._check_acting(token)
        return Asker(token, environ.get("REMOTE_ADDR", ""), self._is_https(environ))

    def _check_acting(self, token: Token) -> None:
        if not self._rules.acting:
            raise RefusedError(403, "acting is off; page.acting = true switches it on")
        bucket = self._acts.setdefault(token.digest, Bucket(_ACTS_A_MINUTE))
        if not bucket.take(self._monotonic()):
            raise RefusedError(429, f"at most {_ACTS_A_MINUTE} actions a minute; wait")

    @property
    def acting(self) -> bool:
        """Whether anybody can act."""
        return self._rules.acting

    def begin_session(self, asker: Asker) -> str:
        """Let a browser ask by a cookie; returns it, with its rules."""
        now = self._monotonic()
        for key, (_, until) in list(self._sessions.items()):  # the oldest first
            if until <= now or len(self._sessions) >= MOST_SESSIONS:
                self._sessions.pop(key, None)
        secret = secrets.token_urlsafe(32)
        self._sessions[_digest(secret)] = (asker.token.digest, now + SESSION_SECONDS)
        rules = _cookie_rules(secure=asker.https)
        return f"{COOKIE}={secret}; Max-Age={SESSION_SECONDS}; {rules}"

    def end_session(self, environ: dict[str, Any]) -> str:
        """Forget a session; returns what makes the browser forget it, too."""
        self._sessions.pop(_digest(self._cookie(environ)), None)
        return f"{COOKIE}=; Max-Age=0; {_cookie_rules(secure=False)}"

    @staticmethod
    def _cookie(environ: dict[str, Any]) -> str:
        try:
            found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(COOKIE)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _of_session(self, secret: str) -> Token:
        digest, until = self._sessions.get(_digest(secret), ("", 0.0))
        if until > self._monotonic():
            token = self._known(lambda tokens: tokens.by_digest(digest))
            if token is not None:
                return token
        raise RefusedError(401, "the session has ended; sign in again")

    def _of_bearer(self, header: str) -> Token:
        kind, _, secret = header.partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise RefusedError(401, "needs a token: Authorization: Bearer TOKEN")
        token = self._known(lambda tokens: tokens.find(secret.strip()))
        if token is not None:
            return token
        if not self._wrong.take(self._monotonic()):
            raise RefusedError(429, "too many wrong tokens; wait a minute")
        raise RefusedError(401, "no such token; gridbot tokens list has those that there are")

    def _known(self, look: Callable[[TokenFile], Token | None]) -> Token | None:
        assert self._tokens is not None  # noqa: S101 - looked at before
        try:
            return look(self._tokens)
        except UserError as error:
            raise RefusedError(503, str(error)) from error

    def _check_origin(self, environ: dict[str, Any]) -> None:
        """Refuse what another site has a browser send, and names that are not this page's."""
        host = environ.get("HTTP_HOST", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if name not in self._rules.hosts:
            raise RefusedError(403, f"Host: {host[:80]} is not in page.hosts")
        origin = environ.get("HTTP_ORIGIN")
        scheme = "https" if self._is_https(environ) else "http"
        if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
            raise RefusedError(403, f"Origin: {origin[:80]} is another site")
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in {"same-origin", "none"}:
            raise RefusedError(403, "the request comes from another site")

    def _peer(self, environ: dict[str, Any]) -> IPv4Address | IPv6Address | None:
        try:
            peer = ip_address(environ.get("REMOTE_ADDR", ""))
        except ValueError:
            return None
        return getattr(peer, "ipv4_mapped", None) or peer

    def _is_https(self, environ: dict[str, Any]) -> bool:
        """Whether a proxy that is trusted says that it was asked over HTTPS."""
        peer = self._peer(environ)
        trusted = peer is not None and any(peer in one for one in self._proxies)
        return trusted and environ.get("HTTP_X_FORWARDED_PROTO", "").strip().lower() == "https"

    def _is_secure(self, environ: dict[str, Any]) -> bool:
        """Whether nobody on the way can read along.

        What a proxy hands on came from elsewhere, though the proxy itself is near.
        """
        if self._is_https(environ):
            return True
        if any(f"HTTP_{name}" in environ for name in _FORWARDED):
            return False
        peer = self._peer(environ)
        return peer is not None and any(peer in one for one in self._act_from)


def addresses(given: tuple[str, ...]) -> list[str]:
    """Networks of a setting; `gateway` is the address of the container's default route."""
    return [one for text in given for one in ([text] if text != GATEWAY else _gateway())]


def _gateway() -> list[str]:
    try:
        lines = _ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    for line in lines:
        fields = line.split()
        if fields[1] == "00000000":
            return [str(IPv4Address(bytes.fromhex(fields[2])[::-1]))]
    return []


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _cookie_rules(*, secure: bool) -> str:
    return "Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
