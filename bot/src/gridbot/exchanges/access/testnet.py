"""Imports one exchange class of ccxt, and only that.

`import ccxt` imports every exchange: 90 MB and two seconds, on a small machine half a minute. A
bare package object with ccxt's path lets its submodules be imported without that.
"""

import importlib
import importlib.util
import sys
import types
from typing import Any

from gridbase.errors import UserError


def exchange_class(name: str) -> Any:
    """Class of one exchange in ccxt, such as ``binance``."""
    if "ccxt" not in sys.modules:
        spec = importlib.util.find_spec("ccxt")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("ccxt is not installed", name="ccxt")
        package = types.ModuleType("ccxt")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["ccxt"] = package
    return getattr(importlib.import_module(f"ccxt.{name}"), name)


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
