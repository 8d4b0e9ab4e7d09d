"""Serves the exchange: builds it from its settings, listens, and stops in an orderly way."""

import logging
import re
import signal
import socket
import sys
import threading
from decimal import Decimal
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from gridbase.candles.price_units import from_units
from gridbase.candles.reader import load_series
from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError
from gridbase.market import plain
from gridbase.secret_files import read_secret
from gridbase.sockets.dialer import Dialer, ThreadDialer
from waitress.server import BaseWSGIServer, MultiSocketServer, create_server

from gridexchange.config import ExchangeConfig
from gridexchange.counters import UPSTREAM
from gridexchange.errors import ApiError
from gridexchange.exchange import Exchange
from gridexchange.faults.plan import Faults
from gridexchange.limits import Limits
from gridexchange.market.feed import Feed, Pace, Series
from gridexchange.market.listing import Listing
from gridexchange.market.synthetic import SyntheticSeries, SyntheticSettings
from gridexchange.market_ticker import Pump
from gridexchange.matching.rules import Rules
from gridexchange.opening import market_rules, opening_price
from gridexchange.protocol.requests import API_KEY, Credentials
from gridexchange.rest.application import Api
from gridexchange.rest.broken_connections import Breakable
from gridexchange.store.store import Store

if TYPE_CHECKING:
    from requests import Session

    from gridexchange.live.follower import Follower, FollowerThread
    from gridexchange.streams.server import StreamServer

LOG = logging.getLogger("gridexchange")
THREADS = 4
FAULTY_THREADS = 16  # a request that hangs or is late keeps one
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
    faults = Faults(config.faults, clock)
    listings = [_listing(each, faults) for each in config.each_symbol]
    exchange = Exchange(
        listings,
        store=Store(config.state_directory),
        balances=config.balances,
        clock=clock,
    )
    limits = Limits(config.weight_per_minute, config.orders_per_10s)
    return Api(
        exchange,
        credentials,
        limits,
        market_label(config),
        most_connections=config.stream_connections,
        faults=faults,
    )


def _listing(config: ExchangeConfig, faults: Faults) -> Listing:
    market = market_rules(config, opening_price(config))
    rules = Rules(
        market,
        config.fee_rate,
        config.fee_in,
        band=config.price_band,
        bnb_price=config.bnb_price,
        spread=config.spread,
        self_trade_prevention=config.self_trade_prevention,
    )
    if config.live:
        from gridexchange.live.listing import LiveListing

        return LiveListing(rules, config.live)
    series = _series(config, market.tick_size)
    return Listing(
        rules,
        Feed(series, config.at_end),
        Pace(config.speed, series.interval_ms),
        faults,
        depth=config.book_levels,
    )


def build_follower(
    api: Api, config: ExchangeConfig, clock: Clock, session: "Session", dialer: Dialer
) -> "Follower":
    """What keeps an exchange up with the one that it follows.

    Args:
        api: the exchange; nobody is answered before there is a price.
        config: its settings, with `live`.
        clock: the time.
        session: carries requests to the other exchange.
        dialer: opens connections to it.
    """
    from gridbase.public_rest import Rest

    from gridexchange.live.follower import Follower

    address, streams = config.live_addresses
    rest = Rest(address, partial(api.exchange.counters.add, UPSTREAM), session)
    follower = Follower(
        config.live, api.exchange, rest=rest, streams=streams, dialer=dialer, clock=clock
    )
    api.faults.closed = lambda: follower.closed
    api.live = follower.told
    return follower


