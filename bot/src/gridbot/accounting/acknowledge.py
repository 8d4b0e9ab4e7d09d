"""Decides whether an owner may acknowledge that the account differs from a grid's books. Pure.

Only a difference that an audit has found can be acknowledged, up to its amount: so nothing counts
twice, and what an order of the bot has done is never taken for a deposit.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from gridbase.errors import ExitCode, UserError
from gridbase.market import EXACT, plain

from gridbot.accounting.audit import Report

LONGEST_REASON = 200
_WANTED = re.compile(r"(?P<coin>[A-Z0-9]{1,20})=(?P<amount>[+-]?[0-9]{1,20}(\.[0-9]{1,20})?)")


def read_amounts(texts: Sequence[str]) -> dict[str, Decimal]:
    """Amounts by coin, from texts such as ``USDT=-500``.

    Raises:
        UserError: one is not of that form, or a coin is there twice.
    """
    amounts: dict[str, Decimal] = {}
    for text in texts:
        match = _WANTED.fullmatch(text)
        if match is None or match["coin"] in amounts or not Decimal(match["amount"]):
            raise UserError(
                f"--acknowledge {text} needs each coin once, with the amount that came or went, "
                "such as USDT=-500"
            )
        amounts[match["coin"]] = Decimal(match["amount"])
    return amounts


def read_reason(text: str | None, *, given: bool) -> str:
    """The owner's reason; empty where nothing is acknowledged.

    Args:
        text: as given; None where it is not.
        given: whether there are amounts.

    Raises:
        UserError: one is there without the other, or the reason does not fit into a line.
    """
    if not given:
        if text is not None:
            raise UserError("--reason is for --acknowledge COIN=AMOUNT, which is missing")
        return ""
    reason = (text or "").strip()
    if not reason or not reason.isprintable() or len(reason) > LONGEST_REASON:
        raise UserError(
            "--acknowledge needs --reason with what happened, in a line of at most "
            f'{LONGEST_REASON} characters, such as --reason "withdrawn to my bank"'
        )
    return reason


def check_amounts(reports: Mapping[str, Report], amounts: Mapping[str, Decimal]) -> str:
    """Refuse amounts that are not what an audit found.

    Args:
        reports: what it found, by symbol.
        amounts: by which the account has more (below 0: less) than the books, by coin.

    Returns:
        The symbol of the grid whose balances are meant.

    Raises:
        UserError: says what is allowed.
    """
    symbols = {_symbol(reports, coin) for coin in amounts}
    if len(symbols) > 1:
        raise UserError(f"--acknowledge: acknowledge {' and '.join(sorted(symbols))} one by one")
    symbol = symbols.pop()
    found = {item.what: item for item in reports[symbol].differences}
    others = [what for what in found if not what.startswith("balance ")]
    if others:
        raise _refused(
            f"{symbol}: {len(others)} orders or trades differ ({others[0]}, ...), and only "
            "balances can be acknowledged; nothing was written down"
        )
    for coin, amount in amounts.items():
        item = found.get(f"balance {coin}")
        if item is None:
            raise _refused(f"{coin}: books and account agree; there is nothing to acknowledge")
        left = EXACT.subtract(Decimal(item.exchange), Decimal(item.books))
        if (amount > 0) != (left > 0) or abs(amount) > abs(left):
            raise _refused(
                f"--acknowledge {coin}={plain(amount)}: the account has {plain(abs(left))} {coin} "
                f"{'more' if left > 0 else 'less'} than the books; use at most "
                f"{coin}={plain(left)}"
            )
    return symbol


def _symbol(reports: Mapping[str, Report], coin: str) -> str:
    """The grid that a coin's balance is compared of: there is at most one."""
    for symbol, report in reports.items():
        if coin in report.balances:
            return symbol
    known = ", ".join(coin for report in reports.values() for coin in report.balances)
    raise UserError(
        f"--acknowledge {coin}: the balance of {coin} is not compared; compared are: "
        f"{known or 'none'}"
    )


def _refused(text: str) -> UserError:
    return UserError(text, ExitCode.DIFFERS)
