"""The connection of one account at Interactive Brokers, by ib_async's client.

The client is asynchronous. Its loop runs in the thread that trades, while that waits for an answer
or for news, and at no other time: nothing has to be locked, and the Gateway's messages wait in the
socket meanwhile. Messages are few: no stream but one line of prices for each symbol.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError
from gridbase.gateway.limits import MESSAGE, history
from gridbase.gateway.shared import SharedPacer, Slot
from gridbase.gateway.sockets import through
from gridbase.market import plain
from ib_async.client import Client
from ib_async.decoder import Decoder

from gridbot.config.load import AccountConfig
from gridbot.exchanges.access.circuit_breaker import Circuit
from gridbot.exchanges.access.request_gate import SENSELESS, AnsweredError, RequestGate
from gridbot.exchanges.access.server_time import ServerTime
from gridbot.exchanges.ib.answers import failure_kind, is_paper
from gridbot.exchanges.ib.listener import GatewayError, Listener
from gridbot.exchanges.port import BrokerError, Failure

SLICE_SECONDS = 0.25  # between two looks at whether to stop
LEAST_SECONDS = 0.001  # a loop takes less for no time at all
# After a lost connection, or one that was refused.
RECONNECT_SECONDS = 2.0
PACED_SECONDS = 60.0  # a request that would have to wait longer is not made
LONGEST_MESSAGE = 200
BESIDE = 1_000_000  # added to a client ID; no configured one is as high

_Result = TypeVar("_Result")


class _StrictDecoder(Decoder):
    """Tells of a message that it cannot read, where ib_async's only logs it."""

    def __init__(self, listener: Any) -> None:
        super().__init__(listener, 0)
        self._listener = listener

    def interpret(self, fields: list[str]) -> None:
        try:
            handler = self.handlers.get(int(fields[0]))
            if handler is not None:
                handler(fields)
        except Exception as error:  # noqa: BLE001  whatever it was, the message is not understood
            logging.getLogger(__name__).warning("message %s: %r", fields[:1], error)
            self._listener.garbled(error)


