"""Comparisons as a text for people and as a document for scripts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from gridbase.command_line import columns
from gridbase.market import plain
from gridbot.backtest.times import iso

from analytics.compare.day import Comparison
from analytics.compare.match import Pairing, done_step
from analytics.compare.prices import Prices
from analytics.compare.reasons import Difference
from analytics.compare.steps import Step, Why

Compared = Mapping[str, tuple[Prices, Sequence[Comparison]]]


def unexplained(compared: Compared) -> int:
    """Steps without an explanation, of all symbols."""
    return sum(
        each.why is Why.UNEXPLAINED or Why.UNEXPLAINED in each.parts
        for _, comparisons in compared.values()
        for comparison in comparisons
        for each in comparison.differences
    )


def document(date: str, compared: Compared, *, fills: bool) -> dict[str, Any]:
    """Everything for scripts; amounts are decimal texts.

    Args:
        date: the day (UTC).
        compared: prices and comparisons of each symbol.
        fills: whether to list each step.
    """
    return {
        "date": date,
        "unexplained": unexplained(compared),
        "symbols": {
            symbol: {
                "prices": _prices(prices),
                "grids": [_grid(each, fills=fills) for each in comparisons],
            }
            for symbol, (prices, comparisons) in compared.items()
        },
    }


def text(date: str, compared: Compared, *, fills: bool) -> str:
    """The same as tables for people."""
    parts = []
    for symbol, (prices, comparisons) in compared.items():
        kind = "trades" if prices.interval_ms == 0 else "candles"
        parts.append(f"{symbol}, {date}: {len(prices.rows):,} {kind}, {_gaps(prices)}")
        if not comparisons:
            parts.append("no grid ran")
        for comparison in comparisons:
            parts.append("\n".join(_lines(comparison)))
            if fills:
                parts.append(columns(_steps(comparison), right_from=1))
    return "\n\n".join(parts)


def _gaps(prices: Prices) -> str:
    inner = _inner(prices)
    if not inner:
        return "without gaps"
    return f"{len(inner)} gap{'s' * (len(inner) != 1)}"


def _inner(prices: Prices) -> list[tuple[int, int]]:
    """Gaps between the first and the last price."""
    first, last = int(prices.rows.times[0]), int(prices.rows.times[-1])
    return [
        (gap.from_ms, gap.to_ms)
        for gap in prices.gaps
        if gap.to_ms >= first and gap.from_ms <= last
    ]


def _prices(prices: Prices) -> dict[str, Any]:
    return {
        "kind": "trades" if prices.interval_ms == 0 else "candles",
        "rows": len(prices.rows),
        "first_ms": int(prices.rows.times[0]),
        "last_ms": int(prices.rows.times[-1]),
        "gaps": [{"from_ms": begin, "to_ms": end} for begin, end in _inner(prices)],
    }


def _grid(comparison: Comparison, *, fills: bool) -> dict[str, Any]:
    backtest, bot = comparison.side(done=False), comparison.side(done=True)
    told: dict[str, Any] = {
        "grid": comparison.run.tag,
        "from_ms": comparison.stretch.from_ms,
        "to_ms": comparison.stretch.to_ms,
        "last_price": plain(comparison.last_price),
        "backtest": {
            "buys": backtest.buys,
            "sells": backtest.sells,
            "result": plain(backtest.result),
        },
        "bot": {"buys": bot.buys, "sells": bot.sells, "result": plain(bot.result)},
        "difference": plain(bot.result - backtest.result),
        "reasons": {
            str(why): {"steps": count, "money": plain(money)}
            for why, (count, money) in comparison.classes().items()
        },
    }
    if fills:
        told["steps"] = [_step_document(each) for each in comparison.differences]
    return told


def _step_document(each: Difference) -> dict[str, Any]:
    expected, done = _both(each.pairing)
    return {
        "why": str(each.why),
        "side": str(each.pairing.step.side),
        "line": each.pairing.step.line,
        "role": str(each.pairing.step.role),
        "expected": None if expected is None else _traded(expected),
        "done": None if done is None else _traded(done),
        "money": {str(why): plain(amount) for why, amount in each.parts.items()},
    }


def _traded(step: Step) -> dict[str, Any]:
    return {
        "time": step.time_ms,
        "price": _price(step),
        "quantity": plain(step.quantity),
        "fees": {coin: plain(amount) for coin, amount in step.fees.items()},
    }


def _both(pairing: Pairing) -> tuple[Step | None, Step | None]:
    expected = None if pairing.expected is None else pairing.expected.step
    return expected, None if pairing.done is None else done_step(pairing.done)


def _lines(comparison: Comparison) -> list[str]:
    backtest, bot = comparison.side(done=False), comparison.side(done=True)
    quote = comparison.run.market.quote
    begin, end = iso(comparison.stretch.from_ms), iso(comparison.stretch.to_ms)
    rows = [
        ("", "backtest", "bot", "difference"),
        *(
            (name, str(was), str(now), f"{now - was:+d}")
            for name, was, now in (
                ("buys", backtest.buys, bot.buys),
                ("sells", backtest.sells, bot.sells),
            )
        ),
        (
            f"result ({quote})",
            _money(backtest.result),
            _money(bot.result),
            f"{bot.result - backtest.result:+.4f}",
        ),
    ]
    reasons = [("why", "steps", f"money ({quote})")]
    reasons += [
        (str(why), str(count), f"{money:+.4f}" if money else "0")
        for why, (count, money) in comparison.classes().items()
    ]
    return [
        f"grid {comparison.run.tag}, {begin} to {end}",
        columns(rows, right_from=1),
        "",
        columns(reasons, right_from=1),
    ]


def _steps(comparison: Comparison) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("expected", "done", "side", "price", "quantity", "done at", "quantity", "why", "money")
    ]
    for each in comparison.differences:
        expected, done = _both(each.pairing)
        rows.append(
            (
                "" if expected is None else _clock(expected),
                "" if done is None else _clock(done),
                str(each.pairing.step.side),
                "" if expected is None else _price(expected),
                "" if expected is None else plain(expected.quantity),
                "" if done is None else _price(done),
                "" if done is None else plain(done.quantity),
                str(each.why),
                f"{each.money:+.4f}" if each.money else "0",
            )
        )
    return rows


def _clock(step: Step) -> str:
    return iso(step.time_ms)


def _price(step: Step) -> str:
    """The average price of a step, to eight decimals where it does not come out even."""
    price = step.quote / step.quantity
    return plain(round(price, 8))


def _money(value: Decimal) -> str:
    return f"{value:.4f}"
