"""What the page shows, in words: made from the document behind `/api/status`. Pure.

Amounts are exact text, cut for reading and never rounded; none is computed here. A time is a number
(Unix milliseconds): the browser knows the reader's time zone.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from gridbase.market import plain

Row = list[Any]  # label, text, and how it is drawn: up, down, text or nothing

_THIN = "\u202f"
_NONE = "\u2013"
_PRICES = {
    "made-up": "made-up prices: profit here means nothing",
    "recorded": "recorded prices",
    "live-on-paper": "live",  # prices of an exchange, by its own words
    "testnet": "test network: play money, prices of its own",
    "unknown": "prices not known yet",
}
# States in which the price is not looked at.
_OLD = frozenset({"closed", "stopped", "waiting"})
_BAD = frozenset({"halted", "stopped"})
_ROLES = {"initial": " (start)", "liquidation": " (end)"}


def view(status: dict[str, Any], books: dict[str, Any]) -> dict[str, Any]:
    """The document behind `/api/page`.

    Args:
        status: the document behind `/api/status`.
        books: the document behind `/api/books`.
    """
    grids = status["grids"]
    several = len(grids) > 1
    return {
        "mode": "LIVE" if status["mode"] == "live" else "PAPER",
        "state": _bot_state(status),
        "reasons": " · ".join(status["health"]["reasons"]),
        "total": _total(status["totals"]) if several else "",
        "halts": [_halt(grid) for grid in grids if grid["halt"]],
        "connection": _connection(status["connection"] or {}),
        "grids": [
            _grid(status, grid, several=several) | _books(books["grids"].get(grid["symbol"]))
            for grid in grids
        ],
    }


def shown(amount: str | None, digits: int | None = None) -> str:
    """An amount for reading: its thousands apart, cut to so many decimals.

    Args:
        amount: exact text; None where it is not known.
        digits: decimals; None for all of them. Of an amount below 1, four that say something.
    """
    if amount is None:
        return _NONE
    whole, _, part = amount.partition(".")
    grouped = re.sub(r"\B(?=(\d{3})+$)", _THIN, whole)
    if not part:
        return grouped
    if digits is None:
        return f"{grouped}.{part}"
    least = len(part) - len(part.lstrip("0")) + 4 if int(whole) == 0 else 0
    return f"{grouped}.{part[: max(digits, least)].ljust(digits, '0')}"


def duration(seconds: float) -> str:
    """A time span for reading, in at most two units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"


def prices_text(status: dict[str, Any], grid: dict[str, Any]) -> str:
    """Where a grid's prices come from, in words.

    Args:
        status: the document behind `/api/status`.
        grid: one of its grids.
    """
    market = " ".join(grid["market"].split()[1:])
    prices = _PRICES.get(grid["prices"], status["exchange"])
    circuit = (status["connection"] or {}).get("circuit")
    if grid["prices"] == "live-on-paper" and circuit and circuit["state"] != "closed":
        market += ": none now"  # the practice exchange answers only where it has some
    return f"{prices} {market}".rstrip()


def _sign(amount: str | None) -> str:
    if amount is None or amount == "0":
        return ""
    return "down" if amount.startswith("-") else "up"


def _state_text(grid: dict[str, Any]) -> str:
    paused = grid["paused"] and grid["state"] == "trading"
    return str(grid["state"]) + (", buys paused" if paused else "")


def _bot_state(status: dict[str, Any]) -> list[str]:
    """State of all grids, and how it is drawn: good, bad or nothing."""
    each = [_state_text(grid) for grid in status["grids"]]
    kinds = dict.fromkeys(each)
    text = ", ".join(f"{each.count(kind)} {kind}" if len(kinds) > 1 else kind for kind in kinds)
    healthy = status["health"]["ok"]
    if not healthy and status["state"] == "trading":
        text += ", not well"
    kind = "good" if healthy and each == ["trading"] * len(each) else ""
    # A kill switch that has fired is told also while the exchange is away.
    bad = status["state"] in _BAD or any(grid["halt"] for grid in status["grids"])
    return [f"● {text}", "bad" if bad else kind]


def _total(totals: dict[str, Any]) -> str:
    return " · ".join(
        f"Total profit of {sums['grids']} running grids: {shown(sums['profit'], 2)} {coin}"
        f" ({_percent(sums['percent'])}), equity {shown(sums['equity'], 2)}"
        for coin, sums in totals.items()
    )


def _percent(percent: str | None) -> str:
    return f"{shown(percent, 2)} %"


def _halt(grid: dict[str, Any]) -> dict[str, Any]:
    halt, ended = grid["halt"], grid["closing"] is not None
    held = "sold" if halt["liquidate"] else "kept"
    return {
        "title": f"Kill switch: {grid['symbol']} does not trade",
        "at": halt["at_ms"],
        "text": f"{halt['text']} ({halt['reason']}). Its orders are {'' if ended else 'being '}"
        f"canceled, the coins held are {held}.",
        "command": halt["resume"],
    }


