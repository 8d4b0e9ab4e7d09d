"""Interactive Brokers: where its Gateway is, and what a grid on a stock cannot have. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.market import plain

IB = "ib"
_OF_GATEWAY = ("gateway", "account", "client_id", "restart", "pacing_directory")
# Candles of stocks have holes at night, over which these indicators are not defined here.
_NEED_CANDLES = (
    ("grid.range", "atr"),
    ("trend.enabled", True),
    ("volatility.enabled", True),
    ("reposition.at", "levels"),
)
_NOT_FOR_IB = ("exchange.url", "exchange.stream_url", "exchange.api_key_file")


@dataclass(frozen=True)
class GatewayConfig:
    """How to reach an account at Interactive Brokers.

    Attributes:
        host: of the Gateway; empty: it is reached through a socket.
        port: of its API.
        account: name of the account.
        client_id: the bot's number at the Gateway, always the same.
        restart: minute of the day (UTC) of its nightly restart; None where it has none.
        pacing_directory: where all on this Gateway count their requests; None: the bot is alone.
        socket: path of a socket that leads to its API; empty: `host` and `port` do.
    """

    host: str
    port: int
    account: str
    client_id: int
    restart: int | None
    pacing_directory: Path | None = None
    socket: str = ""

    @property
    def address(self) -> str:
        """As people read it."""
        return self.socket or f"{self.host}:{self.port}"


def gateway_of(exchange: dict[str, Any]) -> GatewayConfig | None:
    """The Gateway of a configuration's section `exchange`, which loses these settings.

    Raises:
        UserError: one of them is missing, or set for another exchange.
    """
    values = {name: exchange.pop(name) for name in _OF_GATEWAY}
    if exchange["name"] != IB:
        for name, value in values.items():
            if value is not None:
                raise UserError(f'exchange.{name} is for exchange.name = "{IB}"; leave it out')
        return None
    for name in ("gateway", "account"):
        if values[name] is None:
            raise UserError(f'exchange.{name} is missing: exchange.name = "{IB}" needs it')
    socket = values["gateway"] if values["gateway"].startswith("/") else ""
    host, _, port = ("", "", "0") if socket else values["gateway"].rpartition(":")
    restart = values["restart"]
    if restart is not None:
        hours, minutes = restart.split(":")
        restart = int(hours) * 60 + int(minutes)
    client_id = 1 if values["client_id"] is None else values["client_id"]
    directory = values["pacing_directory"]
    return GatewayConfig(host, int(port), values["account"], client_id, restart, directory, socket)


def check_keys(values: dict[str, Any]) -> None:
    """Refuse an exchange of coins without the files of its key.

    Raises:
        UserError: one is missing.
    """
    for key in ("exchange.api_key_file", "exchange.api_secret_file"):
        if values[key] is None and values["exchange.name"] != IB:
            raise UserError(f"{key} is missing and has no default")


def check_stock(values: dict[str, Any]) -> None:
    """Refuse what a grid on a stock cannot have.

    Raises:
        UserError: one line that names the setting.
    """
    if values["exchange.name"] != IB:
        return
    for key in (*_NOT_FOR_IB, "exchange.api_secret_file"):
        if values[key] is not None:
            raise UserError(f'{key} must be left out with exchange.name = "{IB}"')
    if values["exchange.testnet"]:
        raise UserError(
            f'exchange.testnet = true is not for exchange.name = "{IB}": use a paper account'
        )
    for key, wrong in _NEED_CANDLES:
        if values[key] == wrong:
            shown = "true" if wrong is True else f'"{wrong}"'
            raise UserError(
                f'{key} = {shown} is not offered with exchange.name = "{IB}": its candles have '
                "holes at night"
            )
    if values["grid.post_only"]:
        raise UserError(f'grid.post_only = true is not offered with exchange.name = "{IB}"')
    if values["fees.in"] != "quote":
        raise UserError(
            f'fees.in = "{values["fees.in"]}" needs to be "quote" with exchange.name = "{IB}": '
            "commissions are taken from the cash"
        )
    quantity = values["grid.quantity"]
    if quantity is not None and quantity % 1:
        raise UserError(
            f'grid.quantity = "{plain(quantity)}" needs whole shares with exchange.name = "{IB}"'
        )
