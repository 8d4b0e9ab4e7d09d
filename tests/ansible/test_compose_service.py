"""Containers of a compose project: what compose is told, and how the host says what runs."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/compose_service"
IMAGE = "gridbot:0123456789abcdef-arm64"


def compose(directory: Path, settings: dict) -> dict:
    """What role grid_bot would write into compose.yaml."""
    told = {
        "grid_bot_directory": str(directory / "opt/bot"),
        # What a module's answer hides, wherever it stands.
        "grid_bot_api_key": "3b1c5f",
        "grid_bot_api_secret": "9e7d2a",
        "__container_image_references": {"gridbot": IMAGE, "gridexchange": IMAGE},
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    configure = {"name": "grid_bot", "tasks_from": "configure.yml"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": told | settings,
        "tasks": [{"ansible.builtin.import_role": configure}],
    }
    (directory / "play.json").write_text(json.dumps([play]))
    done = subprocess.run(
        [
            "ansible-playbook",
            "-i",
            "localhost,",
            "-c",
            "local",
            "--check",
            "--diff",
            directory / "play.json",
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        },
    )
    told, _ = json.JSONDecoder().raw_decode(done.stdout)
    [run] = told["plays"]
    written = run["tasks"][0]["hosts"]["localhost"]
    [text] = [one["after"] for one in written["diff"] if "compose.yaml" in one["after_header"]]
    return yaml.safe_load(text)


def test_every_service_is_hardened_and_bounded(tmp_path):
    told = compose(tmp_path, {"grid_bot_mode": "paper"})
    assert told["name"] == "gridberry"
    assert sorted(told["services"]) == ["bot", "exchange"]
    waits = ["--wait", "10"]
    asks = {
        "bot": ["gridbot", "health", *waits],
        "exchange": ["python3", "-m", "gridbase.health", *waits],
    }
    for name, service in told["services"].items():
        assert service["image"] == IMAGE
        assert service["pull_policy"] == "never"
        assert service["user"] == "10001:10001"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["ulimits"] == {"core": 0}
        assert service["logging"]["options"] == {
            "max-size": "5m",
            "max-file": "2",
            "compress": "true",
        }
        bounds = ("cpus", "mem_limit", "memswap_limit", "mem_reservation", "pids_limit")
        assert [name for name in bounds if not service.get(name)] == []
        assert service["healthcheck"]["test"][:-2] == ["CMD", *asks[name]]
        assert service["tmpfs"][0] == "/tmp:size=32m,mode=1777,noexec,nosuid,nodev"
        assert service["secrets"][:2] == ["api_key", "api_secret"]
    assert told["services"]["bot"]["secrets"][2:] == ["metrics_token"]
    assert told["services"]["exchange"]["secrets"][2:] == []
    assert told["secrets"]["metrics_token"] == {"file": "./metrics.token"}
    assert told["services"]["bot"]["depends_on"] == {"exchange": {"condition": "service_healthy"}}
    assert told["services"]["bot"]["ports"] == ["127.0.0.1:8080:8080"]
    assert told["services"]["exchange"]["volumes"] == [
        "./exchange.toml:/etc/gridbot/exchange.toml:ro",
        "exchange:/var/lib/gridbot-exchange",
    ]
    assert told["networks"] == {"default": {"driver": "bridge", "enable_ipv6": False}}


def test_who_is_told_of_alerts_is_a_secret_file_each(tmp_path):
    given = {
        "grid_bot_alert_discord_url": "https://discord.com/api/webhooks/1/planted",
        "grid_bot_alertmanager_token": "planted-token",
        "grid_bot_alert_ca": "planted-certificate",
    }
    told = compose(tmp_path, given)
    assert told["services"]["bot"]["secrets"][3:] == [
        "alert_discord_url",
        "alertmanager_token",
        "alert_ca",
    ]
    assert told["secrets"]["alert_ca"] == {"file": "./secrets/alert_ca"}
    assert told["secrets"]["alert_discord_url"] == {"file": "./secrets/alert_discord_url"}
    assert "alert_ntfy_url" not in told["secrets"]
    assert "planted" not in str(told)
    changed = compose(tmp_path, given | {"grid_bot_alertmanager_token": "another"})
    labels = (one["services"]["bot"]["labels"] for one in (told, changed))
    assert len({str(label) for label in labels}) == 2  # the container is replaced


def test_a_live_bot_has_its_own_volume_and_no_exchange(tmp_path):
    told = compose(tmp_path, {"grid_bot_mode": "live", "grid_bot_dns": ["9.9.9.9"]})
    assert list(told["services"]) == ["bot"]
    assert told["volumes"] == {"bot": {"name": "gridberry-live-bot"}}
    assert told["secrets"]["api_key"] == {"file": "./secrets/live_api_key"}
    assert told["services"]["bot"]["dns"] == ["9.9.9.9"]
    assert not told["services"]["bot"]["depends_on"]


def test_a_bot_on_a_stock_reaches_the_gateway_by_a_directory_of_the_host(tmp_path):
    stock = {"grid_bot_exchange": "ib", "grid_bot_mode": "paper"}
    told = compose(tmp_path, stock)
    assert list(told["services"]) == ["bot"]
    bot = told["services"]["bot"]
    assert bot["volumes"] == [
        "./bot.toml:/etc/gridbot/bot.toml:ro",
        "bot:/var/lib/gridbot",
        "/run/gridberry-gateway:/run/gridberry-gateway",
    ]
    assert told["volumes"] == {"bot": {"name": "gridberry-paper-ib-bot"}}
    assert told["secrets"] == {"metrics_token": {"file": "./metrics.token"}}
    assert bot["secrets"] == ["metrics_token"]
    assert "network_mode" not in bot
    bounds = ("cpus", "mem_limit", "memswap_limit", "mem_reservation", "pids_limit")
    assert [name for name in bounds if not bot.get(name)] == []
    told = compose(tmp_path, stock | {"grid_bot_mode": "live"})
    assert told["volumes"] == {"bot": {"name": "gridberry-live-bot"}}


WAITED = """\
#!/bin/sh
echo "$1" >>"$0.asked"
case $1 in
    wait) echo not yet && exit 1 ;;
    status) echo 'needs a person since noon: confirm it' && exit 1 ;;
