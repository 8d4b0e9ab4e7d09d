"""Serves the exchange: builds it from its settings, listens, and stops in an orderly way."""

import logging
import re
import signal
import socket
import sys
import threading
from types import FrameType
from typing import NoReturn

from waitress.server import create_server

from gridbot.candles.reader import load_series
from gridbot.clock import Clock
from gridbot.credentials import read_secret
from gridbot.errors import ExitCode, UserError
from gridbot.exchange.api import Api
from gridbot.exchange.config import ExchangeConfig
from gridbot.exchange.engine import Rules
from gridbot.exchange.errors import ApiError
from gridbot.exchange.feed import Feed, Pace, Series
from gridbot.exchange.limits import Limits
from gridbot.exchange.requests import API_KEY, Credentials
from gridbot.exchange.service import Exchange
from gridbot.exchange.store import Store
from gridbot.exchange.synthetic import SyntheticSeries, SyntheticSettings
from gridbot.market import Market

LOG = logging.getLogger("gridbot.exchange")
THREADS = 4
# Requests advance the market themselves; this is for when nobody asks, so that a backlog stays
# small and fills reach the disk soon.
IDLE_ADVANCE_S = 2.0
SERVER_NAME = "gridberry"


def build_api(config: ExchangeConfig, clock: Clock) -> Api:
    """The exchange and its API, ready to be called.

    Args:
        config: the settings.
        clock: the time; a harness brings its own.

    Raises:
        UserError: a file of the settings cannot be used, or the state directory cannot.
    """
    credentials = _credentials(config)
    series = _series(config)
    base, _, quote = config.symbol.partition("/")
    market = Market(
        symbol=config.symbol,
        base=base,
        quote=quote,
        tick_size=config.tick_size,
        lot_size=config.lot_size,
        min_quantity=config.min_quantity,
        min_notional=config.min_notional,
        max_quantity=config.max_quantity,
        max_orders=config.max_orders,
    )
    exchange = Exchange(
        Rules(market, config.fee_rate, config.fee_in),
        feed=Feed(series, config.at_end),
        pace=Pace(config.speed, series.interval_ms),
        store=Store(config.state_directory),
        balances=config.balances,
        clock=clock,
    )
    limits = Limits(config.weight_per_minute, config.orders_per_10s)
    return Api(exchange, credentials, limits, market_label(config))


def market_label(config: ExchangeConfig) -> str:
    """What the header X-Gridberry-Market says, such as ``synthetic seed=7 speed=60``."""
    speed = f"{float(config.speed):g}"
    if config.candles is None:
        return f"synthetic seed={config.seed} speed={speed}"
    # A header holds printable ASCII only, and its words are parted by spaces.
    name = re.sub(r"[^!-~]", "_", config.candles.name)
    return f"recorded {name} speed={speed}"


def serve(config: ExchangeConfig, clock: Clock) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    Raises:
        UserError: see `build_api`; or the address cannot be listened on.
    """
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    # Listening first: a port in use is told before a long candle file is read.
    listener = _listen(config)
    api = build_api(config, clock)
    exchange = api.exchange
    if exchange.restarted:
        LOG.info("the market has changed since the last run: it starts anew, the books stay")
    server = create_server(api, sockets=[listener], threads=THREADS, ident=SERVER_NAME)
    stopping = threading.Event()
    ticker = threading.Thread(target=_advance, args=(exchange, stopping), daemon=True)
    ticker.start()
    host, port = listener.getsockname()[:2]
    LOG.info("%s on http://%s:%s, market: %s", config.symbol, host, port, market_label(config))
    try:
        server.run()
    finally:
        stopping.set()
        ticker.join(timeout=IDLE_ADVANCE_S)
        server.close()
        _close(exchange)
    return ExitCode.OK


def _advance(exchange: Exchange, stopping: threading.Event) -> None:
    """Let the market go on while nobody asks; tell once when the books cannot be written."""
    told = ""
    while not stopping.wait(IDLE_ADVANCE_S):
        try:
            exchange.advance()
        except ApiError:
            LOG.debug("the market stands still: %s", exchange.trouble)
        if exchange.trouble and not told:
            LOG.error("%s", exchange.trouble)
        elif told and not exchange.trouble:
            LOG.info("books can be written again")
        told = exchange.trouble


def _close(exchange: Exchange) -> None:
    try:
        exchange.close()
    except ApiError as error:
        raise UserError(exchange.trouble, ExitCode.STATE) from error
    LOG.info("stopped")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(ExitCode.OK)


def _listen(config: ExchangeConfig) -> socket.socket:
    try:
        return socket.create_server((config.host, config.port))
    except OSError as error:
        raise UserError(
            f"host = {config.host}, port = {config.port}: cannot listen: {error.strerror}"
        ) from error


def _credentials(config: ExchangeConfig) -> Credentials:
    api_key = read_secret(config.api_key_file, "api_key_file")
    if not API_KEY.match(api_key):
        raise UserError(
            f"api_key_file = {config.api_key_file} needs 1 to 128 letters, digits, - or _"
        )
    return Credentials(api_key, read_secret(config.api_secret_file, "api_secret_file"))


def _series(config: ExchangeConfig) -> Series:
    if config.candles is None:
        return SyntheticSeries(SyntheticSettings(config.seed, config.start_price, config.tick_size))
    series = load_series(config.candles)
    for sentence in series.findings.sentences():
        LOG.info("%s: %s", config.candles, sentence)
    return series
