"""A bot's trades on a virtual Pi: as its books and as the fleet's database have them."""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from typing import Any

import pytest

Row = tuple[str, str, Decimal, Decimal, Decimal, str]
BOOKS = """
import json, sqlite3, sys
books = sqlite3.connect("file:" + sys.argv[1] + "/gridbot.sqlite3?mode=ro", uri=True)
books.execute("BEGIN")
names = "trade_id, side, price, quantity, {}"
of_open = names.format("commission, commission_coin") + " FROM fills"
of_open = of_open.replace("side, price", "(SELECT o.side FROM orders o WHERE"
    " o.client_id = fills.client_id), price")
rows = books.execute("SELECT " + of_open).fetchall()
rows += books.execute("SELECT " + names.format("fee, fee_coin")
    + " FROM settled WHERE trade_id IS NOT NULL").fetchall()
print(json.dumps(rows))
"""
DATABASE = """
SELECT json_agg(json_build_array(trade_id, side::text, (price * tick_size)::text,
  (quantity * lot_size)::text, fee::text, fee_coin))
FROM (SELECT * FROM fills UNION ALL SELECT * FROM late_fills) f JOIN markets ON id = market_id
"""


def in_books(pi: Any) -> list[Row]:
    """All trades of the bot's books.

    Args:
        pi: Testinfra's host.
    """
    place = (
        "docker inspect gridberry-bot --format '{{range .Mounts}}"
        '{{if eq .Destination "/var/lib/gridbot"}}{{.Source}}{{end}}{{end}}\''
    )
    said = pi.check_output(f"python3 -c {shlex.quote(BOOKS)} $({place})")
    return sorted(_row(*each) for each in json.loads(said))


def in_database(pi: Any) -> list[Row]:
    """All trades of the database.

    Args:
        pi: Testinfra's host.
    """
    query = " ".join(DATABASE.split())
    said = pi.check_output(
        f"runuser -u postgres -- psql -XAtq -d gridberry -c {shlex.quote(query)}"
    )
    return sorted(_row(*each) for each in json.loads(said or "null") or [])


def _row(trade: str, side: str, *rest: str) -> Row:
    price, quantity, fee, coin = rest
    return trade, side[0].lower(), Decimal(price), Decimal(quantity), Decimal(fee), coin


@pytest.fixture
def trades_in_books(pi):
    """The function that reads the books."""
    return lambda: in_books(pi)


@pytest.fixture
def trades_in_database(pi):
    """The function that reads the database."""
    return lambda: in_database(pi)


@pytest.fixture
def equal_books(pi, waiting):
    """The function that waits until the database has what the books have now, and returns it.

    What it has more is in the books then. It fails where a trade is missing, other or there twice.
    """

    def wait() -> list[Row]:
        wanted = in_books(pi)
        assert len({row[0] for row in wanted}) == len(wanted)
        found: list[Row] = []

        def arrived() -> bool:
            found[:] = in_database(pi)
            return {row[0] for row in wanted} <= {row[0] for row in found}

        waiting(arrived, "the bot's trades in the database")
        assert len({row[0] for row in found}) == len(found)
        assert not set(wanted) - set(found)
        assert not set(found) - set(in_books(pi))
        return found

    return wait
