"""A loss limit over all bots of one account: what a judgment means, and how it is made.

One bot of the account, the judge, asks the exchange what the account is worth. The others follow:
they hear its judgment (`gridbot.service.verdicts`). No bot buys without a judgment that is fresh,
the judge neither.
"""

import logging
from collections.abc import Callable, Sequence
from decimal import Decimal

from gridbase.clock import Clock
from gridbase.market import coins_of, plain

from gridbot.config.account_guard import AccountGuardConfig
from gridbot.config.load import GridConfig
from gridbot.exchanges.port import Broker, BrokerError
from gridbot.store import Store

log = logging.getLogger(__name__)

JUDGE_SECONDS = 10.0
REASON_CODE = "account_loss"
# The judge writes its verdict down as a kill switch of this "symbol", which no market has.
ACCOUNT = "account"


class AccountGuard:
    """What the judge has said, as far as one bot knows.

    Args:
        silence_seconds: so old may the judge's latest judgment be.
        clock: time; only its monotonic clock is used, as clocks of several hosts differ.
    """

    def __init__(self, silence_seconds: float, clock: Clock) -> None:
        self._silence = silence_seconds
        self._clock = clock
        # One value, as it is written and read by different threads.
        self._heard = (float("-inf"), False)

    def hear(self, made_at: float, *, fired: bool) -> None:
        """Take a judgment.

        Args:
            made_at: when it was made at the latest (own monotonic seconds).
            fired: whether the loss limit was passed.
        """
        self._heard = made_at, fired

    @property
    def heard(self) -> tuple[float, bool]:
        """The latest judgment, as `hear` took it; infinitely old where there is none yet."""
        return self._heard

    @property
    def fired(self) -> bool:
        """Whether the latest judgment is that the loss limit was passed."""
        return self._heard[1]

    @property
    def silent(self) -> bool:
        """Whether the latest judgment is too old, or there is none yet."""
        return self._clock.monotonic() - self._heard[0] > self._silence

    def hold(self) -> str:
        """Why nothing may be bought now; empty where it may."""
        if self.fired:
            return "the account's loss limit is passed"
        if self.silent:
            return f"the account's judge has been silent for more than {self._silence:.0f} s"
        return ""

    def enforce(self, store: Store, grids: Sequence[GridConfig], now_ms: int) -> None:
        """Fire the kill switches of all grids where the limit was passed; again after a crash.

        Args:
            store: the bot's books.
            grids: the bot's.
            now_ms: Unix time in milliseconds.
        """
        if not self.fired:
            return
        for grid in grids:
            if store.open_halt(grid.symbol) is None:
                store.halt(
                    grid.symbol,
                    reason_code=REASON_CODE,
                    text="the loss limit of the whole account is passed",
                    price=Decimal(0),  # no price of this symbol decided it
                    at_ms=now_ms,
                    liquidate=grid.stop.liquidate,
                )


class Judge:
    """Judges the account, from what the exchange says of it.

    Args:
        config: the limit; its role is judge.
        broker: gives the view of a symbol.
        clock: time.
        guard: is told every judgment.
    """

    def __init__(
        self,
        config: AccountGuardConfig,
        broker: Callable[[str], Broker],
        clock: Clock,
        guard: AccountGuard,
    ) -> None:
        self._config = config
        self._brokers = {symbol: broker(symbol) for symbol in config.symbols}
        self._clock = clock
        self._guard = guard
        self._due = float("-inf")
        self._trouble = ""

    def turn(self, store: Store) -> None:
        """Judge, where it is time to; a verdict stands until a person clears it.

        Where the exchange does not answer nothing is said, which the guard takes as silence.
        """
        now = self._clock.monotonic()
        if store.open_halt(ACCOUNT) is not None:
            self._guard.hear(now, fired=True)
            return
        if now < self._due and not self._guard.fired:
            return
        self._due = now + JUDGE_SECONDS
        try:
            verdict = judge(self._config, self._equity())
        except BrokerError as error:
            self._due = now + max(JUDGE_SECONDS, error.retry_after or 0.0)
            if str(error) != self._trouble:
                log.warning("the account cannot be judged: %s", error)
            self._trouble = str(error)
            return
        self._trouble = ""
        if verdict:
            log.error("%s", verdict)
            self._write(store, verdict)
        self._guard.hear(now, fired=bool(verdict))

    def _write(self, store: Store, verdict: str) -> None:
        """Before anybody is told: it must survive a crash."""
        store.halt(
            ACCOUNT,
            reason_code=REASON_CODE,
            text=verdict,
            price=Decimal(0),
            at_ms=self._clock.now_ms(),
        )

    def _equity(self) -> Decimal:
        """What the account's coins of these symbols bring now, and its quote (quote)."""
        first = next(iter(self._brokers.values()))
        balances = first.balances()
        total = balances.get(coins_of(self._config.symbols[0])[1], Decimal(0))
        for symbol, broker in self._brokers.items():
            held = balances.get(coins_of(symbol)[0], Decimal(0))
            if held:
                total += held * broker.bid_price()
        return total


def judge(config: AccountGuardConfig, equity: Decimal) -> str:
    """Why the limit is passed; empty where it is not.

    Args:
        config: of a judge.
        equity: what the account is worth (quote).
    """
    if config.start_equity is None or config.loss_limit is None:
        raise AssertionError("a judge has a limit")
    lost = config.start_equity - equity
    if lost < config.loss_limit:
        return ""
    return (
        f"the account is worth {plain(round(equity, 2))}, {plain(round(lost, 2))} less than "
        f"account_guard.start_equity = {plain(config.start_equity)}; account_guard.loss_limit = "
        f"{plain(config.loss_limit)}"
    )
