"""When the stock trades: regular hours of the American exchanges, with their holidays. Pure."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple

from gridexchange.ib.messages import NEW_YORK

OPEN, CLOSE, EARLY = time(9, 30), time(16, 0), time(13, 0)
SATURDAY, SUNDAY, MONDAY, THURSDAY = 5, 6, 0, 3
FORECAST_DAYS = 7


class Session(NamedTuple):
    """One day's regular hours (Unix milliseconds)."""

    opens: int
    closes: int


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def _easter(year: int) -> date:
    """Easter Sunday, by the rule of Meeus, Jones and Butcher."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


def _observed(day: date) -> date:
    shift = {SATURDAY: -1, SUNDAY: 1}.get(day.weekday(), 0)
    return day + timedelta(days=shift)


def holidays(year: int) -> set[date]:
    """Days of a year on which nothing trades. New Year on a Saturday is not made up for."""
    new_year = date(year, 1, 1)
    last_monday_of_may = date(year, 5, 31) - timedelta(days=date(year, 5, 31).weekday())
    return {
        new_year if new_year.weekday() != SUNDAY else date(year, 1, 2),
        _nth(year, 1, MONDAY, 3),
        _nth(year, 2, MONDAY, 3),
        _easter(year) - timedelta(days=2),
        last_monday_of_may,
        _observed(date(year, 6, 19)),
        _observed(date(year, 7, 4)),
        _nth(year, 9, MONDAY, 1),
        _nth(year, 11, THURSDAY, 4),
        _observed(date(year, 12, 25)),
    }


def _closes_early(day: date) -> bool:
    before_christmas = (day.month, day.day) == (12, 24)
    before_independence = (day.month, day.day) == (7, 3)
    after_thanksgiving = day == _nth(day.year, 11, THURSDAY, 4) + timedelta(days=1)
    return before_christmas or before_independence or after_thanksgiving


@cache
def session_of(day: date) -> Session | None:
    """A day's regular hours; None where nothing trades."""
    if day.weekday() >= SATURDAY or day in holidays(day.year):
        return None
    closes = EARLY if _closes_early(day) else CLOSE
    opens_at, closes_at = (datetime.combine(day, at, NEW_YORK) for at in (OPEN, closes))
    return Session(round(opens_at.timestamp() * 1000), round(closes_at.timestamp() * 1000))


def day_of(time_ms: int) -> date:
    """The exchange's day of a Unix time (milliseconds)."""
    return datetime.fromtimestamp(time_ms / 1000, NEW_YORK).date()


def sessions(start_ms: int, end_ms: int) -> Iterator[Session]:
    """All sessions that begin or end between two times (Unix milliseconds)."""
    day = day_of(start_ms)
    while day <= day_of(end_ms):
        session = session_of(day)
        if session is not None:
            yield session
        day += timedelta(days=1)


def is_open(time_ms: int) -> bool:
    """Whether the stock trades at a time (Unix milliseconds)."""
    session = session_of(day_of(time_ms))
    return session is not None and session.opens <= time_ms < session.closes


def liquid_hours(time_ms: int) -> str:
    """The sessions of the next days as contract details have them."""
    today, texts = day_of(time_ms), []
    for number in range(FORECAST_DAYS):
        day = today + timedelta(days=number)
        session = session_of(day)
        if session is None:
            texts.append(f"{day:%Y%m%d}:CLOSED")
        else:
            opens, closes = (datetime.fromtimestamp(at / 1000, NEW_YORK) for at in session)
            texts.append(f"{opens:%Y%m%d:%H%M}-{closes:%Y%m%d:%H%M}")
    return ";".join(texts)
