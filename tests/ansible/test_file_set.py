"""The module that writes all files of a role, on a temporary directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.modules import file_set
from plugins.modules.file_set import FileSetError

ROOT = Path(__file__).resolve().parents[2]
JOURNAL = "def send(**said): open({!r}, 'a').write(str(said))\nsendv = send\n"
OWNER, GROUP = str(os.getuid()), str(os.getgid())


def entry(path: Path, **more):
    """An element of `files` with its defaults."""
    defaults = {
        "content": None,
        "secret": None,
        "generate": None,
        "mode": "0644",
        "owner": OWNER,
        "group": GROUP,
        "validate": None,
        "keep_original": False,
    }
    return {"path": str(path)} | defaults | more


def directory(path: Path, mode: str = "0755"):
    """An element of `directories`."""
    return {"path": str(path), "mode": mode, "owner": OWNER, "group": GROUP}


def apply(files, directories=(), state="present"):
    """Plan, validate and carry out; returns what was done."""
    steps = file_set.plan({"state": state, "files": files, "directories": list(directories)})
    for step in steps:
        file_set.run_validation(step, check_mode=False)
    for step in steps:
        file_set.ACTIONS[step.kind](step)
    return [(step.kind, step.path.name) for step in steps]


def test_writes_what_differs_once(tmp_path):
    files = [
        entry(tmp_path / "d/a", content="x\n"),
        entry(tmp_path / "d/b", secret="s", mode="0600"),
    ]
    wanted = [directory(tmp_path / "d", "0700")]
    assert apply(files, wanted) == [("directory", "d"), ("write", "a"), ("write", "b")]
    assert (tmp_path / "d/a").read_text() == "x\n"
    assert (tmp_path / "d/b").stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o700
    assert apply(files, wanted) == []
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["a", "b"]


def test_permissions_alone_are_corrected(tmp_path):
    apply([entry(tmp_path / "a", content="x")])
    (tmp_path / "a").chmod(0o666)
    assert apply([entry(tmp_path / "a", content="x")]) == [("permissions", "a")]
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o644


def test_generated_secret_is_made_once(tmp_path):
    files = [entry(tmp_path / "key", generate=64, mode="0600")]
    apply(files)
    made = (tmp_path / "key").read_text()
    assert len(made) == 64
    assert made.isalnum()
    assert apply(files) == []
    assert (tmp_path / "key").read_text() == made


def test_secret_is_not_in_the_diff(tmp_path):
    (tmp_path / "key").write_text("old-secret")
    files = [entry(tmp_path / "key", secret="new-secret"), entry(tmp_path / "other", generate=64)]
    steps = file_set.plan({"state": "present", "files": files, "directories": []})
    shown = str([step.diff for step in steps])
    assert "old-secret" not in shown
    assert "new-secret" not in shown
    assert steps[1].content.decode() not in shown


def test_secret_is_not_in_the_hosts_journal(tmp_path):
    # Ansible writes there what a module was given; of a secret of two lines it hides nothing.
    journal, noted = tmp_path / "systemd/journal.py", tmp_path / "noted"
    journal.parent.mkdir()
    journal.write_text(JOURNAL.format(str(noted)))
    journal.with_name("daemon.py").write_text("def booted(): return True\n")
    journal.with_name("__init__.py").touch()
    own = {"owner": OWNER, "group": GROUP}
    one = {"path": str(tmp_path / "key"), "secret": "planted-4711\n", **own}
    words = (
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    )
    module = ("-vvv", "-m", "file_set", "-a", json.dumps({"files": [one]}))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", *words, "localhost", *module],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ
        | {"PYTHONPATH": str(tmp_path), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        | {"ANSIBLE_PIPELINING": "true"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "key").read_text() == "planted-4711\n"
    assert "planted-4711" not in done.stdout + done.stderr
    assert not noted.exists()


def test_nothing_is_written_when_one_content_is_refused(tmp_path):
    files = [
        entry(tmp_path / "good", content="x"),
        entry(tmp_path / "bad", content="x", validate="grep -q y %s"),
    ]
    with pytest.raises(FileSetError, match="grep refuses the new content"):
        apply(files)
    assert list(tmp_path.iterdir()) == []


def test_missing_validator_stops_a_run_and_is_noted_in_check_mode(tmp_path):
    [step] = file_set.plan_file(entry(tmp_path / "a", content="x", validate="no-such-program %s"))
    with pytest.raises(FileSetError, match="is not installed"):
        file_set.run_validation(step, check_mode=False)
    assert "not validated" in file_set.run_validation(step, check_mode=True)


@pytest.mark.parametrize("before", [b"# mine\n", None])
def test_undo_goes_back_to_what_was_there(tmp_path, before):
    path = tmp_path / "daemon.json"
    if before is not None:
        path.write_bytes(before)
    files = [entry(path, content="{}\n", keep_original=True)]
    apply(files)
    apply([entry(path, content='{"a": 1}\n', keep_original=True)])
    apply(files, state="absent")
    assert (path.read_bytes() if path.exists() else None) == before
    assert apply(files, state="absent") == []
    assert [child.name for child in tmp_path.iterdir()] == (["daemon.json"] if before else [])


def test_undo_leaves_alone_what_was_already_as_wanted(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    files = [entry(path, content="127.0.0.1 localhost\n", keep_original=True)]
    assert apply(files) == []
    assert apply(files, state="absent") == []
    assert path.exists()


def test_undo_removes_directories_that_become_empty(tmp_path):
    files = [entry(tmp_path / "a/b/f", content="x")]
    directories = [directory(tmp_path / "a"), directory(tmp_path / "a/b")]
    apply(files, directories)
    (tmp_path / "a/other").write_text("")
    kinds = apply(files, directories, state="absent")
    assert kinds == [("remove", "f"), ("remove_directory", "b")]
    assert (tmp_path / "a/other").exists()


def test_a_note_that_goes_keeps_no_directory(tmp_path):
    files = [entry(tmp_path / "a/f", content="x", keep_original=True)]
    apply(files, [directory(tmp_path / "a")])
    kinds = apply(files, [directory(tmp_path / "a")], state="absent")
    assert kinds == [("remove", "f"), ("remove_directory", "a")]
    assert not (tmp_path / "a").exists()


def test_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    apply([entry(tmp_path / "link", content="new")])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"content": "x", "mode": "rw"}, "an octal number"),
        ({"content": "x", "owner": "no-such-user"}, "which the host does not have"),
        ({}, "nothing given"),
        ({"content": "x", "secret": "y"}, "content and secret given"),
    ],
)
def test_entry_that_contradicts_itself_is_refused(tmp_path, wrong, says):
    with pytest.raises(FileSetError, match=says):
        file_set.plan_file(entry(tmp_path / "a", **wrong))


def test_a_masked_unit_is_no_way_to_dev_null(tmp_path):
    (tmp_path / "unit").symlink_to("/dev/null")
    with pytest.raises(FileSetError, match="unit should be a file and is no regular file"):
        apply([entry(tmp_path / "unit", content="x")])
    assert apply([entry(tmp_path / "unit", content="x")], state="absent") == []
    assert Path("/dev/null").is_char_device()
