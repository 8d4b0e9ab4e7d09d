"""One account on any spot exchange of ccxt: its connection, and a view of each symbol."""

from gridbot.exchanges.ccxt.connection import CcxtConnection
from gridbot.exchanges.ccxt.symbol import CcxtBroker


class CcxtAccount(CcxtConnection):
    """One account; its arguments are those of `CcxtConnection`."""

    def broker(self, symbol: str) -> CcxtBroker:
        """The view of one symbol, such as ``BTC/USDT``; the same one each time."""
        view = self._views.get(symbol)
        if not isinstance(view, CcxtBroker):
            view = self._views[symbol] = CcxtBroker(self, symbol)
        return view
