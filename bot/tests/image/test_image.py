"""The image as its owner gets it, asked through the Docker SDK of whichever daemon built it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.images import Image

SIZE_LIMIT = 180_000_000
APPLICATION_LIMIT = 2_000_000
HERE = Path(__file__).parent

CONFIGURATION = """
bot_name = "probe"
[exchange]
name = "binance"
url = "http://127.0.0.1:9"
api_key_file = "/tmp/key"
api_secret_file = "/tmp/secret"
[market]
symbol = "BTC/USDT"
[grid]
lower = "45000"
upper = "65000"
grids = 5
spacing = "arithmetic"
investment = "1000"
"""


def run(daemon: docker.DockerClient, image: Image, command: list[str], **more: Any) -> str:
    output: bytes = daemon.containers.run(
        image.id,
        command,
        remove=True,
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "size=32m"},
        stderr=True,
        **more,
    )
    return output.decode()


@pytest.fixture(scope="module")
def probed(daemon: docker.DockerClient, image: Image) -> dict[str, Any]:
    script = (HERE / "probe.py").read_text()
    output = run(daemon, image, ["-c", script], entrypoint=["python3"])
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def test_size(image: Image) -> None:
    size = image.attrs["Size"]
    print(f"image: {size / 1e6:.1f} MB (limit {SIZE_LIMIT / 1e6:.0f} MB)")
    assert size <= SIZE_LIMIT


def test_layers_go_from_what_changes_least_to_what_changes_most(image: Image) -> None:
    layers = [layer for layer in reversed(image.history()) if layer["Size"] > 0]
    created = [layer["CreatedBy"] for layer in layers]
    assert len(layers) <= 5, created
    assert created[1].startswith("COPY /packages")
    # The practice exchange, where there is one, and then the bot. A new version of it is this much.
    programs = [layer for layer in layers if layer["CreatedBy"].startswith("COPY /application")]
    assert programs == layers[2 : 2 + len(programs)]
    assert programs
    assert programs[-1]["Size"] <= APPLICATION_LIMIT
    assert sum(layer["Size"] for layer in programs[:-1]) <= APPLICATION_LIMIT / 2


def test_configuration_of_the_image(image: Image) -> None:
    config = image.attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][1:] == ["gridbot", "health", "--wait", "10"]
    assert not config.get("Volumes")
    for variable in config["Env"]:
        name = variable.partition("=")[0].upper()
        assert not any(word in name for word in ("KEY", "SECRET", "TOKEN", "PASSWORD")), name


def test_nothing_runs_as_root_or_can_become_it(probed: dict[str, Any]) -> None:
    assert probed["uid"] == 10001
    assert probed["setuid"] == []
    assert not probed["root_writable"]


def test_signs_a_request_with_the_network_cut(probed: dict[str, Any]) -> None:
    signed = probed["signed"]
    assert "signature=" in str(signed["body"] or signed["url"])
    assert probed["authorities"] > 50, "without these, no TLS to the exchange"


def test_imports_one_exchange_and_no_numpy(probed: dict[str, Any]) -> None:
    exchanges = set(probed["exchanges"]) - {
        "ccxt.base",
        "ccxt.abstract",
        "ccxt.static_dependencies",
    }
    assert exchanges == {"ccxt.binance"}
    assert not probed["numpy_with_the_bot"]
    assert probed["dot"] == 14


def test_holds_only_what_it_needs(probed: dict[str, Any]) -> None:
    assert probed["present"] == []


def test_what_the_bot_loads_is_compiled(probed: dict[str, Any]) -> None:
    # The root file system is read-only: without byte code every start compiles ccxt anew.
    assert probed["without_byte_code"] == []


def test_checks_a_configuration_with_the_network_cut(
    daemon: docker.DockerClient, image: Image
) -> None:
    check = "gridbot check --offline --json --config /tmp/bot.toml"
    command = f"cat >/tmp/bot.toml <<'END'\n{CONFIGURATION}\nEND\nexec {check}"
    output = run(daemon, image, ["-c", command], entrypoint=["sh"])
    assert '"lines"' in output
