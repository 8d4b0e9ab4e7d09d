"""What a week was, from samples: profit by day, fees, drawdown, time out of range. Pure.

A bot's figures are sums of its grid's, which begin anew with each grid. So they are added up from
sample to sample, and a grid that began in between counts from zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

DAY, STEP = 86_400, 900  # seconds: of a day, and between two samples
DAYS = 7
# A grid may end between two samples: what it made since the last one is not known.
NAMES = {
    "gridbot_grid_profit": "profit",
    "gridbot_fees_value": "fees",
    "gridbot_fills_total": "fills",
    "gridbot_equity": "equity",
    "gridbot_grid_start_time_seconds": "started",
    "gridbot_range_position_ratio": "place",
    "gridbot_drawdown_ratio": "drawdown",
}
BUILD = "gridbot_build_info"
SUMS = ("profit", "fees", "fills")


class WeekError(Exception):
    """A text is no week, or one that is not over; in one line."""


@dataclass(frozen=True)
class Week:
    """A week from Monday to Sunday, in UTC.

    Attributes:
        name: Of ISO 8601, such as `2026-W47`.
        begin: Its first second (Unix time).
    """

    name: str
    begin: int

    @property
    def end(self) -> int:
        """The second after its last."""
        return self.begin + DAYS * DAY

    @property
    def dates(self) -> list[str]:
        """Its days, as ISO 8601 has them."""
        return [date(self.begin + number * DAY) for number in range(DAYS)]


def last_week(now: float) -> Week:
    """Return the latest week that is over.

    Args:
        now: Unix time.
    """
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = today - timedelta(days=today.weekday() + DAYS)
    return Week(begin.strftime("%G-W%V"), int(begin.timestamp()))


def week_named(text: str, now: float) -> Week:
    """Return a week by its name.

    Raises:
        WeekError: It is none, or not over.
    """
    latest = last_week(now)
    try:
        begin = datetime.strptime(f"{text}-1", "%G-W%V-%u").replace(tzinfo=UTC)
    except ValueError:
        raise WeekError(f"--week {text}: use a week such as {latest.name}") from None
    week = Week(begin.strftime("%G-W%V"), int(begin.timestamp()))
    if week.begin > latest.begin:
        raise WeekError(f"--week {text}: it is not over; the latest is {latest.name}")
    return week


def date(at: float) -> str:
    """Return the day (UTC) of a Unix time."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


@dataclass
class GridWeek:
    """A week of one symbol of a bot, in one mode.

    Attributes:
        bot: As the inventory names it.
        mode: `paper` or `live`.
        symbol: Such as `BTC/USDT`.
        coin: The quote coin: of all amounts.
        account: Whose money it is.
        days: Profit by day.
        fills: How many.
        fees: In the quote coin.
        equity: Unix time and value.
        drawdown: The largest share that was lost since the grid's best; None: not known.
        out_seconds: How long the price was outside of the range, of what was seen.
        seen_seconds: How long it was heard.
        grids: When a grid began, those of the week among them.
        gain: What the week's sales came to, in the hub's ledger; None: not known.
    """

    bot: str
    mode: str
    symbol: str
    coin: str
    account: str = ""
    days: dict[str, float] = field(default_factory=dict)
    fills: float = 0
    fees: float = 0
    equity: list[tuple[int, float]] = field(default_factory=list)
    drawdown: float | None = None
    out_seconds: int = 0
    seen_seconds: int = 0
    grids: set[float] = field(default_factory=set)
    gain: Decimal | None = None

    @property
    def profit(self) -> float:
        """Of the whole week."""
        return sum(self.days.values())


Series = Mapping[str, Any]
Moments = dict[str, dict[int, dict[str, float]]]


def moments_of(series: Iterable[Series]) -> Moments:
    """Put the samples of one bot together: by symbol and time; those of sides are added up.

    Args:
        series: As the store answers a range query.
    """
    found: Moments = {}
    for one in series:
        name = NAMES.get(one["metric"]["__name__"])
        if name is None:
            continue
        moments = found.setdefault(str(one["metric"].get("symbol", "")), {})
        for at, text in one["values"]:
            values = moments.setdefault(int(at), {})
            values[name] = values.get(name, 0) + float(text) if name == "fills" else float(text)
    return found


def of_bot(
    bot: str, series: Sequence[Series], before: Sequence[Series], week: Week
) -> list[GridWeek]:
    """Return what a bot's grids did in a week.

    Args:
        bot: As the inventory names it.
        series: Its samples of the week.
        before: The last ones before it; also of a bot that was off when the week began.
        week: Which one.
    """
    modes = {
        int(at): str(one["metric"].get("mode", ""))
        for one in series
        if one["metric"]["__name__"] == BUILD
        for at, _ in one["values"]
    }
    coins = {
        one["metric"].get("symbol"): str(one["metric"].get("coin", ""))
        for one in series
        if one["metric"]["__name__"] == "gridbot_equity"
    }
    earlier = {symbol: moments[max(moments)] for symbol, moments in moments_of(before).items()}
    found: dict[tuple[str, str], GridWeek] = {}
    for symbol, moments in moments_of(series).items():
        last = earlier.get(symbol, {})
        for at, values in sorted(moments.items()):
            if week.begin < at <= week.end and at in modes:
                name = (symbol, modes[at])
                made = GridWeek(bot, modes[at], symbol, coins.get(symbol, ""))
                _add(found.setdefault(name, made), last, values, at, week)
                last = values
    return sorted(found.values(), key=lambda one: (one.mode, one.symbol))


