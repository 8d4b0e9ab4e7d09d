"""`gridbot run`: trade until stopped."""

import argparse
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

from gridbase.clock import SystemClock
from gridbase.errors import ExitCode, UserError
from gridbase.http import Channel, WebServer
from gridbase.metrics import Access as ScrapeAccess
from gridbase.metrics import MetricsPage
from gridbase.secret_files import read_secret
from gridbase.tokens import load

from gridbot import __version__
from gridbot.accounting.settle import KEPT, Settler
from gridbot.commands.arguments import add_config
from gridbot.commands.logs import start_logging
from gridbot.config.load import BotConfig, load_config
from gridbot.exchanges.account import Account
from gridbot.exchanges.open_account import open_account
from gridbot.service.access import Access
from gridbot.service.acting import Acting
from gridbot.service.alerts import channels
from gridbot.service.alerts.ledger import Ledger
from gridbot.service.alerts.messages import Sender
from gridbot.service.alerts.queue_file import NAME as QUEUE
from gridbot.service.alerts.sender import AlertSender
from gridbot.service.api import Api
from gridbot.service.audit_log import AuditLog
from gridbot.service.bot import Runner
from gridbot.service.grid_worker import AfterStep
from gridbot.service.log_lines import LogLines
from gridbot.service.metrics import exposition
from gridbot.service.verdicts import Follower, VerdictPage
from gridbot.service.web import Page
from gridbot.store import Store
from gridbot.trading.account_guard import AccountGuard, Judge
from gridbot.trading.trader import Trader

if TYPE_CHECKING:
    from gridbase.http.server import Application

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Run the bot; returns after SIGTERM or SIGINT."""
    config = load_config(args.config)
    start_logging(config)
    clock = SystemClock()
    account = open_account(config.account, clock)
    guard, judge = _account_guard(config, account, clock)
    runner = Runner(
        config,
        account,
        lambda: Store(config.state_directory),
        clock,
        after_step=settling(),
        guard=guard,
        judge=judge,
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
    scraped = MetricsPage(lambda: exposition(runner.status, runner.timings), _scrape_access(config))
    page = Page(runner, scraped)
    page.api = _api(config, runner, clock, page.channel)
    page.sign_in = config.page.tokens_file is not None
    _serve(page, "page", config.page.host, config.page.port)
    page.live(lambda: runner.revision, clock.monotonic).start()
    if config.alerts.enabled:
        _alert_sender(config, runner, clock).start()
    try:
        runner.run()
    finally:
        account.close()
    return ExitCode.OK


def _api(config: BotConfig, runner: Runner, clock: SystemClock, channel: Channel) -> Api:
    """What is below `/api/v1`; it is off until there is a file of tokens."""
    if config.page.tokens_file is not None:
        load(config.page.tokens_file)  # what is wrong with it is said before anything trades
    lines = LogLines()
    logging.getLogger("gridbot").addHandler(lines)
    audit = AuditLog(config.state_directory)
    access = Access(config.page, clock.monotonic)
    acting = Acting(config, clock, audit)
    return Api(runner, access, acting=acting, audit=audit, log=lines, channel=channel)


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
        trader.session.archived += count
        if count:
            log.info("%s: %d closed positions settled", trader.session.config.symbol, count)

    return after_step


def _account_guard(
    config: BotConfig, account: Account, clock: SystemClock
) -> tuple[AccountGuard | None, Judge | None]:
    """What watches over the account, started; None where nobody does, or another bot judges.

    A follower asks from the start. A judge answers once it has judged.
    """
    rules = config.account_guard
    if rules.token_file is None or rules.role == "off":
        return None, None
    token = read_secret(rules.token_file, "account_guard.token_file")
    guard = AccountGuard(rules.silence_seconds, clock)
    if rules.role == "judge":
        _serve(VerdictPage(guard, token, clock), "account_guard", rules.host, rules.port)
        return guard, Judge(rules, account.broker, clock, guard)
    Follower(str(rules.url), token, clock, guard).start()
    return guard, None


def _alert_sender(config: BotConfig, runner: Runner, clock: SystemClock) -> AlertSender:
    """What raises and delivers alerts."""
    name = config.account.bot_name
    sender = Sender(config.alerts.host, name, config.account.mode, config.alerts.runbooks)
    return AlertSender(
        runner.status,
        Ledger(name),
        config.state_directory / QUEUE,
        clock,
        alertmanager=channels.alertmanager(config.alerts, sender, clock),
        direct=channels.direct(config.alerts, sender, clock),
    )


def _scrape_access(config: BotConfig) -> ScrapeAccess:
    """Who may read the metrics."""
    file = config.metrics_token_file
    token = None if file is None else read_secret(file, "metrics.token_file")
    return ScrapeAccess(token, config.page.host)


def _serve(application: "Application", section: str, host: str, port: int) -> None:
    """Serve an application from a thread of its own.

    It is never closed: it says what goes on until the process ends, and ends with it.
    """
    try:
        server = WebServer(application, host, port)
    except OSError as error:
        number = error.errno or 0  # below 0 it is one of the resolver's
        reason = os.strerror(number) if number > 0 else "this name is not known"
        raise UserError(
            f"{section}.host = {host}, {section}.port = {port}: the page cannot be served there: "
            f"{reason}"
        ) from error
    threading.Thread(target=server.run, name=section, daemon=True).start()
