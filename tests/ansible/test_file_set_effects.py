"""What files are for: probes, commands, and runs that are broken off."""

import ansible.module_utils.file_set_effects as effects
import pytest
from ansible.module_utils.file_set_effects import EffectError

from plugins.modules import file_set


@pytest.fixture(autouse=True)
def pending(tmp_path, monkeypatch):
    """Markers of this test alone."""
    monkeypatch.setattr(effects, "PENDING", tmp_path / "pending")
    return tmp_path / "pending"


def entry(name, probe, apply, **more):
    """An element of `effects` with its defaults."""
    return {
        "name": name,
        "probe": probe,
        "apply": apply,
        "on_change": [],
        "first": False,
        "tries": 1,
    } | more


def write(path, content="x"):
    """A step that writes a file."""
    owner = file_set.Ownership(0o644, path.parent.stat().st_uid, path.parent.stat().st_gid)
    return file_set.Step(path, "write", wanted=owner, content=content.encode())


def run(entries, steps=(), *, check_mode=False):
    """The names of what was applied."""
    return file_set.carry_out(list(steps), entries, check_mode=check_mode)[0]


def test_is_applied_where_the_probe_fails_and_once(tmp_path):
    flag = tmp_path / "flag"
    wanted = [entry("a flag", f"test -e {flag}", f"echo once >> {flag}")]
    assert run(wanted, check_mode=True) == ["a flag"]
    assert not flag.exists()
    assert run(wanted) == ["a flag"]
    assert run(wanted) == []
    assert flag.read_text() == "once\n"


def test_a_changed_file_makes_it_due(tmp_path):
    log, path = tmp_path / "log", tmp_path / "file"
    wanted = [entry("reload", "true", f"cat {path} >> {log}", on_change=[str(path)])]
    assert run(wanted, [write(path)], check_mode=True) == ["reload"]
    assert not log.exists()
    assert run(wanted, [write(path)]) == ["reload"]
    assert log.read_text() == "x"  # after the file
    assert run(wanted) == []
    assert run(wanted, [write(tmp_path / "other")]) == []


def test_any_file_and_before_the_files(tmp_path):
    log, path = tmp_path / "log", tmp_path / "file"
    wanted = [entry("stop", "true", f"ls {tmp_path} > {log}", on_change=["*"], first=True)]
    assert run(wanted, [write(path)]) == ["stop"]
    assert "file" not in log.read_text().split()


def test_a_run_that_was_broken_off_is_made_good(tmp_path):
    """The files are in place then, so nothing but the marker tells."""
    path, log = tmp_path / "file", tmp_path / "log"
    broken = entry("first", "true", "echo no such thing >&2; false", on_change=[str(path)])
    reload = entry("reload", "true", f"echo done >> {log}", on_change=[str(path)])
    with pytest.raises(EffectError, match="first: cannot be put in force: no such thing"):
        run([broken, reload], [write(path)])
    assert not log.exists()
    assert run([reload], check_mode=True) == ["reload"]
    assert run([reload]) == ["reload"]
    assert run([reload]) == []


def test_what_does_not_come_into_force_is_said():
    wanted = [entry("swap", "echo no swap is active; false", "true", tries=2)]
    with pytest.raises(EffectError, match="swap: not in force after it was applied: no swap is"):
        run(wanted)


def test_waits_for_what_comes_late(tmp_path):
    count = tmp_path / "count"
    probe = f"echo x >> {count}; test $(wc -l < {count}) -ge 3"
    assert run([entry("late", probe, "true", tries=5)]) == ["late"]


def test_diffs_show_the_reason():
    wanted = [entry("swappiness is 10", "echo 'vm.swappiness is 60'; false", "true")]
    _, diffs = file_set.carry_out([], wanted, check_mode=True)
    assert diffs == [
        {
            "before_header": "swappiness is 10",
            "after_header": "swappiness is 10",
            "before": "vm.swappiness is 60\n",
            "after": "in force\n",
        }
    ]
