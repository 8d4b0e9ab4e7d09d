"""The role recorder: what it refuses, and what the recorder and Docker are told."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARKETS = [{"exchange": "binance", "symbols": ["BTCUSDT"], "kinds": ["trades", "depth"]}]


def run(directory: Path, source: str = "/dev/nvme0n1p1", **settings) -> dict:
    """What the role says after its checks on a host whose data is on that disk."""
    fake = directory / "bin"
    fake.mkdir()
    (fake / "findmnt").write_text(f"#!/bin/sh\necho {source}\n")
    (fake / "findmnt").chmod(0o755)
    told = {
        "recorder_markets": MARKETS,
        "__container_image_references": {"recorder": "recorder:1-arm64"},
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    say = "{{ {'toml': __recorder_toml, 'service': __recorder_services.recorder} | to_json }}"
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": told | settings,
        "tasks": [
            {"ansible.builtin.import_role": {"name": "recorder", "tasks_from": "check.yml"}},
            {"ansible.builtin.copy": {"dest": f"{directory}/said", "content": say, "mode": "0600"}},
        ],
    }
    (directory / "play.json").write_text(json.dumps([play]))
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", directory / "play.json"]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ
        | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PATH": f"{fake}:{os.environ['PATH']}"},
    )
    if done.returncode:
        return {"failed": " ".join((done.stdout + done.stderr).split())}
    return json.loads((directory / "said").read_text())


def test_the_recorder_and_docker_are_told_what_the_settings_say(tmp_path):
    said = run(tmp_path, recorder_memory_max="1G", recorder_data="/mnt/nvme/recorder")
    assert tomllib.loads(said["toml"])["markets"] == MARKETS
    service = said["service"]
    assert service["cgroup_parent"] == "gridberry-recorder.slice"
    assert (service["mem_limit"], service["memswap_limit"]) == ("1G", "1G")
    assert service["volumes"][1] == "/mnt/nvme/recorder:/var/lib/recorder"
    assert service["ports"] == ["127.0.0.1:8092:8090"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"recorder_markets": []}, "localhost: recorder_markets is empty; name an exchange"),
        (
            {"recorder_markets": [{"exchange": "binance", "symbols": ["../up"]}]},
            "localhost: recorder_markets: symbol = '../up' needs letters, digits",
        ),
        (
            {"recorder_memory_warn_mb": 2000},
            "memory_warn_mb needs to be below memory_restart_mb",
        ),
        ({"source": "/dev/mmcblk0p2"}, "is on the card /dev/mmcblk0p2 and would wear it out"),
    ],
)
def test_what_is_not_allowed_is_one_line(tmp_path, settings, line):
    assert line in run(tmp_path, **settings)["failed"]


def test_a_card_is_taken_where_that_is_wanted(tmp_path):
    assert "toml" in run(tmp_path, "/dev/mmcblk0p2", recorder_allow_card=True)