esac
"""


@pytest.mark.parametrize(("status", "says"), [("1", "IB Gateway is not ready: needs a"), ("0", "")])
def test_a_bot_on_a_stock_is_left_alone_until_the_gateway_is_ready(tmp_path, status, says):
    program = tmp_path / "gateway"
    program.write_text(WAITED.replace("exit 1 ;;", f"exit {status} ;;"))
    program.chmod(0o755)
    gateway = {"name": "grid_bot", "tasks_from": "gateway.yml"}
    tasks = [{"ansible.builtin.import_role": gateway}]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.json").write_text(json.dumps([play]))
    words = ("-i", "localhost,", "-c", "local", "-e", f"__grid_bot_gateway_program={program}")
    done = subprocess.run(
        ["ansible-playbook", *words, tmp_path / "play.json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )
    assert bool(done.returncode) == bool(says), done.stdout
    said = " ".join(done.stdout.split())
    assert says in said
    if says:
        assert "needs a person since noon: confirm it; the bot was left as it is" in said
    asked = (tmp_path / "gateway.asked").read_text().split()
    assert asked == (["wait", "status"] if says else ["wait"])


def test_live_prices_on_paper_have_their_own_volumes(tmp_path):
    for prices, name in (("live", "paper-binanceus"), ("made-up", "paper")):
        settings = {"grid_bot_prices": prices, "grid_bot_exchange": "binanceus"}
        (tmp_path / prices).mkdir()
        told = compose(tmp_path / prices, {"grid_bot_mode": "paper", **settings})
        assert told["volumes"] == {
            "bot": {"name": f"gridberry-{name}-bot"},
            "exchange": {"name": f"gridberry-{name}-exchange"},
        }


# Answers as docker does, from files beside it.
DOCKER = """\
#!/bin/sh
here=$(dirname "$0")
case "$*" in
    "compose config"*) cat "$here/hashes" ;;
    "image ls"*) cat "$here/images" ;;
    "ps "*) sed 's/ .*//' "$here/containers" ;;
    inspect*) cat "$here/containers" ;;
esac
"""
TEXT = """\
services:
  bot:
    image: bot:1
    volumes:
    - bot:/x
  hub:
    cpus: 1
    image: hub:1
volumes:
  bot:
    name: hub
"""


@pytest.mark.parametrize(
    ("containers", "says"),
    [
        (["bot aa running healthy 11", "hub bb running healthy 22"], ["ok"]),
        (["bot aa running healthy 22", "hub bb running healthy 22"], ["bot has an older image"]),
        (["bot aa running healthy 11"], ["hub does not run", "1 containers exist"]),
        (
            ["bot cc exited unhealthy 11", "hub bb running healthy 22"],
            ["bot has an older configuration", "bot is exited and unhealthy"],
        ),
        (
            ["bot aa running healthy 11", "hub bb running healthy 22", "x x running healthy 1"],
            ["3 containers exist"],
        ),
    ],
)
def test_each_container_is_compared_with_its_own_image(tmp_path, containers, says):
    for name, text in {
        "docker": DOCKER,
        "hashes": "bot aa\nhub bb\n",
        "images": "bot:1 11\nhub:1 22\nbot:2 33\n",
        "containers": "".join(f"{one}\n" for one in containers),
        "compose.yaml": TEXT,
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "releases").mkdir()
    done = subprocess.run(
        ["sh", ROLE / "files/state.sh"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "DIRECTORY": str(tmp_path),
            "PROJECT": "p",
        },
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == says


def test_a_host_without_configuration_says_so(tmp_path):
    done = subprocess.run(
        ["sh", ROLE / "files/state.sh"],
        env={"PATH": os.environ["PATH"], "DIRECTORY": str(tmp_path / "none"), "PROJECT": "p"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["not configured yet"]
