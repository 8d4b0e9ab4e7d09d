"""The history of releases on a host, and the way back: real roles and books, no real Docker."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from gridbot.store import SCHEMA_VERSION, Store, schema
from gridbot.store.database import FILE_NAME

from fleet.ansible import Ansible
from fleet.rollout_judge import FAILED, Needs
from fleet.rollout_verb import Task, roll_out
from roles.compose_service.library import compose_release
from roles.compose_service.library.compose_release import History, ReleaseError, configuration
from roles.grid_bot.filter_plugins.recordings import recordings
from tests.ansible import pretend_docker

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "ansible_connection": "local",
    "ansible_become": False,
    "ansible_python_interpreter": sys.executable,
    "grid_bot_mode": "paper",
    "grid_bot_prices": "made-up",
    "grid_bot_lower": "42000",
    "grid_bot_upper": "50000",
}
# What role grid_bot does once its image is on the host.
DEPLOY = """
- hosts: trading
  gather_facts: false
  tasks:
    - import_role: {name: grid_bot, tasks_from: compare.yml}
    - import_role: {name: grid_bot, tasks_from: configure.yml}
    - import_role: {name: compose_service, tasks_from: run.yml}
      vars:
        compose_service_project: "{{ grid_bot_project | default('gridberry') }}"
        compose_service_directory: "{{ grid_bot_directory }}"
        compose_service_keep: |
          PROJECT=gridberry
          {{ lookup('ansible.builtin.file', playbook_dir ~ '/keep_books.sh') }}
    - import_role: {name: grid_bot, tasks_from: leftovers.yml}
"""


class Host:
    """A host that is this machine, with a bot's directory of its own."""

    def __init__(self, place: Path) -> None:
        self.place, self.world, self.directory = place, place / "world", place / "opt/bot"
        self.kept = place / "kept"
        self.path = pretend_docker.make(self.world)
        self.file = place / "inventory.yml"
        (place / "deploy.yml").write_text(DEPLOY)
        (place / "keep_books.sh").symlink_to(ROOT / "roles/grid_bot/files/keep_books.sh")
        self.own = {
            "__grid_bot_uid": str(os.getuid()),
            "__compose_service_kept_images": str(self.kept),
        }

    def inventory(self, settings: dict[str, Any]) -> None:
        host = SETTINGS | {"grid_bot_directory": str(self.directory)}
        inventory = {"trading": {"hosts": {"pi1": host | settings}}}
        self.file.write_text(yaml.safe_dump(inventory))

    def environment(self) -> dict[str, str]:
        return {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
            "PATH": f"{self.path}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'bot/src'}",
        }

    def play(self, name: str | Path, *words: str, **settings: Any) -> subprocess.CompletedProcess:
        self.inventory(settings)
        return subprocess.run(
            [
                *(sys.executable, "-m", "ansible", "playbook", "-i", self.file),
                *(ROOT / "playbooks" / name, "-e", json.dumps(self.own), *words),
            ],
            check=False,
            cwd=ROOT,
            env=os.environ | self.environment(),
            capture_output=True,
            text=True,
        )

    def deploy(self, version: str, *words: str, **settings: Any) -> subprocess.CompletedProcess:
        given = {"__container_image_references": references(version), **settings}
        return self.play(self.place / "deploy.yml", *words, **given)

    def image(self, version: str, **what: Any) -> None:
        pretend_docker.add_image(self.world, f"gridbot:{version}", **what)

    def releases(self) -> dict[int, dict[str, Any]]:
        found = self.directory.glob("releases/*/release.json")
        records = [json.loads(path.read_text()) for path in found]
        return {one["number"]: one for one in sorted(records, key=lambda one: one["number"])}

    def results(self) -> dict[int, str]:
        return {number: one["result"] for number, one in self.releases().items()}

    def runs(self) -> str:
        """The image from which the bot runs."""
        identity = pretend_docker.load(self.world, "containers")["gridberry-bot"]["image"]
        images = pretend_docker.load(self.world, "images").items()
        [name] = [name for name, one in images if one["id"] == identity]
        return name


