"""A week of a grid on a stock and an option watcher, together at one practice Gateway.

The time is simulated, the calendar real: sessions, a restart of the Gateway each night, and on
Sunday one after which it waits for a person, who comes half an hour after Monday's opening.
"""

import logging
from dataclasses import replace
from datetime import date, datetime, timedelta

from gridbase.gateway.hours import AFTER_RESTART_MS, BEFORE_RESTART_MS
from gridbot.exchanges.ib import connection
from gridexchange.ib.calendar import session_of
from gridexchange.ib.messages import NEW_YORK
from gridexchange.ib.quotes import Quotes
from gridexchange.ib.records import followers
from watcher.config import Config
from watcher.files import Files
from watcher.service import Watcher

from .. import clocks
from ..boundaries import Boundaries
from .guest import GuestLoop
from .invariants import booked
from .sizes import stock_setup
from .world import ACCOUNT, IbWorld

MONDAY = date(2026, 9, 21)
SUNDAY = MONDAY + timedelta(days=6)
RESTART = "04:45"
PLACE, CANCEL = 3, 4
GRACE_MS = 90_000  # a session counts so much longer for the bot
SLICE_SECONDS = 20.0  # between two looks of the bot at whether it is to stop: a week has many


LATE_MS = 1_800_000  # the person, after Monday's opening
ANNOUNCED_MS = 100_000
WATCHER_STATES = ("watching", "closed", "restart", "unreachable", "unanswered")


class _States(logging.Handler):
    """What a program announces, with its time."""

    def __init__(self, world):
        super().__init__(logging.INFO)
        self._world, self.said = world, []

    def emit(self, record):
        self.said.append((self._world.time.now_ms(), record.name, record.getMessage()))


