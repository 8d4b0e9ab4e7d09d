#!/usr/bin/python3 -ISB
"""Makes the weekly report of the fleet, and sends it once.

    report.py                        the week that is over, to the channels that are not served yet
    report.py --to FILE [--week W]   writes the page to a file, and sends nothing; W as 2026-W47

What it will send is written down before it is sent. So whatever stops it, no channel gets a week
twice. Where a channel has certainly not taken it, the exit status is 1, and systemd tries again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.parse
import urllib.request
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # -I leaves it out

import messages
import report_page
from report_week import (
    BUILD,
    DAYS,
    NAMES,
    STEP,
    PiWeek,
    Report,
    Week,
    WeekError,
    date,
    last_week,
    of_bot,
    week_named,
)

# After a start the others first send what they kept meanwhile (seconds of uptime).
PATIENCE = float(os.environ.get("PATIENCE_SECONDS", "900"))
STATE = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/gridberry-report"))
ALERTS = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
# Asked at the end of the week; the first three are shown by these names.
EVENTS = {
    "kill switches": "sum by (host) (increases_over_time(gridbot_kill_switch_fired[7d]))",
    "breaker openings": (
        'sum by (host) (increase(gridbot_circuit_breaker_changes_total{to="open"}[7d]))'
    ),
    "starts of the bot": "sum by (host) (changes(gridbot_process_start_time_seconds[7d]))",
}
OF_WEEK = {
    "bots": "max by (host) (last_over_time(gridbot_build_info[7d]))",
    "bots heard": 'count_over_time((max by (host) (up{job="bot"}) == 1)[7d:5m]) / 2016',
    "hosts": "max by (host) (last_over_time(gridberry_expected_host[7d]))",
    "heard": 'count_over_time((max by (host) (up{job="node"}))[7d:5m]) / 2016',
    "last": 'max by (host) (tlast_over_time(up{job="node"}[7d]))',
    "hottest": "max by (host) (max_over_time(gridberry_temperature_celsius[7d]))",
    "restarts": "max by (host) (resets((time() - node_boot_time_seconds)[7d:1m]))",
    "incidents": (
        "max by (host, kind) (last_over_time(gridberry_incident_last_timestamp_seconds[7d]))"
    ),
    "alerts": f"sum by (alertname, host) (count_over_time({ALERTS}[7d:1m])) * 60",
}
OF_BOT = f'{{__name__=~"{"|".join([BUILD, *NAMES])}",host=%s}}'


class ReportError(Exception):
    """What went wrong, in one line that names no secret."""


def gather(server: messages.Server, told: dict[str, Any], week: Week) -> Report:
    """Ask for all that a report shows.

    Args:
        server: The monitoring server.
        told: The settings.
        week: Which one.

    Raises:
        ReportError: The server does not answer.
    """
    try:
        found = {
            name: server.query(asked, time=str(week.end))
            for name, asked in (OF_WEEK | EVENTS).items()
        }
        report = Report(week)
        accounts: dict[str, str] = told.get("accounts", {})
        seen = {one["host"] for one, _ in found["bots"]}
        for bot in sorted(seen | accounts.keys()):
            report.grids += _grids(server, bot, accounts.get(bot, "main"), week)
        report.silent = sorted(accounts.keys() - seen)
        report.now = [
            (one.get("alertname", ""), one.get("host", "")) for one, _ in server.query(ALERTS)
        ]
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"the monitoring server does not answer: {error}") from None
    _ask_hub(report, told.get("hub", {}))
    report.heard = {one["host"]: min(1.0, share) for one, share in found["bots heard"]}
    for name in EVENTS:
        for one, count in found[name]:
            report.events.setdefault(one["host"], {})[name] = round(count)
    report.hosts = _hosts(found, week)
    report.alerts = [
        (one.get("alertname", ""), one.get("host", ""), seconds) for one, seconds in found["alerts"]
    ]
    return report


def _grids(server: messages.Server, bot: str, account: str, week: Week) -> list[Any]:
    expression = OF_BOT % json.dumps(bot)
    span = {"start": str(week.begin + STEP), "end": str(week.end), "step": f"{STEP}s"}
    series = server.get("/api/v1/query_range", query=expression, **span)["data"]["result"]
    before = server.get(
        "/api/v1/query", query=f"last_over_time({expression}[{DAYS}d])", time=str(week.begin)
    )["data"]["result"]
    earlier = [{"metric": one["metric"], "values": [one["value"]]} for one in before]
    grids = of_bot(bot, series, earlier, week)
    for grid in grids:
        grid.account = account
    return grids


def _ask_hub(report: Report, hub: dict[str, str]) -> None:
    """Add what the sales of each grid came to, as the hub's ledger has it, if it answers."""
    if not hub.get("url"):
        return
    query = {"from": report.week.dates[0], "to": date(report.week.end), "limit": "1000"}
    gains: dict[tuple[str, str, str], Decimal] = {}
    try:
        while "after" not in query or query["after"]:
            answer = ask_hub(hub, f"/api/v1/profit?{urllib.parse.urlencode(query)}")
            for one in answer["days"]:
                name = (one["bot"], one["symbol"], one["mode"])
                gains[name] = gains.get(name, Decimal(0)) + Decimal(one["gain"])
            query["after"] = answer["next"] or ""
    except (OSError, HTTPException, ValueError, ArithmeticError, KeyError, TypeError) as error:
        report.notes.append(f"the hub does not answer, so no gains of sales: {error}")
        return
    for grid in report.grids:
        grid.gain = gains.get((grid.bot, grid.symbol, grid.mode), Decimal(0))


