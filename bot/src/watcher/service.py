"""The watcher: cycles in regular hours, rest outside of them and around the Gateway's restart."""

import asyncio
import contextlib
import json
import logging
from typing import Any

from gridbase.atomic_file import write_whole
from gridbase.circuit_breaker import Circuit
from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError
from gridbase.gateway.limits import CYCLE, CYCLES

from watcher.config import Config
from watcher.cycle import Cycles, Look, utc
from watcher.files import Files
from watcher.gateway import Gateway, UnreachableError
from watcher.listener import NOT_LISTED, GatewayError
from watcher.metrics import exposition

log = logging.getLogger(__name__)

# No wait is longer: the gate around a restart may close meanwhile, and the wall clock be set.
LONGEST_SECONDS = 60.0
WRITE_SECONDS = 600.0  # so often the signal file is written though nothing has changed
RETRY_SECONDS = 5.0
LONGEST_PAUSE = 3600.0
LEAST_SECONDS, MARGIN_SECONDS = 0.001, 0.1
WATCHING, WAITING, CLOSED, RESTART = "watching", "waiting", "closed", "restart"
UNREACHABLE, UNANSWERED = "unreachable", "unanswered"
STATES = (WATCHING, WAITING, CLOSED, RESTART, UNREACHABLE, UNANSWERED)


