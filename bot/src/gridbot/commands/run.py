"""`gridbot run`: trade until stopped."""

import argparse
import logging
import signal
import threading

import waitress.server
from gridbase.clock import SystemClock
from gridbase.errors import ExitCode, UserError

from gridbot import __version__
from gridbot.accounting.settle import KEPT, Settler
from gridbot.commands.arguments import add_config
from gridbot.commands.logs import start_logging
from gridbot.config.load import PageConfig, load_config
from gridbot.exchanges.open_account import open_account
from gridbot.service.bot import Runner
from gridbot.service.grid_worker import AfterStep
from gridbot.service.web import Page
from gridbot.store import Store
from gridbot.trading.trader import Trader

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Run the bot; returns after SIGTERM or SIGINT."""
    config = load_config(args.config)
    start_logging(config.log_level)
    clock = SystemClock()
    account = open_account(config.account, clock)
    runner = Runner(
        config, account, lambda: Store(config.state_directory), clock, after_step=settling()
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())
    log.info(
        "gridbot %s: %s on %s, %s mode, page on port %d",
        __version__,
        ", ".join(one.symbol for one in config.grids),
        account.address,
        config.account.mode,
        config.page.port,
    )
    _serve(config.page, runner)
    try:
        runner.run()
    finally:
        account.close()
    return ExitCode.OK


def settling(kept: int = KEPT) -> AfterStep:
    """What settles closed positions, once they are due."""
    settlers: dict[Store, Settler] = {}

    def after_step(trader: Trader, store: Store) -> None:
        if store not in settlers:
            settlers.clear()
            settlers[store] = Settler(store, kept)
        if trader.engine is None or trader.grid_run is None:
            return
        count = settlers[store].run(trader.grid_run, trader.engine)
        if count:
            log.info("%s: %d closed positions settled", trader.session.config.symbol, count)

    return after_step


def _serve(page: PageConfig, runner: Runner) -> None:
    """Serve the page from a thread of its own.

    It is never closed: it says what goes on until the process ends, and ends with it.
    """
    try:
        server = waitress.server.create_server(
            Page(runner), host=page.host, port=page.port, threads=2, ident="gridbot"
        )
    except (OSError, ValueError) as error:  # ValueError: a name that is not known
        reason = getattr(error, "strerror", None) or "this name is not known"
        raise UserError(
            f"page.host = {page.host}, page.port = {page.port}: the page cannot be served there: "
            f"{reason}"
        ) from error
    threading.Thread(target=server.run, name="page", daemon=True).start()
