"""What state the Gateway is in, of what was seen. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

STARTING, READY, RESTARTING = "starting", "ready", "restarting"
PERSON, OFFLINE, HUNG, STOPPED = "needs a person", "offline", "hung", "stopped"
STATES = (STARTING, READY, RESTARTING, PERSON, OFFLINE, HUNG, STOPPED)
# Of IBC, where nobody has confirmed the second factor: 1111 modulo 256.
SECOND_FACTOR_STATUS = 87
RESTART_TAKES = timedelta(minutes=10)
ANNOUNCED = timedelta(hours=24)
SUNDAY = 6


@dataclass(frozen=True)
class Settings:
    """Of the role; times are in UTC.

    Attributes:
        mode: `paper` or `live`.
        port: Of the API.
        account: Expected; empty: any that fits the mode.
        restart: When the Gateway restarts each night (HH:MM).
        sunday: When it logs in anew on Sundays (HH:MM).
        second_factor: Whether a person has to confirm that.
        start_seconds: How long a start may take.
        pictures: How many are kept.
        bot_units: Units that start once it is ready.
    """

    mode: str
    port: int
    account: str
    restart: str
    sunday: str
    second_factor: bool
    start_seconds: int
    pictures: int
    bot_units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What was seen at one look.

    Attributes:
        now: In UTC.
        unit: What systemd says of the Gateway's unit, such as `active`.
        status: Its last exit status.
        age: For how many seconds it has been active.
        answer: `ready`, `misfit`, `offline`, `away` or `silent`.
        detail: In words.
        person: What a person has to do, as IBC says last; empty: nothing.
    """

    now: datetime
    unit: str
    status: int = 0
    age: float = 0.0
    answer: str = "away"
    detail: str = ""
    person: str = ""


def person_wanted(lines: Iterable[str]) -> str:
    """Return what a person has to do, of the lines that IBC has printed; empty: nothing."""
    wanted = ""
    for line in lines:
        if "Second Factor Authentication initiated" in line:
            wanted = "confirm the second factor in IBKR Mobile"
        elif "Login failed" in line:
            wanted = "correct user name or password: the login was refused"
        elif "Login has completed" in line or "Starting IBC version" in line:
            wanted = ""
    return wanted


def within(now: datetime, clock: str, weekday: int | None = None) -> bool:
    """Tell whether a restart that begins at a time of the day is under way."""
    hour, minute = map(int, clock.split(":"))
    began = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if began > now:
        began -= timedelta(days=1)  # one that begins before midnight ends after it
    return now - began < RESTART_TAKES and weekday in (None, began.weekday())


def next_sunday(now: datetime, clock: str) -> datetime:
    """Return when the next login on a Sunday is."""
    hour, minute = map(int, clock.split(":"))
    day = now + timedelta(days=(SUNDAY - now.weekday()) % 7)
    found = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return found if found > now else found + timedelta(days=7)


def judge(seen: Seen, told: Settings) -> tuple[str, str]:
    """Return the state and why.

    Ready is only what has answered with an account that fits, and reaches its servers. What a
    person has to do comes before what time would explain.
    """
    if seen.unit in ("inactive", "failed", "deactivating"):
        return _of_what_ended(seen)
    if seen.answer in ("ready", "misfit"):
        return READY if seen.answer == "ready" else PERSON, seen.detail
    if seen.person:
        return PERSON, seen.person
    if seen.answer == "offline":
        return OFFLINE, seen.detail
    if seen.unit != "active" or seen.age < told.start_seconds:
        return STARTING, seen.detail
    restarts = within(seen.now, told.restart) or within(seen.now, told.sunday, SUNDAY)
    return RESTARTING if restarts else HUNG, seen.detail


def _of_what_ended(seen: Seen) -> tuple[str, str]:
    if seen.unit != "failed":
        return STOPPED, "it was stopped"
    if seen.status != SECOND_FACTOR_STATUS:
        return STOPPED, f"it ended with status {seen.status}, and too often"
    return PERSON, (
        "nobody confirmed the second factor in time; with the phone at hand:"
        " sudo systemctl restart gridberry-ib-gateway"
    )


def notice(now: datetime, told: Settings) -> str:
    """Return what is announced, from the day before; empty: nothing."""
    when = next_sunday(now, told.sunday)
    if not told.second_factor or when - now > ANNOUNCED:
        return ""
    return (
        f"on Sunday at {told.sunday} UTC somebody has to confirm the second factor in IBKR Mobile"
    )


def metrics(state: str, now: datetime, told: Settings) -> str:
    """Return the metrics, for node exporter's textfile collector."""
    name = "gridberry_ib_gateway_state"
    lines = [
        f"# HELP {name} The Gateway's state: 1 for the one that it is in",
        f"# TYPE {name} gauge",
    ]
    lines += [f"{name}{{state={json.dumps(one)}}} {int(one == state)}" for one in STATES]
    more = {"timestamp_seconds": ("When this was written", now)}
    if told.second_factor:
        more["second_factor_timestamp_seconds"] = (
            "When a person has to confirm the next login",
            next_sunday(now, told.sunday),
        )
    for key, (text, at) in more.items():
        name = f"gridberry_ib_gateway_{key}"
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {at.timestamp():.0f}"]
    return "\n".join(lines) + "\n"
