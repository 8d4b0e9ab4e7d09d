"""The role hub: what it writes is what the hub reads; each container has its own secrets alone."""

import importlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from hub.config import load

ROOT = Path(__file__).resolve().parents[2]
DATABASE = {
    "hub_database": "192.168.1.20",
    "hub_database_ca": "-----BEGIN CERTIFICATE-----",
    "hub_database_passwords": {"owner": "o1", "writer": "w1", "reader": "r1"},
}
SERVER = {"hub_serve": True, "hub_address": "0.0.0.0", "hub_token": "gridberry_abc"}
ARCHIVE = {"hub_archive": "s3://bucket/pi", "hub_archive_key": "k", "hub_archive_secret": "s3"}


def rendered(directory, *each):
    """What the role would write and run, with each of these settings: a play for each."""
    roles = ROOT / "roles"
    names = ("grid_bot/defaults", "hub/defaults", "hub/vars")
    (directory / "templates").symlink_to(roles / "hub/templates")
    given = {
        "__hub_books": {"stdout": "books\n"},
        "__container_image_references": {"gridberry-hub": "i:1"},
    }
    wanted = "{{ {'wrong': __hub_wrong} if __hub_wrong else {'files': __hub_files,"
    wanted += " 'services': __hub_services, 'volumes': __hub_volumes,"
    wanted += " 'directories': __hub_directories, 'link': __hub_metrics_link,"
    wanted += " 'metrics': __hub_metrics ~ '/collect.prom'} }}"
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": [str(roles / name / "main.yml") for name in names] + [f"{number}.json"],
            "vars": given,
            "tasks": [
                {"ansible.builtin.copy": {"content": wanted, "dest": f"{directory}/{number}"}}
            ],
        }
        for number in range(len(each))
    ]
    for number, settings in enumerate(each):
        (directory / f"{number}.json").write_text(json.dumps(settings))
    (directory / "play.yml").write_text(yaml.safe_dump(plays))
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", str(directory / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [json.loads((directory / str(number)).read_text()) for number in range(len(each))]


