"""Limits that processes share: on a clock that a test moves, and by real processes that die."""

import fcntl
import logging
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from gridbase.gateway import shared
from gridbase.gateway.limits import CYCLE, HISTORY, LINES, MESSAGES, history
from gridbase.gateway.shared import COUNTS, SLOTS, SharedPacer

BOT_USER = 10001  # in the images

WORKER = """
import sys, time
from pathlib import Path
from gridbase.gateway.shared import SharedPacer
pacer = SharedPacer(Path(sys.argv[1]), time.monotonic)
end = time.monotonic() + float(sys.argv[2])
while (now := time.monotonic()) < end:
    pause = pacer.leave()
    if pause == 0:
        print(time.monotonic(), flush=True)
    else:
        time.sleep(min(pause, 0.02))
"""
HOLDER = """
import sys, time
from pathlib import Path
from gridbase.gateway.shared import COUNTS, SharedPacer, _locked
pacer = SharedPacer(Path(sys.argv[1]), time.monotonic)
slots = [pacer.slot("lines") for _ in range(5)]
with _locked(Path(sys.argv[1]) / COUNTS, b""):
    print("held", flush=True)
    time.sleep(60)
"""


class Time:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def join(tmp_path, clock):
    """One more process on the Gateway, as far as the file knows."""

    def make(boot="first", **more):
        return SharedPacer(tmp_path, clock, boot=boot, **more)

    return make


def test_all_together_stay_within_each_limit(join):
    pacers = [join() for _ in range(4)]
    sent = [pacer.leave() == 0 for _ in range(20) for pacer in pacers]
    assert sum(sent) == MESSAGES.most
    assert pacers[0].leave(history("A", "1 D", "TRADES")) == 0
    assert pacers[1].leave(history("A", "1 D", "TRADES")) == pytest.approx(15.5)
    wishes = [history(str(number), "", "BID_ASK") for number in range(60)]
    sent = [pacers[number % 4].leave(wish) == 0 for number, wish in enumerate(wishes)]
    assert 2 * sum(sent) <= HISTORY.most - 1 < 2 * sum(sent) + 2


def test_who_has_a_share_leaves_the_rest_to_others(join):
    watcher, bot = join(share=0.4), join()
    assert sum(watcher.leave() == 0 for _ in range(60)) == 18
    assert sum(bot.leave() == 0 for _ in range(60)) == MESSAGES.most - 18


def test_cycles_outlive_a_process(join, clock):
    assert join().leave(CYCLE) == 0
    clock.now += 200
    assert join().leave(CYCLE) == pytest.approx(101)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0" * 40,
        b'00000000 {"boot": "first", "times": {}}\n',
        b"cut",
    ],
)
def test_a_damaged_file_counts_as_full_for_its_window(join, clock, tmp_path, caplog, damage):
    assert join().leave() == 0
    path = tmp_path / COUNTS
    content = path.read_bytes()
    path.write_bytes(content[:-20] if damage == b"cut" else damage)
    assert join().leave() == pytest.approx(MESSAGES.seconds)
    assert "counts as full" in caplog.text
    clock.now += MESSAGES.seconds
    assert join().leave() == 0
    assert join().leave(history("A", "", "TRADES")) > 500
    clock.now += HISTORY.seconds
    assert join().leave(history("A", "", "TRADES")) == 0


@pytest.mark.parametrize(
    "times",
    [
        {"messages": [float("nan")]},
        {"messages": [float("inf")]},
        {"messages": [5000.0]},
        {"messages": "1"},
        {"orders": [1.0]},
    ],
)
def test_times_that_cannot_be_are_damage(join, tmp_path, times):
    pacer = join()
    pacer.leave()
    wrong = shared.Pacer()
    wrong.times = times
    (tmp_path / COUNTS).write_bytes(
        pacer._content(wrong)
        if isinstance(times.get("messages", []), list)
        else b"00000000 nothing\n"
    )
    assert join().leave() == pytest.approx(MESSAGES.seconds)