def ask_hub(hub: dict[str, str], path: str) -> Any:
    """Return what the hub answers."""
    headers = {"Authorization": f"Bearer {hub['token']}"} if hub.get("token") else {}
    asked = urllib.request.Request(hub["url"] + path, headers=headers)  # noqa: S310 -- http
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
        return json.load(answer)


def _hosts(found: dict[str, list[tuple[dict[str, str], float]]], week: Week) -> list[PiWeek]:
    by_host = {
        name: {one["host"]: value for one, value in found[name]}
        for name in ("hosts", "heard", "last", "hottest", "restarts")
    }
    hosts = []
    for host in sorted(by_host["hosts"].keys() | by_host["last"].keys()):
        incidents = [
            (one["kind"], at)
            for one, at in found["incidents"]
            if one["host"] == host and week.begin <= at < week.end
        ]
        hosts.append(
            PiWeek(
                host,
                by_host["hottest"].get(host),
                round(by_host["restarts"].get(host, 0)),
                sorted(incidents, key=lambda one: one[1]),
                min(1.0, by_host["heard"].get(host, 0.0)),
                by_host["last"].get(host),
            )
        )
    return hosts


class Sent:
    """What was sent, in a file that is on the disk before anything leaves.

    Args:
        path: Of the file.
        week: Which report.
    """

    def __init__(self, path: Path, week: Week) -> None:
        self._path, self._week = path, week
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            self._last, self._channels = str(told["week"]), dict(told["channels"])
        except FileNotFoundError:
            self._last, self._channels = "", {}
        except (ValueError, KeyError, TypeError):
            # What it said is not known, and twice is worse than never.
            raise ReportError(f"{path} is damaged; remove it to have reports again") from None
        if self._last > week.name:
            late = f"{path} has a report of {self._last}, and the latest week is {week.name}"
            raise ReportError(f"{late}: was the clock wrong? Remove it to have reports again")
        if self._last < week.name:
            self._channels = {}

    def needs(self, channel: str) -> bool:
        """Tell whether a channel may be sent this week's report."""
        return self._channels.get(channel, "refused") == "refused"

    def note(self, channel: str, state: str) -> None:
        """Write down what became of a channel: `sending`, `sent`, `unknown` or `refused`."""
        self._channels[channel] = state
        whole(self._path, json.dumps({"week": self._week.name, "channels": self._channels}))


def whole(path: Path, text: str) -> None:
    """Write a file that is there whole, or not at all, also after a power cut."""
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def send(told: dict[str, Any], now: float) -> None:
    """Send the week that is over to each channel that has not got it.

    Args:
        told: The settings.
        now: Unix time.

    Raises:
        ReportError: It cannot be made, or a channel has not taken it.
    """
    week = last_week(now)
    sent = Sent(STATE / "report.json", week)
    ways = {name: way for name, way in messages.channels(told).items() if sent.needs(name)}
    if not ways:
        return
    up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    time.sleep(max(0.0, PATIENCE - up))
    report = gather(messages.Server(told), told, week)
    text = report_page.text(report)[: messages.LONGEST]
    key = f"gridberry-report-{told['watched']}-{week.name}"
    page = messages.Page(f"gridberry-{week.name}.html", report_page.page(report, now), key)
    refused = []
    for name, way in ways.items():
        sent.note(name, "sending")
        try:
            way(told, text, page)
        except messages.MessageError as error:
            sent.note(name, "unknown" if error.unknown else "refused")
            again = "it may have come, so it is not sent again" if error.unknown else "tried again"
            sys.stderr.write(f"{name}: {error}: {again}\n")
            refused += [] if error.unknown else [name]
        else:
            sent.note(name, "sent")
    if refused:
        raise ReportError(f"the report of {week.name} was not taken by {', '.join(refused)}")


def settings() -> dict[str, Any]:
    """Return the settings: of systemd, or for root who starts it by hand."""
    by_hand = "" if "CREDENTIALS_DIRECTORY" in os.environ else "secrets"
    file = messages.CREDENTIALS / by_hand / "messages.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))


def main(words: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    parser = argparse.ArgumentParser(prog="report.py", description="The fleet's weekly report.")
    parser.add_argument("--to", type=Path, help="write the page to this file, and send nothing")
    parser.add_argument("--week", help="another week, such as 2026-W47; needs --to")
    asked = parser.parse_args(words)
    if asked.week and not asked.to:
        parser.error("--week needs --to: a report that was sent is not sent again")
    now = time.time()
    try:
        told = settings()
        if asked.to is None:
            send(told, now)
        else:
            week = week_named(asked.week, now) if asked.week else last_week(now)
            report = gather(messages.Server(told), told, week)
            whole(asked.to, report_page.page(report, now))
            sys.stdout.write(f"{report_page.text(report)}\n")
    except (ReportError, WeekError, messages.MessageError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
