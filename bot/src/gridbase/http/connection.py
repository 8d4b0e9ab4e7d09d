"""One connection: bytes to a request, an answer to bytes. Knows no socket.

h11 speaks HTTP/1.1; here are the bounds: how large a request may be.
"""

import io
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import h11

HEAD_BYTES = 16_384
BODY_BYTES = 65_536
Headers = list[tuple[str, str]]


class TooLargeError(Exception):
    """A request has more of a body than anything here needs."""


class Connection:
    """The state of one connection.

    Args:
        address: of the other side.

    Attributes:
        since: when what it is waiting for began (monotonic seconds).
        out: bytes to be sent.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.since = time.monotonic()
        self.out = bytearray()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._request: h11.Request | None = None
        self._body = bytearray()

    @property
    def between_requests(self) -> bool:
        """Whether nothing of a request has come."""
        return self._h11.their_state is h11.IDLE and not self._h11.trailing_data[0]

    def receive(self, data: bytes) -> None:
        """Take what came; empty: the other side sends no more.

        Raises:
            h11.RemoteProtocolError: it is not HTTP.
        """
        self._h11.receive_data(data)

    def request(self) -> dict[str, Any] | None:
        """The next whole request, as WSGI has it; None where it has not come yet.

        Raises:
            h11.RemoteProtocolError: it is not HTTP.
            TooLargeError: its body is.
        """
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self.out += self._h11.send(go_on) or b""
                return None
            if isinstance(event, h11.Request):
                self._request, self._body = event, bytearray()
                self._check_length(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_BYTES:
                    raise TooLargeError
            elif isinstance(event, h11.EndOfMessage):
                return self._environ()
            else:  # closed, or paused until the answer is sent
                return None

    @staticmethod
    def _check_length(request: h11.Request) -> None:
        """Refuse a large body before it is on its way."""
        for name, value in request.headers:
            if name == b"content-length" and int(value) > BODY_BYTES:
                raise TooLargeError

    def _environ(self) -> dict[str, Any]:
        assert self._request is not None  # noqa: S101 - its end came
        path, _, query = self._request.target.decode("latin-1").partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self._request.method.decode("latin-1"),
            "PATH_INFO": unquote(path, encoding="latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": self.address,
            "SERVER_PROTOCOL": f"HTTP/{self._request.http_version.decode()}",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(bytes(self._body)),
        }
        for name, value in self._request.headers:
            key = name.decode("latin-1").upper().replace("-", "_")
            if b"_" in name:
                continue  # X_Forwarded_For would pass for X-Forwarded-For
            if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
                key = "HTTP_" + key
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]}, {text}" if key in environ else text
        return environ

    def answer(self, status: str, headers: Headers, body: bytes | None) -> None:
        """Have an answer sent.

        Args:
            status: code and phrase.
            headers: of the application.
            body: all of it; None: it goes on, see `more`.
        """
        code, _, phrase = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        head = list(headers)
        if "date" not in names:
            head.append(("Date", formatdate(usegmt=True)))
        if body is None:
            head.append(("Connection", "close"))
        response = h11.Response(status_code=int(code), reason=phrase.encode(), headers=head)
        self.out += self._h11.send(response) or b""
        if body is not None:
            if body:
                self.more(body)
            self.out += self._h11.send(h11.EndOfMessage()) or b""
            self._request, self._body = None, bytearray()

    def refuse(self, status: str) -> None:
        """Answer what is no request, or too large a one; then the connection ends."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            text = status.encode() + b"\n"
            length = [("Content-Length", str(len(text))), ("Connection", "close")]
            self.answer(status, [*length, ("Content-Type", "text/plain")], text)

    def more(self, data: bytes) -> None:
        """Have more of a body sent."""
        self.out += self._h11.send(h11.Data(data=data)) or b""

    def next_cycle(self) -> bool:
        """Go on with the next request once an answer is sent; False: the connection ends."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True