class Week(IbWorld):
    """The world.

    Args:
        directory: of everything.
        rests: seconds of the bot between two looks while the market is closed; None: its own 2.
        seed: of prices.

    Attributes:
        arrived: time, client ID and number of each message at the Gateway.
        restarts: when the Gateway restarts (Unix milliseconds).
        states: what both programs announce.
    """

    def __init__(self, directory, *, rests=None, seed=2):
        self.rests = rests
        self.pacing = directory / "pacing"
        self.pacing.mkdir()
        exchange = {
            "name": "ib",
            "gateway": "gateway.test:4002",
            "account": ACCOUNT,
            "client_id": 7,
            "timeout_seconds": 5,
            "restart": RESTART,
            "pacing_directory": str(self.pacing),
        }
        setup = replace(
            stock_setup(seed),
            fault_rate=0.0,
            speed=1,
            largest_fill=100,
            more={"exchange": exchange},
        )
        super().__init__(directory, setup, Boundaries())
        gateway = self.gateway
        others = followers(["QQQ", "IWM"])
        gateway.settings = replace(gateway.settings, others=others, snapshot_ms=11_000)
        gateway.quotes = Quotes(gateway.stock, *others)
        self.arrived = []
        handle = gateway._handle

        def arrive(link, fields):
            self.arrived.append((self.time.now_ms(), link.client_id, int(fields[0])))
            handle(link, fields)

        gateway._handle = arrive
        self.states = _States(self)
        self.restarts = [self._plan_restart(day) for day in range(1, 8)]
        self.watcher = self._join_watcher(directory)

    @property
    def person_comes(self):
        return session_of(SUNDAY + timedelta(days=1)).opens + LATE_MS

    @property
    def step_seconds(self):
        busy = self.open_at(self.time.now_ms()) or self.gateway.later._due
        return 1.0 if busy else 20.0

    def _plan_restart(self, number):
        """Of the night before a day; on Sunday the Gateway waits for a person."""
        day = MONDAY + timedelta(days=number)
        at = round(datetime.fromisoformat(f"{day} {RESTART}+00:00").timestamp() * 1000)
        seconds = 60.0
        if day == SUNDAY:
            seconds = (self.person_comes - at) / 1000
        after = (at - clocks.START_MS) / 1000 - 30
        if after > 0:
            self.time.after(after, lambda: self._restart(at, seconds))
        return at

    def _restart(self, at, seconds):
        if self.time.now_ms() >= self.gateway.down_until_ms:
            self.gateway.restart_at(at, seconds)

    def _join_watcher(self, directory):
        data = directory / "watcher"
        config = Config(
            gateway=("gateway.test", 4002),
            symbols=("SPY", "QQQ", "IWM"),
            directory=data,
            restart=4 * 60 + 45,
            pacing_directory=self.pacing,
        )
        loop = GuestLoop(self.network)
        watcher = Watcher(config, self.clock, Files(data))
        self.task = loop.create_task(watcher.run())
        return watcher

    def pass_time(self, seconds):
        """Both programs run."""
        before, connection.SLICE_SECONDS = connection.SLICE_SECONDS, SLICE_SECONDS
        loggers = [logging.getLogger(name) for name in ("gridbot", "watcher")]
        levels = [each.level for each in loggers]
        for each in loggers:
            each.addHandler(self.states)
            each.setLevel(logging.INFO)
        try:
            self._follow(self.start_bot())
            self.ends_ms = self.time.now_ms() + seconds * 1000
            self.live(seconds)
            self.stopped_ms = self.time.now_ms()
        finally:
            self.watcher.stop()
            self.time.sleep(60.0)
            connection.SLICE_SECONDS = before
            for each, level in zip(loggers, levels, strict=True):
                each.removeHandler(self.states)
                each.setLevel(level)

    def _follow(self, runner):
        """Have the bot's states written down, and its nights pass faster."""
        [worker] = runner._workers
        publish, hold_still = worker.publish, worker._hold_still
        shown = []

        def note(state, reason, *cause):
            if shown[-1:] != [(state, reason)]:
                shown.append((state, reason))
                self.states.said.append((self.time.now_ms(), "bot", f"{state}: {reason}"))
            publish(state, reason, *cause)

        worker.publish = note
        if self.rests is not None:
            worker._hold_still = lambda opens: hold_still(opens) and self.rests

    # What must hold.

    def open_at(self, time_ms):
        session = session_of(datetime.fromtimestamp(time_ms / 1000, NEW_YORK).date())
        return session is not None and session.opens <= time_ms < session.closes + GRACE_MS

    def gate_closed(self, time_ms):
        """Whether no order may leave now."""
        restarting = any(
            at - BEFORE_RESTART_MS <= time_ms < at + AFTER_RESTART_MS for at in self.restarts
        )
        return restarting or not self.open_at(time_ms)

    def sent_while_closed(self):
        """Orders and cancellations that should not have been."""
        return [
            f"message {kind} left while the gate was closed, at {at}"
            for at, _, kind in self.arrived
            if kind in {PLACE, CANCEL} and self.gate_closed(at)
        ]

    def told(self, program):
        """When each state of a program began, and its name."""
        found = []
        for at, name, text in self.states.said:
            state = text.partition(" ")[0].rstrip(":")
            known = state in {*WATCHER_STATES, "trading", "waiting"}
            if name == program and known:
                found.append((at, state))
        return [
            one
            for one, before in zip(found, [(0, ""), *found], strict=False)
            if one[1] != before[1]
        ]

    def expected(self, program, ends_ms):
        """The same by the calendar, from the first state on."""
        watcher = program == "watcher.service"
        works, grace = ("watching", 0) if watcher else ("trading", GRACE_MS)
        events = [(clocks.START_MS, works)]
        day = datetime.fromtimestamp(clocks.START_MS / 1000, NEW_YORK).date()
        for number in range(9):
            session = session_of(day + timedelta(days=number))
            if session is not None:
                events += [(session.opens, works), (session.closes + grace, "closed")]
        for at in self.restarts if watcher else []:
            events += [(at - BEFORE_RESTART_MS, "restart"), (at + AFTER_RESTART_MS, "closed")]
        monday = self.person_comes - LATE_MS
        away = (monday, "unreachable" if watcher else "waiting")
        events = [away if event == (monday, works) else event for event in events]
        events.append((self.person_comes, works))
        return sorted(event for event in events if clocks.START_MS <= event[0] < ends_ms)

    def problems(self):
        """What does not hold after the bot was stopped."""
        found = self.sent_while_closed()
        found += [f"rule broken: {rule}" for rule in +self.gateway.rules.broken]
        found += [
            f"hung up: {why}" for why in self.gateway.hang_ups if why != "the Gateway restarts"
        ]
        # Its orders rest on: the watcher ends a minute later, and the account trades meanwhile.
        executions = self.gateway.account.executions.items()
        if booked(self) != sorted(k for k, one in executions if one.time_ms < self.stopped_ms):
            found.append("the bot's books have other trades than the account")
        for program in ("watcher.service", "bot"):
            told, wanted = self.told(program), self.expected(program, self.ends_ms)
            if [state for _, state in told] != [state for _, state in wanted]:
                found.append(f"{program} announced {told}, and the calendar says {wanted}")
            else:
                found += [
                    f"{program} announced {state} {at - due} ms after its time"
                    for (at, state), (due, _) in zip(told, wanted, strict=True)
                    if not 0 <= at - due <= ANNOUNCED_MS
                ]
        return found
