"""`gridbot backup` and `gridbot restore`: whole, checked and private, or refused in one line."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from gridbot.cli import main
from gridbot.core.engine import Changes
from gridbot.store import SCHEMA_VERSION, Store
from gridbot.store.backup import restored

from .test_store import GENERATION, LEG, ORDER

HALT = {"reason_code": "stop.loss_price", "price": Decimal(1), "at_ms": 5}


@pytest.fixture
def state(tmp_path):
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture
def store(state):
    one = Store(state)
    one.halt("BTC/USDT", text="first", **HALT)
    yield one
    one.close()


def run(command: str, state: Path, file: Path) -> int:
    return main([command, "--state", str(state), str(file)])


def refused(capsys, command, state, file) -> str:
    """The one line of a command that is refused."""
    assert run(command, state, file) == 4
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.err


def halts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM halts ORDER BY id")]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_copy_beside_a_running_bot_has_what_is_committed(store, state, tmp_path):
    with store.transaction() as connection:  # not committed: not in it
        connection.execute("UPDATE halts SET text = 'later'")
        assert run("backup", state, tmp_path / "copy") == 0
    assert halts(tmp_path / "copy") == ["first"]
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["copy", "state"]
    assert run("backup", state, tmp_path / "copy") == 0
    assert halts(tmp_path / "copy") == ["later"]


def test_damage_is_found_and_the_last_copy_stays(store, state, tmp_path, capsys):
    assert run("backup", state, tmp_path / "copy") == 0
    for index in range(60):
        store.halt(f"{index}/USDT", text="x" * 900, **HALT)
    store.close()
    books = state / "gridbot.sqlite3"
    content = bytearray(books.read_bytes())
    content[20_000:60_000] = bytes(40_000)
    books.write_bytes(content)
    assert "damaged" in refused(capsys, "backup", state, tmp_path / "copy")
    assert halts(tmp_path / "copy") == ["first"]
    assert names(tmp_path) == ["copy", "state"]
    # And it is kept as it is where a copy takes its place.
    assert run("restore", state, tmp_path / "copy") == 0
    kept = min(state.glob("gridbot.sqlite3.replaced-*"))  # its log has a longer name
    assert kept.read_bytes() == content
    assert kept.stat().st_mode & 0o777 == 0o600
    assert halts(books) == ["first"]


def test_a_reference_to_nothing_is_found(store, state, tmp_path, capsys):
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO progress VALUES (7, '1', NULL)")
    assert "names one of generations" in refused(capsys, "backup", state, tmp_path / "copy")
    assert names(tmp_path) == ["state"]


@pytest.mark.usefixtures("store")
def test_what_a_cut_left_is_in_nobodys_way(state, tmp_path):
    (tmp_path / "copy.partial").write_text("half")
    assert run("backup", state, tmp_path / "copy") == 0
    assert names(tmp_path) == ["copy", "state"]


def test_nothing_is_restored_below_a_running_bot(store, state, tmp_path, capsys):
    assert run("backup", state, tmp_path / "copy") == 0
    assert "in use by another running bot" in refused(capsys, "restore", state, tmp_path / "copy")
    store.close()
    assert run("restore", state, tmp_path / "copy") == 0


@pytest.mark.parametrize("older", [False, True])
def test_what_was_there_is_kept_and_a_halt_and_a_pause_stay(store, state, tmp_path, older):
    assert run("backup", state, tmp_path / "copy") == 0
    store.clear_halt("BTC/USDT", 6)
    store.halt("ETH/USDT", text="later", **HALT)
    store.pause("BTC/USDT", reason="mine", at_ms=7, cancel=True)
    store.close()
    if older:
        with closing(sqlite3.connect(tmp_path / "copy")) as connection:
            connection.executescript(
                "DROP TABLE pauses; DROP TABLE compatibility; PRAGMA user_version = 5"
            )
    assert run("restore", state, tmp_path / "copy") == 0
    kept = next(state.glob("gridbot.sqlite3.replaced-*"))
    assert halts(kept) == ["first", "later"]
    assert names(state) == ["gridbot.sqlite3", kept.name, "lock"]
    again = Store(state)
    assert again.open_halt("ETH/USDT").text == "later"
    assert again.open_halt("BTC/USDT").text == "first"  # not cleared then
    assert again.open_pause("BTC/USDT").reason == "mine"
    with closing(sqlite3.connect(again.path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    again.close()


def test_grids_that_ran_are_marked_as_restored(store, state, tmp_path):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    ended = replace(GENERATION, id=2, symbol="ETH/USDT", tag="def456")
    store.start_grid_run(ended, Changes(1))
    store.close_grid_run(2, 9)
    assert run("backup", state, tmp_path / "copy") == 0
    store.close()
    assert run("restore", state, tmp_path / "copy") == 0
    assert [restored(state, number).exists() for number in (1, 2)] == [True, False]


def test_of_damaged_books_the_log_is_kept_and_does_not_meet_the_new_ones(store, state, tmp_path):
    assert run("backup", state, tmp_path / "copy") == 0
    store.close()
    (state / "gridbot.sqlite3").write_bytes(b"damaged" * 1000)
    (state / "gridbot.sqlite3-wal").write_bytes(b"a log")
    assert run("restore", state, tmp_path / "copy") == 0
    kept = min(state.glob("gridbot.sqlite3.replaced-*"))
    assert names(state) == ["gridbot.sqlite3", kept.name, f"{kept.name}-wal", "lock"]
    assert kept.read_bytes() == b"damaged" * 1000
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"a log"
    assert halts(state / "gridbot.sqlite3") == ["first"]


def test_a_restore_that_fails_at_its_end_leaves_books_that_had_a_log_whole(
    store, state, tmp_path, monkeypatch
):
    assert run("backup", state, tmp_path / "copy") == 0
    store.halt("ETH/USDT", text="later", **HALT)
    cut = tmp_path / "cut"
    shutil.copytree(state, cut)  # as a killed bot leaves them: the halt is in the log alone
    assert halts(cut / "gridbot.sqlite3") == ["first", "later"]
    shutil.copytree(state, cut, dirs_exist_ok=True)
    replace_file = Path.replace

    def fails(self, target):
        if self.name.endswith(".restored"):
            raise OSError(28, "No space left on device")
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    assert run("restore", cut, tmp_path / "copy") != 0
    assert halts(cut / "gridbot.sqlite3") == ["first", "later"]


def test_what_is_no_copy_of_books_is_refused(store, state, tmp_path, capsys):
    store.close()
    before = (state / "gridbot.sqlite3").read_bytes()
    for content in (b"", b"no database" * 100):
        (tmp_path / "other").write_bytes(content)
        line = refused(capsys, "restore", state, tmp_path / "other")
        assert "is no copy of a bot's books" in line or "not a database" in line
    with closing(sqlite3.connect(tmp_path / "foreign")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    line = refused(capsys, "restore", state, tmp_path / "foreign")
    assert "is no copy of a bot's books" in line
    assert "is not there" in refused(capsys, "restore", state, tmp_path / "none")
    assert run("backup", state, tmp_path / "copy") == 0
    with closing(sqlite3.connect(tmp_path / "copy")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.execute("UPDATE compatibility SET oldest_reader = ?", (SCHEMA_VERSION + 1,))
        connection.commit()
    assert "written by a newer gridbot" in refused(capsys, "restore", state, tmp_path / "copy")
    assert (state / "gridbot.sqlite3").read_bytes() == before
    assert not list(state.glob("*.replaced-*"))


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("none/copy", " names no file in a directory that is there"),
        ("state", " names no file in a directory that is there"),
        ("state/gridbot.sqlite3", ""),
    ],
)
def test_where_a_copy_cannot_be_is_refused(state, tmp_path, capsys, file, why):
    assert f"{tmp_path / file}{why}" in refused(capsys, "backup", state, tmp_path / file)


def test_no_books_is_refused(state, tmp_path, capsys):
    assert "holds no grid yet" in refused(capsys, "backup", state, tmp_path / "copy")
