"""What the exchange was read to have, before it is booked. Pure."""

from dataclasses import dataclass, field
from decimal import Decimal

from gridbase.market import EXACT

from gridbot.core.engine import GridEngine
from gridbot.core.orders import Fill, Order, Side
from gridbot.exchanges.port import RemoteTrade


@dataclass
class Reading:
    """What the exchange was read to have, not booked yet.

    Attributes:
        trades: that are not booked.
        closed: orders that were closed before all of them traded.
        cursor: from where trades are to be read the next time; None: from where they were now.
        incomplete: what is missing, by the client order ID of the order that it is missing of.
    """

    trades: list[RemoteTrade]
    closed: list[Order] = field(default_factory=list)
    cursor: str | None = None
    incomplete: dict[str, str] = field(default_factory=dict)

    def executed(self, engine: GridEngine, order: Order) -> Decimal:
        """What has traded of a live order, booked or read (base)."""
        total = engine.executed(order.client_id)
        for trade in self.trades:
            if trade.exchange_id == order.exchange_id:
                total = EXACT.add(total, trade.quantity)
        return total


def fill_of(trade: RemoteTrade, client_id: str) -> Fill:
    """A trade of the exchange as a fill of one of the bot's orders."""
    return Fill(
        trade_id=trade.trade_id,
        client_id=client_id,
        side=Side(trade.side),
        price=trade.price,
        quantity=trade.quantity,
        quote=trade.quote,
        commission=trade.commission,
        commission_coin=trade.commission_coin,
        time_ms=trade.time_ms,
        maker=trade.maker,
    )