def _grid(status: dict[str, Any], grid: dict[str, Any], *, several: bool) -> dict[str, Any]:
    """One grid."""
    return {
        "symbol": grid["symbol"],
        "name": status["bot_name"] if several else f"{grid['symbol']} · {status['bot_name']}",
        "market": [prices_text(status, grid), grid["prices"]],
        "tab": f"{_state_text(grid)} · {shown(grid['equity'], 2)} {grid['quote']}",
        "price": grid["price"],
        "price_text": shown(grid["price"]),
        "quote": grid["quote"],
        "price_ms": grid["price_ms"],
        "old": grid["state"] in _OLD,
        "range": _range(grid),
        "note": _note(grid),
        "figures": _figures(grid),
        **_chart(grid),
        "refused": [
            f"{order['side']} {shown(order['quantity'])} at {shown(order['price'])}: "
            f"{order['refused']}"
            for order in grid["orders"]
            if order["refused"]
        ],
        "policies": grid["policies"],
        "fills": [_fill(fill) for fill in grid["recent_fills"]],
        "no_fills": "None of the latest grid." if grid["closing"] else "None yet.",
        "footer": _footer(status, grid),
    }


def _footer(status: dict[str, Any], grid: dict[str, Any]) -> str:
    parts = [
        f"gridbot {status['version']}",
        status["exchange"],
        f"up for {duration(status['uptime_seconds'])}",
    ]
    if grid["investment"] is not None:
        parts.append(f"invested {shown(grid['investment'], 2)} {grid['quote']}")
    if grid["foreign_orders"]:
        parts.append(f"{grid['foreign_orders']} open orders on the account are not this bot's")
    return " · ".join(parts)


def _range(grid: dict[str, Any]) -> list[Any] | None:
    """Where the price is in the range, in percent of it, and in words."""
    if not grid["lines"] or grid["price"] is None:
        return None
    ends = [grid["lines"][0]["price"], grid["lines"][-1]["price"]]
    (low, high), now = map(Decimal, ends), Decimal(grid["price"])
    share = 100 * (now - low) / ((high - low) or 1)
    place = f"at {share:.0f} % of"
    if now < low:
        place = f"{100 * (low - now) / low:.2f} % below"
    elif now > high:
        place = f"{100 * (now - high) / high:.2f} % above"
    text = f"{place} the range {shown(ends[0])} to {shown(ends[1])}"
    return [f"{min(max(share, Decimal(0)), Decimal(100)):.1f}%", text]


def _note(grid: dict[str, Any]) -> str:
    if grid["state"] in {"closed", "ending"}:
        return f"Now {grid['reason']}."
    if not grid["paused"]:
        return ""
    if grid["paused_by_hand"]:
        return f"P{grid['paused'][1:]}. Nothing is sent until gridbot resume."
    if grid["lines"]:
        return f"New buys are paused: {grid['paused']}. Open orders stay, sells go on."
    return f"The next grid waits: {grid['paused']}."


def _figures(grid: dict[str, Any]) -> list[Row]:
    end = grid["closing"]
    rows = _profit(grid) if grid["profit"] else []
    rows.append(_money("Grid profit", (end or grid)["grid_profit"]))
    earned = (end or grid).get("liquidation_profit", "0")
    if earned != "0":
        rows.append(_money("Liquidation profit", earned))
    if end:
        return [
            *rows,
            ["Equity at its end", shown(end["equity"], 2), ""],
            [f"{grid['base']} held", shown(end["base"]), ""],
            ["The latest grid ended", end["reason"], "text"],
        ]
    rows += [
        _money("Unrealised profit", grid["unrealised_profit"]),
        ["Equity", shown(grid["equity"], 2), ""],
        ["Fees paid", shown(grid["fees"], 2), ""],
        ["Buys / sells", f"{grid['buys']} / {grid['sells']}", ""],
        ["Open orders", str(grid["open_orders"]), ""],
    ]
    return rows + (_holdings(grid) if "base_held" in grid else [])


def _profit(grid: dict[str, Any]) -> list[Row]:
    earned, kind = grid["profit"], _sign(grid["profit"]["total"])
    total = f"{shown(earned['total'], 2)} {grid['quote']} ({_percent(earned['percent'])})"
    rows = [["Total profit", total, kind], ["Since", grid["started_ms"], "text"]]
    if earned["per_day"] is not None:
        year = f"{shown(earned['per_day'], 2)} a day, {_percent(earned['per_year_percent'])} a year"
        rows.append(["On average", year, "text"])
    return rows


def _money(label: str, amount: str | None) -> Row:
    return [label, shown(amount, 2), _sign(amount)]


def _holdings(grid: dict[str, Any]) -> list[Row]:
    bought = "none"
    if grid["initial_base"] != "0":
        cost = shown(grid["initial_cost"], 2)
        bought = f"{shown(grid['initial_base'])} {grid['base']} for {cost} {grid['quote']}"
    held = f"{shown(grid['base_held'])} {grid['base']}"
    if grid["average_cost"] is not None:
        held += f", cost {shown(grid['average_cost'], 2)} each"
    orders = [[f"Next {side}", _way(order), "text"] for side, order in grid["next"].items()]
    return [
        *orders,
        ["Bought at the start", bought, "text"],
        ["Held", held, "text"],
        ["Not spent", f"{shown(grid['quote_left'], 2)} {grid['quote']}", "text"],
    ]


