"""Writes the tables of docs/metrics.md from the code.

PYTHONPATH=bot/src python docs/metrics_tables.py
"""

from __future__ import annotations

import re
from pathlib import Path

from gridbase.metrics import table
from gridbot.service.metrics import METRICS
from gridexchange.rest import metrics as exchange
from watcher.metrics import METRICS as WATCHER

PAGE = Path(__file__).with_name("metrics.md")
HEAD = "| metric | kind | labels | what it is |\n"


def main() -> None:
    """Put each table in the place of the one that is there."""
    text = PAGE.read_text(encoding="utf-8")
    tables = iter((table(METRICS), table(exchange.METRICS), table(WATCHER)))
    text = re.sub(rf"{re.escape(HEAD)}(\|.*\n)*", lambda _: next(tables), text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