class Watcher:
    """See the module's text.

    Args:
        config: what is watched.
        clock: time.
        files: where it is kept; None: it is printed, and nothing is written.
        gateway: is asked; None: one of the configuration.

    Attributes:
        state: what it does now: watching, waiting, closed, restart, unreachable, unanswered.
    """

    def __init__(
        self, config: Config, clock: Clock, files: Files | None, gateway: Gateway | None = None
    ) -> None:
        self._config, self._clock, self._files = config, clock, files
        self._gateway = gateway or Gateway(config, clock)
        self._cycles = Cycles(config, clock, self._gateway)
        self._circuit = Circuit(clock)
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._silent = 0  # cycles without a single answer, in a row
        self._not_before = float("-inf")  # of the next request (monotonic)
        self._signals: dict[str, Any] = {}
        self._looks = 0  # cycles that were kept
        self._written: tuple[float, tuple[object, ...]] = (float("-inf"), ())
        self.state, self._since_ms = "", 0
        self._reason = ""
        self._until_ms: int | None = None

    def stop(self) -> None:
        """End it, also in the middle of a cycle."""
        self._stopped.set()
        if self._task is not None:
            self._task.cancel()

    async def run(self, *, once: bool = False) -> None:
        """Watch until stopped.

        Args:
            once: end after the first cycle, and where there is none now. One that comes too soon
                after the one before is waited for.

        Raises:
            UserError: the disk does not take the data, or the Gateway does not know a symbol.
        """
        self._task = asyncio.current_task()
        try:
            while not self._stopped.is_set():
                pause = await self._turn()
                self._write()
                if once and self.state not in {WATCHING, WAITING}:
                    raise UserError(
                        f"no cycle now: {self.state}: {self._reason}", ExitCode.EXCHANGE
                    )
                if once and self._signals:
                    return
                await self._sleep(pause)
        except asyncio.CancelledError:
            if not self._stopped.is_set():
                raise
        finally:
            await self._gateway.close()

    async def _turn(self) -> float:
        """Do what is to be done now; returns seconds until there may be more."""
        pause = self._rest()
        if pause is not None:
            await self._gateway.close()
            self._convert()
            return pause
        pause = self._not_before - self._clock.monotonic()
        if pause > 0:
            return pause
        try:
            await self._learn()
            pause = await self._cycle() if self._rest() is None else 0.0
        except UnreachableError as error:
            pause = self._failed(UNREACHABLE, str(error))
        except (TimeoutError, GatewayError, ValueError) as error:
            pause = self._failed(UNANSWERED, str(error) or "no answer in time")
        self._not_before = self._clock.monotonic() + pause
        return pause

    async def _learn(self) -> None:
        try:
            await self._cycles.learn()
        except GatewayError as error:
            if error.code != NOT_LISTED:
                raise
            raise UserError(
                f"symbols = {list(self._config.symbols)}: the Gateway does not know one of them",
                ExitCode.EXCHANGE,
            ) from error

    def _rest(self) -> float | None:
        """Seconds to rest; None where there is no reason."""
        now, hours = self._clock.now_ms(), self._cycles.hours
        restarted = self._gateway.restarted_ms
        if restarted is not None:
            self._announce(RESTART, "the Gateway restarts", restarted)
            return (restarted - now) / 1000
        opens = None if hours is None else hours.opens_after(now)
        if opens is not None:
            self._announce(CLOSED, "regular hours are over", opens)
            return (opens - now) / 1000
        return None

    async def _cycle(self) -> float:
        await self._gateway.connect()
        looks = await self._cycles.prepare()
        pause = self._gateway.pacer.leave(CYCLE)
        if pause > 0:
            until_ms = self._clock.now_ms() + round(pause * 1000)
            self._announce(WAITING, "the cycle before began less than 300 s ago", until_ms)
            return pause
        began = self._clock.monotonic()
        self._announce(WATCHING, "", None)
        await self._cycles.run(looks)
        self._keep(looks)
        seconds = max(self._config.cycle_seconds, CYCLES.seconds + MARGIN_SECONDS)
        pause = began + seconds - self._clock.monotonic()
        if any(look.price is not None or look.bars for look in looks):
            self._circuit.succeeded()
            self._silent = 0
            return pause
        # Throttled, or without a subscription: to ask more often makes it worse.
        self._silent += 1
        return max(pause, self._failed(UNANSWERED, "; ".join(looks[0].missing)[:300]))

    def _failed(self, state: str, reason: str) -> float:
        self._circuit.failed()
        self._announce(state, reason, None)
        longer = self._config.cycle_seconds * 2**self._silent if self._silent else RETRY_SECONDS
        return max(self._circuit.wait(), min(longer, LONGEST_PAUSE))

    async def _sleep(self, seconds: float) -> None:
        seconds = min(max(seconds, LEAST_SECONDS), LONGEST_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    # What is told and kept.

    def _announce(self, state: str, reason: str, until_ms: int | None) -> None:
        """Once, where it changes."""
        changed = (state, reason, until_ms) != (self.state, self._reason, self._until_ms)
        if state != self.state:
            self._since_ms = self._clock.now_ms()
        self.state, self._reason, self._until_ms = state, reason, until_ms
        if changed:
            until = f" until {utc(until_ms)}" if until_ms is not None else ""
            level = logging.WARNING if state in {UNREACHABLE, UNANSWERED} else logging.INFO
            log.log(level, "%s%s%s", state, until, f": {reason}" if reason else "")

    def _keep(self, looks: list[Look]) -> None:
        self._signals = {look.symbol: self._cycles.signal_of(look) for look in looks}
        self._looks += 1
        if self._files is None:
            print(json.dumps(self._document(), indent=1), flush=True)
        else:
            self._files.add(self._cycles.day, looks)
        for look in looks:
            if look.missing:
                log.warning("%s: %s", look.symbol, "; ".join(look.missing))

    def _document(self) -> dict[str, Any]:
        """The signal file."""
        return {
            "written_ms": self._clock.now_ms(),
            "state": self.state,
            "since_ms": self._since_ms,
            "until_ms": self._until_ms,
            "reason": self._reason,
            "circuit": self._circuit.document(),
            "symbols": self._signals,
        }

    def _write(self) -> None:
        """Where something has changed, and now and then, as a sign of life."""
        now, before = self._clock.monotonic(), self._written
        shown = (
            *(self.state, self._reason, self._until_ms, self._looks),
            *(self._circuit.state, self._circuit.failures),
        )
        old = shown != before[1] or now - before[0] >= WRITE_SECONDS
        if self._files is not None and old:
            self._files.write_signal(self._document())
            self._write_metrics()
            self._written = (now, shown)

    def _write_metrics(self) -> None:
        if self._config.metrics_file is not None:
            text = exposition(self._document(), STATES, self._circuit, self._looks)
            try:
                write_whole(self._config.metrics_file, text)
            except UserError as error:  # they are on another disk than the data
                log.warning("%s", error)

    def _convert(self) -> None:
        """Days are over once a session is; while the Gateway restarts in one, only those before."""
        if self._files is not None and self._cycles.day:
            over = self.state == CLOSED
            for path in self._files.convert(*([] if over else [self._cycles.day])):
                log.info("wrote %s", path)
