"""Imports one exchange class of ccxt, and only that.

`import ccxt` imports every exchange: 90 MB and two seconds, on a small machine half a minute, and
`import ccxt.pro` three times that. Package objects with ccxt's paths, and nothing imported yet, let
their submodules be imported one by one.
"""

import importlib
import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

# Where the names are that ccxt's own modules take from the package itself.
_NAMES_OF_CCXT = ("ccxt.base.errors", "ccxt.base.exchange")


class _Package(types.ModuleType):
    """A package whose names are looked up when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for module in map(importlib.import_module, _NAMES_OF_CCXT):
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        # Python notes a submodule here once it is imported; ccxt means the class of the same name.
        if isinstance(value, types.ModuleType):
            value = getattr(value, name, value)
        super().__setattr__(name, value)


def _prepare(name: str) -> None:
    """Have a package of ccxt that has imported nothing."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("ccxt is not installed", name="ccxt")
    package = _Package(name)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules[name] = package
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, package)


def exchange_class(name: str) -> Any:
    """Class of one exchange in ccxt, such as ``binance``."""
    _prepare("ccxt")
    return getattr(importlib.import_module(f"ccxt.{name}"), name)


def streaming_class(name: str) -> Any:
    """Class of one exchange in ccxt.pro, such as ``kraken``: with streams, for asyncio."""
    for package in ("ccxt", "ccxt.async_support", "ccxt.pro"):
        _prepare(package)
    importlib.import_module(f"ccxt.async_support.{name}")
    return getattr(importlib.import_module(f"ccxt.pro.{name}"), name)


def streaming_exchanges() -> list[str]:
    """The exchanges that ccxt.pro knows; none where ccxt is not installed."""
    spec = importlib.util.find_spec("ccxt")
    places = (spec and spec.submodule_search_locations) or []
    # An image has byte code alone.
    found = {path.stem for place in places for path in Path(place, "pro").glob("[a-z]*.py*")}
    return sorted(found)


def spot_alone(client: Any) -> None:
    """Have an exchange of ccxt load the rules of its spot markets, and no others."""
    kinds = client.options.get("fetchMarkets")
    if isinstance(kinds, dict) and "types" in kinds:
        kinds["types"] = ["spot"]
    elif isinstance(kinds, list) and "spot" in kinds:
        client.options["fetchMarkets"] = ["spot"]


def redirected(addresses: Any, url: str, protocol: str = r"\w+") -> Any:
    """Addresses with another host, their paths kept.

    Args:
        addresses: ccxt's, by name, in any depth.
        url: the other host's, such as http://127.0.0.1:8000.
        protocol: pattern of the protocols whose addresses change.
    """
    if isinstance(addresses, dict):
        return {name: redirected(one, url, protocol) for name, one in addresses.items()}
    return re.sub(rf"^{protocol}://[^/]*", url, str(addresses))