class IbConnection:
    """The connection of one account.

    Args:
        config: names the Gateway, the account and the client ID.
        clock: time.
        loop: runs the client; None: one of its own.
        dice: spreads pauses; one with a seed makes them repeatable.
        beside: the bot may be connected meanwhile, and nothing is sent.

    Attributes:
        address: of the Gateway.
        account: its name.
        restart: minute of the day (UTC) of the Gateway's nightly restart; None: it has none.
        circuit: the Gateway's breaker.
        time: the Gateway's time.
        listener: takes what the Gateway says.
        client: ib_async's.
        pacer: knows the Gateway's limits, and what all on it have asked for.
    """

    def __init__(
        self,
        config: AccountConfig,
        *,
        clock: Clock,
        loop: asyncio.AbstractEventLoop | None = None,
        dice: random.Random | None = None,
        beside: bool = False,
    ) -> None:
        gateway = config.exchange.gateway
        if gateway is None:
            raise AssertionError("the configuration names the Gateway")
        self._clock, self._config, self._gateway = clock, config, gateway
        self._loop = loop or asyncio.new_event_loop()
        self.exchange = config.exchange.name
        self.address = gateway.address
        self._client_id = gateway.client_id + (BESIDE if beside else 0)
        self.account, self.restart = gateway.account, gateway.restart
        self.monotonic = clock.monotonic
        self.time = ServerTime(clock)
        self.circuit = Circuit(clock, self.address)
        self._request_gate = RequestGate(clock, self.circuit, dice)
        self._timeout = float(config.exchange.timeout_seconds)
        self._refused_until = float("-inf")
        self._refused_by: BrokerError | None = None
        self._views: dict[str, object] = {}  # by unified name
        self.pacer = SharedPacer(gateway.pacing_directory, clock.monotonic)
        self.listener = Listener()
        client_class: Any = Client  # it has no types
        self.client = client_class(self.listener)
        self.client.decoder = _StrictDecoder(self.listener)
        if gateway.socket:
            through(self.client.conn, gateway.socket)

    @property
    def now_ms(self) -> int:
        """Unix time in milliseconds, at the Gateway."""
        return self.time.now_ms()

    def close(self) -> None:
        """Close the connection; the client ID is free then."""
        self._run(self._close())
        self._loop.close()

    async def _close(self) -> None:
        if self.client.conn.isConnected():
            self.client.disconnect()
            await asyncio.sleep(0)

    def document(self) -> dict[str, object]:
        """State for people; see `BinanceConnection.document`."""
        return {
            "circuit": self.circuit.document(),
            "circuit_changes": dict(self.circuit.changes),
            "requests": dict(self._request_gate.outcomes),
            "account_stream": self.client.isReady(),
            "market_stream": bool(self.listener.lines),
            "clock_ahead_ms": self.time.ahead_ms,
            "weight_used": None,
            "weight_limit": None,
            "weight_own": None,
            "weight_share": None,
        }

    # Waiting.

    def wait(self, seconds: float) -> None:
        """Wait that long, until the Gateway tells something, or until stopped."""
        self._run(self._wait(seconds))
        self._clock.sleep(0.0)

    async def _wait(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        arrived = self.listener.arrived
        while not (self._clock.stopping or arrived.is_set()):
            rest = end - self._clock.monotonic()
            if rest <= 0:
                return
            with contextlib.suppress(TimeoutError):
                slice_seconds = min(max(rest, LEAST_SECONDS), SLICE_SECONDS)
                await asyncio.wait_for(arrived.wait(), slice_seconds)
        arrived.clear()

    def _run(self, awaitable: Awaitable[_Result]) -> _Result:
        return self._loop.run_until_complete(_await(awaitable))

    # Asking.

    def ask(
        self,
        request: Callable[[], Awaitable[_Result]],
        *,
        once: bool = False,
        urgent: bool = False,
    ) -> _Result:
        """Make a request, connected before.

        Args:
            request: makes it and reads its answer.
            once: it changes something, and is not repeated.
            urgent: it takes risk away: the circuit breaker lets it through sooner.

        Raises:
            BrokerError: see `Failure`.
            UserError: the Gateway has another account than the configuration says.
        """

        def attempt() -> _Result:
            try:
                return self._run(self._attempt(request))
            except SENSELESS as error:
                raise BrokerError(
                    Failure.AMBIGUOUS,
                    f"Gateway {self.address}: an answer that makes no sense: {error}",
                ) from error

        return self._request_gate.ask(attempt, once=once, urgent=urgent)

    async def _attempt(self, request: Callable[[], Awaitable[_Result]]) -> _Result:
        await self._connected()
        if not self.listener.link_up:
            raise BrokerError(
                Failure.UNREACHABLE,
                f"Gateway {self.address} has lost its connection to Interactive Brokers (1100)",
            )
        try:
            return await request()
        except GatewayError as error:
            raise self.failure(error) from error
        except TimeoutError as error:
            raise self._no_answer(
                f"no answer within {plain(self._config.exchange.timeout_seconds)} s"
            ) from error
        except OSError as error:
            raise self._no_answer("the connection broke") from error

    def failure(self, error: GatewayError) -> BrokerError:
        """What an error of the Gateway means."""
        kind = failure_kind(error.code)
        text = str(error).replace("\n", " ")[:LONGEST_MESSAGE]
        decided = kind not in {Failure.AMBIGUOUS, Failure.UNREACHABLE}
        message = f"Gateway {self.address}: {text}"
        return AnsweredError(kind, message, code=error.code, decided=decided)

    def _no_answer(self, reason: str) -> BrokerError:
        return BrokerError(Failure.AMBIGUOUS, f"Gateway {self.address}: {reason}")

    async def answer(self, key: object, send: Callable[[], None]) -> Any:
        """Send a request and wait for its answer.

        Args:
            key: what the answer is known by: a request's ID, or a kind of which one is under way.
            send: sends it.
        """
        self._pace_message()
        future = self.listener.expect(key)
        try:
            send()
            return await asyncio.wait_for(future, self._timeout)
        except TimeoutError:
            if isinstance(key, str):
                # It has no number: if it came now, it would be taken for the next one's answer.
                self.client.disconnect()
            raise
        finally:
            self.listener.drop(key)

    def _pace_message(self) -> None:
        pause = self.pacer.leave(MESSAGE)
        if pause > 0:
            raise BrokerError(
                Failure.RATE_LIMITED,
                f"Gateway {self.address}: 50 messages a second are its limit",
                retry_after=pause,
            )

    def slot(self, kind: str) -> Slot:
        """A place among what the Gateway allows to be open at once.

        Raises:
            BrokerError: `RATE_LIMITED`; there is none left.
        """
        slot = self.pacer.slot(kind)
        if slot is None:
            # With a time after which to ask again, orders would wait for that as well.
            raise BrokerError(
                Failure.RATE_LIMITED,
                f"Gateway {self.address}: all that may be open at once is ({kind})",
            )
        return slot

    async def pace_history(self, contract: str, request: str, what: str) -> None:
        """Wait until a historical request is within the Gateway's limits.

        Raises:
            BrokerError: `RATE_LIMITED`; that would take too long.
        """
        wanted = history(contract, request, what)
        while (pause := self.pacer.leave(wanted)) > 0:
            if pause > PACED_SECONDS:
                raise BrokerError(
                    Failure.RATE_LIMITED,
                    f"Gateway {self.address}: 60 historical requests in 10 minutes are its limit",
                    retry_after=pause,
                )
            await asyncio.sleep(max(pause, LEAST_SECONDS))

    # Connecting.

    async def _connected(self) -> None:
        """Connect where that is not so."""
        if self.client.isReady():
            return
        rest = self._refused_until - self.monotonic()
        if rest > 0:
            raise BrokerError(
                Failure.UNREACHABLE,
                f"{self._refused_by}: it is asked again in {rest:.0f} s",
                retry_after=rest,
            )
        self.listener.refusal = None
        self.pacer.leave(anyway=True)
        try:
            await self.client.connectAsync(
                self._gateway.host, self._gateway.port, self._client_id, self._timeout
            )
            self._check_account()
            await self._read_time()
        except OSError as error:  # a TimeoutError is one
            self._refused_until = self.monotonic() + RECONNECT_SECONDS
            self._refused_by = self._not_connected(error)
            raise self._refused_by from error
        self.listener.tell()

    def _not_connected(self, error: BaseException) -> BrokerError:
        """Why there is no connection; whatever was to be asked was not sent."""
        if self.listener.refusal is not None:
            reason = (
                f"client ID {self._client_id} is in use (326); it is waited for, as "
                "another one could not cancel its orders"
            )
        else:
            strerror = getattr(error, "strerror", None)
            reason = strerror or "no answer to the handshake"
        return BrokerError(
            Failure.UNREACHABLE, f"Gateway {self.address} cannot be reached: {reason}"
        )

    def _check_account(self) -> None:
        """Refuse an account that is not the configured one, or does not fit the mode."""
        names, wanted, mode = self.client.getAccounts(), self.account, self._config.mode
        problem = ""
        if wanted not in names:
            problem = f'exchange.account = "{wanted}" is not on the Gateway {self.address}'
        elif is_paper(wanted) != (mode == "paper"):
            kind = "a paper account" if is_paper(wanted) else "a live account"
            problem = f'exchange.account = "{wanted}" is {kind}, and mode = "{mode}"'
        if problem:
            self.client.disconnect()
            raise UserError(problem, ExitCode.EXCHANGE)

    async def _read_time(self) -> None:
        before = self._clock.monotonic()
        seconds = await self.answer("time", self.client.reqCurrentTime)
        # It tells whole seconds: our own time is the better one where both agree.
        if abs(self._clock.now_ms() - seconds * 1000) > 2000:
            self.time.sample(before, seconds * 1000 + 500)
        else:
            self.time.sample(before, self._clock.now_ms())


async def _await(awaitable: Awaitable[_Result]) -> _Result:
    return await awaitable
