"""Bot and exchange together: what the bot does when nothing goes wrong, and across restarts."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.errors import MismatchError, UserError
from gridbot.core.orders import Side
from gridbot.core.orders_in_flight import State
from gridbot.exchanges.binance.symbol import BinanceBroker
from gridbot.exchanges.port import BrokerError, Failure, RemoteOrder
from gridbot.trading.run_settings import check_settings
from gridbot.trading.session import Answers
from gridbot.trading.submission import accept

from .conftest import SECRET, World, check_books, lost, zigzag
from .test_policies import START_MS, path


def quiet(world: World) -> None:
    """From here on the market stands still."""
    world.api.exchange.advance()
    world.clock.sleep(10_000)


@pytest.fixture
def traded(make_world):
    """A world whose bot has traded for a while, and then caught up with a market at its end."""
    world = make_world(zigzag(60), at_end="hold")
    trader = world.trader()
    for _ in range(25):
        trader.step()
        world.clock.sleep(2.0)
    quiet(world)
    world.settle(trader)
    return world, trader


def test_a_grid_is_bought_placed_and_traded(traded):
    world, trader = traded
    books = trader.engine.books
    assert books.buys > 5
    assert books.sells > 5
    assert books.grid_profit > 0
    check_books(world, trader)
    report = world.audit()
    assert report.differences == []
    assert report.trades == books.buys + books.sells + 1


def test_the_initial_purchase_is_no_buy_and_costs_no_more_than_planned(make_world):
    world = make_world(
        ["timestamp,open,high,low,close,volume", "1640995200000" + ",50000" * 4 + ",1"]
    )
    trader = world.trader()
    trader.step()
    books = trader.engine.books
    assert (books.buys, books.sells, len(books.recent)) == (0, 0, 0)
    assert books.initial_cost == trader.engine.plan.initial_cost
    assert len(trader.engine.live) == 20


def test_a_restart_changes_nothing(traded):
    world, trader = traded
    before = trader.engine
    sent = len(world.wire.requests)
    again = world.trader()
    again.step()
    assert again.engine.live == before.live
    assert again.engine.books.flows == before.books.flows
    assert again.engine.books.grid_profit == before.books.grid_profit
    assert again.engine.books.fees_in_quote == before.books.fees_in_quote
    assert (again.engine.books.buys, again.engine.books.sells) == (
        before.books.buys,
        before.books.sells,
    )
    assert list(again.engine.books.recent) == list(before.books.recent)
    assert ("POST", "order") not in world.wire.requests[sent:]


def test_fills_while_the_bot_was_down_are_booked_and_answered(make_world):
    world = make_world(at_end="hold")
    trader = world.trader()
    trader.step()
    world.power_off()
    quiet(world)
    world.api.exchange.advance()
    trader = world.trader()
    trader.step()
    assert trader.engine.books.buys + trader.engine.books.sells > 0
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []


@pytest.mark.parametrize("name", ["binance", "binanceus"])
def test_both_exchanges_classes_trade(make_world, name):
    world = make_world(zigzag(20), at_end="hold")
    world.document["exchange"]["name"] = name
    trader = world.trader()
    trader.step()
    quiet(world)
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []


def test_a_quiet_poll_asks_for_open_orders_and_the_price_and_nothing_else(traded):
    world, trader = traded
    sent = len(world.wire.requests)
    trader.step()
    assert world.wire.requests[sent:] == [("GET", "openOrders"), ("GET", "ticker/price")]


def test_connecting_asks_only_for_what_is_needed(make_world):
    world = make_world()
    world.broker().connect()
    assert world.wire.requests == [("GET", "exchangeInfo"), ("GET", "time")]


def test_an_order_canceled_by_hand_is_placed_again(traded):
    world, trader = traded
    order = next(iter(trader.engine.live.values()))
    world.broker().cancel(order.client_id)
    world.settle(trader)
    places = Counter((o.line, o.side) for o in trader.engine.live.values())
    assert places[order.line, order.side] == 1
    assert order.client_id not in trader.engine.live
    assert world.audit().differences == []


def test_orders_of_others_are_left_alone_and_counted(traded, caplog):
    world, trader = traded
    caplog.clear()
    order = next(iter(trader.engine.live.values()))
    other = world.broker()
    foreign = type(order)(
        **{
            **vars(order),
            "client_id": "web_1",
            "price": Decimal(30000),
            "quantity": Decimal("0.001"),
            "side": "buy",
        }
    )
    other.place(foreign)
    for _ in range(3):
        trader.session.trades_due = True  # so that it asks for the list
        trader.step()
    assert trader.foreign_orders == 1
    assert caplog.text.count("1 open orders on the account are not this bot's") == 1
    assert "web_1" in [o.client_id for o in other.open_orders()]
    assert world.audit().differences == []


def test_what_is_held_may_be_sold_while_the_account_may_not_buy(traded):
    session, orders = traded[1].session, traded[1].engine.live.values()
    assert {session.may_send(order) for order in orders} == {True}
    session.account_hold = lambda: "the account's judge is silent"
    assert {(o.side, session.may_send(o)) for o in orders} == {(Side.BUY, False), (Side.SELL, True)}


def test_candles_of_a_replayed_market_are_never_taken_for_those_of_a_stream(traded, monkeypatch):
    """Its time is not the clock's: whether its stream lags cannot be told."""
    session, said = traded[1].session, []
    assert session.broker.market_label
    newest = session.broker.candles("1m", 1)[0].time
    monkeypatch.setattr(session.broker, "stream_candles", lambda *_: newest)
    monkeypatch.setattr(session._cache, "series", lambda *_, streamed: said.append(streamed))
    session.candles("1m", 3)
    assert said == [False]


