"""What an inventory is made of, and which answers are allowed."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from decimal import Decimal

from gridbase.errors import UserError
from gridbase.market import plain
from gridbot.config.load import PAPER_EXCHANGES
from gridbot.core.grid import MAX_GRIDS

from fleet.card.settings import HOST, check_user

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}", re.ASCII)
OURS = frozenset({"example", "virtual", "group_vars", "host_vars"})
SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}", re.ASCII)
AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?", re.ASCII)
HOST_NAME = re.compile(rf"({HOST.pattern})(\.{HOST.pattern})*", re.ASCII)


@dataclass(frozen=True)
class Grid:
    """A grid.

    Attributes:
        lower: Price of the lowest line (quote).
        upper: Price of the highest line (quote).
        grids: The number of spaces between lines.
    """

    lower: Decimal
    upper: Decimal
    grids: int


@dataclass(frozen=True)
class Answers:
    """What the inventory says.

    Attributes:
        pis: Addresses by name.
        user: Who logs in.
        nvme: Whether each Pi has an NVMe drive.
        exchange: The exchange's name.
        symbol: Such as BTC/USDT.
        budget: What each bot may spend (quote).
        grid: The grid.
    """

    pis: dict[str, str]
    user: str
    nvme: bool
    exchange: str
    symbol: str
    budget: Decimal
    grid: Grid


def inventory_name(text: str) -> str:
    """Return an inventory's name.

    Args:
        text: The answer.

    Raises:
        UserError: It is not allowed.
    """
    if not NAME.fullmatch(text) or text in OURS:
        raise UserError(
            f"the inventory's name is {text!r}; up to 40 lower-case letters, digits, - and _ are"
            " allowed, but not example and virtual"
        )
    return text


def pis_of(text: str) -> dict[str, str]:
    """Return Pis' addresses by name.

    Args:
        text: Such as `pi1 pi2=192.168.1.22`; a name alone is looked for as NAME.local.

    Raises:
        UserError: One is not allowed.
    """
    pis: dict[str, str] = {}
    for word in text.replace(",", " ").split():
        name, equals, address = word.partition("=")
        address = address if equals else f"{name}.local"
        if not HOST.fullmatch(name) or name in {"all", "trading", "ungrouped"}:
            raise UserError(
                f"a Pi's name is {name!r}; lower-case letters, digits and hyphens are allowed"
            )
        if not _is_address(address):
            raise UserError(
                f"the address of {name} is {address!r}; an IP address or a host's name is allowed"
            )
        if name in pis or address in pis.values():
            raise UserError(f"{word} is there twice; each Pi has a name and an address of its own")
        pis[name] = address
    if not pis:
        raise UserError("no Pi is named; such as pi1 or pi1=192.168.1.21 is allowed")
    return pis


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # What looks like numbers is a mistyped address.
        return bool(HOST_NAME.fullmatch(text)) and not text.replace(".", "").isdigit()
    return True


def user(text: str) -> str:
    """Return who logs in.

    Args:
        text: The answer.

    Raises:
        UserError: It is not allowed.
    """
    return check_user(text)


def exchange(text: str) -> str:
    """Return an exchange on which paper trading is possible.

    Args:
        text: The answer.

    Raises:
        UserError: It is not allowed.
    """
    if text not in PAPER_EXCHANGES:
        raise UserError(
            f"the exchange is {text!r}; {' or '.join(sorted(PAPER_EXCHANGES))} is allowed, as the"
            " bot begins on paper; docs/exchanges.md has others, for real money"
        )
    return text


def symbol(text: str) -> str:
    """Return a market.

    Args:
        text: The answer.

    Raises:
        UserError: It is not allowed.
    """
    base, _, quote = text.partition("/")
    if not SYMBOL.fullmatch(text) or base == quote:
        raise UserError(f"the symbol is {text!r}; two coins such as BTC/USDT are allowed")
    return text


def amount(text: str) -> Decimal:
    """Return an amount above 0.

    Args:
        text: The answer.

    Raises:
        UserError: It is not allowed.
    """
    if not AMOUNT.fullmatch(text) or not Decimal(text):
        raise UserError(
            f"the amount is {text!r}; plain digits above 0, such as 1000.50, are allowed"
        )
    return Decimal(text)


def grids(text: str) -> int:
    """Return a number of grids.

    Args:
        text: The answer.

    Raises:
        UserError: It is not allowed.
    """
    if not text.isascii() or not text.isdigit() or not 2 <= int(text[:9]) <= MAX_GRIDS:
        raise UserError(f"the number of grids is {text!r}; 2 to {MAX_GRIDS} is allowed")
    return int(text)


def yes(text: str) -> bool:
    """Return whether an answer is yes.

    Args:
        text: The answer.

    Raises:
        UserError: It is neither yes nor no.
    """
    if text.lower() not in {"y", "yes", "n", "no"}:
        raise UserError(f"the answer is {text!r}; yes or no is allowed")
    return text.lower().startswith("y")


def above(lower: Decimal, text: str) -> Decimal:
    """Return the highest price of a range.

    Args:
        lower: Its lowest price.
        text: The answer.

    Raises:
        UserError: It is not above the lowest.
    """
    upper = amount(text)
    if upper <= lower:
        raise UserError(
            f"the highest price is {text}; above the lowest, {plain(lower)}, is allowed"
        )
    return upper