def references(version: str, exchange: str | None = None) -> dict[str, str]:
    """The images as role container_image names them: an image of both, by default."""
    return {"gridbot": f"gridbot:{version}", "gridexchange": exchange or f"gridbot:{version}"}


def changed(done: subprocess.CompletedProcess) -> int:
    return int(re.search(r"changed=(\d+)", done.stdout)[1])


def refusal(done: subprocess.CompletedProcess) -> str:
    """What the task that failed said, on one line."""
    assert done.returncode != 0, done.stdout
    said = re.search(
        r"(?:Action|Module) failed: (.*?)\nOrigin: ", done.stdout + done.stderr, re.DOTALL
    )
    assert said, done.stdout + done.stderr
    return " ".join(said[1].split())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_history_of_good_and_failed_and_the_way_back(host: Host) -> None:
    host.image("a")
    host.image("b")
    host.image("bad", healthy=False)
    assert host.deploy("a").returncode == 0
    assert changed(host.deploy("a")) == 0  # nothing is recorded where nothing changed
    assert host.deploy("b", grid_bot_log_level="debug").returncode == 0
    assert "bot is running and unhealthy" in refusal(host.deploy("bad"))
    bad = "failed: bot is running and unhealthy, exchange is running and unhealthy"
    assert host.results() == {1: "good", 2: "good", 3: bad}
    first, second, _ = host.releases().values()
    assert second["images"]["bot"]["reference"] == "gridbot:b"
    assert second["state_schema"] == SCHEMA_VERSION
    assert second["pauses"] == {"bot": 4.0}
    assert second["who"].count("@") == 1
    assert first["configuration"] != second["configuration"]
    assert next(iter(second["secrets"].values())) not in ("", second["configuration"])

    look = host.play("rollback.yml", "--check", "--diff")
    assert "from release 3 to 2, which" in look.stdout, look.stdout + look.stderr
    assert host.runs() == "gridbot:bad"
    assert len(host.releases()) == 3
    back = host.play("rollback.yml")
    assert back.returncode == 0, back.stdout + back.stderr
    assert host.runs() == "gridbot:b"
    assert 'level = "debug"' in (host.directory / "bot.toml").read_text()
    assert host.results()[4] == "good"
    assert (host.releases()[4]["back_from"], host.releases()[4]["back_to"]) == (3, 2)

    # Once more goes further back, not forward again.
    assert host.play("rollback.yml").returncode == 0
    assert host.runs() == "gridbot:a"
    assert "no good release before the current one" in refusal(host.play("rollback.yml"))
    assert host.play("rollback.yml", "-e", "rollback_release=2").returncode == 0
    assert host.runs() == "gridbot:b"


