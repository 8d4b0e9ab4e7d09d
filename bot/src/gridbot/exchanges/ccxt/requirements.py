"""Whether an exchange of ccxt offers what the bot needs: asked before anything is sent.

What ccxt can do with an exchange is in its `has`. What it does not say there is whether orders can
be found again by the name that the bot gave them; without that an order whose answer was lost could
be doubled. ccxt's source tells: the method that fetches an order takes a ``clientOrderId``, or not.
"""

import inspect
import re
from typing import Any

# Names in `has`, and what they are for.
NEEDED = {
    "spot": "spot markets",
    "fetchMarkets": "the markets' rules",
    "fetchBalance": "balances",
    "createOrder": "orders",
    "cancelOrder": "cancellations",
    "fetchOrder": "the state of an order",
    "fetchOpenOrders": "open orders",
    "fetchMyTrades": "the account's trades",
    "fetchTicker": "prices",
    "fetchOHLCV": "candles",
}
NAME_GIVEN = "a client order ID in createOrder"
NAME_FOUND = "a client order ID in fetchOrder"
NUMBERED = "numbered trades"
FEES_TOLD = "trades that say their fee"
NAME_KEPT = "client order IDs that come back as they were given"
CREDENTIALS = "an account behind an API key and a secret"
HISTORY = "fetchOrders or fetchClosedOrders (past orders)"

# Exchanges whose answers, as ccxt's source or their own documentation shows them, give trades a
# name instead of a number; of the others it shows when the account's first trade is read.
NAMED_TRADES = frozenset({"delta", "kraken", "mexc", "phemex", "weex"})
# By the same sources these do not say what a trade cost.
UNTOLD_FEES = frozenset({"bitrue"})
# By the same source these put something before an order's name, or answer with another one.
CHANGED_NAMES = frozenset({"gate", "gateeu", "woo"})

_NAME = "clientOrderId"
_DEPTH = 3


def missing(client: Any) -> list[str]:
    """What the bot needs and an exchange does not offer, in words; empty where it has all.

    Args:
        client: an instance of ccxt's class of the exchange.
    """
    has = client.has
    # Emulated ones are made of several requests, or of guesses.
    lacking = [f"{name} ({what})" for name, what in NEEDED.items() if has.get(name) is not True]
    if not (has.get("fetchOrders") is True or has.get("fetchClosedOrders") is True):
        lacking.append(HISTORY)
    for name, required in client.requiredCredentials.items():
        if required and not getattr(client, name, ""):
            lacking.append(f"{CREDENTIALS} (it wants {name} as well)")
    if client.id in NAMED_TRADES:
        lacking.append(NUMBERED)
    if client.id in UNTOLD_FEES:
        lacking.append(FEES_TOLD)
    if client.id in CHANGED_NAMES:
        lacking.append(NAME_KEPT)
    kind = type(client)
    if has.get("createOrder") and not _mentions(kind, "create_order", _NAME, _DEPTH):
        lacking.append(NAME_GIVEN)
    if has.get("fetchOrder") and not _mentions(kind, "fetch_order", _NAME, _DEPTH):
        lacking.append(NAME_FOUND)
    return lacking


def _mentions(kind: type, method: str, word: str, depth: int) -> bool:
    """Whether a method, or one that it calls to make orders' requests, mentions a word."""
    function = getattr(kind, method, None)
    try:
        source = inspect.getsource(function) if function is not None else ""
    except (OSError, TypeError):
        return False  # without a source nothing can be said
    # Comments show answers, in which the word proves nothing.
    code = re.sub(r"(?m)^\s*#.*$", "", re.sub(r'"""(.|\n)*?"""', "", source, count=1))
    if word in code:
        return True
    if depth == 0:
        return False
    stem = "create" if method.startswith("create") else "fetch"
    called = set(re.findall(r"self\.(\w+)\(", code))
    own = {name for name in called if name.startswith(stem) and "order" in name}
    own |= {name for name in called if stem == "create" and name.endswith("order_request")}
    return any(_mentions(kind, name, word, depth - 1) for name in sorted(own - {method}))