def _add(
    grid: GridWeek, last: dict[str, float], now: dict[str, float], at: int, week: Week
) -> None:
    """Count what came between two samples; what is at midnight is the day's before."""
    grid.seen_seconds += STEP
    if "equity" in now:
        grid.equity.append((at, now["equity"]))
    if "drawdown" in now:
        grid.drawdown = max(grid.drawdown or 0.0, now["drawdown"])
    if not 0 <= now.get("place", 0) <= 1:
        grid.out_seconds += STEP
    started = now.get("started")
    if started is None:
        return
    grid.grids.add(started)
    for name in SUMS:
        value = now.get(name, 0)
        if last.get("started") == started:
            value -= last.get(name, 0)
        elif started < week.begin:
            value = 0  # it was not heard before: how much of it is this week's, nobody knows
        if name == "profit":
            grid.days[date(at - 1)] = grid.days.get(date(at - 1), 0) + value
        else:
            setattr(grid, name, getattr(grid, name) + value)


@dataclass
class PiWeek:
    """A week of one host.

    Attributes:
        host: As the inventory names it.
        hottest: Celsius; None: not known.
        restarts: How often it started.
        incidents: Kind and latest time (Unix time), those of the week.
        heard: The share of the week in which it sent something.
        last: When it was last heard (Unix time); None: not this week.
    """

    host: str
    hottest: float | None = None
    restarts: int = 0
    incidents: list[tuple[str, float]] = field(default_factory=list)
    heard: float = 0
    last: float | None = None


@dataclass
class Report:
    """All that a report shows.

    Attributes:
        week: Which one.
        grids: Of all bots.
        events: By bot: kill switches that fired, openings of the breaker, starts of the bot.
        heard: By bot: the share of the week in which it answered.
        hosts: The Pis.
        alerts: Name, host, and how long it fired in the week (seconds).
        now: Name and host of what fires now.
        silent: Bots that the inventory has and of which nothing is known, with the reason.
        notes: What is missing in the report itself.
    """

    week: Week
    grids: list[GridWeek] = field(default_factory=list)
    events: dict[str, dict[str, int]] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    hosts: list[PiWeek] = field(default_factory=list)
    alerts: list[tuple[str, str, float]] = field(default_factory=list)
    now: list[tuple[str, str]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Total(NamedTuple):
    """Sums of what may be added up: one mode, account and coin."""

    mode: str
    account: str
    coin: str
    profit: float
    fills: float
    fees: float
    equity: float
    grids: int


def totals(grids: Sequence[GridWeek]) -> list[Total]:
    """Add up; live first. Paper and live are never added up, nor are two coins or two accounts."""
    sums: dict[tuple[str, str, str], list[float]] = {}
    for grid in grids:
        one = sums.setdefault((grid.mode, grid.account, grid.coin), [0.0] * 5)
        equity = grid.equity[-1][1] if grid.equity else 0.0
        for place, value in enumerate((grid.profit, grid.fills, grid.fees, equity, 1)):
            one[place] += value
    return [
        Total(*name, profit, fills, fees, equity, int(count))
        for name, (profit, fills, fees, equity, count) in sorted(sums.items())
    ]


def to_look_at(report: Report) -> list[str]:
    """Return what needs a look, a line each; the most urgent first."""
    lines = [f"{name} fires on {host or 'the fleet'} now" for name, host in report.now]
    lines += [f"{bot}: nothing was heard of this bot in the week" for bot in report.silent]
    lines += [
        f"{pi.host}: nothing was heard of this Pi in the week"
        for pi in report.hosts
        if pi.last is None
    ]
    for bot, events in sorted(report.events.items()):
        for name in ("kill switches", "breaker openings"):
            if events.get(name):
                lines.append(f"{bot}: {name}: {events[name]}")
    for grid in report.grids:
        if grid.seen_seconds and grid.out_seconds * 4 > grid.seen_seconds:
            name = f"{grid.bot} {grid.symbol} ({grid.mode})"
            lines.append(f"{name}: out of range for a quarter of the time or more")
    for bot, share in sorted(report.heard.items()):
        if share < 0.95 and bot not in report.silent:
            lines.append(f"{bot}: heard {share:.0%} of the week; its figures are of that time")
    for pi in report.hosts:
        if pi.hottest is not None and pi.hottest >= 80:
            lines.append(f"{pi.host}: {pi.hottest:.0f} °C at its hottest")
        lines += [f"{pi.host}: {kind.replace('_', ' ')}" for kind, _ in pi.incidents]
    return lines + report.notes