def test_a_new_start_of_the_machine_forgets_nothing_and_starves_nobody(join, clock):
    before = join()
    clock.now = 900_000.0
    for number in range(HISTORY.most):
        assert before.leave(history(str(number), "", "TRADES")) == 0
    clock.now = 40.0  # seconds after the machine started
    after = join(boot="second")
    assert after.leave() == 0
    assert after.leave(history("x", "", "TRADES")) == pytest.approx(HISTORY.seconds - 40)
    clock.now = HISTORY.seconds
    assert after.leave(history("x", "", "TRADES")) == 0


def test_without_the_file_each_keeps_to_its_own_share(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    directory = tmp_path / "missing"
    bot = SharedPacer(directory, clock, boot="first")
    watcher = SharedPacer(directory, clock, boot="first", share=0.4, alone=0.4)
    sent = [sum(pacer.leave() == 0 for _ in range(60)) for pacer in (bot, watcher)]
    assert sent == [27, 18]
    assert sum(sent) <= MESSAGES.most
    assert caplog.text.count("cannot be used") == 2
    directory.mkdir()
    clock.now += 2
    assert bot.leave() == 0
    assert "again" in caplog.text


def test_a_full_disk_is_not_mistaken_for_room(join, monkeypatch):
    pacer = join()
    pacer.leave()
    monkeypatch.setattr(os, "pwrite", lambda *_: 3)
    assert sum(pacer.leave() == 0 for _ in range(60)) == 26  # the share alone, less what has left


def test_a_link_is_not_followed(join, tmp_path):
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    (tmp_path / COUNTS).symlink_to(target)
    join().leave()
    assert target.read_text() == "precious"


def test_slots_are_shared_and_come_back(join):
    first, second = join(), join()
    held = [first.slot("lines") for _ in range(LINES - 1)]
    last = second.slot("lines")
    assert all(held)
    assert last is not None
    assert first.slot("lines") is None
    assert first.slot("history") is not None
    last.free()
    assert first.slot("lines") is not None
    del held[0]
    assert second.slot("lines") is not None


def start(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_processes_that_are_killed_hold_nothing_up(tmp_path):
    """Real processes on the machine's clock; some die while they write."""
    pick = random.Random(3)  # noqa: S311  moments, no secrets
    workers = [start(WORKER, tmp_path, 4) for _ in range(3)]
    short = []
    for _ in range(6):
        worker = start(WORKER, tmp_path, 30)
        short.append(worker)
        time.sleep(pick.uniform(0.2, 0.5))
        worker.send_signal(signal.SIGKILL)
    times = sorted(
        float(line)
        for worker in (*workers, *short)
        for line in worker.communicate()[0].splitlines()
        if line.count(".") == 1
    )
    assert len(times) > MESSAGES.most
    for first, at in enumerate(times):
        assert sum(at <= other < at + 1.0 for other in times[first : first + 60]) <= 50


def test_a_lock_is_free_when_its_holder_dies_and_nobody_waits_for_one_that_stands_still(tmp_path):
    holder = start(HOLDER, tmp_path)
    assert holder.stdout.readline() == "held\n"
    pacer = SharedPacer(tmp_path, time.monotonic)
    assert pacer.leave() == 0  # by its own share
    with pytest.raises(BlockingIOError), (tmp_path / COUNTS).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    other = SharedPacer(tmp_path, time.monotonic)
    assert len([slot for slot in [other.slot("lines") for _ in range(LINES)] if slot]) == LINES - 5
    holder.kill()
    holder.communicate()
    assert pacer.leave() >= 0
    assert pacer._problem is None
    assert len([slot for slot in [other.slot("lines") for _ in range(LINES)] if slot]) == LINES


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_was_first_to_count_is_the_directorys_owners(join, tmp_path):
    os.chown(tmp_path, BOT_USER, BOT_USER)
    root = join()
    assert root.leave() == 0
    assert root.slot("lines") is not None
    for path in (tmp_path / COUNTS, tmp_path / SLOTS):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (BOT_USER, BOT_USER, 0o660)
