"""`gridbot health`, or `python3 -m gridbase.health` where there is no bot: what Docker asks.

It asks twice a minute, for as long as a program runs.

It imports little: the standard library's HTTP client would take more time to import than all else
takes here.
"""

import argparse
import socket
import sys
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from gridbase.command_line import OneLineParser, run_command
from gridbase.errors import ExitCode, UserError

DEFAULT_URL = "http://127.0.0.1:8080/health"
RETRY_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--url", default=DEFAULT_URL, help="default: %(default)s")
    help_ = "ask again for so long while the program starts (default: %(default)s)"
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help=help_)


def run(args: argparse.Namespace) -> int:
    """Print why a program is not healthy; exit 0 when it is, else 1.

    Until a container is healthy, Docker asks each second, by a process that takes processor time
    out of the share that the program starts with. One that waits takes next to none.
    """
    until = time.monotonic() + args.wait
    starts, trouble = ask(args.url)
    while starts and time.monotonic() < until:
        time.sleep(RETRY_SECONDS)
        starts, trouble = ask(args.url)
    if not trouble:
        print("healthy")
        return ExitCode.OK
    print(trouble, file=sys.stderr)
    return ExitCode.DIFFERS


def ask(url: str) -> tuple[bool, str]:
    """Whether a program still starts, and why it is not healthy; empty where it is.

    Raises:
        UserError: the URL is not allowed.
    """
    try:
        status, body = fetch(url)
    except OSError as error:
        return isinstance(error, ConnectionRefusedError), f"no answer from {url}: {error}"
    if status == 200:
        return False, ""
    import json

    try:
        said = json.loads(body)
        return said.get("started") is False, "; ".join(said["reasons"]) or f"HTTP {status}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return False, f"HTTP {status}"


def main(argv: Sequence[str] | None = None) -> int:
    """Ask once; returns the exit status.

    Args:
        argv: arguments after the program's name; None reads them from the process.
    """
    parser = OneLineParser(prog="health", description="Exit 0 when a program is healthy, else 1.")
    add_arguments(parser)
    args = parser.parse_args(argv)
    return run_command("health", lambda: run(args))


def fetch(url: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Status and body of one GET over plain HTTP.

    Args:
        url: ``http://host:port/path``.
        timeout: seconds.

    Raises:
        UserError: the URL is not allowed.
        OSError: no answer.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise UserError(f"--url = {url} needs to be like {DEFAULT_URL}")
    address = (parts.hostname, parts.port or 80)
    with socket.create_connection(address, timeout) as connection:
        connection.sendall(_request(parts))
        chunks = iter(lambda: connection.recv(65_536), b"")
        return _read_answer(b"".join(chunks))


def _request(parts: SplitResult) -> bytes:
    """A GET whose answer ends with the connection."""
    return f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode()


def _read_answer(answer: bytes) -> tuple[int, bytes]:
    """Status and body of a whole answer.

    Raises:
        OSError: it is none, or has been cut off.
    """
    head, end, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not (end and version.startswith("HTTP/1.") and status.isdigit()):
        raise OSError("it is no answer of HTTP")
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length" and value.strip() != str(len(body)):
            raise OSError(f"its answer was cut off after {len(body)} bytes")
    return int(status), body


if __name__ == "__main__":
    raise SystemExit(main())