def test_a_release_keeps_the_candles_that_its_exchange_replays(host: Host) -> None:
    candles = host.place / "BTCUSDT-1m.csv"
    candles.write_text("1,1,1,1,1,1\n")
    settings: dict[str, Any] = {"grid_bot_prices": "recorded", "grid_bot_candles": str(candles)}
    settings["grid_bot_cache"] = str(host.place / "cache")
    [made] = recordings([str(candles)], settings["grid_bot_cache"], str(host.directory))
    Path(made["file"]).parent.mkdir(parents=True)
    Path(made["file"]).write_text("converted")
    for version in "ab":
        host.image(version)
        done = host.deploy(version, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
    host.image("c")
    assert host.deploy("c").returncode == 0
    assert not Path(made["there"]).exists()
    for expected in "ba":
        back = host.play("rollback.yml")
        assert back.returncode == 0, back.stdout + back.stderr
        assert host.runs() == f"gridbot:{expected}"
        assert Path(made["there"]).read_text() == "converted"


def test_a_new_bot_leaves_the_practice_exchange_as_it_is(host: Host) -> None:
    for version in "ab":
        host.image(version)
    # An earlier image of both, whose bot would write other books.
    pretend_docker.add_image(host.world, "gridexchange:1", schema=SCHEMA_VERSION + 1)
    ran = []
    for version in "ab":
        named = {"__container_image_references": references(version, "gridexchange:1")}
        done = host.deploy(version, **named)
        assert done.returncode == 0, done.stdout
        ran.append(pretend_docker.load(host.world, "containers"))
    before, after = (one["gridberry-exchange"] for one in ran)
    assert before == after
    assert ran[0]["gridberry-bot"]["image"] != ran[1]["gridberry-bot"]["image"]
    assert {one["state_schema"] for one in host.releases().values()} == {SCHEMA_VERSION}


def two_releases(host: Host) -> Path:
    """Deploy `a`, which makes books, and then `b`; the directory of the books."""
    for version in "ab":
        host.image(version)
    state = host.world / "volumes/gridberry-paper-bot"
    assert host.deploy("a").returncode == 0
    Store(state).close()
    assert host.deploy("b").returncode == 0
    return state


def test_books_from_before_a_release_are_put_back_once(host: Host) -> None:
    state = two_releases(host)
    assert [path.name for path in state.glob("before-*")] == ["before-release-2"]

    def wrong(file: Path) -> bool:
        with contextlib.closing(sqlite3.connect(file)) as books:
            return bool(
                books.execute("SELECT 1 FROM sqlite_master WHERE name = 'wrong'").fetchall()
            )

    with contextlib.closing(sqlite3.connect(state / FILE_NAME)) as books:
        books.execute("CREATE TABLE wrong (x)")
    told = {"rollback_releases": {"pi1": 1}, "rollback_books": {"pi1": 2, "pi9": 1}}
    back = ("-e", json.dumps(told))
    done = host.play("rollback.yml", *back, "--check")
    assert done.returncode == 0, done.stdout
    assert wrong(state / FILE_NAME)
    done = host.play("rollback.yml", *back)
    assert done.returncode == 0, done.stdout
    assert host.runs() == "gridbot:a"
    assert not wrong(state / FILE_NAME)
    [kept] = state.glob(f"{FILE_NAME}.replaced-*Z")
    assert wrong(kept)
    # The bot goes on with them: a second time would undo that.
    assert not list(state.glob("before-*"))
    done = host.play("rollback.yml", *back)
    assert "there is no copy of its books from before release 2" in done.stdout


def test_the_copy_is_from_before_an_interrupted_release(host: Host) -> None:
    state = two_releases(host)
    copy = (state / "before-release-2").read_bytes()
    # As a cut after the new bot's start leaves it: its books are the new bot's.
    record = host.directory / "releases/2/release.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"result": "starting"}))
    containers = pretend_docker.load(host.world, "containers")
    containers["gridberry-bot"]["hash"] = "other"
    pretend_docker.save(host.world, "containers", containers)
    with contextlib.closing(sqlite3.connect(state / FILE_NAME)) as books:
        books.execute("CREATE TABLE wrong (x)")
    assert host.deploy("b").returncode == 0
    assert host.results() == {1: "good", 2: "good"}
    assert (state / "before-release-2").read_bytes() == copy


def test_a_deployment_keeps_the_books() -> None:
    text = (ROOT / "roles/grid_bot/tasks/main.yml").read_text()
    keep = (
        """PROJECT={{ grid_bot_project }}\\n{{ lookup('ansible.builtin.file', 'keep_books.sh') }}"""
    )
    assert f'compose_service_keep: "{keep}"' in text


def test_a_schema_that_the_bot_which_runs_cannot_read(host: Host) -> None:
    host.image("a")
    host.image("new", schema=SCHEMA_VERSION + 1)
    assert host.deploy("a").returncode == 0
    state = host.world / "volumes/gridberry-paper-bot"
    Store(state).close()
    said = refusal(host.deploy("new"))
    assert f"brings the books from schema {SCHEMA_VERSION} to {SCHEMA_VERSION + 1}" in said
    assert "grid_bot_confirm_migration=true" in said
    assert host.runs() == "gridbot:a"
    assert host.results() == {1: "good"}
    done = host.deploy("new", grid_bot_confirm_migration=True)
    assert done.returncode == 0, done.stdout
    # What the new bot does when it starts.
    with contextlib.closing(sqlite3.connect(state / FILE_NAME)) as books:
        books.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        books.execute("UPDATE compatibility SET oldest_reader = ?", (SCHEMA_VERSION + 1,))
        books.commit()
    said = refusal(host.play("rollback.yml"))
    assert "written by a newer gridbot" in said
    assert f"(schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION})" in said
    assert "the bot was left as it is" in said
    assert host.runs() == "gridbot:new"


def test_an_image_says_the_schema_that_its_bot_writes() -> None:
    text = (ROOT / "bot/Dockerfile").read_text()
    said = dict(re.findall(r"gridberry\.(state-[a-z-]+)=(\d+)", text))
    assert said == {
        "state-schema": str(SCHEMA_VERSION),
        "state-oldest-reader": str(schema.OLDEST_READER),
    }


class Page(http.server.BaseHTTPRequestHandler):
    """What a bot answers that trades."""

    def do_GET(self) -> None:
        circuit = {"circuit": {"state": "closed"}, "account_stream": True, "reconnects": 0}
        grid = {"symbol": "BTC/USDT", "state": "trading", "unsettled": 0}
        answers = {"acknowledged": 9, "refused": 0, "unanswered": 0, "doubled": 0}
        grid["answers"] = answers | {"milliseconds": 80}
        status = {"state": "trading", "grids": [grid], "connection": circuit}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(status).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Site(Ansible):
    """Ansible, for which the site is the bot's part of this test."""

    host: Host

    def _of_playbook(self, name: str, words: Sequence[str]) -> list[str]:
        found = super()._of_playbook(name, words)
        site = [str(self.host.place / "deploy.yml")] if name == "site" else [found[2]]
        rest = [one for one in found[3:] if one not in ("--tags", "grid_bot")]
        return [*found[:2], *site, "-e", json.dumps(self.host.own), *rest]


def test_a_rollout_that_fails_is_put_back(
    host: Host, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for version in "ab":
        host.image(version, healthy=version == "a")
        deployed = host.deploy(version) if version == "a" else None
        assert deployed is None or deployed.returncode == 0
    host.inventory({"__container_image_references": references("b")})
    for name, text in host.environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("GRIDBERRY_STATE", str(host.place / "state"))
    site = Site(str(host.place / "inventory.yml"), "", None)
    site.host = host
    task = Task([], Needs(0, 0), 0, [])
    page = pretend_docker.address(host.world), 8080
    with http.server.ThreadingHTTPServer(page, Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        verdict = roll_out(site, task, how="begin", sleep=lambda _: None)
        server.shutdown()
    said = capfd.readouterr().out
    assert verdict == FAILED, said
    assert "its release 2 failed: bot is running and unhealthy" in said
    assert "pi1: put back to release 1" in said
    assert "pi1: it has no backup yet" in said
    assert re.search(r"^pi1  batch 1  put back, its bot was away for 4\.0 s: ", said, re.MULTILINE)
    assert host.runs() == "gridbot:a"
    assert host.results()[3] == "good"
    assert "digest" not in (host.place / "state/rollout.json").read_text()


COMPOSE = """
services:
  bot: {image: "bot:%s", volumes: ["./bot.toml:/etc/bot.toml:ro", "books:/books"], secrets: [key]}
volumes: {books: {name: books}}
secrets: {key: {file: ./secrets/key}}
"""
FILES = ["bot.toml", "compose.yaml"]


class Project:
    """A directory of compose, and its releases."""

    def __init__(self, place: Path) -> None:
        self.world, self.directory = place / "world", place / "opt"
        self.path = pretend_docker.make(self.world)
        self.file = place / "inventory.yml"
        (self.directory / "secrets").mkdir(parents=True)
        (self.directory / "secrets/key").write_text("planted")
        self.given = {"who": "me@here", "number": 0, "failed": "", "keep": 5, "project": ""}
        self.given["kept_images"] = str(place / "kept")

    def write(self, version: str) -> None:
        pretend_docker.add_image(self.world, f"bot:{version}")
        for name, text in {
            "bot.toml": f"it = {version}",
            "compose.yaml": COMPOSE % version,
        }.items():
            compose_release.replace(self.directory / name, text.encode(), 0o644)

    def act(self, action: str, **more: Any) -> dict[str, Any]:
        history = History(self.directory)
        return compose_release.act(history, {**self.given, "action": action, **more}, check=False)

    def run(self, version: str, failed: str = "") -> None:
        self.write(version)
        self.act("begin")
        self.act("end", failed=failed)

    def numbers(self) -> list[int]:
        return [one["number"] for one in History(self.directory).all]

    def version(self) -> str:
        """Which version's files are in place, each whole: of bot.toml, then of compose.yaml."""
        text = (self.directory / "bot.toml").read_text()
        return text.removeprefix("it = ") + re.search(r"image: .bot:(.)", self.compose())[1]

    def compose(self) -> str:
        return (self.directory / "compose.yaml").read_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    monkeypatch.setenv("PATH", f"{made.path}:{os.environ['PATH']}")
    return made


def test_five_releases_and_the_last_good_one_stay_and_their_images(project: Project) -> None:
    for version in "abc":
        project.run(version)
    for version in "defghi":
        project.run(version, failed="unhealthy")
    # Pruned is at a good end alone: here the two before the last five are still there.
    assert project.numbers() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert project.act("look")["release"]["number"] == 3
    project.run("j")
    assert project.numbers() == [6, 7, 8, 9, 10]
    left = "".join(sorted(name[-1] for name in pretend_docker.load(project.world, "images")))
    assert left == "fghij"
    [note] = (project.directory.parent / "kept").iterdir()
    assert len(note.read_text().splitlines()) == 5


def test_a_release_that_is_tried_again_is_the_same_one(project: Project) -> None:
    project.run("a", failed="no luck")
    project.act("begin")
    assert History(project.directory).all[0]["result"] == "starting"
    project.act("end")
    assert [one["result"] for one in History(project.directory).all] == ["good"]
    project.act("begin")  # what was good for weeks is not made worse by a start that fails
    project.act("end", failed="the exchange is down")
    assert [one["result"] for one in History(project.directory).all] == ["good"]


def test_secrets_are_in_no_record(project: Project) -> None:
    project.run("a")
    for path in (project.directory / "releases").rglob("*"):
        if path.is_file():
            assert "planted" not in path.read_text()
            assert path.name != "key"
    assert (project.directory / "releases").stat().st_mode & 0o777 == 0o700
    assert (project.directory / "releases/1/release.json").stat().st_mode & 0o777 == 0o600


def refused(project: Project, **more: Any) -> str:
    with pytest.raises(ReleaseError) as error:
        project.act("back", **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_run_again_is_refused_and_nothing_changes(project: Project) -> None:
    assert "there is no good release before" in refused(project)
    project.run("a")
    project.run("b", failed="no luck")
    project.run("c")
    assert "is 7; the releases here are: 1, 2, 3" in refused(project, number=7)
    assert "release 2 is not good (failed: no luck)" in refused(project, number=2)
    key = project.directory / "secrets/key"
    key.write_text("another")
    assert project.act("look")["notes"] == ["the secret key has changed since release 1; it stays"]
    key.unlink()
    assert "needs the secret" in refused(project)
    key.write_text("planted")
    images = pretend_docker.load(project.world, "images")
    kept = images.pop("bot:a")
    pretend_docker.save(project.world, "images", images)
    assert "release 1 needs the image bot:a (sha256:" in refused(project)
    pretend_docker.save(project.world, "images", images | {"bot:a": kept | {"id": "sha256:other"}})
    assert "which is not on this host any more" in refused(project)
    pretend_docker.save(project.world, "images", images | {"bot:a": kept})
    (project.directory / "releases/1/bot.toml").write_text("it = x")
    assert "are not those that ran" in refused(project)
    (project.directory / "releases/2/release.json").write_text("{")
    assert "releases/2/release.json is damaged" in refused(project)
    assert project.version() == "cc"


CUTS = {"os.link", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "open"}


def cut(after: int, work: Any) -> bool:
    """Do some work in a process that ends without a word before its nth change; whether it did."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = [after]

    def watch(event: str, given: tuple[Any, ...]) -> None:
        writes = event != "open" or (given[2] & (os.O_WRONLY | os.O_RDWR))
        if event in CUTS and writes:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    sys.addaudithook(watch)
    work()
    os._exit(0)


def test_a_power_cut_at_any_step_of_the_way_back(project: Project) -> None:
    project.run("a")
    project.run("b")
    whole, seen = project.directory, set()
    for number in range(100):
        place = whole.with_name(f"cut{number}")
        shutil.copytree(whole, place)

        def back(place: Path = place) -> None:
            history = History(place)
            here = configuration(place, FILES)
            compose_release.go_back(history, history.target(0, here), here, {"who": "", "when": ""})

        was_cut = cut(number, back)
        project.directory = place
        seen.add(project.version())
        # compose.yaml comes last: once it is the new one, all is.
        assert project.version() in ("bb", "ab", "aa")
        back()
        assert project.version() == "aa"
        assert project.numbers() == [1, 2, 3]
        assert History(place).all[-1]["back_to"] == 1
        if not was_cut:
            break
    assert number > 8
    assert seen == {"bb", "ab", "aa"}


def test_a_power_cut_at_any_step_of_a_record(project: Project) -> None:
    project.run("a")
    project.write("b")
    facts = compose_release.describe(project.directory)
    whole = project.directory
    for number in range(100):
        place = whole.with_name(f"cut{number}")
        shutil.copytree(whole, place)

        def begin(place: Path = place) -> None:
            History(place).begin(place, facts)

        was_cut = cut(number, begin)
        assert [one["result"] for one in History(place).all] in (["good"], ["good", "starting"])
        begin()
        assert [one["result"] for one in History(place).all] == ["good", "starting"]
        left = sorted(path.name for path in (place / "releases").iterdir())
        assert [name for name in left if name.isdecimal()] == ["1", "2"]
        if not was_cut:
            break
    assert number > 4


def test_a_deploy_that_was_cut_goes_back_to_what_runs(project: Project) -> None:
    project.run("a")
    project.run("b")
    project.write("c")  # and no further
    assert project.act("look")["release"]["number"] == 2
    project.act("back")
    assert project.version() == "bb"


def test_a_directory_that_a_container_writes_to_is_no_configuration(tmp_path):
    for name in ("compose.yaml", "watcher.toml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "metrics").mkdir()
    mounts = [
        {"type": "bind", "source": str(tmp_path / name)} for name in ("watcher.toml", "metrics")
    ]
    files = compose_release.files_of(tmp_path, {"services": {"watcher": {"volumes": mounts}}})
    assert files == ["compose.yaml", "watcher.toml"]
    facts = {"files": files, "images": {}}
    record, written = History(tmp_path).begin(tmp_path, facts)
    assert written
    kept = tmp_path / "releases" / str(record["number"])
    assert {path.name for path in kept.iterdir()} == {*files, "release.json"}
