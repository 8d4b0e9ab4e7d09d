"""One account at Interactive Brokers: its connection, and a view of each symbol."""

from gridbot.exchanges.ib.connection import IbConnection
from gridbot.exchanges.ib.symbol import IbBroker


class IbAccount(IbConnection):
    """One account; its arguments are those of `IbConnection`."""

    def broker(self, symbol: str) -> IbBroker:
        """The view of one symbol, such as ``SPY/USD``; the same one each time."""
        view = self._views.get(symbol)
        if not isinstance(view, IbBroker):
            view = self._views[symbol] = IbBroker(self, symbol)
        return view
