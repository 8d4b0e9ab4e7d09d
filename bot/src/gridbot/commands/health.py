"""`gridbot health`: what Docker asks. It imports nothing but the standard library."""

import argparse
import http.client
import json
import sys
from urllib.parse import urlsplit

from gridbot.errors import ExitCode, UserError

DEFAULT_URL = "http://127.0.0.1:8080/health"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--url", default=DEFAULT_URL, help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print why a bot is not healthy; exit 0 when it is, else 1."""
    try:
        status, body = fetch(args.url)
    except OSError as error:
        print(f"no answer from {args.url}: {error}", file=sys.stderr)
        return ExitCode.DIFFERS
    if status == 200:
        print("healthy")
        return ExitCode.OK
    try:
        reasons = "; ".join(json.loads(body)["reasons"])
    except (ValueError, KeyError, TypeError):
        reasons = f"HTTP {status}"
    print(reasons, file=sys.stderr)
    return ExitCode.DIFFERS


def fetch(url: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Status and body of one GET over plain HTTP.

    Args:
        url: ``http://host:port/path``.
        timeout: seconds.

    Raises:
        UserError: the URL will not do.
        OSError: no answer.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise UserError(f"--url = {url} needs to be like {DEFAULT_URL}")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
