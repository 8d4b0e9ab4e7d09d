"""Every way in which the bot reaches an exchange, on the one that can be had here."""

import requests
from gridbot.exchanges.ccxt.account import CcxtAccount

from .conftest import StreamWorld, trading


class CcxtWorld(trading.World):
    """The exchange through ccxt's unified methods."""

    def account(self, secret=trading.SECRET):
        session = requests.Session()
        session.mount("http://", self.wire)
        config = self.config.account.exchange
        return CcxtAccount(config, trading.KEY, secret, clock=self.clock, session=session)

    def other(self):
        """The broker that speaks Binance's API itself."""
        broker = trading.World.account(self).broker(self.grid.symbol)
        broker.connect()
        return broker


WORLDS = {"binance": trading.World, "binance, streaming": StreamWorld, "ccxt": CcxtWorld}
