"""The role hub: what it writes is what the hub reads; each container has its own secrets alone."""

import json
import subprocess
import tomllib
from pathlib import Path

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
    wanted += " 'services': __hub_services, 'volumes': __hub_volumes} }}"
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


def test_a_page_without_a_database(tmp_path):
    live = [{"name": "pi1", "url": "http://pi1:8080/api/status"}]
    (found,) = rendered(tmp_path, {"hub_serve": True, "hub_live": live})
    assert list(found["services"]) == ["serve"]
    (file,) = found["files"]
    (tmp_path / "serve.toml").write_text(file["content"])
    config = load(tmp_path / "serve.toml")
    assert config.database is None
    assert [one.name for one in config.server.live] == ["pi1"]


WRONG = (
    ({}, "hub_collect and hub_serve are false"),
    (DATABASE | {"hub_database_ca": ""}, "another host, which also needs hub_database_ca"),
    (DATABASE | {"hub_database_passwords": {}}, "needs hub_database_passwords.writer"),
    (DATABASE | SERVER | {"hub_token": ""}, "it also needs hub_token"),
    ({"hub_serve": True}, "it needs hub_live"),
    (DATABASE | SERVER | {"hub_archive": "usb"}, "use a path from / on, or s3://"),
    (DATABASE | SERVER | ARCHIVE | {"hub_archive_key": ""}, "need each other"),
)


def test_wrong_settings_are_one_line_each(tmp_path):
    found = rendered(tmp_path, *(settings for settings, _ in WRONG))
    for (settings, line), one in zip(WRONG, found, strict=True):
        assert any(line in said for said in one["wrong"]), settings
