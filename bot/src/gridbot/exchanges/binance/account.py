"""One account on Binance: its connections, and a view of each symbol."""

from gridbot.exchanges.binance.connection import BinanceConnection
from gridbot.exchanges.binance.symbol import BinanceBroker


class BinanceAccount(BinanceConnection):
    """One account; its arguments are those of `BinanceConnection`."""

    def broker(self, symbol: str) -> BinanceBroker:
        """The view of one symbol, such as ``BTC/USDT``; the same one each time."""
        view = self._views.get(symbol)
        if not isinstance(view, BinanceBroker):
            view = BinanceBroker(self, symbol)
            self.show(symbol, view)
        return view
