"""Runs the recording: one thread for the sockets, one for questions, one that writes."""

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import requests
from gridbase.backoff import Backoff
from gridbase.clock import SystemClock
from gridbase.errors import ExitCode, UserError
from gridbase.public_rest import ILLEGAL_CHARACTERS, INVALID_SYMBOL, Away, Rest
from gridbase.sockets.dialer import ThreadDialer
from gridbase.sockets.websocket import connect

from recorder.config import Config, Market
from recorder.core.inbox import Inbox
from recorder.core.numbered import GONE
from recorder.core.rows import Kind
from recorder.core.steps import Sizes
from recorder.files.compact import UnequalError, compact, over_before
from recorder.files.store import Store
from recorder.recording.asking import Asker, ThreadAsker
from recorder.recording.ccxt_streams import UNPROVEN, CcxtStreams
from recorder.recording.connections import MOST_STREAMS, Connections, Group
from recorder.recording.messages import sizes_of
from recorder.recording.session import Session, streams_of
from recorder.service.memory import resident_bytes
from recorder.sync.budget import keep_within

LOG = logging.getLogger("recorder")
RESTART = 75  # exit status: start me again
MOST_ASKED = 100  # symbols in a question
FLUSH_S = 1.0
LOOK_S = 10.0
HANGS_S = 120.0
BUDGET, COMPACT = "keeping within the disk's budget", "compacting"
BUDGET_S = 300.0
REPLACE_AGAIN_S = 3_600.0
PUMP_WAIT_S = 0.25


