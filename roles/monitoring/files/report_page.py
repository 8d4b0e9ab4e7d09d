"""A week as one page for browsers and mail programs, and as a short text. Pure.

Nothing is loaded from elsewhere, and no script runs. Some mail programs leave drawings out: each
figure is also in a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from report_week import STEP, GridWeek, PiWeek, Report, to_look_at, totals

WIDTH, HEIGHT, MARGIN = 560, 130, 24
POINTS = 84  # of a line: one for two hours
SHOWN = 8  # lines in the short text
GREEN, RED, BLUE = "#009e73", "#d55e00", "#0072b2"
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 640px; margin: 1em auto; padding: 0 .7em; }
h1 { font-size: 1.3em; }
h2 { font-size: 1.1em; margin: 1.6em 0 .3em; }
h3 { font-size: 1em; margin: 1.2em 0 .2em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .15em .5em .15em 0; border-bottom: 1px solid #8884; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.wide td.n { white-space: nowrap; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 16px; fill: currentColor; }
.look { border-left: 4px solid #d55e00; padding-left: .7em; }
.small { font-size: .85em; opacity: .8; }
.wide { overflow-x: auto; }
"""
LIVE = {"live": "Live", "paper": "Paper"}


def amount(value: float, *, sign: bool = False) -> str:
    """Return an amount with as many digits as it needs.

    Args:
        value: Of a coin.
        sign: Whether a gain gets its sign.
    """
    digits = 2 if abs(value) >= 1 or abs(value) < 5e-9 else 8
    return f"{value + 0.0:{'+' if sign else ''},.{digits}f}"


def moment(at: float) -> str:
    """Return a Unix time as a weekday, a date and a time (UTC)."""
    return f"{datetime.fromtimestamp(at, UTC):%a %d %b %H:%M}"


def title(report: Report) -> str:
    """Return the report's heading."""
    dates = report.week.dates
    return f"Gridberry, week {report.week.name}: {dates[0]} to {dates[-1]}"


def text(report: Report) -> str:
    """Return the week in a few lines."""
    lines = [
        f"{one.mode}, account {one.account}: {amount(one.profit, sign=True)} {one.coin},"
        f" {one.fills:.0f} fills, {one.grids} grids"
        for one in totals(report.grids)
    ]
    lines.insert(0, title(report))
    look = to_look_at(report)
    lines += [f"Look at: {one}" for one in look[:SHOWN]]
    if len(look) > SHOWN:
        lines.append(f"and {len(look) - SHOWN} more in the report")
    return "\n".join(lines if look else [*lines, "Nothing needs a look."])


def page(report: Report, made: float) -> str:
    """Return the whole page.

    Args:
        report: What it shows.
        made: When it was made (Unix time).
    """
    heading = escape(title(report))
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{heading}</h1>"
    )
    parts = [head, *_look(to_look_at(report)), *_sums(report)]
    for grid in report.grids:
        parts += _grid(grid, report)
    parts += _hosts(report.hosts)
    parts += _alerts(report)
    parts.append(
        f'<p class="small">Made {moment(made)} UTC from the monitoring server. Days are'
        f" of UTC. Metrics are read every {STEP // 60} minutes. What a grid made in its last"
        " minutes may be missing; gridbot tax and gridbot report have the exact books.</p>"
        "\n</body>\n</html>\n"
    )
    return "\n".join(parts)


