"""Settings of what watches over all bots of one account together: who judges, who heeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.market import coins_of, plain


@dataclass(frozen=True)
class AccountGuardConfig:
    """One bot's part in the guard of its account.

    Attributes:
        role: off, judge or follower.
        start_equity: what the account was worth when the limit was set (quote).
        loss_limit: how much of that may be lost (quote).
        symbols: all that the bots of the account trade; the judge values the coins by them.
        host: address where the judge answers.
        port: where the judge answers.
        url: where a follower finds its judge.
        token_file: file with the secret that the account's bots share.
        silence_seconds: without a judgment for longer than this a bot buys nothing.
    """

    role: str
    start_equity: Decimal | None
    loss_limit: Decimal | None
    symbols: tuple[str, ...]
    host: str
    port: int
    url: str | None
    token_file: Path | None
    silence_seconds: int


def account_guard_of(values: dict[str, Any], traded: Sequence[str]) -> AccountGuardConfig:
    """The guard's settings, checked.

    Args:
        values: settings by their names in the section.
        traded: the bot's own symbols.

    Raises:
        UserError: one is missing, or contradicts another.
    """
    config = AccountGuardConfig(**values | {"symbols": values["symbols"] or tuple(traded)})
    if config.role == "off":
        return config
    wanted = ("url", "token_file") if config.role == "follower" else _OF_JUDGE
    for name in wanted:
        if values[name] is None:
            raise UserError(
                f'account_guard.{name} is missing: account_guard.role = "{config.role}" needs it'
            )
    if config.role == "judge":
        _check_judge(config, traded)
    return config


_OF_JUDGE = ("start_equity", "loss_limit", "token_file")


def _check_judge(config: AccountGuardConfig, traded: Sequence[str]) -> None:
    start, limit = config.start_equity, config.loss_limit
    if start is not None and limit is not None and limit >= start:
        raise UserError(
            f"account_guard.loss_limit = {plain(limit)} must be below account_guard.start_equity"
            f" = {plain(start)}"
        )
    missing = [symbol for symbol in traded if symbol not in config.symbols]
    if missing:
        raise UserError(f"account_guard.symbols needs {missing[0]}, which this bot trades")
    quotes = sorted({coins_of(symbol)[1] for symbol in config.symbols})
    if len(quotes) > 1:
        raise UserError(
            f"account_guard.symbols have the quote coins {' and '.join(quotes)}; use symbols of one"
        )
