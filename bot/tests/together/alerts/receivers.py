"""Receivers of alerts on loopback: real HTTP servers that can refuse, hang, or ask for patience."""

import http.server
import json
import ssl
import threading
import time
from pathlib import Path


class Receiver:
    """One receiver.

    Attributes:
        taken: bodies of the messages that it took, as text.
        seen: all requests: path, headers and body.
        status: what it answers; 0 hangs until `release`.
        headers: further headers of its answers.

    Args:
        path: of its address.
        certificate: with its key: it speaks TLS.
    """

    def __init__(self, path: str = "/", certificate: tuple[Path, Path] | None = None) -> None:
        self.taken: list[str] = []
        self.seen: list[tuple[str, dict[str, str], str]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self._released = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.seen.append((self.path, dict(self.headers), body))
                if receiver.status == 0:
                    receiver._released.wait(30)
                    return
                if receiver.status < 300:
                    receiver.taken.append(body)
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.base = f"http{'s' if certificate else ''}://127.0.0.1:{self._server.server_port}"
        self.url = self.base + path
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def documents(self) -> list:
        return [json.loads(body) for body in self.taken]

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ms = 1_790_000_000_000
        self.stopping = False

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        time.sleep(0)
        self.ms += round(seconds * 1000)
