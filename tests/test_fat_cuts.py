"""The log of a disk's writes, the disks that a power cut could leave, and how they are judged."""

import itertools
import struct
from pathlib import Path

import pytest

from benchmarks import fat_outcomes
from benchmarks.write_log import (
    DISCARD,
    FLUSH,
    FUA,
    MARK,
    LogError,
    State,
    count_entries,
    prefixes,
    read_log,
    rebuild,
    reorderings,
)

SECTOR = 512


def sector(letter: str) -> bytes:
    """A sector full of a letter."""
    return letter.encode() * SECTOR


def make_log(path: Path, *entries: tuple[int, int, str], magic: int = 0x6A736677736872) -> Path:
    """Write a log of entries: first sector, flags, and a letter for each sector."""
    content = struct.pack("<QQQI", magic, 1, len(entries), SECTOR).ljust(SECTOR, b"\0")
    for first, flags, letters in entries:
        marked = len(letters) if flags & MARK else 0
        count = 0 if marked else len(letters)
        content += struct.pack("<QQQQ", first, count, flags, marked).ljust(SECTOR, b"\0")
        data = letters.encode() if marked else b"".join(map(sector, letters))
        content += b"" if flags & DISCARD else data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0")
    path.write_bytes(content)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two flushes: ab | c d | e, with a mark on its way."""
    return make_log(
        tmp_path / "log",
        (10, 0, "ab"),
        (0, FLUSH, ""),
        (12, 0, "c"),
        (0, MARK, "a mark"),
        (10, 0, "d"),
        (0, FLUSH, ""),
        (12, 0, "e"),
    )


def letters(state: State) -> dict[int, str]:
    """What a state's sectors are full of."""
    assert all(len(data) == SECTOR and len(set(data)) == 1 for data in state.sectors.values())
    return {number: chr(data[0]) for number, data in state.sectors.items()}


def test_each_sector_is_a_write_and_a_flush_ends_an_epoch(log: Path) -> None:
    writes, sector_bytes = read_log(log)
    assert (sector_bytes, count_entries(log)) == (SECTOR, 7)
    assert [(one.entry, one.epoch, one.sector, chr(one.data[0])) for one in writes] == [
        (0, 0, 10, "a"),
        (0, 0, 11, "b"),
        (2, 1, 12, "c"),
        (4, 1, 10, "d"),
        (6, 2, 12, "e"),
    ]


def test_data_of_a_flush_comes_after_it(tmp_path: Path) -> None:
    writes, _ = read_log(make_log(tmp_path / "log", (1, 0, "a"), (2, FLUSH | FUA, "b")))
    assert [(one.epoch, one.forced) for one in writes] == [(0, False), (1, True)]


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0, 7, [{}, "a", "ab", "ab c", "db c", "db e"]),
        (4, 7, ["ab c", "db c", "db e"]),
        (2, 4, ["ab", "ab c"]),
    ],
)
def test_every_prefix_of_a_span(log: Path, begin: int, end: int, expected: list[str]) -> None:
    writes, _ = read_log(log)
    found = [letters(state) for state in prefixes(writes, begin, end)]
    shown = [
        {10 + at: letter for at, letter in enumerate("".join(one).replace(" ", "")) if letter}
        for one in expected
    ]
    assert found == shown


def test_reorderings_lose_only_what_was_not_flushed(log: Path) -> None:
    writes, _ = read_log(log)
    found = {tuple(sorted(letters(one).items())) for one in reorderings(writes, 2, 6, 200, 7)}
    flushed = {10: "a", 11: "b"}
    wanted = [
        flushed | dict(some)
        for count in range(3)
        for some in itertools.combinations([(12, "c"), (10, "d")], count)
    ]
    assert found == {tuple(sorted(one.items())) for one in wanted}
    early = {tuple(sorted(letters(one).items())) for one in reorderings(writes, 0, 2, 200, 7)}
    assert early == {(), ((10, "a"),), ((11, "b"),), ((10, "a"), (11, "b"))}