def test_everything_on_one_pi(tmp_path):
    (found,) = rendered(tmp_path, DATABASE | SERVER | ARCHIVE)
    files = {Path(one["path"]).name: one for one in found["files"]}
    for name in ("collect", "serve", "own"):
        path = tmp_path / f"{name}.toml"
        path.write_text(files[f"{name}.toml"]["content"])
        config = load(path)
        assert str(config.database.password_file).endswith(
            {"collect": "writer", "serve": "reader", "own": "owner"}[name]
        )
        assert (config.archive is None) == (name == "collect")
    assert load(tmp_path / "collect.toml").bot.mode == "paper"
    assert tomllib.loads(files["serve.toml"]["content"])["server"]["host"] == "0.0.0.0"
    for name, one in files.items():
        content = one.get("content", "")
        assert not any(secret in content for secret in ("o1", "w1", "r1", "gridberry_abc")), name
        assert ("secret" in one) == (one.get("mode") == "0600")
    assert "gridberry_abc" not in files["tokens"]["secret"]
    for service, secret in (("collect", "writer"), ("serve", "reader"), ("keep", "owner")):
        mounts = [one for one in found["services"][service]["volumes"] if "/secrets/" in one]
        roles = [Path(one.split(":")[0]).name for one in mounts]
        assert [one for one in roles if one in {"owner", "writer", "reader"}] == [secret]
    assert "books:/var/lib/gridbot:ro" in found["services"]["collect"]["volumes"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Everything on one Pi, with monitoring; and a collector alone."""
    places = {"hub_archive": "/mnt/usb/trades", "hub_address": "::1", "monitoring_enabled": True}
    return rendered(tmp_path_factory.mktemp("hosts"), DATABASE | SERVER | places, DATABASE)


def test_users_are_those_of_the_database(hosts, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "roles/timescaledb/files/database"))
    make = importlib.import_module("make")
    for name, user in (("collect", make.WRITER), ("serve", make.READER), ("own", make.OWNER)):
        assert file(hosts[0], f"{name}.toml")["database"]["user"] == user


def test_compose_can_tell_of_each_container_whether_it_is_healthy(hosts):
    """Role compose_service takes a container without a check for one that does not run."""
    services = hosts[0]["services"]
    assert set(services) == {"collect", "serve", "keep"}
    for service in services.values():
        assert service["healthcheck"]["test"][0] == "CMD"
    assert "http://[::1]:8090/health" in services["serve"]["healthcheck"]["test"]


@pytest.mark.parametrize(
    ("said", "status", "line"),
    [
        ('{"problem": ""}', 0, ""),
        ('{"problem": "database: gone"}', 1, "database: gone"),
        (None, 1, "No such file"),
    ],
)
def test_the_keeper_is_healthy_once_its_round_was_good(hosts, tmp_path, said, status, line):
    program = hosts[0]["services"]["keep"]["healthcheck"]["test"][3]
    place = file(hosts[0], "own.toml")["keeper"]["status_file"]
    if said is not None:
        (tmp_path / "status.json").write_text(said)
    command = [sys.executable, "-c", program.replace(place, str(tmp_path / "status.json"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert line in done.stderr


def test_what_containers_write_is_theirs(hosts):
    watched, alone = hosts
    owners = {one["path"]: one.get("owner", "root") for one in watched["directories"]}
    for service in watched["services"].values():
        for mount in service["volumes"]:
            source, place, *options = mount.split(":")
            if not options and source != "books":
                path = source.replace("./", "/opt/gridberry/bot-hub/", 1)
                assert owners[path] == "10001", mount
                assert place.startswith("/")
    metrics = Path(file(watched, "collect.toml")["collector"]["metrics_file"])
    assert f"./metrics/collect:{metrics.parent}" in watched["services"]["collect"]["volumes"]
    assert metrics.name == Path(watched["metrics"]).name
    assert Path(watched["link"]).parent == Path(textfiles()), "where role monitoring reads"
    assert Path(watched["link"]).suffix == ".prom"
    assert Path(watched["link"]).parent in map(Path, owners)
    assert Path(alone["link"]).parent not in {Path(one["path"]) for one in alone["directories"]}


def file(found, name):
    """A TOML file of what was rendered."""
    (content,) = (one["content"] for one in found["files"] if one["path"].endswith(f"/{name}"))
    return tomllib.loads(content)


def textfiles():
    path = ROOT / "roles/monitoring/vars/main/settings.yml"
    return yaml.safe_load(path.read_text())["__monitoring_textfiles"]


def ran(tmp_path, *tasks, docker="exit 1", both=None, **settings):
    """What some first tasks of the role say on hosts whose docker is this script."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (tmp_path / "docker").chmod(0o755)
    every = yaml.safe_load((ROOT / "roles/hub/tasks/main.yml").read_text())
    named, both = {one["name"]: one for one in every}, both or {}
    peers = {"ansible.builtin.debug": {"msg": "peers {{ __hub_peers | join(' ') }}"}}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [
            str(ROOT / f"roles/{name}/main.yml") for name in ("hub/defaults", "hub/vars")
        ]
        + ["settings.json"],
        "tasks": [*(named[one] | both for one in tasks), {"run_once": True, **peers}],
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = ["ansible-playbook", "-i", "a,b,", "-c", "local", str(tmp_path / "play.yml")]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout


LOOK, STOP = "Look for the bot's books", "Stop if there is no bot"


def test_a_host_without_a_bot_is_one_line(tmp_path):
    none = "echo 'no such object' >&2; exit 1"
    said = ran(tmp_path, LOOK, STOP, docker=none, **DATABASE)
    assert "a: hub_collect is true, and there is no container gridberry-bot" in said
    assert "no such object" not in said
    assert "failed=0" in ran(tmp_path, LOOK, STOP, docker="echo books", **DATABASE)


def test_the_image_is_for_the_hosts_that_take_part(tmp_path):
    one = {"both": {"when": "inventory_hostname == 'b'"}, "hub_serve": True}
    assert "msg: peers b\n" in ran(tmp_path, LOOK, **one)
    assert "msg: peers a b\n" in ran(tmp_path, LOOK, hub_serve=True)


def test_a_page_without_a_database(tmp_path):
    live = [{"name": "pi1", "url": "http://pi1:8080/api/status"}]
    (found,) = rendered(tmp_path, {"hub_serve": True, "hub_live": live})
    assert list(found["services"]) == ["serve"]
    (file,) = found["files"]
    (tmp_path / "serve.toml").write_text(file["content"])
    config = load(tmp_path / "serve.toml")
    assert config.database is None
    assert [one.name for one in config.server.live] == ["pi1"]


def test_what_runs_beside_the_bots(tmp_path):
    programs = [
        {"name": "pi2", "kind": "recorder", "url": "http://pi2:8092/status", "token": "hidden1"},
        {"name": "options", "kind": "watcher", "file": "/mnt/data/watcher/signal.json"},
    ]
    recorder = {"recorder_markets": [{"exchange": "binance"}], "recorder_directory": "/opt/r"}
    (found,) = rendered(tmp_path, SERVER | recorder | {"hub_programs": programs})
    files = {one["path"]: one for one in found["files"]}
    (tmp_path / "serve.toml").write_text(files["/opt/gridberry/bot-hub/serve.toml"]["content"])
    own, pi2, options = load(tmp_path / "serve.toml").server.programs
    assert (own.name, own.kind, own.url) == (
        "localhost",
        "recorder",
        "http://127.0.0.1:8092/status",
    )
    mounts = found["services"]["serve"]["volumes"]
    assert f"./secrets/program_pi2:{pi2.token_file}:ro" in mounts
    # The recorder's own role writes the same file in the same way.
    token = yaml.safe_load((ROOT / "roles/recorder/vars/main.yml").read_text())["__recorder_files"]
    assert "'/secrets/token', 'generate': 64}" in token
    assert (files["/opt/r/secrets/token"]["generate"], files["/opt/r/secrets/token"]["mode"]) == (
        64,
        "0600",
    )
    assert files["/opt/gridberry/bot-hub/secrets/program_pi2"]["secret"] == "hidden1"
    assert "hidden1" not in files["/opt/gridberry/bot-hub/serve.toml"]["content"]
    bound = {one["source"]: one for one in mounts if isinstance(one, dict)}
    assert all(one["bind"] == {"create_host_path": False} for one in bound.values())
    targets = {source: one["target"] for source, one in bound.items()}
    place = str(options.file.parent)
    assert targets == {place: place, "/opt/r/secrets/token": str(own.token_file)}


def test_a_recorder_elsewhere_changes_nothing_here(tmp_path):
    recorder = {"recorder_markets": [{"exchange": "binance"}], "recorder_state": "absent"}
    (found,) = rendered(tmp_path, DATABASE | SERVER | recorder)
    assert "[[server.programs]]" not in "".join(one.get("content", "") for one in found["files"])
    assert not any("recorder" in str(one) for one in found["directories"])


def test_what_an_option_watcher_of_the_same_host_keeps_is_copied(tmp_path):
    watching = DATABASE | {"watcher_symbols": ["SPY"], "storage_mount": "/mnt/nvme"}
    second = {"grid_bot_neighbors": ["pi0", "localhost"]}
    (own, guest, gone) = rendered(
        tmp_path, watching, watching | second, watching | {"watcher_state": "absent"}
    )
    (tmp_path / "collect.toml").write_text(
        next(one["content"] for one in own["files"] if one["path"].endswith("collect.toml"))
    )
    directory = load(tmp_path / "collect.toml").collector.watcher_directory
    service = own["services"]["collect"]
    (mount,) = [one for one in service["volumes"] if isinstance(one, dict)]
    assert (mount["source"], mount["target"]) == ("/mnt/nvme/watcher", str(directory))
    assert mount["read_only"]
    assert service["mem_limit"] == "192m"
    (made,) = [one for one in own["directories"] if one["path"] == mount["source"]]
    watcher = yaml.safe_load((ROOT / "roles/watcher/vars/main.yml").read_text())
    (its,) = [one for one in watcher["__watcher_directories_of_all"] if "mode" in one]
    assert (made["mode"], made["owner"]) == (its["mode"], watcher["__watcher_uid"])
    for other in (guest, gone):
        assert "watcher_directory" not in file(other, "collect.toml")["collector"]
        assert not any(isinstance(one, dict) for one in other["services"]["collect"]["volumes"])


WRONG = (
    ({}, "hub_collect and hub_serve are false"),
    (DATABASE | {"hub_database_ca": ""}, "another host, which also needs hub_database_ca"),
    (DATABASE | {"hub_database_passwords": {}}, "needs hub_database_passwords.writer"),
    (DATABASE | SERVER | {"hub_token": ""}, "it also needs hub_token"),
    ({"hub_serve": True}, "it needs hub_live"),
    (SERVER | {"hub_programs": [{"name": "../x", "kind": "watcher", "url": "u"}]}, "names need"),
    (SERVER | {"hub_programs": [{"name": "x", "kind": "watcher"}]}, "either url or file"),
    (
        SERVER
        | {"recorder_markets": [{}]}
        | {"hub_programs": [{"name": "localhost", "kind": "watcher", "url": "u"}]},
        "the same name, or that of this host",
    ),
    (DATABASE | SERVER | {"hub_archive": "usb"}, "use a path from / on, or s3://"),
    (DATABASE | SERVER | ARCHIVE | {"hub_archive_key": ""}, "need each other"),
    (
        DATABASE | SERVER | {"grid_bot_account_guard": {"role": "judge"}},
        "hub_port is 8090, as is grid_bot_judge_port; use another one",
    ),
)


def test_wrong_settings_are_one_line_each(tmp_path):
    found = rendered(tmp_path, *(settings for settings, _ in WRONG))
    for (settings, line), one in zip(WRONG, found, strict=True):
        assert any(line in said for said in one["wrong"]), settings


def test_node_exporter_reads_the_metrics_until_the_undo(tmp_path):
    place = {"__hub_metrics_link": f"{tmp_path}/gridberry-hub.prom", "__hub_metrics": str(tmp_path)}
    (tmp_path / "collect.prom").write_text("up 1\n")
    tasks = ("Have its metrics read", "Have them read no more")
    watched = DATABASE | place | {"monitoring_enabled": True}
    assert "failed=0" in ran(tmp_path, *tasks, LOOK, **watched)
    assert (tmp_path / "gridberry-hub.prom").read_text() == "up 1\n"
    assert "changed=1" in ran(tmp_path, *tasks, LOOK, **watched, hub_state="absent")
    assert not (tmp_path / "gridberry-hub.prom").is_symlink()


def test_a_mistake_is_told_before_a_host_is_touched():
    command = ["ansible-playbook", "-i", "inventory/example", "playbooks/settings.yml"]
    done = subprocess.run(
        [*command, "-e", "hub_serve=true"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "pi1: hub_serve is true without hub_database: it needs hub_live" in done.stdout
