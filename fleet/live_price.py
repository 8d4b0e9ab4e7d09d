"""What an exchange's public REST API says of a market's price; no key, and bounded in time."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from decimal import Decimal, InvalidOperation

from gridbase.errors import UserError
from gridexchange.config import LIVE

EXCHANGES = tuple(LIVE)
PATIENCE_SECONDS = 8


def live_price(exchange: str, symbol: str, rest: str = "") -> Decimal:
    """Return the latest price (quote).

    Args:
        exchange: One of `EXCHANGES`.
        symbol: Such as BTC/USDT.
        rest: Where it answers; empty for its own address.

    Raises:
        UserError: It cannot be reached, or has no such market.
    """
    url = f"{rest or LIVE[exchange][0]}/api/v3/ticker/price?symbol={symbol.replace('/', '')}"
    said: list[Decimal | UserError] = []

    def ask() -> None:
        try:
            said.append(_price(exchange, symbol, url))
        except UserError as error:
            said.append(error)

    # Looking up a name knows no timeout: a thread that hangs there is left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    if not said:
        raise _unreachable(exchange, f"no answer in {PATIENCE_SECONDS} s")
    if isinstance(said[0], UserError):
        raise said[0]
    return said[0]


def _price(exchange: str, symbol: str, url: str) -> Decimal:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - https, or a test's
            return Decimal(json.load(answer)["price"])
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.BAD_REQUEST:
            raise UserError(f"{exchange} does not list {symbol}; use another --symbol") from error
        raise _unreachable(exchange, f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _unreachable(exchange, str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(exchange, str(error) or type(error).__name__) from error
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        raise _unreachable(exchange, "what answers is no exchange") from error


def _unreachable(exchange: str, reason: str) -> UserError:
    return UserError(
        f"{exchange} cannot be reached: {reason}; without this option prices are made up"
    )
