"""S3 servers for tests, each with one user and one bucket, on loopback alone (tests/s3.lock)."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.tests.recorder.processes import LIMIT_S, wait_until

BUCKET = "market"
HOST = "127.0.0.1"
USER = ("recorder-key", "recorder-secret")


@dataclass
class Server:
    """A server that runs.

    Attributes:
        url: Where it answers.
        key_id: Of its one user.
        secret: Of that key.
        client: boto3's, with that key.
        late: What it says to one whose clock is an hour late.
    """

    url: str
    key_id: str
    secret: str
    client: Any
    late: str


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in free]


@contextmanager
def _running(command: list[str], port: int, **more: str) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | more, **quiet)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return True
        return False

    try:
        wait_until(answers)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def moto(_: Path) -> Iterator[Server]:
    """Moto's server, its authentication switched on.

    Args:
        _: A directory; what it stores is in memory.
    """
    pytest.importorskip("moto.server", reason="moto is not here: tests/s3.lock")
    import boto3

    [port] = _ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    # The first four requests make user, keys and bucket; then each is checked.
    with _running(command, port, INITIAL_NO_AUTH_ACTION_COUNT="4"):
        url = f"http://{HOST}:{port}"
        made = {"region_name": "us-east-1", "endpoint_url": url}
        first = made | {"aws_access_key_id": "first", "aws_secret_access_key": "first"}
        iam = boto3.client("iam", **first)
        iam.create_user(UserName="recorder")
        policy = {"Version": "2012-10-17"}
        policy["Statement"] = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
        iam.put_user_policy(UserName="recorder", PolicyName="s3", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName="recorder")["AccessKey"]
        boto3.client("s3", **first).create_bucket(Bucket=BUCKET)
        # It knows no clock: the changed time alone makes the signature a wrong one.
        yield _server(url, key["AccessKeyId"], key["SecretAccessKey"], "SignatureDoesNotMatch: ")


@contextmanager
def seaweedfs(directory: Path) -> Iterator[Server]:
    """SeaweedFS: master, volume, filer and S3 in one process.

    Args:
        directory: What it stores.
    """
    boto3 = pytest.importorskip("boto3", reason="boto3 is not here: tests/s3.lock")
    weed = Path(boto3.__file__).parents[1] / "bin/weed"
    if not weed.exists():
        pytest.skip("seaweedfs is not here: tests/s3.lock")
    users = directory / "users.json"
    key = {"accessKey": USER[0], "secretKey": USER[1]}
    admin = {"name": "recorder", "credentials": [key], "actions": ["Admin"]}
    users.write_text(json.dumps({"identities": [admin]}))
    names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port")
    names += ("volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = dict(zip(names, _ports(len(names)), strict=True)) | {
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    command = [os.fspath(weed), "server", f"-dir={directory}", f"-ip={HOST}", f"-ip.bind={HOST}"]
    # It would tell its makers of itself.
    command += ["-master.telemetry=false", "-filer", "-s3", f"-s3.config={users}"]
    command += ["-master.volumeSizeLimitMB=64", *(f"-{name}={n}" for name, n in ports.items())]
    with _running(command, ports["s3.port"]):
        url = f"http://{HOST}:{ports['s3.port']}"
        server = _server(url, *USER, "RequestTimeTooSkewed: The difference between")
        wait_until(lambda: _made_bucket(server))
        yield server


def _made_bucket(server: Server) -> bool:
    """Whether the bucket is there, and takes files: a volume comes a moment after the server."""
    with contextlib.suppress(server.client.exceptions.ClientError):
        if not server.client.list_buckets()["Buckets"]:
            server.client.create_bucket(Bucket=BUCKET)
        server.client.put_object(Bucket=BUCKET, Key="first", Body=b"first")
        return True
    return False


def _server(url: str, key_id: str, secret: str, late: str) -> Server:
    import boto3

    keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=url, **keys)
    return Server(url, key_id, secret, client, late)


SERVERS = {"moto": moto, "seaweedfs": seaweedfs}


class Proxy:
    """Passes bytes on to a server.

    Args:
        target: The server's URL.
        most: Breaks a connection after so many bytes in one direction; 0 for never.
        request: Changes what is sent, before the server has it.
        answer: What the client gets in the server's place, by what it sent; None lets it pass.
    """

    def __init__(
        self,
        target: str,
        *,
        most: int = 0,
        request: Callable[[bytes], bytes] = lambda data: data,
        answer: Callable[[bytes], bytes | None] = lambda _: None,
    ) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target, self._most = (host, int(port)), most
        self._request, self._answer = request, answer
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            upstream = socket.create_connection(self._target, LIMIT_S)
            for one, other in ((client, upstream), (upstream, client)):
                words = (one, other, one is client)
                threading.Thread(target=self._pass, args=words, daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, asks: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if asks and (said := self._answer(data)) is not None:
                    one.sendall(said)
                    one.shutdown(socket.SHUT_WR)
                    while one.recv(65_536):  # closed before that, the answer might be lost
                        pass
                    break
                passed += len(data)
                if self._most and passed > self._most:
                    break
                other.sendall(self._request(data) if asks else data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def an_hour_ago(data: bytes) -> bytes:
    """A request as one whose clock is an hour late has it (its signature is wrong then, too)."""
    late = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 3_600)).encode()
    return re.sub(rb"(?i)(x-amz-date: )\d{8}T\d{6}Z", rb"\g<1>" + late, data)


def full(data: bytes) -> bytes | None:
    """What a full bucket answers to a file, as Ceph and others do."""
    if not data.startswith(b"PUT "):
        return None
    text = b"<?xml version='1.0'?><Error><Code>QuotaExceeded</Code><Message>Full</Message></Error>"
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(text) + text
