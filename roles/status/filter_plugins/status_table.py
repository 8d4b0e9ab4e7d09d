"""The status objects of all hosts as a table for people.

An Ansible filter (`status_table`); `./gridberry status` prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Status = dict[str, Any]

COLUMNS = (
    "HOST", "BOT", "MODE", "SYMBOL", "PRICE", "PROFIT", "GRID PROFIT", "BUYS", "SELLS", "OPEN",
    "MEMORY", "TEMP", "UPTIME", "RESTARTS", "NOTES",
)  # fmt: skip
OF_GRID = ("symbol", "price", "profit", "grid_profit", "buys", "sells", "open_orders")
# Milliseconds; exchanges refuse orders that seem to be older than a few seconds.
CLOCK_MS = 100
INCIDENTS = (
    ("oom_kills", "OOM kill", "OOM kills"),
    ("under_voltage", "under-voltage", "times under-voltage"),
    ("throttled", "throttling", "throttlings"),
    ("drive_errors", "drive error", "drive errors"),
    ("unclean_boots", "end without shutdown", "ends without shutdown"),
)
# Where paper's prices come from, as the bot names it; of others there is nothing to say.
PRICES = {
    "live-on-paper": "live prices",
    "made-up": "made-up",
    "recorded": "recorded",
    "testnet": "testnet",
}
# The bot's container runs and the bot does not answer; Docker does not answer.
UNREAD = {"silent", "unknown"}
RIGHT = {
    "PRICE", "PROFIT", "GRID PROFIT", "BUYS", "SELLS", "OPEN",
    "MEMORY", "TEMP", "UPTIME", "RESTARTS",
}  # fmt: skip


def _duration(seconds: float | None) -> str:
    """The largest two units: 95 -> `1m35s`."""
    if seconds is None:
        return "-"
    left = int(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])


def _memory(bot: Status) -> str:
    used, limit = bot.get("memory_used_bytes"), bot.get("memory_limit_bytes")
    if used is None:
        return "-"
    return f"{used / 2**20:.0f}/{limit / 2**20:.0f} MiB" if limit else f"{used / 2**20:.0f} MiB"


def _clock_notes(clock: Status) -> list[str]:
    if clock.get("synchronised") is False:
        return ["clock not synchronised"]
    if abs(clock.get("offset_ms") or 0) > CLOCK_MS:
        return [f"clock is off by {clock['offset_ms']:.0f} ms"]
    return []


def _incident_notes(incidents: Status) -> list[str]:
    return [
        f"{incidents[name]} {one if incidents[name] == 1 else several} in {incidents['days']} days"
        for name, one, several in INCIDENTS
        if incidents.get(name)
    ]


def _pull_notes(pull: Status) -> list[str]:
    """What keeps a host from the commit that its repository has."""
    if pull.get("result") in (None, "applied", "unchanged"):
        return []
    return [f"pull {pull['result']}: {pull.get('error')}"]


def _notes(host: Status) -> list[str]:
    bot = host.get("bot") or {}
    notes = []
    if host.get("error"):
        notes.append(str(host["error"]))
    if host.get("reboot_required"):
        notes.append("reboot required")
    if host.get("throttled"):
        notes.append(f"throttled {host['throttled']}")
    notes += _clock_notes(host.get("clock") or {}) + _incident_notes(host.get("incidents") or {})
    notes += _pull_notes(host.get("pull") or {})
    if host.get("ipv6"):
        notes.append("IPv6 is on")
    if bot and not bot.get("memory_limit_bytes"):
        notes.append("no memory limit")
    if bot.get("circuit") not in (None, "closed"):
        notes.append(f"circuit {bot['circuit']}")
    if bot.get("account_stream") is False:
        notes.append("no stream")
    if bot.get("reason"):
        notes.append(str(bot["reason"]))
    return notes


def _text(status: Status, key: str) -> str:
    return "-" if status.get(key) is None else str(status[key])


def _mode(bot: Status, grid: Status) -> str:
    prices = PRICES.get(grid.get("prices") or "")
    return f"{_text(bot, 'mode')} ({prices})" if prices else _text(bot, "mode")


def _rows(host: Status) -> list[list[str]]:
    """One row for each grid of a host, or one where none is known; the first has the host's own."""
    bot = host.get("bot") or {}
    grids = bot.get("grids") or [bot]
    return [_row(host, grid, first=number == 0) for number, grid in enumerate(grids)]


def _row(host: Status, grid: Status, *, first: bool) -> list[str]:
    bot = host.get("bot") or {}
    temperature = host.get("temperature_c")
    of_host = [
        _memory(bot), "-" if temperature is None else f"{temperature:.0f} °C",
        _duration(bot.get("uptime_seconds")), _text(bot, "restarts"),
    ]  # fmt: skip
    notes = _notes(host) if first else []
    if grid.get("reason") and grid["reason"] not in notes:
        notes.append(str(grid["reason"]))
    return [
        str(host.get("host", "?")), _text(grid, "state"), _mode(bot, grid),
        *(_text(grid, key) for key in OF_GRID),
        *(of_host if first else [""] * len(of_host)), ", ".join(notes),
    ]  # fmt: skip


def status_table(hosts: list[Status]) -> str:
    """One line for each grid below a heading; what needs attention stands in the last column.

    What is the host's own (memory, temperature, time up, restarts) is in its first line.

    Args:
        hosts: status objects, as the role `status` collects them.

    Returns:
        Lines of aligned text, without a newline at the end.
    """
    rows = [list(COLUMNS), *(row for host in hosts for row in _rows(host))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if name in RIGHT else cell.ljust(width)
            for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def all_answered(hosts: list[Status]) -> bool:
    """Tell whether every host could be asked, and the state of its bot be read."""
    return not any(
        host.get("error") or (host.get("bot") or {}).get("state") in UNREAD for host in hosts
    )


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"status_table": status_table}
