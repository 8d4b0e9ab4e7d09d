"""The role watcher: what it refuses, and what the watcher and Docker are told."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
STOCK = {"grid_bot_exchange": "ib", "grid_bot_gateway_client_id": 909}
# Each is a host of the play; one without symbols is the first, as in a fleet where few watch.
HOSTS: dict[str, dict] = {
    "idle": {"watcher_symbols": []},
    "plain": {"ib_gateway_restart": "05:15", "monitoring_enabled": True},
    "alone": {"ib_gateway_installer": ""},
    "number": STOCK,
    "other-number": STOCK | {"watcher_client_id": 910},
    "many": {"watcher_symbols": list("ABCDEFGHIJK")},
    "hasty": {"watcher_cycle_seconds": 60},
    "gone": {"watcher_state": "absent", "watcher_purge": True, "ib_gateway_installer": ""},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, dict[str, dict]]:
    """What the whole role does in check mode, by host and task: one run for all."""
    directory = tmp_path_factory.mktemp("watcher")
    hosts = {}
    for name, settings in HOSTS.items():
        (directory / name / "data").mkdir(parents=True)
        hosts[name] = {
            "watcher_symbols": ["SPY", "QQQ"],
            "watcher_directory": str(directory / name / "opt/watcher"),
            "watcher_data": str(directory / name / "data"),
            "ib_gateway_installer": "/home/me/installer.sh",
        } | settings
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    role = {
        "ansible.builtin.import_role": {"name": "watcher"},
        "when": "watcher_symbols | length > 0 or watcher_state == 'absent'",
    }
    play = {"hosts": "all", "gather_facts": False, "tasks": [role]}
    (directory / "play.json").write_text(json.dumps([play]))
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
        },
    )
    answer, _ = json.JSONDecoder().raw_decode(done.stdout)
    found: dict[str, dict[str, dict]] = {name: {} for name in HOSTS}
    for task in answer["plays"][0]["tasks"]:
        for name, result in task["hosts"].items():
            found[name][task["task"]["name"].rpartition(" : ")[2]] = result
    return found


def test_the_watcher_and_docker_are_told_what_the_settings_say(told):
    files = {
        Path(each["after_header"]).name: each["after"]
        for result in told["plain"].values()
        for each in result.get("diff") or []
        if isinstance(each, dict) and each.get("after_header")
    }
    settings = tomllib.loads(files["watcher.toml"])
    assert settings["symbols"] == ["SPY", "QQQ"]
    assert settings["restart"] == "05:15"
    assert settings["pacing_directory"] == str(Path(settings["gateway"]).parent)
    service = yaml.safe_load(files["compose.yaml"])["services"]["watcher"]
    assert service["network_mode"] == "none"
    assert service["volumes"][1].endswith("/plain/data:/var/lib/watcher")
    assert service["volumes"][2] == "/run/gridberry-gateway:/run/gridberry-gateway"
    source, target = service["volumes"][3].split(":")
    metrics = Path(settings["metrics_file"])
    assert (source, target) == ("./metrics", str(metrics.parent))
    assert (service["mem_limit"], service["memswap_limit"]) == ("192m", "192m")
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    assert "ports" not in service


def test_its_metrics_are_read_where_role_monitoring_is(told):
    task = "Have its metrics read"
    link = told["plain"][task]["diff"]
    settings = yaml.safe_load((ROOT / "roles/monitoring/vars/main/settings.yml").read_text())
    assert Path(link["after"]["path"]).parent == Path(settings["__monitoring_textfiles"])
    assert told["plain"][task]["changed"]
    assert told["other-number"][task]["skipped"]
    assert not told["gone"]["Have them read no more"].get("skipped")
    made = told["plain"]["Write configuration and secrets"]["invocation"]["module_args"]
    owners = {one["path"]: one.get("owner") for one in made["directories"]}
    (source,) = [path for path in owners if path.endswith("/watcher/metrics")]
    assert owners[source] == "10001"
    assert told["plain"][task]["invocation"]["module_args"]["src"] == f"{source}/watcher.prom"
    assert str(Path(link["after"]["path"]).parent) in owners


def test_hosts_that_watch_nothing_make_no_image(told):
    said = told["plain"]["Tell what would be built"]["msg"]
    assert said.startswith("would have gridberry-watcher:")
    assert said.endswith(" on plain, other-number")


def test_an_undo_needs_no_settings_and_says_what_goes(told):
    assert not [result for result in told["gone"].values() if result.get("failed")]
    assert told["gone"]["Remove what it has kept"]["changed"]
    assert told["plain"]["Remove what it has kept"]["skipped"]


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("alone", "alone: watcher_symbols is set, which also needs role ib_gateway"),
        ("number", "number: grid_bot_gateway_client_id: 909 is one of the ten from"),
        ("many", "many: watcher_symbols = ["),
        ("hasty", "hasty: watcher_cycle_seconds = 60: "),
    ],
)
def test_what_is_not_allowed_is_one_line(told, host, line):
    failed = [result["msg"] for result in told[host].values() if result.get("failed")]
    assert len(failed) == 1
    assert line in failed[0]
    assert "\n" not in failed[0]