def _look(lines: Sequence[str]) -> list[str]:
    if not lines:
        return ["<h2>What needs a look</h2>", "<p>Nothing.</p>"]
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return ["<h2>What needs a look</h2>", f'<ul class="look">{items}</ul>']


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its first column has names, the others have figures."""
    kinds = ["", *[' class="n"'] * (len(heads) - 1)]
    head = "".join(f"<th{k}>{escape(one)}</th>" for k, one in zip(kinds, heads, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{k}>{escape(c)}</td>' for k, c in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    """A table of names and what they are, which may take more than one line."""
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{escape(value)}</td></tr>'
        for name, value in facts
    )
    return f"<table>{rows}</table>"


def _sums(report: Report) -> list[str]:
    parts = []
    for mode in ("live", "paper"):
        rows = [
            (
                f"{one.account}, {one.coin}",
                amount(one.profit, sign=True),
                f"{one.fills:.0f}",
                amount(one.fees),
                amount(one.equity),
            )
            for one in totals(report.grids)
            if one.mode == mode
        ]
        if rows:
            parts.append(f"<h2>{LIVE[mode]}, by account</h2>")
            parts.append(_table(("account", "profit", "fills", "fees", "equity"), rows))
    return parts or ["<p>Nothing was heard of any grid in this week.</p>"]


def _grid(grid: GridWeek, report: Report) -> list[str]:
    events = report.events.get(grid.bot, {})
    days = report.week.dates
    values = [grid.days.get(day, 0.0) for day in days]
    equity = "not known"
    if grid.equity:
        (_, first), (_, last) = grid.equity[0], grid.equity[-1]
        equity = f"{amount(last)} {grid.coin} ({amount(last - first, sign=True)} in the week)"
        if grid.equity[-1][0] < report.week.end - 2 * STEP:
            equity += f", last heard {moment(grid.equity[-1][0])}"
    share = grid.out_seconds / grid.seen_seconds if grid.seen_seconds else 0.0
    heard = report.heard.get(grid.bot)
    facts = [
        ("profit", f"{amount(grid.profit, sign=True)} {grid.coin}"),
        ("fills", f"{grid.fills:.0f}"),
        ("fees", f"{amount(grid.fees)} {grid.coin}"),
        ("equity", equity),
        ("largest drawdown", "not known" if grid.drawdown is None else f"{grid.drawdown:.1%}"),
        ("out of range", f"{grid.out_seconds / 3600:.1f} h, {share:.0%} of what was seen"),
        *((name, str(count)) for name, count in events.items()),
        ("answered", "not known" if heard is None else f"{heard:.1%} of the week"),
    ]
    if grid.gain is not None:
        facts.insert(1, ("gain of sales, as the ledger has it", f"{grid.gain:+f} {grid.coin}"))
    if len(grid.grids) > 1:
        facts.append(("grids that ran", str(len(grid.grids))))
    name = f"{grid.bot}, {grid.symbol}, {grid.mode}, account {grid.account}"
    by_day = [
        (day, f"{amount(value, sign=True)} {grid.coin}")
        for day, value in zip(days, values, strict=True)
    ]
    return [
        f"<h2>{escape(name)}</h2>",
        _facts(facts),
        f"<h3>Profit by day</h3>{bars(days, values, f'Profit by day, {grid.coin}')}",
        _table(("day", "profit"), by_day),
        f"<h3>Equity</h3>{line(grid.equity, f'Equity, {grid.coin}')}"
        if len(grid.equity) > 1
        else "",
    ]


def _hosts(hosts: Sequence[PiWeek]) -> list[str]:
    rows = []
    for pi in hosts:
        incidents = ", ".join(f"{k.replace('_', ' ')} ({moment(at)})" for k, at in pi.incidents)
        rows.append(
            (
                pi.host,
                "not known" if pi.hottest is None else f"{pi.hottest:.0f} °C",
                str(pi.restarts),
                f"{pi.heard:.0%}",
                "not this week" if pi.last is None else moment(pi.last),
                incidents or "none",
            )
        )
    heads = ("Pi", "hottest", "restarts", "heard", "last heard", "incidents")
    return ["<h2>The Pis</h2>", _table(heads, rows)] if rows else []


def _alerts(report: Report) -> list[str]:
    rows = [
        (
            name,
            host or "the fleet",
            f"{seconds / 3600:.1f} h",
            "yes" if (name, host) in report.now else "no",
        )
        for name, host, seconds in sorted(report.alerts, key=lambda one: -one[2])
    ]
    heads = ("alert", "on", "fired for", "now")
    return ["<h2>Alerts of the week</h2>", _table(heads, rows) if rows else "<p>None.</p>"]


def bars(names: Sequence[str], values: Sequence[float], label: str) -> str:
    """Return a drawing with one bar for each day; losses go down.

    Args:
        names: Of the days; their last two letters are shown.
        values: As many.
        label: What it shows, for those who do not see it.
    """
    high, low = max(0.0, *values), min(0.0, *values)
    per = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    zero, slot = MARGIN + high * per, WIDTH / len(values)
    parts = [_begin(label), f'<path d="M0 {zero:.1f}H{WIDTH}" stroke="#8888"/>']
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        x, tall = place * slot, abs(value) * per
        top = zero - tall if value > 0 else zero
        color = GREEN if value >= 0 else RED
        parts.append(
            f'<rect x="{x + slot * 0.2:.1f}" y="{top:.1f}" width="{slot * 0.6:.1f}"'
            f' height="{tall:.1f}" fill="{color}"/>'
            f'<text x="{x + slot / 2:.1f}" y="{HEIGHT - 3}" text-anchor="middle">'
            f"{escape(name[-2:])}</text>"
        )
    parts.append(f'<text x="0" y="15">{amount(high)}</text></svg>')
    return "".join(parts)


def line(points: Sequence[tuple[int, float]], label: str) -> str:
    """Return a drawing of a curve over a week.

    Args:
        points: Unix time and value.
        label: What it shows, for those who do not see it.
    """
    every = max(1, len(points) // POINTS)
    shown = [*points[::every], points[-1]]
    values = [value for _, value in shown]
    low, high = min(values), max(values)
    per = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    begin, span = shown[0][0], max(1, shown[-1][0] - shown[0][0])
    path = " ".join(
        f"{(at - begin) * WIDTH / span:.1f},{HEIGHT - MARGIN - (value - low) * per:.1f}"
        for at, value in shown
    )
    return (
        f'{_begin(label)}<path d="M{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
        f'<text x="0" y="15">{amount(high)}</text><text x="0" y="{HEIGHT - 3}">{amount(low)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 3}" text-anchor="end">{moment(shown[-1][0])}</text></svg>'
    )


def _begin(label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(label)}">'
    )
