"""A program's log: one line for each event, as text or as JSON, without secrets, times in UTC."""

import json
import logging
import re
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from gridbase.redaction import redacted

TEXT, JSON = "text", "json"


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO what happened`."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        return redacted(super().format(record))


class JsonLines(logging.Formatter):
    """One object a line: `time`, `level`, `event`, `logger`, and what it is about.

    That is `bot`, and where there is one, `symbol` and `order` (its client order ID): so one
    order's life can be found. They are taken from the event's arguments.

    Args:
        bot: its name, with which its orders' IDs begin.
        symbols: unified names that it trades.
    """

    def __init__(self, bot: str, symbols: Collection[str]) -> None:
        super().__init__()
        self._bot = bot
        self._symbols = frozenset(symbols)
        self._order = re.compile(rf"{re.escape(bot)}-[A-Za-z0-9]+-[0-9a-z]+-\d*[a-z]\d+")

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        at = datetime.fromtimestamp(record.created, UTC)
        event: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            "bot": self._bot,
        }
        words = [word for word in _arguments(record) if isinstance(word, str)]
        symbol = getattr(record, "symbol", None)
        symbol = symbol or next((word for word in words if word in self._symbols), None)
        order = next((word for word in words if self._order.fullmatch(word)), None)
        event |= {"symbol": symbol} if symbol else {}
        event |= {"order": order} if order else {}
        if record.exc_info:
            event["trace"] = self.formatException(record.exc_info)
        for name in ("event", "trace"):
            if name in event:
                event[name] = redacted(event[name])
        return json.dumps(event, ensure_ascii=False)


def _arguments(record: logging.LogRecord) -> tuple[object, ...]:
    return record.args if isinstance(record.args, tuple) else ()