def _way(order: dict[str, Any]) -> str:
    """An order that is next, and how far the price is away."""
    distance = _percent(order["distance_percent"])
    return f"{shown(order['quantity'])} at {shown(order['price'])} ({distance} away)"


def _chart(grid: dict[str, Any]) -> dict[str, Any]:
    """The lines, each with what is drawn of it; and what a screen reader says."""
    opened = {order["line"] for order in grid["orders"] if order["state"] == "open"}
    lines, count = [], dict.fromkeys(("buy", "sell", "held"), 0)
    for line in grid["lines"]:
        side, held = line["side"], line["side"] and line["line"] not in opened
        if side:
            count["held" if held else side] += 1
        lines.append(
            [line["price"], shown(line["price"]), f"{side or 'none'}{' held' * bool(held)}"]
        )
    legend = "Open buys (solid), open sells (dashed), orders held back (dotted), price"
    return {
        "lines": lines,
        "legend": legend if lines else "Price",
        "label": f"{len(lines)} lines: {count['buy']} with a buy, {count['sell']} with a sell, "
        f"{count['held']} with an order held back; price {shown(grid['price'])} {grid['quote']}",
    }


def _fill(fill: dict[str, Any]) -> dict[str, Any]:
    kind = "up" if fill["side"] == "buy" else "down"
    return {
        "time": fill["time"],
        "side": fill["side"],
        "price": fill["price"],
        "cells": [
            [fill["time"], ""],
            [fill["side"] + _ROLES.get(fill["role"], ""), kind],
            [shown(fill["price"]), ""],
            [shown(fill["quantity"]), ""],
            [f"{shown(fill['fee'])} {fill['fee_currency']}", ""],
            [shown(fill["profit"]) if fill["profit"] else "", _sign(fill["profit"])],
        ],
    }


def _books(grid: dict[str, Any] | None) -> dict[str, Any]:
    """Tables of what only the books know; empty until they were read."""
    if grid is None:
        return {"days": [], "ended": [], "results": [], "drawdown": ""}
    days = [
        [
            [day["day"], ""],
            [str(day["pairs"]), ""],
            *([shown(day[name], 2), _sign(day[name])] for name in ("grid_profit", "change")),
            [shown(day["fees"], 2), ""],
        ]
        for day in grid["days"]
    ]
    ended = [
        [
            [one["started_ms"], ""],
            [one["ended_ms"], ""],
            [shown(one["investment"], 2), ""],
            [shown(one["profit"], 2), _sign(one["profit"])],
            [_percent(one["percent"]), ""],
            [one["reason"], ""],
        ]
        for one in grid["ended"]
    ]
    if ended:
        total = [shown(grid["ended_profit"], 2), _sign(grid["ended_profit"])]
        ended.append([[f"all {grid['ended_count']}", ""], ["", ""], ["", ""], total])
    results = [[day["day"], day["change"], day["result"]] for day in reversed(grid["days"])]
    worst = max((Decimal(day["drawdown"]) for day in grid["days"]), default=Decimal(0))
    now = grid["days"][0]["drawdown"] if grid["days"] else "0"
    drawdown = f"Drawdown by days: {shown(now, 2)} now, {shown(plain(worst), 2)} at worst"
    return {"days": days, "ended": ended, "results": results, "drawdown": drawdown}


def _connection(connection: dict[str, Any]) -> list[Row]:
    rows = list(_streams(connection))
    circuit = connection.get("circuit")
    if circuit:
        text = circuit["state"]
        if circuit["failures"]:
            text += f", {circuit['failures']} failures in a row"
        if circuit["state"] == "open":
            text += f", next try in {-int(-circuit['retry_in_seconds'] // 1)} s"
        rows.append(["Circuit breaker", text, "up" if circuit["state"] == "closed" else "down"])
    ahead = connection.get("clock_ahead_ms")
    if ahead is not None:
        off = f"{abs(ahead) / 1000:.1f}"
        way = "ahead" if ahead > 0 else "behind"
        rows.append(["This machine's clock", "right" if off == "0.0" else f"{off} s {way}", ""])
    if connection.get("weight_limit"):
        used = f"{connection['weight_used']} of {connection['weight_limit']}"
        rows.append(["Request weight this minute", used, ""])
    return rows or [["Exchange", "not asked yet", ""]]


def _streams(connection: dict[str, Any]) -> Iterable[Row]:
    for name, key in (("Account stream", "account_stream"), ("Market stream", "market_stream")):
        if key in connection:
            up = connection[key]
            down = ("none" if up is None else "not up") + ": asked over REST"
            yield [name, "up" if up else down, "up" if up else ""]
