"""The server is killed while orders flow: what it acknowledged is there afterwards."""

import http.client
import random
import threading
import time
from decimal import Decimal

import pytest

PAUSES_S = (0.15, 0.41, 0.22, 0.57, 0.3, 0.18, 0.49, 0.36)  # from start to kill
CLIENTS = 2


class Trader(threading.Thread):
    """Places and cancels orders until the server goes away; notes what was acknowledged."""

    def __init__(self, server, name: str, seed: int, acknowledged: dict) -> None:
        super().__init__()
        self.server = server
        self.prefix = name
        self.random = random.Random(seed)  # noqa: S311  a test, not a secret
        self.acknowledged = acknowledged
        self.refused = 0
        self.sent: list[str] = []

    def run(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                self.place(f"{self.prefix}-{number}")
                if number % 3 == 0:
                    self.cancel(f"{self.prefix}-{number - 1}")
        except (OSError, http.client.HTTPException, ValueError):
            return

    def place(self, name: str) -> None:
        self.sent.append(name)
        status, answer = self.server.request(
            "POST",
            "order",
            symbol="BTCUSDT",
            side=self.random.choice(["BUY", "SELL"]),
            type="LIMIT",
            timeInForce="GTC",
            quantity="0.001",
            price=str(self.random.randrange(49_900, 50_100)),
            newClientOrderId=name,
        )
        if status == 200:
            self.acknowledged[name] = answer
        else:
            assert answer["code"] == -2010, answer
            self.refused += 1

    def cancel(self, name: str) -> None:
        status, answer = self.server.request(
            "DELETE", "order", symbol="BTCUSDT", origClientOrderId=name
        )
        if status == 200:
            self.acknowledged[name] = answer
        else:
            assert answer["code"] == -2011, answer


@pytest.fixture
def server(make_server, tmp_path):
    config = tmp_path / "exchange.toml"
    config.write_text(
        "max_orders = 5000\norders_per_10s = 1000000\nweight_per_minute = 1000000\n"
        '[balances]\nUSDT = "100000"\nBTC = "2"\n'
    )
    return make_server("--config", str(config), "--speed", "6000")


def everything(server, path: str, key: str) -> list[dict]:
    rows: list[dict] = []
    while True:
        first = rows[-1][key] + 1 if rows else 1
        name = "fromId" if path == "myTrades" else key
        status, page = server.request("GET", path, symbol="BTCUSDT", limit=1000, **{name: first})
        assert status == 200, page
        rows += page
        if len(page) < 1000:
            return rows


def test_nothing_acknowledged_is_lost_when_killed(server):
    seen_orders = seen_trades = 0
    for round_ in range(len(PAUSES_S)):
        acknowledged: dict[str, dict] = {}
        traders = [
            Trader(server, f"r{round_}-t{number}", round_ * 10 + number, acknowledged)
            for number in range(CLIENTS)
        ]
        for trader in traders:
            trader.start()
        time.sleep(PAUSES_S[round_])
        server.kill()
        for trader in traders:
            trader.join()
        # The market stands still while it is checked.
        server.start("--speed", "0.001")
        sent = {name for trader in traders for name in trader.sent}
        orders = everything(server, "allOrders", "orderId")
        trades = everything(server, "myTrades", "id")
        check_acknowledged(acknowledged, sent, orders, round_)
        check_books(server, orders, trades)
        assert server.stop() == 0
        server.start()
        assert len(orders) > seen_orders
        assert len(trades) >= seen_trades
        seen_orders, seen_trades = len(orders), len(trades)
    assert seen_trades > 10


def check_acknowledged(acknowledged, sent, orders, round_) -> None:
    stored = {order["clientOrderId"]: order for order in orders}
    assert len(stored) == len(orders), "an order is there twice"
    for name, answer in acknowledged.items():
        order = stored[name]
        assert order["orderId"] == answer["orderId"]
        # An open order may have been filled later; a closed one stays as it was told.
        assert answer["status"] in ("NEW", order["status"])
    mine = {name for name in stored if name.startswith(f"r{round_}-")}
    assert acknowledged.keys() <= mine <= sent


def check_books(server, orders, trades) -> None:
    """Orders, trades and balances tell the same story."""
    executed: dict[int, Decimal] = {}
    totals = {"USDT": Decimal(100_000), "BTC": Decimal(2)}
    for trade in trades:
        number, quantity = trade["orderId"], Decimal(trade["qty"])
        executed[number] = executed.get(number, Decimal(0)) + quantity
        sign = 1 if trade["isBuyer"] else -1
        totals["BTC"] += sign * quantity
        totals["USDT"] -= sign * Decimal(trade["quoteQty"])
        totals[trade["commissionAsset"]] -= Decimal(trade["commission"])
    for order in orders:
        assert Decimal(order["executedQty"]) == executed.get(order["orderId"], 0)
        assert (order["status"] == "FILLED") == (order["executedQty"] == order["origQty"])
    _, account = server.request("GET", "account")
    assert {
        balance["asset"]: Decimal(balance["free"]) + Decimal(balance["locked"])
        for balance in account["balances"]
    } == totals
