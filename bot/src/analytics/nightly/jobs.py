"""Runs a night's jobs, each in a process of its own, and writes down what came of them.

A job that fails or hangs is ended and told of; the others run all the same. Books are copied
first: neither a long comparison nor a mount that cannot be written to then matters.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from gridbase.atomic_file import write_whole
from gridbase.errors import UserError
from gridbase.sqlite_copy import DamagedError, copy_database
from gridbot.store import FILE_NAME

from analytics.nightly.config import Bot, Nightly

METRICS = "analytics.prom"
COPY = ".books-"
LONGEST_LINE = 300


@dataclass(frozen=True)
class Job:
    """Something to do.

    Attributes:
        kind: compare, report or optimize.
        name: of the bot or the symbol.
        command: module and arguments; it prints one JSON object.
    """

    kind: str
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """What came of a job.

    Attributes:
        kind: the job's.
        name: the job's.
        seconds: how long it took.
        trouble: why there is no result; empty where there is one.
        result: what it printed; None where that is nothing.
    """

    kind: str
    name: str
    seconds: float
    trouble: str
    result: Any


def run_jobs(settings: Nightly, day: date) -> list[Done]:
    """Do everything.

    Args:
        settings: what.
        day: the day that bots are compared on.

    Raises:
        UserError: results cannot be written.
    """
    place = settings.results / day.isoformat()
    try:
        place.mkdir(parents=True, exist_ok=True)
        for left in settings.results.glob(f"{COPY}*"):  # by a night that was cut off
            shutil.rmtree(left)
        _remove_old(settings.results, day - timedelta(days=settings.keep_days))
        done = []
        for each in _each(settings, day):
            done.append(each)
            if each.result is not None:
                content = json.dumps(each.result, indent=1).encode() + b"\n"
                write_whole(place / f"{each.kind}-{each.name}.json", content)
        write_whole(settings.results / METRICS, metrics(done, time.time()).encode())
    except OSError as error:
        raise UserError(f"results = {settings.results}: {error.strerror}") from error
    return done


def _each(settings: Nightly, day: date) -> Iterator[Done]:
    for bot in settings.bots:
        with _copied(bot, settings.results) as (state, trouble):
            for job in bot_jobs(settings, bot, state, day):
                if trouble:
                    yield Done(job.kind, job.name, 0.0, trouble, None)
                else:
                    yield _run(job, settings.job_minutes * 60)
    for job in search_jobs(settings):
        yield _run(job, settings.job_minutes * 60)


def bot_jobs(settings: Nightly, bot: Bot, state: Path, day: date) -> Iterator[Job]:
    """What is done with one bot's books, of which a copy is in `state`."""
    yield Job(
        "compare",
        bot.name,
        (
            *("analytics", "compare", "--state", str(state), "--date", day.isoformat()),
            *("--recording", str(settings.recording), "--exchange", bot.exchange),
            *("--fills", "--json", *bot.options),
        ),
    )
    yield Job("report", bot.name, ("gridbot", "report", "--state", str(state), "--json"))


def search_jobs(settings: Nightly) -> Iterator[Job]:
    """The searches."""
    pool: tuple[str, ...] = ()
    if settings.tls is not None:
        pool = ("--scheduler", settings.scheduler, "--tls", str(settings.tls))
    for search in settings.searches:
        data = settings.recording / "ready" / f"exchange={search.exchange}" / "kind=candles"
        data /= f"symbol={search.symbol}"
        words = ("analytics", "optimize", "--data", str(data), *search.options, *pool, "--json")
        yield Job("optimize", search.symbol, words)


@contextmanager
def _copied(bot: Bot, results: Path) -> Iterator[tuple[Path, str]]:
    """A copy of a bot's books, and why there is none."""
    with tempfile.TemporaryDirectory(prefix=COPY, dir=results) as name:
        source, target = bot.state / FILE_NAME, Path(name) / FILE_NAME
        trouble = ""
        try:
            if not source.is_file():
                trouble = f"{bot.state} holds no books"
            elif source.with_name(f"{FILE_NAME}-wal").exists():
                copy_database(source, target)
            else:
                # Its bot has stopped: SQLite cannot open it where nothing may be written.
                shutil.copyfile(source, target)
        except (sqlite3.Error, DamagedError, OSError) as error:
            trouble = f"{source}: {error}"
        yield Path(name), trouble


def _run(job: Job, limit_s: float) -> Done:
    began = time.monotonic()
    with _held(signal.SIGTERM) as came:  # one that came in between would leave the job behind
        process = subprocess.Popen(
            [sys.executable, "-m", *job.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    with process:
        try:
            for number in came:
                signal.raise_signal(number)
            said, complaint = process.communicate(timeout=limit_s)
        except BaseException as error:
            # A search has processes of its own, which wait for ever where it alone is ended.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            trouble = f"took longer than {limit_s / 60:g} minutes"
            return Done(job.kind, job.name, limit_s, trouble, None)
    seconds = time.monotonic() - began
    try:
        # A comparison that leaves something unexplained has a result, and status 1.
        result = json.loads(said) if process.returncode in {0, 1} else None
    except ValueError:
        result = None
    trouble = "" if result is not None else _last_line(complaint, process.returncode)
    return Done(job.kind, job.name, seconds, trouble, result)


@contextmanager
def _held(number: signal.Signals) -> Iterator[list[signal.Signals]]:
    """Keep a signal for later; yields those that came."""
    came: list[signal.Signals] = []
    usual = signal.signal(number, lambda *_: came.append(number))
    try:
        yield came
    finally:
        signal.signal(number, usual)


def _last_line(text: str, status: int) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:LONGEST_LINE] if lines else f"ended with status {status}"


def _remove_old(results: Path, before: date) -> None:
    for path in results.iterdir():
        try:
            old = path.is_dir() and date.fromisoformat(path.name) < before
        except ValueError:
            continue
        if old:
            shutil.rmtree(path)


def metrics(done: Sequence[Done], now_s: float) -> str:
    """What Prometheus is told: a text of its format."""
    lines = _family(
        "job_success",
        "Whether a job of the latest night has a result.",
        [(_labels(each), float(not each.trouble)) for each in done],
    )
    lines += _family(
        "job_seconds", "How long it took.", [(_labels(each), each.seconds) for each in done]
    )
    compared = [each for each in done if each.kind == "compare" and each.result]
    lines += _family(
        "unexplained_steps",
        "Steps of a bot that differ from a backtest without an explanation.",
        [(f'{{bot="{each.name}"}}', each.result["unexplained"]) for each in compared],
    )
    lines += _family(
        "difference_quote",
        "What a day's steps came to, less what a backtest's did.",
        [
            (
                f'{{bot="{each.name}",symbol="{symbol}"}}',
                sum(float(grid["difference"]) for grid in told["grids"]),
            )
            for each in compared
            for symbol, told in each.result["symbols"].items()
        ],
    )
    lines += _family("last_run_timestamp_seconds", "When the jobs ended.", [("", now_s)])
    return "\n".join(lines) + "\n"


def _family(name: str, text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    full = f"gridberry_analytics_{name}"
    listed = [f"{full}{labels} {value:.10g}" for labels, value in samples]
    return [f"# HELP {full} {text}", f"# TYPE {full} gauge", *listed] if listed else []


def _labels(done: Done) -> str:
    return f'{{job="{done.kind}",name="{done.name}"}}'