def market_label(config: ExchangeConfig) -> str:
    """What the header X-Gridberry-Market says, such as ``synthetic seed=7 speed=60``.

    Where there are several symbols, each one's name stands before its own.
    """
    if config.symbols:
        return ", ".join(
            f"{each.symbol.replace('/', '')} {market_label(each)}" for each in config.symbols
        )
    if config.live:
        return f"live prices of {config.live}"
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
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        # What hangs on purpose ends first: the server waits for its threads.
        stopping.set()
        raise SystemExit(ExitCode.OK)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # Listening first: a port in use is told before a long candle file is read.
    listener = _listen(config, "port", config.port)
    stream_listener = None
    if config.stream_port is not None:
        stream_listener = _listen(config, "stream_port", config.stream_port)
    api = build_api(config, clock)
    exchange = api.exchange
    for listing in exchange.listings.values():
        if listing.restarted:
            LOG.warning(
                "%s: %s, so the market starts anew at %s; balances and orders stay",
                listing.rules.market.symbol,
                listing.restarted,
                plain(from_units(listing.feed.price(0))),
            )
    server = _server(api, listener, stopping)
    pump = Pump(api)
    following = _follow(api, config, clock, pump) if config.live else None
    streams = None if stream_listener is None else _stream_server(api, stream_listener)
    host, port = listener.getsockname()[:2]
    symbols = " ".join(each.symbol for each in config.each_symbol)
    LOG.info("%s on http://%s:%s, market: %s", symbols, host, port, market_label(config))
    try:
        server.run()
    finally:
        if following is not None:
            following.stop()
        pump.stop()
        if streams is not None:
            streams.stop()
        server.close()
        _close(exchange)
    return ExitCode.OK


def _server(
    api: Api, listener: socket.socket, stopping: threading.Event
) -> MultiSocketServer | BaseWSGIServer:
    """What serves the REST API."""
    if not api.faults.active:
        return create_server(api, sockets=[listener], threads=THREADS, ident=SERVER_NAME)
    LOG.warning("faults are on: %s", ", ".join(api.faults.kinds))
    application = Breakable(api, stopping)
    return create_server(application, sockets=[listener], threads=FAULTY_THREADS, ident=SERVER_NAME)


def _stream_server(api: Api, listener: socket.socket) -> "StreamServer":
    # Only who is told to serve streams pays for their library.
    from gridexchange.streams.server import StreamServer

    LOG.info("streams on ws://%s:%s", *listener.getsockname()[:2])
    return StreamServer(api.streams, listener)


def _follow(api: Api, config: ExchangeConfig, clock: Clock, pump: Pump) -> "FollowerThread":
    import requests
    from gridbase.sockets.websocket import connect

    from gridexchange.live.follower import FollowerThread

    session = requests.Session()
    session.trust_env = False  # no proxy is asked, and no other address than the one configured
    follower = build_follower(api, config, clock, session, ThreadDialer(connect))
    LOG.info("following %s at %s and %s", config.live, *config.live_addresses)
    return FollowerThread(follower, clock, pump.wake)


def _close(exchange: Exchange) -> None:
    try:
        exchange.close()
    except ApiError as error:
        raise UserError(exchange.trouble, ExitCode.STATE) from error
    LOG.info("stopped")


def _listen(config: ExchangeConfig, name: str, port: int) -> socket.socket:
    try:
        return socket.create_server((config.host, port))
    except OSError as error:
        raise UserError(
            f"host = {config.host}, {name} = {port}: cannot listen: {error.strerror}"
        ) from error


def _credentials(config: ExchangeConfig) -> Credentials:
    api_key = read_secret(config.api_key_file, "api_key_file")
    if not API_KEY.match(api_key):
        raise UserError(
            f"api_key_file = {config.api_key_file} needs 1 to 128 letters, digits, - or _"
        )
    secret = read_secret(config.api_secret_file, "api_secret_file")
    return Credentials(api_key, secret, config.withdrawals)


def _series(config: ExchangeConfig, tick_size: Decimal) -> Series:
    if config.candles is None:
        return SyntheticSeries(SyntheticSettings(config.seed, config.start_price, tick_size))
    series = load_series(config.candles)
    for sentence in series.findings.sentences():
        LOG.info("%s: %s", config.candles, sentence)
    return series
