"""`gridbot resume`: end a pause, and clear a kill switch, so that the bot begins a new grid."""

import argparse
import time
from contextlib import closing
from dataclasses import replace

from gridbase.errors import ExitCode, UserError
from gridbase.market import plain

from gridbot.commands.arguments import add_config, add_symbol, chosen
from gridbot.config.load import AccountConfig, GridConfig, load_config
from gridbot.store import GridRun, Store
from gridbot.trading.account_guard import ACCOUNT
from gridbot.trading.handover import elsewhere, takeover_of
from gridbot.trading.run_settings import settings_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_symbol(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--take-nothing",
        action="store_true",
        help="the new grid begins with what is configured; coins that the ended one left are "
        "yours. Also after a switch was cleared, until the new grid begins",
    )
    what.add_argument(
        "--take-over",
        action="store_true",
        help="the coins that the ended grid left are there, though the account has fewer than "
        "then: the new grid takes them over. Also after a switch was cleared",
    )


def run(args: argparse.Namespace) -> int:
    """End pauses, clear switches; exit 1 where there are none. The bot may run meanwhile."""
    config = load_config(args.config)
    with closing(Store(config.state_directory, beside=True)) as store:
        # First: a grid that began in between would be ended again.
        told = _clear_account(store, all_grids=args.symbol is None)
        done = [_resume(config.account, one, store, args) for one in chosen(config, args.symbol)]
    return ExitCode.OK if told or any(done) else ExitCode.DIFFERS


def _clear_account(store: Store, *, all_grids: bool) -> bool:
    """Clear this judge's verdict over the whole account; whether there was one.

    Raises:
        UserError: it stands, and one grid cannot go on without the others.
    """
    verdict = store.open_halt(ACCOUNT)
    if verdict is None:
        return False
    if not all_grids:
        raise UserError(
            f"--symbol: the loss limit of the whole account is passed ({verdict.text}); "
            "leave it out"
        )
    store.clear_halt(ACCOUNT, time.time_ns() // 1_000_000)
    print(f"account: cleared ({verdict.text}); then resume the other bots of the account")
    return True


def _resume(
    account: AccountConfig, config: GridConfig, store: Store, args: argparse.Namespace
) -> bool:
    """End one grid's pause, clear its switch, say what comes of it; whether there was any."""
    symbol, halt = config.symbol, store.open_halt(config.symbol)
    pause = store.open_pause(symbol)
    told = False
    if args.take_nothing or args.take_over:
        if halt is not None and _runs(store.grid_run(symbol)):
            print(f"{symbol}: the grid has not ended yet; run this again once it has")
            return False
        # Before the switch is cleared: a grid that began in between would not know.
        told = _tell(store, symbol, take_nothing=args.take_nothing)
    now_ms = time.time_ns() // 1_000_000
    if halt is not None:
        store.clear_halt(symbol, now_ms)
    if pause is not None:
        store.clear_pause(symbol, now_ms)
        print(f"{symbol}: goes on after its pause ({pause.reason})")
    if halt is None and not told:
        if pause is None:
            print(f"{symbol}: no kill switch has fired")
        return pause is not None
    cleared = "" if halt is None else f"cleared ({halt.text}); "
    print(f"{symbol}: {cleared}a new grid begins{_with(account, config, store.grid_run(symbol))}")
    return True


def _runs(grid_run: GridRun | None) -> bool:
    return grid_run is not None and grid_run.closed_ms is None


def _tell(store: Store, symbol: str, *, take_nothing: bool) -> bool:
    """Write down whether the next grid takes over what the ended one left.

    Returns:
        Whether the ended one left anything, and no other has begun.
    """
    grid_run = store.grid_run(symbol)
    result = None if grid_run is None else grid_run.result
    if grid_run is None or result is None or not result.takes_over:
        return False
    if take_nothing:
        result = replace(result, takes_over=False, next_range=None)
    return store.set_result(grid_run.id, replace(result, account=None))


def _with(account: AccountConfig, config: GridConfig, previous: GridRun | None) -> str:
    """What the next grid begins with, in words."""
    if _runs(previous):
        return " once this one has ended, with what it leaves"
    settings = settings_of(account, config)
    takeover = takeover_of(previous, settings)
    if takeover is not None:
        left = f" with {plain(takeover.base)} {config.base}"
        if takeover.quote is None:
            return f"{left} that the ended one left, and the investment that is configured"
        return f"{left} and {plain(takeover.quote)} {config.quote} that the ended one left"
    other = "" if previous is None else elsewhere(previous, settings)
    return f" and takes nothing over{f': {other}' if other else ''}"
