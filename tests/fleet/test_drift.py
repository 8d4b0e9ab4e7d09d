"""What differs from the inventory, by real Ansible and a playbook that stands for `site.yml`."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from fleet import ansible as module
from fleet import cli
from fleet.drift import Drift, Reader, places, status_of, table
from tests.fleet.test_cli import HERE, ROOT, write

Capture = pytest.CaptureFixture[str]
SITE = """
- hosts: trading
  gather_facts: false
  tasks:
    - name: Write the list
      ansible.builtin.copy:
        content: "{{ item }}"
        dest: "{{ folder }}/{{ inventory_hostname }}-{{ item }}"
        mode: "0600"
      loop: [one, two]
    - name: Tell the key
      ansible.builtin.copy:
        content: a secret
        dest: "{{ folder }}/{{ inventory_hostname }}-key"
        mode: "0600"
      no_log: true
    - name: Judge
      ansible.builtin.assert:
        that: inventory_hostname != "bad"
        fail_msg: "it is bad\\nin two lines"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hosts have their files; the checkout's playbooks are the one above."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "site.yml").write_text(SITE)
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    return tmp_path / "files"


def hosts(folder: Path, *names: str) -> dict[str, dict[str, object]]:
    return {name: {**HERE, "folder": str(folder)} for name in names}


def test_each_difference_is_a_line_and_the_status_is_4(folder: Path, capsys: Capture) -> None:
    inventory = write(folder.parent / "two.yml", hosts(folder, "pi1", "pi2"))
    for name, texts in {"pi1": ("one", "two"), "pi2": ("one", "2")}.items():
        for place, text in zip(("one", "two"), texts, strict=True):
            (folder / f"{name}-{place}").write_text(text)
            (folder / f"{name}-{place}").chmod(0o600)
        (folder / f"{name}-key").write_text("a secret")
        (folder / f"{name}-key").chmod(0o600)
    assert cli.main(["drift", "-i", inventory]) == 4
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "pi1  as the inventory says",
        f"pi2  differs: Write the list ({folder}/pi2-two)",
    ]
    assert (folder / "pi2-two").read_text() == "2"
    assert cli.main(["drift", "-i", inventory, "--limit", "pi1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"host": "pi1", "differs": [], "trouble": ""}]


def test_a_host_that_cannot_be_checked_is_told_with_its_reason_and_the_status_is_1(
    folder: Path, capsys: Capture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = {"ansible_host": "127.0.0.1", "ansible_port": closed.getsockname()[1]}
    away["folder"] = str(folder)
    inventory = write(folder.parent / "three.yml", {"away": away, **hosts(folder, "bad", "good")})
    assert cli.main(["drift", "-i", inventory]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("away  cannot be checked: Write the list: ")
    assert shown[1:] == [
        f"bad  differs: Write the list ({folder}/bad-one, {folder}/bad-two)",
        "bad  differs: Tell the key",
        "bad  cannot be checked: Judge: it is bad",
        f"good  differs: Write the list ({folder}/good-one, {folder}/good-two)",
        "good  differs: Tell the key",
    ]
    assert "a secret" not in "".join(shown)


def test_a_run_that_breaks_off_is_no_agreement() -> None:
    reader = Reader()
    begun = {"_event": "v2_runner_on_ok", "task": {"name": "Look"}, "hosts": {"pi1": {}}}
    for line in (json.dumps(begun), "{half of a li", "no event"):
        assert reader.read(line) == ""
    found = reader.hosts(["pi1", "pi2"])
    assert [one.trouble for one in found] == [
        "the run did not end",
        "it was not checked, as the run ended before",
    ]
    assert status_of(found) == 1
    assert table(found).count("cannot be checked") == 2


def test_a_begun_task_is_progress() -> None:
    event = {"_event": "v2_playbook_on_task_start", "task": {"name": "Look"}, "hosts": {}}
    assert Reader().read(json.dumps(event)) == "Look"


def test_files_are_named_once_also_those_of_a_loop() -> None:
    one = {"diff": {"after_header": "/etc/a (content)"}}
    two = {"diff": [{"before_header": "/etc/b"}, {"after_header": "/etc/a (content)"}, {}]}
    assert places({"results": [one, two, "skipped"], "diff": None}) == [
        "/etc/a (content)",
        "/etc/b",
    ]
    assert status_of([Drift("pi1")]) == 0