def test_reorderings_are_the_seeds(log: Path) -> None:
    writes, _ = read_log(log)

    def drawn(seed: int) -> list[str]:
        return [state.digest for state in reorderings(writes, 0, 7, 50, seed)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert len(drawn(7)) == 50
    assert list(reorderings(writes, 1, 2, 50, 7)) == []


def test_what_was_forced_is_never_lost(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", (1, FUA, "a"), (2, 0, "b"))
    writes, _ = read_log(log)
    assert all(1 in one.sectors for one in reorderings(writes, 1, 2, 50, 7))


def test_a_later_write_to_a_sector_is_never_undone_by_an_earlier_one(tmp_path: Path) -> None:
    writes, _ = read_log(make_log(tmp_path / "log", (1, 0, "a"), (1, 0, "b")))
    last = list(reorderings(writes, 1, 2, 200, 7))
    assert {letters(one).get(1) for one in last} == {None, "a", "b"}


def test_a_disk_is_rebuilt_where_it_was_written_alone(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(sector("x") * 4)
    rebuild(State(0, {1: sector("a"), 3: sector("b")}), SECTOR, disk)
    assert disk.read_bytes() == b"".join(map(sector, "xaxb"))


def test_states_differ_by_place_and_content() -> None:
    one = State(0, {1: sector("a"), 2: sector("b")})
    assert one.digest == State(9, {2: sector("b"), 1: sector("a")}).digest
    assert one.digest != State(0, {1: sector("b"), 2: sector("a")}).digest
    assert one.digest != State(0, {1: sector("a"), 3: sector("b")}).digest


@pytest.mark.parametrize(
    ("entry", "says"), [((1, DISCARD, "a"), "discards"), ((1, 0, "abc"), "ends in its entry 1")]
)
def test_a_log_that_cannot_be_replayed_is_refused(
    tmp_path: Path, entry: tuple[int, int, str], says: str
) -> None:
    log = make_log(tmp_path / "log", (0, 0, "a"), entry)
    if not entry[1]:
        log.write_bytes(log.read_bytes()[:-1])
    with pytest.raises(LogError, match=says):
        read_log(log)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(LogError, match="no log of writes"):
        count_entries(make_log(tmp_path / "log", magic=1))
    with pytest.raises(LogError, match="too short"):
        count_entries(empty)


FIRST: fat_outcomes.Contents = {
    "cmdline.txt": b"root=/dev/a\n",
    "cmdline.txt.gridberry-original": None,
    "config.txt": b"a=1\n",
    "config.txt.gridberry-original": None,
}
SECOND = FIRST | {
    "cmdline.txt": b"root=/dev/a quiet\n",
    "cmdline.txt.gridberry-original": FIRST["cmdline.txt"],
    "config.txt": b"a=1\nb=2\n",
    "config.txt.gridberry-original": FIRST["config.txt"],
}
CHANGE = fat_outcomes.Recorded("change", 0, 5, 9, FIRST, SECOND)
KEPT = "cmdline.txt.gridberry-original"


@pytest.mark.parametrize(
    ("found", "ended", "says"),
    [
        (FIRST, False, ""),
        (FIRST | {KEPT: b""}, False, ""),  # counts as none, and is kept again
        (SECOND | {"config.txt": FIRST["config.txt"]}, False, ""),
        (SECOND, True, ""),
        (FIRST, True, "cmdline.txt is not new: 12 bytes"),
        (SECOND | {"config.txt": b""}, False, "config.txt is not old nor new: 0 bytes"),
        (SECOND | {"cmdline.txt": None}, False, "cmdline.txt is not old nor new: missing"),
        (SECOND | {KEPT: None}, False, "cmdline.txt is changed and its original is not kept"),
        (SECOND | {KEPT: b""}, False, "cmdline.txt is changed and its original is not kept"),
        (FIRST | {KEPT: b"root="}, False, f"{KEPT} is not whole"),
    ],
)
def test_files_are_old_or_new_and_an_original_is_kept_of_what_is_new(
    found: fat_outcomes.Contents, ended: bool, says: str
) -> None:
    assert fat_outcomes.judge(found, CHANGE, FIRST, ended=ended) == says


def test_a_report_is_well_if_all_are() -> None:
    good = fat_outcomes.Outcome(SECOND, "", 1, states=3, boots=True)
    assert fat_outcomes.Report(1, [], [good]).ok
    assert not fat_outcomes.Report(1, [], []).ok
    for bad in (
        fat_outcomes.Outcome(FIRST, "config.txt is not new", 0, states=2, boots=True),
        fat_outcomes.Outcome(FIRST, "", 0, states=2, boots=False),
    ):
        report = fat_outcomes.Report(1, [], [good, bad])
        assert not report.ok
        assert report.closing().startswith("3 of 5 states well; 2 distinct outcomes")
