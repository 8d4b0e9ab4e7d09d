"""Chooses how an exchange is talked to."""

from gridbase.clock import Clock
from gridbase.secret_files import read_secret

from gridbot.config.gateway import IB
from gridbot.config.load import AccountConfig
from gridbot.exchanges.account import Account

# These speak Binance's own API; all others are talked to by ccxt's unified methods.
BINANCE = ("binance", "binanceus")


def open_account(config: AccountConfig, clock: Clock, *, beside: bool = False) -> Account:
    """The account on the exchange that a configuration names, with the keys from its files.

    Args:
        config: whose account.
        clock: time.
        beside: the bot may run meanwhile, and nothing is sent.

    Raises:
        UserError: a key file is not allowed, or the exchange does not offer what the bot needs.
    """
    if config.exchange.name == IB:
        from gridbot.exchanges.ib.account import IbAccount

        return IbAccount(config, clock=clock, beside=beside)
    if config.exchange.api_key_file is None or config.exchange.api_secret_file is None:
        raise AssertionError("a configuration without a Gateway names the files of a key")
    key = read_secret(config.exchange.api_key_file, "exchange.api_key_file")
    secret = read_secret(config.exchange.api_secret_file, "exchange.api_secret_file")
    if config.exchange.name in BINANCE:
        from gridbot.exchanges.binance.account import BinanceAccount

        return BinanceAccount(config, key, secret, clock=clock)
    from gridbot.exchanges.ccxt.account import CcxtAccount

    return CcxtAccount(config.exchange, key, secret, clock=clock)
