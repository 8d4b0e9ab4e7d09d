"""The role recorder: what it refuses, and what the recorder, Docker and systemd are told."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MARKETS = [{"exchange": "binance", "symbols": ["BTCUSDT"], "kinds": ["trades", "depth"]}]
SYNC = {"bucket": "market", "prefix": "pi1", "kilobytes_per_second": 500}
KEYS = {"recorder_sync_key_id": "AKIAEXAMPLE", "recorder_sync_secret": "a-secret-of-s3"}
# Each is a host of the play; a host without markets is the first, as in a fleet where few record.
HOSTS: dict[str, dict] = {
    "idle": {"recorder_markets": []},
    "plain": {"recorder_memory_max": "1G"},
    "copies": {"recorder_sync": SYNC, **KEYS},
    "climbs": {"recorder_markets": [{"exchange": "binance", "symbols": ["../up"]}]},
    "card": {},
    "card-fresh": {"__storage_plan": {"kind": "drive"}},
    "others": {"recorder_markets": [{"exchange": "kraken", "symbols": ["BTC-USD"]}]},
    "by-choice": {
        "recorder_markets": [{"exchange": "binance", "by_ccxt": True, "symbols": ["BTC-USDT"]}]
    },
    "keyless": {"recorder_sync": SYNC},
    "bucketless": {"recorder_sync": {"prefix": "pi1"}, **KEYS},
    "late": {"recorder_sync_time": 120},
    "gone": {"recorder_state": "absent", "recorder_purge": True, "recorder_markets": []},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, dict[str, dict]]:
    """What the whole role does in check mode, by host and task: one run for all."""
    directory = tmp_path_factory.mktemp("recorder")
    fake = directory / "bin"
    fake.mkdir()
    disk = 'case "$*" in */card*/data) echo /dev/mmcblk0p2 ;; *) echo /dev/nvme0n1p1 ;; esac'
    (fake / "findmnt").write_text(f"#!/bin/sh\n{disk}\n")
    (fake / "findmnt").chmod(0o755)
    hosts = {}
    for name, settings in HOSTS.items():
        (directory / name / "data").mkdir(parents=True)
        hosts[name] = {
            "recorder_markets": MARKETS,
            "recorder_directory": str(directory / name / "opt/recorder"),
            "recorder_data": str(directory / name / "data"),
        } | settings
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    role = {
        "ansible.builtin.import_role": {"name": "recorder"},
        "when": "recorder_markets | length > 0 or recorder_state == 'absent'",
    }
    wanted = {"hosts": "all", "gather_facts": False, "tasks": [role]}
    (directory / "play.json").write_text(json.dumps([wanted]))
    command = ["ansible-playbook", "--check", "--diff", "-i", directory / "inventory.json"]
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
    assert KEYS["recorder_sync_secret"] not in done.stdout + done.stderr
    answer, _ = json.JSONDecoder().raw_decode(done.stdout)
    found: dict[str, dict[str, dict]] = {name: {} for name in HOSTS}
    for task in answer["plays"][0]["tasks"]:
        for name, result in task["hosts"].items():
            found[name][task["task"]["name"].rpartition(" : ")[2]] = result
    return found


def written(tasks: dict[str, dict]) -> dict[str, str]:
    """The files that would be written, by their last names."""
    return {
        Path(each["after_header"]).name: each["after"]
        for result in tasks.values()
        for each in result.get("diff") or []
        if each.get("after_header")
    }


def test_the_recorder_and_docker_are_told_what_the_settings_say(told):
    files = written(told["plain"])
    settings = tomllib.loads(files["recorder.toml"])
    assert settings["markets"] == MARKETS
    assert "sync" not in settings
    assert "s3_secret" not in files
    service = yaml.safe_load(files["compose.yaml"])["services"]["recorder"]
    assert service["cgroup_parent"] == "gridberry-recorder.slice"
    assert (service["mem_limit"], service["memswap_limit"]) == ("1G", "1G")
    assert service["volumes"][1].endswith("/plain/data:/var/lib/recorder")
    assert service["ports"] == ["127.0.0.1:8092:8090"]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True


def test_copies_have_a_timer_and_their_keys_in_files_alone(told):
    files = written(told["copies"])
    keys = {"key_id_file": "/run/secrets/s3_key_id", "secret_file": "/run/secrets/s3_secret"}
    assert tomllib.loads(files["recorder.toml"])["sync"] == SYNC | keys
    document = yaml.safe_load(files["compose.yaml"])
    assert set(document["services"]["recorder"]["secrets"]) == set(document["secrets"])
    assert document["secrets"]["s3_secret"] == {"file": "./secrets/s3_secret"}
    assert files["s3_secret"] == "(secret, new)\n"
    assert "OnCalendar=02:00" in files["gridberry-recorder-sync.timer"]
    effects = told["copies"]["Bound its memory, and copy what it records each night"]["applied"]
    assert "The timer runs" in effects
    effects = told["plain"]["Bound its memory, and copy what it records each night"]["applied"]
    assert "The timer runs" not in effects


def test_hosts_that_record_nothing_make_no_image(told):
    said = told["plain"]["Tell what would be built"]["msg"]
    assert said.startswith("would have recorder:")
    assert said.endswith(" on plain, copies, card-fresh")
    said = told["others"]["Tell what would be built"]["msg"]
    assert said.startswith("would have recorder-ccxt:")
    assert said.endswith(" on others, by-choice")
    image = yaml.safe_load(written(told["others"])["compose.yaml"])["services"]["recorder"]["image"]
    assert image.startswith("recorder-ccxt:")


def test_a_check_run_counts_on_the_drive_that_it_would_mount(told):
    assert not [result for result in told["card-fresh"].values() if result.get("failed")]


def test_an_undo_needs_no_settings_and_says_what_goes(told):
    assert not [result for result in told["gone"].values() if result.get("failed")]
    assert told["gone"]["Remove what was recorded"]["changed"]
    assert told["plain"]["Remove what was recorded"]["skipped"]


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("climbs", "climbs: recorder_markets: symbol = '../up' needs letters, digits"),
        ("card", "is on the card /dev/mmcblk0p2 and would wear it out"),
        ("keyless", "keyless: recorder_sync is set, which also needs recorder_sync_key_id"),
        ("bucketless", "bucketless: recorder_sync: bucket is missing"),
        ("late", 'late: recorder_sync_time is 120; use a time such as "02:00", with its quotes'),
    ],
)
def test_what_is_not_allowed_is_one_line(told, host, line):
    failed = [result["msg"] for result in told[host].values() if result.get("failed")]
    assert len(failed) == 1
    assert line in failed[0]
