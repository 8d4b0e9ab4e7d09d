"""Chooses how an exchange is talked to."""

from typing import Protocol

from gridbot.broker import Broker
from gridbot.circuit import Circuit
from gridbot.clock import Clock
from gridbot.config import Config
from gridbot.credentials import read_secret

# These speak Binance's own API; all others are talked to by ccxt's unified methods.
BINANCE = ("binance", "binanceus")


class Account(Protocol):
    """One account on one exchange, for all symbols of a process."""

    @property
    def address(self) -> str:
        """Where requests go."""

    @property
    def circuit(self) -> Circuit:
        """The breaker of its requests."""

    def broker(self, symbol: str) -> Broker:
        """The view of one symbol, such as ``BTC/USDT``; the same one each time."""

    def wait(self, seconds: float) -> None:
        """Wait that long, until an event arrives for any symbol, or until stopped."""

    def document(self) -> dict[str, object]:
        """State of the connections, for people; ``circuit`` is `Circuit.document`."""

    def close(self) -> None:
        """Close all connections."""


def open_account(config: Config, clock: Clock) -> Account:
    """The account on the exchange that a configuration names, with the keys from its files.

    Raises:
        UserError: a key file will not do, or the exchange does not offer what the bot needs.
    """
    key = read_secret(config.exchange.api_key_file, "exchange.api_key_file")
    secret = read_secret(config.exchange.api_secret_file, "exchange.api_secret_file")
    if config.exchange.name in BINANCE:
        from gridbot.binance_account import BinanceAccount

        return BinanceAccount(config, key, secret, clock=clock)
    from gridbot.ccxt_account import CcxtAccount

    return CcxtAccount(config, key, secret, clock=clock)
