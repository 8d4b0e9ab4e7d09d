"""Which image to test, and which daemon has it, from the environment.

GRIDBERRY_TEST_IMAGE   tag or ID of the image
GRIDBERRY_TEST_SSH     the ssh command (options and host) to the machine whose daemon has it;
                       without it, the daemon that DOCKER_HOST names, or the local one
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.images import Image

from .ssh_daemon import SshDaemon


@pytest.fixture(scope="session")
def daemon() -> Iterator[docker.DockerClient]:
    if "GRIDBERRY_TEST_IMAGE" not in os.environ:
        pytest.skip("no image to test: GRIDBERRY_TEST_IMAGE is not set (molecule sets it)")
    ssh = os.environ.get("GRIDBERRY_TEST_SSH")
    if ssh is None:
        yield docker.from_env(timeout=120)
        return
    with (
        tempfile.TemporaryDirectory(prefix="gb-") as folder,
        SshDaemon(shlex.split(ssh), Path(folder) / "docker.sock") as remote,
    ):
        yield docker.DockerClient(base_url=remote.url, timeout=120)


@pytest.fixture(scope="session")
def image(daemon: docker.DockerClient) -> Image:
    return daemon.images.get(os.environ["GRIDBERRY_TEST_IMAGE"])
