"""What a backtest found: the fills, the books and how far equity fell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridbase.candles.price_units import from_units
from gridbase.market import plain

from gridbot.backtest.data import Candles
from gridbot.backtest.equity import Curve, Drawdown
from gridbot.backtest.ledger import Ledger
from gridbot.backtest.tariff import Account
from gridbot.core.books import ZERO
from gridbot.core.grid import Plan
from gridbot.core.orders import Side


@dataclass(frozen=True)
class BacktestFill:
    """One filled order of the grid.

    Attributes:
        time_ms: when the candle opens in which it fills (Unix milliseconds).
        line: index of its line.
        side: which way it trades.
        price: the order's own (quote per base).
        quantity: base traded.
        fee: in `fee_coin`.
        fee_coin: coin that the fee is taken in.
    """

    time_ms: int
    line: int
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_coin: str


@dataclass(frozen=True)
class Result:
    """One backtest.

    Attributes:
        candles: the market.
        plan: the grid as it was placed at the first candle's open.
        ledger: its fills, as arrays.
        account: the books after the last candle.
        drawdown: how far equity fell.
        seconds: what the computation took, from the candles' arrays to the books.
    """

    candles: Candles
    plan: Plan
    ledger: Ledger
    account: Account
    drawdown: Drawdown
    seconds: float

    @property
    def price(self) -> Decimal:
        """The last close (quote)."""
        return from_units(int(self.candles.closes[-1]))

    @property
    def equity(self) -> Decimal:
        """Equity at the last close (quote)."""
        return self.account.equity(self.price)

    @property
    def initial_base(self) -> Decimal:
        """What the initial purchase brought, after its fee (base)."""
        initial = self.ledger.tariff.initial
        return ZERO if initial is None else initial.base

    @property
    def initial_cost(self) -> Decimal:
        """What the initial purchase cost, with its fee (quote)."""
        initial = self.ledger.tariff.initial
        return ZERO if initial is None else -initial.quote

    def fills(self) -> Iterator[BacktestFill]:
        """Every fill, in the order of the walk."""
        times = self.candles.times[self.ledger.candle].tolist()
        for index, time_ms in enumerate(times):
            move = self.ledger.move(index)
            yield BacktestFill(
                time_ms=time_ms,
                line=self.ledger.line(index),
                side=move.side,
                price=move.price,
                quantity=move.quantity,
                fee=move.fee,
                fee_coin=move.fee_coin,
            )

    def curve(self) -> Curve:
        """Equity over time."""
        return Curve(self.candles, self.ledger)

    def document(self, *, fills: bool = False) -> dict[str, Any]:
        """The result as one JSON object; amounts are decimal texts."""
        account = self.account
        document: dict[str, Any] = {
            "candles": len(self.candles),
            "buys": account.buys,
            "sells": account.sells,
            "pairs": account.sells,
            "grid_profit": plain(account.grid_profit),
            "unrealised_profit": plain(account.unrealised_profit(self.price)),
            "fees": plain(account.fees_in_quote),
            "quantity": plain(self.plan.quantity),
            "start_price": plain(self.plan.start_price),
            "initial_base": plain(self.initial_base),
            "initial_cost": plain(self.initial_cost),
            "lines": [plain(line) for line in self.plan.lines],
            "final": {
                "base": plain(account.base),
                "quote": plain(account.quote),
                "equity": plain(self.equity),
                "price": plain(self.price),
            },
            "max_drawdown": plain(self.drawdown.share),
            "max_drawdown_quote": plain(self.drawdown.quote),
            "seconds": self.seconds,
            "candles_per_second": round(len(self.candles) / self.seconds),
        }
        if fills:
            document["fills"] = [_fill_document(fill) for fill in self.fills()]
        return document


def _fill_document(fill: BacktestFill) -> dict[str, Any]:
    return {
        "time": fill.time_ms,
        "side": str(fill.side),
        "price": plain(fill.price),
        "quantity": plain(fill.quantity),
        "fee": plain(fill.fee),
        "fee_currency": fill.fee_coin,
    }
