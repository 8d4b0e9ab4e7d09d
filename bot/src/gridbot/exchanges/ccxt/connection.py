"""The connection of one account on any spot exchange of ccxt: its unified methods, over REST.

Only the class of the exchange in use is imported. Numbers stay the texts that the exchange wrote.
"""

import importlib
import random
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from gridbase.ccxt_package import exchange_class, redirected, spot_alone
from gridbase.clock import Clock
from gridbase.errors import UserError
from gridbase.market import plain

from gridbot.config.load import ExchangeConfig
from gridbot.exchanges.access.circuit_breaker import Circuit
from gridbot.exchanges.access.request_gate import SENSELESS, AnsweredError, RequestGate
from gridbot.exchanges.access.server_time import ServerTime
from gridbot.exchanges.access.testnet import use_testnet
from gridbot.exchanges.access.unanswered import MARKET_HEADER, no_answer
from gridbot.exchanges.ccxt.requirements import missing
from gridbot.exchanges.port import BrokerError, Failure

LONGEST_MESSAGE = 200

_Result = TypeVar("_Result")


class CcxtConnection:
    """The connection of one account.

    Args:
        config: names the exchange.
        api_key: names the account.
        api_secret: signs requests.
        clock: time; ccxt's own clock is replaced by it.
        session: HTTP session, kept alive between requests.
        dice: spreads pauses; one with a seed makes them repeatable.

    Attributes:
        client: ccxt's instance.
        circuit: the exchange's breaker.
        time: the exchange's time.
        market_label: see `Broker`.

    Raises:
        UserError: ccxt has no such exchange, or it does not offer what the bot needs.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        api_key: str,
        api_secret: str,
        *,
        clock: Clock,
        session: requests.Session | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = plain(config.timeout_seconds)
        self.exchange = config.name
        self.market_label = ""
        self.monotonic = clock.monotonic
        self.time = ServerTime(clock)
        self._answered = False
        self._last_request = float("-inf")
        self._markets: list[dict[str, Any]] = []
        self._views: dict[str, object] = {}  # by unified name
        session = session or requests.Session()
        session.trust_env = False
        session.hooks["response"].append(self._seen)
        self.client = _client(config, api_key, api_secret, session)
        self.client.milliseconds = self.time.now_ms
        lacking = missing(self.client)
        if lacking:
            raise UserError(
                f'exchange.name = "{self.exchange}" does not offer what the bot needs, as far as '
                f"ccxt knows it: {', '.join(lacking)}"
            )
        self._errors = importlib.import_module("ccxt.base.errors")
        self.address = self.exchange if config.url is None else config.url
        self.circuit = Circuit(clock, self.address)
        self._request_gate = RequestGate(clock, self.circuit, dice)

    def wait(self, seconds: float) -> None:
        """Wait that long, or until stopped."""
        self._clock.sleep(seconds)

    def close(self) -> None:
        """Close the connections."""
        self.client.session.close()

    def document(self) -> dict[str, object]:
        """State for people; see `BinanceConnection.document`."""
        return {
            "circuit": self.circuit.document(),
            "circuit_changes": dict(self.circuit.changes),
            "requests": dict(self._request_gate.outcomes),
            # None: this way to an exchange has no streams that could be down.
            "account_stream": None,
            "market_stream": None,
            "clock_ahead_ms": self.time.ahead_ms,
            "weight_used": None,
            "weight_limit": None,
            "weight_own": None,
            "weight_share": None,
        }

    def market(self, symbol: str) -> dict[str, Any]:
        """Ccxt's description of a market; of all others nothing is kept.

        Raises:
            UserError: the exchange does not trade the symbol.
            BrokerError: see `Failure`.
        """
        if not any(row["symbol"] == symbol for row in self._markets):
            wanted = {symbol, *self._views}
            rows = self.ask(self.client.fetch_markets)
            self._markets = [row for row in rows if row["symbol"] in wanted and row["spot"]]
            self.client.set_markets(self._markets)
        for row in self._markets:
            if row["symbol"] == symbol:
                return row
        raise UserError(f'market.symbol = "{symbol}" is not traded on {self.exchange}')

    def synchronise(self) -> None:
        """Set the exchange's time anew, where it tells it."""
        self.time.forget()
        if self.client.has.get("fetchTime") is not True:
            return
        before = self._clock.monotonic()
        self.time.sample(before, int(self.ask(self.client.fetch_time)))

    def ask(
        self,
        method: Callable[..., Any],
        *arguments: Any,
        read: Callable[[Any], _Result] | None = None,
        once: bool = False,
        urgent: bool = False,
    ) -> Any:
        """Make a request by one of ccxt's methods, and read its answer.

        Args:
            method: bound to `client`.
            arguments: of the method.
            read: makes the result from the answer; the answer itself where it is None.
            once: it changes something, and is not repeated.
            urgent: it takes risk away: the circuit breaker lets it through sooner.

        Raises:
            BrokerError: see `Failure`.
        """

        def request() -> Any:
            try:
                # ccxt's own parsers fail as well at an answer that is not what it should be.
                document = self._send(method, arguments)
                return document if read is None else read(document)
            except SENSELESS as error:
                raise BrokerError(
                    Failure.AMBIGUOUS,
                    f"exchange {self.address}: its answer to {method.__name__} makes no sense",
                ) from error

        try:
            return self._request_gate.ask(request, once=once, urgent=urgent)
        except BrokerError as error:
            if error.failure is not Failure.CLOCK:
                raise
            # It was refused for certain.
            self.synchronise()
            if once and not urgent:
                raise
        return self._request_gate.ask(request, once=once, urgent=urgent)

    def _send(self, method: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        pause = self._last_request + self.client.rateLimit / 1000 - self._clock.monotonic()
        if pause > 0:
            self._clock.sleep(pause)
        self._last_request = self._clock.monotonic()
        self._answered = False
        outer = sys.exception()
        # ccxt's class of Binance takes a refused key for a ban once a request has succeeded.
        self.client.options["hasAlreadyAuthenticatedSuccessfully"] = False
        try:
            return method(*arguments)
        except self._errors.BaseError as error:
            raise self._failure(error, outer) from error
        finally:
            self.client.last_http_response = self.client.last_json_response = None

    def _seen(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        self._answered = True
        self.market_label = response.headers.get(MARKET_HEADER, "")

    def _failure(self, error: Exception, outer: BaseException | None) -> BrokerError:
        if not self._answered and isinstance(error, self._errors.NetworkError):
            return no_answer(error, outer, self.address, self._timeout)
        kind, decided = self._kind(error)
        # Addresses bear signatures.
        said = re.sub(r"https?://\S+", "", str(error)).replace("\n", " ")[:LONGEST_MESSAGE]
        message = f"exchange {self.address}: {type(error).__name__}: {said}"
        return AnsweredError(kind, message, decided=decided)

    def _kind(self, error: Exception) -> tuple[Failure, bool]:
        """Kind of a failure by its class, and whether it is the exchange's decision."""
        errors = self._errors
        if isinstance(error, errors.DuplicateOrderId) or "duplicate" in str(error).lower():
            # The first attempt did arrive: the order has to be asked for.
            return Failure.AMBIGUOUS, True
        table = (
            (errors.OrderNotFound, Failure.NOT_FOUND, True),
            (errors.AuthenticationError, Failure.AUTH, True),
            (errors.InvalidNonce, Failure.CLOCK, True),
            (errors.DDoSProtection, Failure.RATE_LIMITED, True),
            (errors.OperationFailed, Failure.AMBIGUOUS, False),
            (errors.BadResponse, Failure.AMBIGUOUS, False),
            (errors.OrderImmediatelyFillable, Failure.WOULD_TAKE, True),
            (errors.InvalidOrder, Failure.REJECTED, True),
            (errors.InsufficientFunds, Failure.REJECTED, True),
            (errors.BadRequest, Failure.REJECTED, True),
            (errors.OperationRejected, Failure.REJECTED, True),
            (errors.InvalidAddress, Failure.REJECTED, True),
            (errors.ArgumentsRequired, Failure.REJECTED, True),
            (errors.NotSupported, Failure.REJECTED, True),
        )
        for kind, failure, decided in table:
            if isinstance(error, kind):
                return failure, decided
        return Failure.AMBIGUOUS, True  # it said something that ccxt has no word for


def _client(config: ExchangeConfig, key: str, secret: str, session: requests.Session) -> Any:
    name = config.name
    try:
        kind = exchange_class(name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(f'exchange.name = "{name}" is no exchange that ccxt knows') from error
    client = kind(
        {
            "apiKey": key,
            "secret": secret,
            "session": session,
            "timeout": int(config.timeout_seconds * 1000),
            "enableRateLimit": False,  # it would sleep by a clock that is not ours
            "options": {"defaultType": "spot", "fetchCurrencies": False, "fetchMargins": False},
        }
    )
    client.number = str
    spot_alone(client)
    if config.url is not None:
        # A paper bot knows no address but the one in its configuration.
        client.urls = {"api": redirected(client.urls["api"], config.url)}
    elif config.testnet:
        use_testnet(client)
    return client
