"""Alerts as the receivers want them. Pure.

What others may have a word in (an exchange's messages) is cut, freed of control characters, and
escaped for what reads it.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gridbot.service.alerts.ledger import FIRED, Alert

MOST_TEXT = 500  # characters of what others may have a word in
# Alertmanager forgets an alert that nobody repeats for so long.
LASTS_MS = 15 * 60_000
_MARKUP = re.compile(r"([\\*_~`|>#\[\]()<@:!+=.-])")


@dataclass(frozen=True)
class Sender:
    """Who alerts.

    Attributes:
        host: its name in the inventory.
        bot: the bot's name in its orders.
        mode: live or paper.
        runbooks: address or directory of the runbook pages.
    """

    host: str
    bot: str
    mode: str
    runbooks: str

    def page(self, alert: Alert) -> str:
        """Where the runbook page is."""
        return f"{self.runbooks.rstrip('/')}/{alert.kind.page}"


def plain(text: str) -> str:
    """One line without control characters, and not too long."""
    line = " ".join(text.split())
    line = "".join(one for one in line if unicodedata.category(one)[0] != "C")
    return line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 1] + "…"


def escaped(text: str) -> str:
    """A line that Markdown shows as it is: no link, no mention, no heading."""
    return _MARKUP.sub(r"\\\1", plain(text))


def title(sender: Sender, alert: Alert, news: str) -> str:
    """A few words: what, where, and whether it is over."""
    over = "" if news == FIRED else "Over: "
    about = f", {alert.symbol}" if alert.symbol else ""
    return f"{over}{alert.kind.title}{about} ({sender.bot} on {sender.host}, {sender.mode})"


def for_alertmanager(sender: Sender, alert: Alert, news: str, now_ms: int) -> list[dict[str, Any]]:
    """The body of POST /api/v2/alerts."""
    ends_ms = now_ms + LASTS_MS if news == FIRED else alert.ended_ms or now_ms
    labels = {
        "alertname": alert.name,
        "alert_key": alert.key,
        "severity": alert.kind.severity,
        "host": sender.host,
        "bot": sender.bot,
        "mode": sender.mode,
        "symbol": alert.symbol,
    }
    return [
        {
            "labels": {name: value for name, value in labels.items() if value},
            "annotations": {
                "summary": title(sender, alert, FIRED),
                "description": f"{plain(alert.text)}. {alert.kind.meaning}",
                "action": alert.kind.remedy,
                "runbook_url": sender.page(alert),
            },
            "startsAt": _time(alert.started_ms),
            "endsAt": _time(ends_ms),
        }
    ]


def for_discord(sender: Sender, alert: Alert, news: str) -> dict[str, Any]:
    """The body of a Discord webhook."""
    lines = [f"**{escaped(title(sender, alert, news))}**", escaped(alert.text)]
    if news == FIRED:
        lines += [alert.kind.meaning, f"{alert.kind.remedy} {sender.page(alert)}"]
    lines.append(f"`{alert.key}`")
    return {"content": "\n".join(lines), "allowed_mentions": {"parse": []}}


def for_ntfy(sender: Sender, alert: Alert, news: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a message of ntfy."""
    lines = [plain(alert.text)]
    if news == FIRED:
        lines += [alert.kind.meaning, f"{alert.kind.remedy} {sender.page(alert)}"]
    lines.append(alert.key)
    urgent = news == FIRED and alert.kind.severity == "critical"
    headers = {
        "Title": title(sender, alert, news).encode("ascii", "replace").decode(),
        "Priority": "urgent" if urgent else "default",
        "Tags": "rotating_light" if news == FIRED else "white_check_mark",
    }
    return "\n".join(lines).encode(), headers


def for_webhook(sender: Sender, alert: Alert, news: str) -> dict[str, Any]:
    """The body of a webhook of the user's own."""
    return {
        "version": 1,
        "key": alert.key,
        "status": news,
        "alertname": alert.name,
        "severity": alert.kind.severity,
        "title": title(sender, alert, news),
        "text": plain(alert.text),
        "meaning": alert.kind.meaning,
        "action": alert.kind.remedy,
        "runbook": sender.page(alert),
        "host": sender.host,
        "bot": sender.bot,
        "mode": sender.mode,
        "symbol": alert.symbol,
        "started_ms": alert.started_ms,
        "ended_ms": alert.ended_ms,
    }


def _time(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
