"""The test network of one of ccxt's exchanges."""

from typing import Any

from gridbase.errors import UserError


def use_testnet(client: Any) -> None:
    """Have one of ccxt's exchanges talk to its test network, and to nothing else.

    Args:
        client: an instance of an exchange's class.

    Raises:
        UserError: ccxt knows none.
    """
    if not client.urls.get("test"):
        raise UserError(
            f"exchange.testnet = true: ccxt knows no test network of {client.id}; leave it out"
        )
    client.set_sandbox_mode(True)
    client.urls = {"api": client.urls["api"]}
