"""What the role ib_gateway refuses on the controller, before a host is touched."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.ib_gateway import packages

ROOT = Path(__file__).resolve().parents[2]
LIVE = {
    "ib_gateway_mode": "live",
    "ib_gateway_live_confirmation": "I accept that this Gateway trades real money",
}
# Each is a host of the play, with what is said of it; an empty text: it is well.
HOSTS: dict[str, tuple[dict[str, object], str]] = {
    "well": ({}, ""),
    "live": (LIVE | {"ib_gateway_account": "U7654321"}, ""),
    "trusted": ({"ib_gateway_trusted_addresses": ["192.168.1.21", "10.0.0.255"]}, ""),
    "windows": ({"ib_gateway_vnc": True, "ib_gateway_vnc_password": "s3cret!!"}, ""),
    "absent": ({"ib_gateway_installer": "/none.sh"}, "which is no file on the controller"),
    "relative": ({"ib_gateway_installer": "README.md"}, "use a path from / on"),
    "no-ibc": ({"ib_gateway_ibc": ""}, "ib_gateway_ibc is empty"),
    "short": ({"ib_gateway_ibc_sha256": "abc"}, "need 64 hexadecimal digits"),
    "other": ({"ib_gateway_installer_sha256": "0" * 64}, "ib_gateway_installer_sha256 is 000"),
    "other-ibc": ({"ib_gateway_ibc_sha256": "F" * 64}, "ib_gateway_ibc_sha256 is fff"),
    "one-switch": (
        {"ib_gateway_mode": "live"},
        "also needs ib_gateway_live_confirmation to be: I accept",
    ),
    "almost": (
        LIVE | {"ib_gateway_live_confirmation": "yes"},
        "also needs ib_gateway_live_confirmation",
    ),
    "nobody": (
        {"ib_gateway_password": ""},
        "ib_gateway_username and ib_gateway_password are needed",
    ),
    "lines": ({"ib_gateway_username": "planted\nIbDir=/tmp"}, "each one line"),
    "account": ({"ib_gateway_account": "DU-12345"}, "use a name such as DU1234567"),
    "misfit": ({"ib_gateway_account": "U7654321"}, "ib_gateway_account begins with U7"),
    "network": ({"ib_gateway_trusted_addresses": ["192.168.1.0/24"]}, "use IPv4 addresses"),
    "big": ({"ib_gateway_trusted_addresses": ["192.168.1.256"]}, "use IPv4 addresses"),
    "dot": ({"ib_gateway_trusted_addresses": ["192.168.1."]}, "use IPv4 addresses"),
    "sixty": ({"ib_gateway_restart": "285"}, "ib_gateway_restart is 285"),
    "early": ({"ib_gateway_sunday_login": "06:04"}, 'from "06:05" on'),
    "device": ({"ib_gateway_second_factor_device": "a\nb"}, "has several lines"),
    "hasty": ({"ib_gateway_start_seconds": 29}, "use 30 to 1800"),
    "heap": ({"ib_gateway_heap_mb": 1200}, "ib_gateway_heap_mb is 1200"),
    "unit": ({"ib_gateway_bot_units": ["x.service; reboot"]}, "use names such as gridbot.service"),
    "open": ({"ib_gateway_vnc": True}, "also needs ib_gateway_vnc_password"),
    "pictures": ({"ib_gateway_pictures": 0}, "use 1 to 100"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, str]:
    """What is said of each host: one run for all."""
    directory = tmp_path_factory.mktemp("settings")
    installer, ibc = packages.installer(directory), packages.ibc(directory)
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "ib_gateway_installer": str(installer.path),
        "ib_gateway_installer_sha256": installer.sha256,
        "ib_gateway_ibc": str(ibc.path),
        "ib_gateway_ibc_sha256": ibc.sha256.upper(),
        "ib_gateway_username": "planted-user",
        "ib_gateway_password": "planted-password",
    }
    hosts = {name: more for name, (more, _) in HOSTS.items()}
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    check = {"ansible.builtin.import_role": {"name": "ib_gateway", "tasks_from": "check.yml"}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [check]}
    (directory / "play.json").write_text(json.dumps([play]))
    done = subprocess.run(
        ["ansible-playbook", "-i", directory / "inventory.json", directory / "play.json"],
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
    assert "planted" not in done.stdout + done.stderr
    answer, _ = json.JSONDecoder().raw_decode(done.stdout)
    said = dict.fromkeys(HOSTS, "")
    for task in answer["plays"][0]["tasks"]:
        for name, result in task["hosts"].items():
            if result.get("failed"):
                said[name] += result["msg"]
    return said


@pytest.mark.parametrize("name", HOSTS)
def test_a_setting_that_is_not_allowed_is_one_line(told, name):
    text = HOSTS[name][1]
    assert text in told[name]
    assert bool(text) == bool(told[name])
    assert not text or told[name].strip().count("\n") == 0
    assert not text or told[name].startswith(f"{name}: ")