@pytest.mark.parametrize("newest", [None, START_MS])
def test_candles_are_waited_for_where_a_stream_brings_them(traded, monkeypatch, newest):
    session, said = traded[1].session, []
    monkeypatch.setattr(BinanceBroker, "market_label", "")  # time is the exchange's, not replayed
    monkeypatch.setattr(session.broker, "stream_candles", lambda *_: newest)
    monkeypatch.setattr(session._cache, "series", lambda *_, streamed: said.append(streamed))
    session.candles("1m", 3)
    assert said == [newest is not None]


def test_nothing_is_not_written_down(traded, monkeypatch):
    session, written = traded[1].session, []
    monkeypatch.setattr(session.store, "commit", lambda *_: written.append(1))
    session.commit(session.changes())
    assert written == []


def test_a_bot_that_has_just_begun_has_archived_nothing(traded):
    assert traded[1].session.archived == 0


def test_of_the_latest_acknowledgements_the_median_is_told():
    answers = Answers()
    assert answers.document()["milliseconds"] is None
    for seconds in (0.9, 0.1, 0.2, 0.8, 1.2):
        answers.acknowledge(seconds)
    counts = {"acknowledged": 5, "refused": 0, "unanswered": 0, "doubled": 0}
    assert answers.document() == counts | {"milliseconds": 800}
    assert answers.durations.total == (5, pytest.approx(3.2))


def test_an_order_that_traded_when_it_was_taken_is_news_beside_other_news(make_world):
    """The market is beyond its price: what was asked before is not the price of now."""
    world = make_world(path(50_000, 50_000), at_end="hold")
    world.wire.before = lambda method, _name: lost() if method == "POST" else None
    trader = world.trader()
    with pytest.raises(BrokerError):
        trader.step()
    session = trader.session
    (order,) = trader.engine.live.values()
    assert session.orders[order.client_id].state is State.SENT
    before = session.news
    remote = RemoteOrder(
        "77", order.client_id, order.side, order.price, order.quantity, order.quantity, closed=True
    )
    accept(session, trader.engine, order, remote)
    assert session.news == before + 1


def test_orders_of_a_lost_state_stop_a_new_grid(traded, tmp_path):
    world, _ = traded
    world.power_off()
    (tmp_path / "elsewhere").mkdir()
    world.document["state"]["directory"] = str(tmp_path / "elsewhere")
    trader = world.trader()
    with pytest.raises(MismatchError, match="20 open orders of bot_name = pi1"):
        trader.step()
    assert trader.engine is None


