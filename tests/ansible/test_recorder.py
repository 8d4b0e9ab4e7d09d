"""The role recorder: what it refuses, and what the recorder and Docker are told."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MARKETS = [{"exchange": "binance", "symbols": ["BTCUSDT"], "kinds": ["trades", "depth"]}]


def play(directory: Path, tasks: str, source: str = "/dev/nvme0n1p1", **settings) -> dict:
    """What a part of the role does in check mode on a host whose data is on that disk."""
    fake = directory / "bin"
    fake.mkdir()
    (fake / "findmnt").write_text(f"#!/bin/sh\necho {source}\n")
    (fake / "findmnt").chmod(0o755)
    told = {
        "recorder_markets": MARKETS,
        "recorder_directory": str(directory / "opt/recorder"),
        "__container_image_references": {"recorder": "recorder:1-arm64"},
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    role = {"ansible.builtin.import_role": {"name": "recorder", "tasks_from": tasks}}
    wanted = {"hosts": "localhost", "gather_facts": False, "vars": told | settings, "tasks": [role]}
    (directory / "play.json").write_text(json.dumps([wanted]))
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "--check", "--diff"]
    done = subprocess.run(
        [*command, directory / "play.json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "PATH": f"{fake}:{os.environ['PATH']}",
        },
    )
    answer, _ = json.JSONDecoder().raw_decode(done.stdout)
    results = [task["hosts"]["localhost"] for task in answer["plays"][0]["tasks"]]
    return {"results": results, "failed": " ".join(each.get("msg", "") for each in results)}


def test_the_recorder_and_docker_are_told_what_the_settings_say(tmp_path):
    data = str(tmp_path / "data")
    said = play(tmp_path, "configure.yml", recorder_memory_max="1G", recorder_data=data)
    written = {
        name: each["after"]
        for each in said["results"][0]["diff"]
        for name in ("compose.yaml", "recorder.toml", "token")
        if name in each.get("after_header", "")
    }
    assert tomllib.loads(written["recorder.toml"])["markets"] == MARKETS
    service = yaml.safe_load(written["compose.yaml"])["services"]["recorder"]
    assert service["cgroup_parent"] == "gridberry-recorder.slice"
    assert (service["mem_limit"], service["memswap_limit"]) == ("1G", "1G")
    assert service["volumes"][1] == f"{data}:/var/lib/recorder"
    assert service["ports"] == ["127.0.0.1:8092:8090"]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"recorder_markets": [{"exchange": "binance", "symbols": ["../up"]}]},
            "localhost: recorder_markets: symbol = '../up' needs letters, digits",
        ),
        ({"source": "/dev/mmcblk0p2"}, "is on the card /dev/mmcblk0p2 and would wear it out"),
    ],
)
def test_what_is_not_allowed_is_one_line(tmp_path, settings, line):
    assert line in play(tmp_path, "check.yml", **settings)["failed"]
