"""What a person tells grids, from the command line or the page: written to the store.

The bot's loop carries it out as it carries out a kill switch: it survives a crash at any point.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from gridbase.market import plain

from gridbot.config.load import AccountConfig, GridConfig
from gridbot.core.orders import OrderState
from gridbot.store import Store
from gridbot.trading.account_guard import ACCOUNT
from gridbot.trading.session import engine_of

REASON_CODE = "by_hand"


class Action(StrEnum):
    """What a grid can be told."""

    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    LIQUIDATE = "liquidate"


@dataclass(frozen=True)
class Plan:
    """What telling a grid would come to.

    Attributes:
        symbol: unified name.
        possible: whether there is anything to do.
        text: what, with its amounts; or why not.
        orders: open orders that it concerns.
        base: coins that the grid holds; None where no grid runs.
    """

    symbol: str
    possible: bool
    text: str
    orders: int = 0
    base: Decimal | None = None


def plan(store: Store, account: AccountConfig, config: GridConfig, action: Action) -> Plan:
    """What an action would do to a grid now.

    Args:
        store: the books.
        account: of the grid.
        config: of the grid.
        action: which.

    Raises:
        StoreError: the books cannot be read.
    """
    if action is Action.PAUSE:
        return _plan_pause(store, account, config)
    if action is Action.RESUME:
        return _plan_resume(store, config)
    return _plan_end(store, account, config, sell=action is Action.LIQUIDATE)


def _holdings(store: Store, account: AccountConfig, symbol: str) -> tuple[int, Decimal] | None:
    """Open orders and coins of the grid that runs; None where none does."""
    grid_run = store.grid_run(symbol)
    if grid_run is None or grid_run.closed_ms is not None:
        return None
    engine = engine_of(account, grid_run)
    store.restore(grid_run.id, engine)
    orders = sum(order.state is OrderState.OPEN for order in engine.live.values())
    return orders, engine.books.base_held


def _plan_pause(store: Store, account: AccountConfig, config: GridConfig) -> Plan:
    symbol = config.symbol
    if store.open_pause(symbol) is not None:
        return Plan(symbol, possible=False, text="nothing to do: it is paused already")
    orders, base = _holdings(store, account, symbol) or (0, None)
    text = f"send nothing until it is resumed; {orders} open orders stay, and may fill"
    return Plan(symbol, possible=True, text=text, orders=orders, base=base)


def _plan_resume(store: Store, config: GridConfig) -> Plan:
    symbol, verdict = config.symbol, store.open_halt(ACCOUNT)
    if verdict is not None:
        text = (
            f"nothing to do: the loss limit of the whole account is passed ({verdict.text}); "
            "use gridbot resume where the bot runs"
        )
        return Plan(symbol, possible=False, text=text)
    pause, halt = store.open_pause(symbol), store.open_halt(symbol)
    does = []
    if pause is not None:
        does.append(f"go on after its pause ({pause.reason})")
    if halt is not None:
        does.append(f"clear its kill switch ({halt.text}); a new grid begins, and buys")
    if not does:
        return Plan(symbol, possible=False, text="nothing to do: it is neither paused nor off")
    return Plan(symbol, possible=True, text=" and ".join(does))


def _plan_end(store: Store, account: AccountConfig, config: GridConfig, *, sell: bool) -> Plan:
    symbol, halt = config.symbol, store.open_halt(config.symbol)
    if halt is not None:
        text = f"nothing to do: it ends or has ended ({halt.text})"
        return Plan(symbol, possible=False, text=text)
    holdings = _holdings(store, account, symbol)
    if holdings is None:
        return Plan(symbol, possible=False, text="nothing to do: no grid runs")
    orders, base = holdings
    held = f"{plain(base)} {config.base}"
    text = f"cancel {orders} open orders and {'sell' if sell else 'keep'} {held}"
    return Plan(symbol, possible=True, text=text, orders=orders, base=base)


def carry_out(
    store: Store,
    account: AccountConfig,
    config: GridConfig,
    action: Action,
    *,
    reason: str,
    at_ms: int,
    shown: str | None = None,
) -> Plan:
    """Write an action down for the bot, where there is anything to do.

    A resume does what was shown or nothing: a kill switch may have fired since.

    Args:
        store: the books, opened beside the bot.
        account: of the grid.
        config: of the grid.
        action: which.
        reason: one line for a person.
        at_ms: Unix milliseconds.
        shown: the text of the plan that a person has confirmed; None: nothing was shown.

    Returns:
        What is done.

    Raises:
        StoreError: it cannot be written; then nothing was.
    """
    symbol, halt = config.symbol, store.open_halt(config.symbol)
    now = plan(store, account, config, action)
    if not now.possible:
        return now
    if action is Action.RESUME and shown not in (None, now.text):
        text = f"not done, as it would now {now.text}: look, and confirm that"
        return Plan(symbol, possible=False, text=text)
    if action is Action.PAUSE:
        store.pause(symbol, reason=reason, at_ms=at_ms)
    elif action is Action.RESUME:
        if halt is not None:
            store.clear_halt(symbol, at_ms)
        store.clear_pause(symbol, at_ms)
    else:
        store.halt(
            symbol,
            reason_code=REASON_CODE,
            text=f"flattened by hand: {reason}",
            price=Decimal(0),  # nobody has asked for one
            at_ms=at_ms,
            liquidate=action is Action.LIQUIDATE,
        )
    return now
