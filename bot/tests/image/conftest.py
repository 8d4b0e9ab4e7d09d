"""Which image to test, and which daemon has it, from the environment.

GRIDBERRY_TEST_MACHINE  a virtual Pi: its Docker is asked over SSH, for the image its bot runs
GRIDBERRY_TEST_IMAGE    or: tag or ID of an image of the daemon that DOCKER_HOST names, or the
                        local one
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.images import Image

from .ssh_daemon import SshDaemon

ROOT = Path(__file__).resolve().parents[3]
MACHINE = os.environ.get("GRIDBERRY_TEST_MACHINE")
TAG = os.environ.get("GRIDBERRY_TEST_IMAGE")


def ssh_command(machine: str) -> list[str]:
    listed = subprocess.run(
        [sys.executable, "-m", "virtual_pi", "list", "--json"],
        check=True, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    ssh = next(one for one in json.loads(listed.stdout) if one["name"] == machine)["ssh"]
    options = (
        f'UserKnownHostsFile="{ssh["known_hosts"]}"', "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes", "LogLevel=ERROR",
    )  # fmt: skip
    command = ["ssh", "-i", ssh["key"], "-p", str(ssh["port"])]
    for option in options:
        command += ["-o", option]
    return [*command, f"{ssh['user']}@{ssh['host']}"]


@pytest.fixture(scope="session")
def daemon() -> Iterator[docker.DockerClient]:
    if MACHINE:
        with (
            tempfile.TemporaryDirectory(prefix="gb-") as folder,
            SshDaemon(ssh_command(MACHINE), Path(folder) / "docker.sock") as remote,
        ):
            yield docker.DockerClient(base_url=remote.url, timeout=120)
    elif TAG:
        yield docker.from_env(timeout=120)
    else:
        pytest.skip("no image to test: molecule names a machine in GRIDBERRY_TEST_MACHINE")


@pytest.fixture(scope="session")
def image(daemon: docker.DockerClient) -> Image:
    return daemon.images.get(TAG) if TAG else daemon.containers.get("gridberry-bot").image
