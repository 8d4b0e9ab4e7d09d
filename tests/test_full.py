"""The long tests in parts: what has passed is noted, and run again only where its code changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import full, full_parts

TEXT = f"# Words\n\n{full.HEAD}\n| --- | --- | ---: | --- |\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of two folders, with parts that each test one."""
    root = tmp_path / "checkout"
    for folder in ("bot", "roles", "docs"):
        (root / folder).mkdir(parents=True)
        (root / folder / "file").touch()
    (root / "docs" / "full-tests.md").write_text(TEXT)
    monkeypatch.setattr(full, "ROOT", root)
    monkeypatch.setattr(full, "TABLE", root / "docs" / "full-tests.md")
    monkeypatch.setenv("GRIDBERRY_STATE", os.fspath(tmp_path / "state"))
    for name, value in (("user.name", "t"), ("user.email", "t@t.example")):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{0 if name == 'user.name' else 1}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{0 if name == 'user.name' else 1}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    subprocess.run(["git", "init", "-q"], check=True, cwd=root)
    commit(root)
    return root


def commit(root: Path) -> None:
    """Commit all there is."""
    for words in (["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run(["git", *words], check=True, cwd=root)


def parts(monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Have these parts, each a script that tests the folder `bot`; `roles` tests the other."""
    made = [
        full_parts.Part(name, "words", ["sh", "-c", script], [name if name == "roles" else "bot"])
        for name, script in scripts.items()
    ]
    monkeypatch.setattr(full, "PARTS", made)


def table() -> dict[str, full.Run]:
    """The last runs, as docs have them."""
    return full.read_table(full.TABLE.read_text())


@pytest.mark.usefixtures("checkout")
def test_a_run_is_noted_with_its_last_line_and_what_failed_with_why(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    parts(
        monkeypatch,
        good=r"echo a; printf '\033[32m3   | of\033[0m 3\n\n'",
        roles="echo no good; exit 3",
    )
    assert full.main([]) == 1
    commit_tested = full.git("rev-parse", "--short=8", "HEAD").stdout.strip()
    assert table() == {
        "good": full.Run(commit_tested, 0, "passed: 3 / of 3"),
        "roles": full.Run(commit_tested, 0, "failed: no good"),
    }
    assert full.TABLE.read_text().startswith(TEXT)
    said = capfd.readouterr().out.splitlines()
    assert said[-2:] == ["failed: roles: failed: no good", "1 passed, 1 failed"]


def test_what_has_passed_runs_again_only_where_what_it_tests_changed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    parts(monkeypatch, one=f"echo one >>{ran}", roles=f"echo roles >>{ran}")
    assert full.main([]) == 0
    commit(checkout)
    assert full.main([]) == 0
    assert ran.read_text().split() == ["one", "roles"]
    (checkout / "roles" / "file").write_text("new")
    commit(checkout)
    assert full.main([]) == 0
    assert ran.read_text().split() == ["one", "roles", "roles"]
    assert full.main(["--again", "one"]) == 0
    assert ran.read_text().split() == ["one", "roles", "roles", "one"]


@pytest.mark.usefixtures("checkout")
def test_what_failed_runs_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts(monkeypatch, one=f"[ -e {tmp_path}/there ]")
    assert full.main([]) == 1
    (tmp_path / "there").touch()
    assert full.main([]) == 0
    assert table()["one"].ok


def test_a_run_of_what_is_not_committed_is_not_noted(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts(monkeypatch, one="true")
    (checkout / "bot" / "new").touch()
    assert full.main([]) == 0
    assert table() == {}


@pytest.mark.usefixtures("checkout")
def test_a_part_ends_after_its_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    parts(monkeypatch, one="echo a; exec sleep 600")
    monkeypatch.setattr(full, "LIMIT_SECONDS", 1)
    assert full.main([]) == 1
    assert table()["one"].outcome == "failed: not done after 1 s"


def test_interrupted_it_ends_with_what_it_runs(checkout: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"""
import sys
sys.path.insert(0, {os.fspath(Path(__file__).parents[1])!r})
from pathlib import Path
from tests import full, full_parts
full.ROOT = Path({os.fspath(checkout)!r})
full.TABLE = full.ROOT / "docs/full-tests.md"
command = ["sh", "-c", "echo $$ >{pid}; exec sleep 600"]
full.PARTS = [full_parts.Part("one", "words", command, ["bot"])]
sys.exit(full.main([]))
"""
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) as process:
        while not pid.exists() or not pid.read_text():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.usefixtures("checkout")
def test_parts_that_are_gone_leave_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    parts(monkeypatch, one="true", two="true")
    assert full.main([]) == 0
    parts(monkeypatch, two="true", three="true")
    text = full.with_table(full.TABLE.read_text(), table())
    assert [line.split()[1] for line in text.splitlines() if line.startswith("| t")] == [
        "two",
        "three",
    ]
    assert "| three | - | - | not run yet |" in text


def test_a_part_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        full.main(["nonsense"])
    assert ended.value.code == 2
    assert "there is no part 'nonsense': choose from host-bookworm," in capsys.readouterr().err


def test_every_part_is_in_the_docs_and_tests_what_is_there() -> None:
    names = [part.name for part in full_parts.PARTS]
    assert len(set(names)) == len(names)
    for part in full_parts.PARTS:
        assert f"| {part.name} |" in full.TABLE.read_text()
        assert all((full.ROOT / path).exists() for path in part.tests)
        assert part.command[0] == sys.executable
        script = part.command[1]
        assert script == "-m" or (full.ROOT / script).exists()
