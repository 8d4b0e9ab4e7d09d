"""The connection to the Gateway: it asks, at the Gateway's pace, and can place no order.

What may leave is listed in `ALLOWED`; the client refuses every other message.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from gridbase.clock import Clock
from gridbase.gateway.hours import restarted_at
from gridbase.gateway.limits import MESSAGE, Request, history
from gridbase.gateway.shared import WATCHER_SHARE, SharedPacer, Slot
from gridbase.gateway.sockets import through
from ib_async.client import Client
from ib_async.contract import Contract

from watcher.config import Config
from watcher.listener import Listener, Snapshot, StrictDecoder

# Messages by their number: prices, their end, contract, bars, their end, log-in, chain.
ALLOWED = frozenset({1, 2, 9, 20, 25, 71, 78})
UNASKED = frozenset({2, 25, 71})  # they are not waited for, and count
CLIENT_IDS = 10
SPACING_SECONDS = 0.21  # between two snapshots, so between two symbols as well
SNAPSHOT_SECONDS = 15.0  # the Gateway ends one after 11 s
SLOT_TRIES = 15  # a second apart: for a place among what may be open at once
LEAST_SECONDS = 0.001
MOST_BARS = 60


class UnreachableError(Exception):
    """The Gateway cannot be asked now; the text says why."""


class _AskingClient(Client):
    """Sends what asks, and nothing else."""

    def __init__(self, listener: Listener, pacer: SharedPacer) -> None:
        super().__init__(listener)  # type: ignore[no-untyped-call]
        self._pacer = pacer

    def send(self, *fields: Any, makeEmpty: bool = True) -> None:  # noqa: N803  ib_async's name
        """Send a message.

        Raises:
            PermissionError: it is none that only asks.
        """
        if fields[0] not in ALLOWED:
            raise PermissionError(f"message {fields[0]} is not one that only asks")
        if fields[0] in UNASKED:
            self._pacer.leave(anyway=True)
        super().send(*fields, makeEmpty=makeEmpty)  # type: ignore[no-untyped-call]


class Gateway:
    """The Gateway as the watcher asks it.

    Args:
        config: where it is.
        clock: time.
        pacer: knows what all on this Gateway have asked for.

    Attributes:
        client_id: the one that is connected, or was last.
    """

    def __init__(self, config: Config, clock: Clock, pacer: SharedPacer | None = None) -> None:
        self._config, self._clock = config, clock
        self.pacer = pacer or SharedPacer(
            config.counts, clock.monotonic, share=WATCHER_SHARE, alone=WATCHER_SHARE
        )
        self._listener = Listener()
        self._client: Any = _AskingClient(self._listener, self.pacer)  # it has no types
        self._client.decoder = StrictDecoder(self._listener)
        if config.gateway[0].startswith("/"):
            through(self._client.conn, config.gateway[0])
        self._spacing = asyncio.Lock()
        self._snapshot_at = float("-inf")
        self.client_id = config.client_id

    @property
    def restarted_ms(self) -> int | None:
        """When the nightly restart that goes on now is over (Unix milliseconds)."""
        return restarted_at(self._clock.now_ms(), self._config.restart)

    async def connect(self) -> None:
        """Connect where that is not so, with a client ID that nobody has.

        Raises:
            UnreachableError: there is no connection.
        """
        self._refuse_restart()
        if self._client.isReady():
            return
        first = self._config.client_id
        for number in range(CLIENT_IDS):
            self.client_id = first + (self.client_id - first + (number > 0)) % CLIENT_IDS
            self._listener.in_use = False
            try:
                await self._client.connectAsync(
                    *self._config.gateway, self.client_id, self._config.timeout_seconds
                )
            except OSError as error:  # a TimeoutError is one
                if not self._listener.in_use:
                    reason = error.strerror or "no answer to the handshake"
                    raise UnreachableError(f"it cannot be reached: {reason}") from error
            else:
                return
        raise UnreachableError(
            f"client IDs {first} to {first + CLIENT_IDS - 1} are all in use (326)"
        )

    async def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        await asyncio.sleep(0)

    def _refuse_restart(self) -> None:
        if self.restarted_ms is not None:
            raise UnreachableError("it restarts")

    async def _pace(self, request: Request) -> None:
        while (pause := self.pacer.leave(request)) > 0:
            await asyncio.sleep(max(pause, LEAST_SECONDS))

    async def _slot(self, kind: str) -> Slot:
        for _ in range(SLOT_TRIES):
            slot = self.pacer.slot(kind)
            if slot is not None:
                return slot
            await asyncio.sleep(1.0)
        raise ValueError(f"no place among {kind} is free")

    async def _ask(
        self,
        request: int,
        send: Callable[[], None],
        *,
        seconds: float | None = None,
        spaced: bool = False,
    ) -> list[Any]:
        """Send a request and wait for the end of its answer.

        Args:
            request: its number.
            send: sends it.
            seconds: to wait for it; None: as configured.
            spaced: so long after the one before as two snapshots have to be apart.

        Raises:
            UnreachableError: it cannot be sent.
            TimeoutError: the end did not come.
            GatewayError: the Gateway says no.
        """
        try:
            async with self._spacing if spaced else contextlib.nullcontext():
                if spaced:
                    await self._space()
                await self._pace(MESSAGE)
                self._check()
                future = self._listener.expect(request)
                send()
            return await asyncio.wait_for(future, seconds or self._config.timeout_seconds)
        except ConnectionError as error:
            raise UnreachableError("the connection broke") from error
        finally:
            self._listener.drop(request)

    def _check(self) -> None:
        """Refuse to ask where nobody would answer."""
        self._refuse_restart()
        if not self._client.isReady():
            raise UnreachableError("the connection broke")
        if not self._listener.link_up:
            raise UnreachableError("it has lost its connection to Interactive Brokers (1100)")

    async def _space(self) -> None:
        rest = self._snapshot_at + SPACING_SECONDS - self._clock.monotonic()
        if rest > 0:
            await asyncio.sleep(max(rest, LEAST_SECONDS))

    def _number(self) -> int:
        if not self._client.isReady():
            raise UnreachableError("the connection broke")
        return int(self._client.getReqId())

    async def details(self, contract: Contract) -> list[Any]:
        """Contracts that fit, with their hours."""
        number = self._number()
        return await self._ask(number, lambda: self._client.reqContractDetails(number, contract))

    async def chain(self, contract: Contract) -> list[Any]:
        """Chains of a stock's options: exchange, trading class, multiplier, expiries, strikes."""
        number = self._number()
        wanted = (number, contract.symbol, "", "STK", contract.conId)
        return await self._ask(number, lambda: self._client.reqSecDefOptParams(*wanted))

    async def snapshot(self, contract: Contract) -> Snapshot:
        """What a contract costs now, read after the snapshot's end."""
        with await self._slot("lines"):
            number = self._number()
            record = Snapshot()

            def send() -> None:
                self._listener.snapshots[number] = record
                more = {"snapshot": True, "regulatorySnapshot": False, "mktDataOptions": []}
                self._client.reqMktData(number, contract, "", **more)
                self._snapshot_at = self._clock.monotonic()

            try:
                await self._ask(number, send, seconds=SNAPSHOT_SECONDS, spaced=True)
            except TimeoutError:
                self._give_up(self._client.cancelMktData, number)
                raise
            return record

    async def bars(self, contract: Contract) -> list[Any]:
        """Bars of the latest minutes of regular hours, at most 60."""
        duration, bar, what = f"{MOST_BARS * 60} S", "1 min", "TRADES"
        await self._pace(history(str(contract.conId), f"{duration} {bar}", what))
        with await self._slot("history"):
            number = self._number()
            wanted = (number, contract, "", duration, bar, what)
            more = {"useRTH": True, "formatDate": 2, "keepUpToDate": False, "chartOptions": []}
            try:
                rows = await self._ask(
                    number, lambda: self._client.reqHistoricalData(*wanted, **more)
                )
            except TimeoutError:
                self._give_up(self._client.cancelHistoricalData, number)
                raise
        return rows[-MOST_BARS:]

    def _give_up(self, cancel: Callable[[int], None], number: int) -> None:
        """A line that nobody reads would stay open."""
        with contextlib.suppress(ConnectionError):
            cancel(number)