def test_an_exchange_that_lost_its_orders_stops_the_bot(traded, tmp_path):
    world, trader = traded
    (tmp_path / "another").mkdir()
    another = World(tmp_path / "another", zigzag(60), at_end="hold")
    world.wire.application = another.api
    with pytest.raises(MismatchError, match="does not know it now; is this the same account"):
        trader.step()
    another.close()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("grid", "upper", "54000", r"grid\.upper = 54000 differs from 53000"),
        ("grid", "grids", 10, r"grid\.grids = 10 differs from 20"),
        ("grid", "investment", "8000", r"grid\.investment = 8000 differs from 9000"),
    ],
)
def test_a_changed_grid_is_refused_with_what_to_do(traded, section, key, value, message):
    world, _ = traded
    world.document[section][key] = value
    with pytest.raises(UserError, match=message + ".*gridbot close --config bot.toml"):
        world.trader().step()


@pytest.mark.parametrize("label", ["", "a replay of January"])
def test_a_grid_that_begins_is_told(make_world, caplog, monkeypatch, label):
    caplog.set_level("INFO")
    monkeypatch.setattr(BinanceBroker, "market_label", label)
    make_world(path(50_000, 50_000), at_end="hold").trader().step()
    assert f"connected: BTC/USDT, prices: {label or 'those of binance'}" in caplog.messages
    assert "started at 50000, lines from 47000 to 53000: 10 buys, 10 sells of 0.0" in caplog.text


def test_a_setting_that_is_gone_is_refused(traded):
    """One that only the running grid has, as a stop that was taken out of the file."""
    trader = traded[1]
    before = {**trader.grid_run.settings, "grid.gone": "1"}
    with pytest.raises(UserError, match=r"grid\.gone = not set differs from 1"):
        check_settings(
            trader.session.account,
            trader.session.config,
            replace(trader.grid_run, settings=before),
        )


def test_closing_cancels_the_orders_and_keeps_the_books_equal(traded):
    world, _ = traded
    assert world.trader().close_grid(60) == 20
    assert world.broker().open_orders() == []
    assert world.audit().differences == []
    world.document["grid"]["investment"] = "3000"
    trader = world.trader()
    trader.step()
    assert trader.grid_run.id == 2
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []


@pytest.mark.parametrize("patience", [0, 10])
def test_closing_gives_up_where_the_exchange_does_not_confirm(traded, monkeypatch, patience):
    world, _ = traded
    monkeypatch.setattr(BinanceBroker, "cancel", lambda *_: None)
    started = world.clock.seconds
    with pytest.raises(BrokerError, match="20 orders are not confirmed as closed yet; run this a"):
        world.trader().close_grid(patience)
    assert patience < world.clock.seconds - started < patience + 5
    monkeypatch.undo()
    assert world.trader().close_grid(patience) == 20


def test_closing_waits_for_the_exchange_to_confirm(traded, monkeypatch):
    world, _ = traded
    cancel, until = BinanceBroker.cancel, world.clock.seconds + 30

    def late(broker, client_id):
        if world.clock.seconds > until:
            cancel(broker, client_id)

    monkeypatch.setattr(BinanceBroker, "cancel", late)
    assert world.trader().close_grid(60) == 20
    assert world.broker().open_orders() == []


def test_closing_without_a_grid_says_so(make_world):
    with pytest.raises(UserError, match="no grid is running"):
        make_world().trader().close_grid(60)


def test_too_small_an_account_is_told_before_anything_is_sent(make_world):
    world = make_world(balances={"USDT": "5000"})
    with pytest.raises(
        BrokerError, match=r"needs 9000 USDT, and the account has 5000 free"
    ) as told:
        world.trader().step()
    assert told.value.failure is Failure.REJECTED
    assert ("POST", "order") not in world.wire.requests
    assert world.store.grid_run("BTC/USDT") is None


def test_a_symbol_that_is_not_traded_is_told(make_world):
    world = make_world()
    world.document["market"]["symbol"] = "BTC/EUR"
    with pytest.raises(UserError, match=r'market\.symbol = "BTC/EUR" is not traded on binance'):
        world.trader().step()


def test_fees_in_quote_keep_the_books_equal(make_world):
    world = make_world(zigzag(60), at_end="hold", fee_in="quote")
    world.document["fees"] = {"in": "quote"}
    trader = world.trader()
    for _ in range(20):
        trader.step()
        world.clock.sleep(2.0)
    quiet(world)
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []
    assert SECRET not in str(vars(trader))