class Recorder:
    """The whole recorder.

    Args:
        config: the settings.
        clock: the time; its stop ends the recorder.

    Attributes:
        store: where rows go.
        sessions: one for each exchange.
        started_ms: since when it runs.
        resident: memory of the process, as it was last looked at (bytes).
        exit_code: what the process ends with.
    """

    store: Store

    def __init__(self, config: Config, clock: SystemClock) -> None:
        self.config = config
        self.clock = clock
        self.started_ms = clock.now_ms()
        self.sessions: list[Session] = []
        self.resident = resident_bytes()
        self.exit_code: int = ExitCode.OK
        self.heartbeat = clock.monotonic()
        self._groups: dict[str, Sequence[Connections]] = {}
        self._by_ccxt: dict[str, CcxtStreams] = {}
        self._aside: dict[str, threading.Thread] = {}
        self._warned = False
        self._compacted = ""
        self._budget_at = float("-inf")
        self._replaced_at: dict[int, float] = {}

    def run(self, ready: Callable[["Recorder"], None]) -> int:
        """Record until stopped.

        Args:
            ready: called once everything is there.

        Returns:
            The exit status.
        """
        self.store = Store(self.config.directory, self.clock, rotate_bytes=self.config.rotate_bytes)
        try:
            markets = [(market, self._learn(market)) for market in self.config.markets]
            if self.clock.stopping:
                return self.exit_code
            for market, sizes in markets:
                self._add(market, sizes)
            self.store.on_new_journal = self._new_journal
            self._thread("watchdog", self._watch)
            for name in self._groups:
                self._thread(f"sockets of {name}", partial(self._pump, name))
            ready(self)
            self._loop()
        finally:
            for groups in self._groups.values():
                for group in groups:
                    group.close()
            self.store.close()
        return self.exit_code

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        """Start what must run as long as the recorder does."""

        def run() -> None:
            try:
                target()
            except UserError as error:
                self._give_up(error)
            except Exception:
                LOG.exception("%s failed: stopping to be started again", name)
                self.exit_code = RESTART
                self.clock.stop()

        threading.Thread(target=run, name=name, daemon=True).start()

    def _not_done(self, name: str, error: Exception) -> None:
        LOG.error("%s failed: %s; the next time it is tried again", name, error)

    def _give_up(self, error: UserError) -> None:
        """Stop because of a mistake that only the user can mend."""
        LOG.error("%s", error)
        self.exit_code = error.exit_code
        self.clock.stop()

    def _do_aside(self, name: str, target: Callable[[], object]) -> None:
        """Do something beside the recording, unless it is still being done; what fails is told."""

        def run() -> None:
            try:
                target()
            # Such as a full disk: what was there is still there.
            except (OSError, sqlite3.Error, UnequalError) as error:
                self._not_done(name, error)
            except Exception:
                LOG.exception("%s failed; the next time it is tried again", name)

        if name not in self._aside or not self._aside[name].is_alive():
            self._aside[name] = threading.Thread(target=run, name=name, daemon=True)
            self._aside[name].start()

    def _learn(self, market: Market) -> dict[str, Sizes]:
        """The steps of an exchange's symbols; waits until it answers.

        Raises:
            UserError: it does not know a symbol.
        """
        if market.by_ccxt:
            return self._learn_by_ccxt(market)
        rest = Rest(market.rest, lambda _name, _number: None, requests.Session())
        backoff, failures = Backoff(1.0, 60.0), 0
        sizes: dict[str, Sizes] = {}
        # A question weighs the same for one as for many: a bot beside it needs its share.
        questions = [
            market.symbols[first : first + MOST_ASKED]
            for first in range(0, len(market.symbols), MOST_ASKED)
        ]
        while questions and not self.clock.stopping:
            self.heartbeat = self.clock.monotonic()
            names = questions[-1]
            try:
                answer = rest.ask("exchangeInfo", symbols=json.dumps(names, separators=(",", ":")))
                listed = {each["symbol"]: each for each in answer["symbols"]}
                sizes |= {name: sizes_of(listed[name]) for name in names}
                questions.pop()
            except Away as error:
                unknown = error.code in (INVALID_SYMBOL, ILLEGAL_CHARACTERS)
                if unknown and len(names) > 1:
                    questions[-1:] = [names[len(names) // 2 :], names[: len(names) // 2]]
                    continue
                if unknown:
                    raise UserError(
                        f"symbols: {market.exchange} does not know {names[0]}", ExitCode.EXCHANGE
                    ) from error
                failures += 1
                pause = backoff.pause(failures, error.wait_s)
                LOG.warning("%s: %s; next try in %.0f s", market.exchange, error, pause)
                self.clock.sleep(pause)
            except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
                raise UserError(
                    f"{market.rest}: the rules of {', '.join(names)} make no sense ({error!r})",
                    ExitCode.EXCHANGE,
                ) from error
        return sizes

    def _learn_by_ccxt(self, market: Market) -> dict[str, Sizes]:
        streams = self._by_ccxt[market.exchange] = CcxtStreams(
            market.exchange,
            market.symbols,
            market.kinds,
            clock=self.clock,
            contiguous=market.contiguous_ids,
            rest=market.rest,
            streams=market.streams,
        )
        self._groups[market.exchange] = [streams]
        return streams.learn()

    def _add(self, market: Market, sizes: dict[str, Sizes]) -> None:
        inbox = Inbox(self.config.queue)
        by_ccxt = self._by_ccxt.get(market.exchange)
        asker: Asker
        if by_ccxt is not None:
            asker = by_ccxt
            by_ccxt.begin(inbox, self.store.catalog.last)
        else:
            rest = Rest(market.rest, lambda _name, _number: None, requests.Session())
            asker = ThreadAsker(rest, self.clock, market.weight_per_minute)
        session = Session(
            market.exchange,
            sizes,
            market.kinds,
            store=self.store,
            asker=asker,
            inbox=inbox,
            clock=self.clock,
            gone=GONE if market.contiguous_ids else UNPROVEN,
        )
        if by_ccxt is None:
            self._groups[market.exchange] = self._groups_of(market, session.streams, inbox)
        session.groups = self._groups[market.exchange]
        self.store.open(streams_of(market.exchange, sizes, market.kinds))
        self.sessions.append(session)

    def _groups_of(self, market: Market, streams: list[str], inbox: Inbox) -> list[Group]:
        return [
            Group(
                f"streams of {market.exchange}",
                market.streams,
                streams[first : first + MOST_STREAMS],
                dialer=lambda: ThreadDialer(connect),
                clock=self.clock,
                inbox=inbox,
            )
            for first in range(0, len(streams), MOST_STREAMS)
        ]

    def _new_journal(self, kind: Kind) -> None:
        if kind == Kind.DEPTH:
            for session in self.sessions:
                session.checkpoint()

    def _pump(self, exchange: str) -> None:
        groups = self._groups[exchange]
        while not self.clock.stopping:
            for group in groups:
                group.pump(PUMP_WAIT_S / len(groups) if group.open else 0.0)
            if not any(group.open for group in groups):
                self.clock.sleep(PUMP_WAIT_S)

    def _loop(self) -> None:
        flush_at = look_at = self.clock.monotonic()
        while not self.clock.stopping:
            for session in self.sessions:
                session.step(FLUSH_S / 5 / len(self.sessions))
            now = self.heartbeat = self.clock.monotonic()
            if now >= flush_at:
                flush_at = now + FLUSH_S
                self.store.flush()
            if now >= look_at:
                look_at = now + LOOK_S
                self._look()

    def _look(self) -> None:
        """What is done now and then: memory, silent streams, compaction."""
        self.resident = resident_bytes()
        if self.resident >= self.config.restart_bytes:
            LOG.error("memory is %d MB: stopping to be started again", self.resident // 10**6)
            self.exit_code = RESTART
            self.clock.stop()
        elif self.resident >= self.config.warn_bytes and not self._warned:
            self._warned = True
            LOG.warning("memory is %d MB", self.resident // 10**6)
        self._replace_silent()
        if self.config.budget_bytes and self.clock.monotonic() >= self._budget_at:
            self._budget_at = self.clock.monotonic() + BUDGET_S
            budget = self.config.budget_bytes
            self._do_aside(BUDGET, partial(keep_within, self.store.catalog, budget))
        today = over_before(self.clock.now_ms())
        if self.config.compact and today != self._compacted:
            self._compacted = today
            self._do_aside(COMPACT, partial(self._compact, today))

    def _replace_silent(self) -> None:
        """Open connections anew of which a stream says nothing: once an hour, markets rest too."""
        now = self.clock.monotonic()
        for session in self.sessions:
            silent = session.silent(self.config.silent_s)
            for group in session.groups:
                due = now - self._replaced_at.get(id(group), float("-inf")) >= REPLACE_AGAIN_S
                found = [stream for stream in silent if stream in group.streams]
                if found and due and group.open:
                    self._replaced_at[id(group)] = now
                    LOG.warning("%s: %s silent, connecting anew", group.name, ", ".join(found))
                    group.replace()

    def _compact(self, today: str) -> None:
        LOG.info("compacted %d files", compact(self.store.catalog, today))

    def _watch(self) -> None:
        """End a process that hangs: whoever started it starts it again, and the journal is kept."""
        while not self.clock.stopping:
            time.sleep(HANGS_S / 10)
            if self.clock.monotonic() - self.heartbeat > HANGS_S and not self.clock.stopping:
                LOG.critical("nothing was written for %.0f s: ending", HANGS_S)
                os._exit(RESTART)
