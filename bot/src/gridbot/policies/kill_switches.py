"""Kill switches: prices and losses at which the bot stops, and what they remember. Pure, exact."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from gridbase.errors import ExitCode, UserError
from gridbase.market import EXACT, plain

from gridbot.core.prices import Seen

DAY_MS = 86_400_000
_HUNDRED = Decimal(100)
# A new peak is worth a write to the card once it is this share above the written one: after a
# power cut a drawdown is then measured from a peak that is at most so much too low.
PEAK_WRITTEN = Decimal("0.001")


@dataclass(frozen=True)
class KillSwitchRules:
    """When to stop; None switches a rule off.

    Attributes:
        loss_price: at or below this price (quote).
        profit_price: at or above this price (quote).
        max_drawdown_percent: once equity is so many percent below its highest, or below the
            investment where it was never above that.
        daily_loss_percent: once equity is so many percent below what it was when the day (UTC)
            began.
        profit_percent: once equity is so many percent above the investment.
        liquidate: whether the base held is sold then; else it is kept.
    """

    loss_price: Decimal | None = None
    profit_price: Decimal | None = None
    max_drawdown_percent: Decimal | None = None
    daily_loss_percent: Decimal | None = None
    profit_percent: Decimal | None = None
    liquidate: bool = False

    @property
    def enabled(self) -> bool:
        """Whether any rule is on."""
        by_price = self.loss_price is not None or self.profit_price is not None
        return by_price or self.by_equity

    @property
    def by_equity(self) -> bool:
        """Whether a rule is on that depends on what the grid has traded, not on the price alone."""
        rules = (self.max_drawdown_percent, self.daily_loss_percent, self.profit_percent)
        return any(rule is not None for rule in rules)


@dataclass(frozen=True)
class Halt:
    """Why the bot stopped.

    Attributes:
        reason_code: the setting that stopped it, such as ``stop.loss_price``.
        text: one line for people.
        price: the price it stopped at (quote).
        at_ms: when, in milliseconds since 1970 UTC.
    """

    reason_code: str
    text: str
    price: Decimal
    at_ms: int


@dataclass(frozen=True)
class KillSwitchState:
    """What the rules remember from one look to the next, and from one start to the next.

    Attributes:
        peak: the highest equity seen (quote); None before the first look.
        day: number of the current day since 1970 UTC; None before the first look.
        day_equity: equity at the day's first look (quote); None before it.
    """

    peak: Decimal | None = None
    day: int | None = None
    day_equity: Decimal | None = None

    def document(self) -> dict[str, str | int | None]:
        """The state as JSON can hold it; amounts are decimal strings."""
        return {
            "peak": None if self.peak is None else plain(self.peak),
            "day": self.day,
            "day_equity": None if self.day_equity is None else plain(self.day_equity),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "KillSwitchState":
        """The state that `document` describes.

        Raises:
            UserError: it does not.
        """
        try:
            return cls(
                peak=_amount(document["peak"]),
                day=_whole(document["day"]),
                day_equity=_amount(document["day_equity"]),
            )
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise UserError(
                f"state of the stops is damaged ({document}); restore a backup of the state "
                "directory",
                ExitCode.STATE,
            ) from error

    def worth_writing(self, written: "KillSwitchState") -> bool:
        """Whether the state differs enough from what was last written to write it again."""
        if self.day != written.day or self.day_equity != written.day_equity:
            return True
        if self.peak is None or written.peak is None:
            return self.peak is not written.peak
        moved = EXACT.subtract(self.peak, written.peak)
        return moved < 0 or moved > EXACT.multiply(written.peak, PEAK_WRITTEN)


def _whole(number: Any) -> int | None:
    if number is None or type(number) is int:
        return number
    raise TypeError("the day is not a whole number")


def _amount(text: Any) -> Decimal | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError("an amount is not text")
    amount = Decimal(text)
    if not amount.is_finite():
        raise ValueError("an amount is not finite")
    return amount


class KillSwitchWatch:
    """Looks at each price and says when to stop.

    Args:
        rules: when to stop.
        state: what is remembered.

    Attributes:
        state: what is remembered after the latest look.
    """

    def __init__(self, rules: KillSwitchRules, state: KillSwitchState) -> None:
        self.state = state
        self._rules = rules

    def observe(
        self,
        seen: Seen,
        equity: Callable[[Decimal], Decimal] | None,
        investment: Decimal,
        now_ms: int,
    ) -> Halt | None:
        """Look at the market and at the books.

        Stop prices and losses count at the lowest and highest price since the look before. What a
        grid holds shrinks as the price rises, so that the equity of now at that low is never less
        than it was then: no loss is made up. At that high it could be more: a profit counts at the
        latest price, and so do the highest equity and the day's first.

        Args:
            seen: prices since the look before.
            equity: quote held plus base held at a price (quote); None: the books are not up to
                date, only prices count.
            investment: what the grid began with (quote).
            now_ms: the time, in milliseconds since 1970 UTC.

        Returns:
            Why to stop, or None.
        """
        price, found = seen.low, at_price(self._rules, seen.low)
        if found is None:
            price, found = seen.high, at_price(self._rules, seen.high)
        if found is None and equity is not None:
            price, found = self._by_equity(seen, equity, investment, now_ms // DAY_MS)
        if found is None:
            return None
        code, text = found
        return Halt(f"stop.{code}", text, price, now_ms)

    def clear(self) -> None:
        """Forget peak and day: a person has switched the bot on again, from here it counts anew."""
        self.state = KillSwitchState()

    def _remember(self, equity: Decimal, investment: Decimal, day: int) -> None:
        state = self.state
        if state.peak is None:
            state = replace(state, peak=investment)
        if state.peak is None or equity > state.peak:
            state = replace(state, peak=equity)
        if day != state.day:
            state = replace(state, day=day, day_equity=equity)
        self.state = state

    def _by_equity(
        self, seen: Seen, equity: Callable[[Decimal], Decimal], investment: Decimal, day: int
    ) -> tuple[Decimal, tuple[str, str] | None]:
        """The price at which a rule about equity holds, and which one."""
        now = equity(seen.last)
        # The low may have come before a peak that is new: it counts against the one before.
        found = self._lost(equity(seen.low)) if seen.low < seen.last else None
        self._remember(now, investment, day)
        if found is not None:
            return seen.low, found
        return seen.last, self._lost(now) or self._earned(now, investment)

    def _lost(self, equity: Decimal) -> tuple[str, str] | None:
        peak, begun = self.state.peak, self.state.day_equity
        limit = self._rules.max_drawdown_percent
        if limit is not None and peak is not None and _below(equity, peak, limit):
            return "max_drawdown_percent", (
                f"equity {plain(equity)} is {_percent(peak, equity)} % below its highest "
                f"{plain(peak)}; the limit is {plain(limit)} %"
            )
        limit = self._rules.daily_loss_percent
        if limit is not None and begun is not None and _below(equity, begun, limit):
            return "daily_loss_percent", (
                f"equity {plain(equity)} is {_percent(begun, equity)} % below the day's start "
                f"{plain(begun)}; the limit is {plain(limit)} %"
            )
        return None

    def _earned(self, equity: Decimal, investment: Decimal) -> tuple[str, str] | None:
        goal = self._rules.profit_percent
        if goal is None:
            return None
        gain = EXACT.multiply(EXACT.subtract(equity, investment), _HUNDRED)
        if gain < EXACT.multiply(investment, goal):
            return None
        return "profit_percent", (
            f"equity {plain(equity)} is {_percent(equity, investment, investment)} % above the "
            f"investment {plain(investment)}; the target is {plain(goal)} %"
        )


def at_price(rules: KillSwitchRules, price: Decimal) -> tuple[str, str] | None:
    """Whether a rule about the price alone holds.

    Args:
        rules: when to stop.
        price: the last price (quote).

    Returns:
        Its name without section and why, or None.
    """
    loss, profit = rules.loss_price, rules.profit_price
    if loss is not None and price <= loss:
        return "loss_price", f"price {plain(price)} is at or below the stop {plain(loss)}"
    if profit is not None and price >= profit:
        return "profit_price", f"price {plain(price)} is at or above the target {plain(profit)}"
    return None


def _below(equity: Decimal, reference: Decimal, percent: Decimal) -> bool:
    """Whether equity is that many percent or more below the reference; exact, no division."""
    lost = EXACT.multiply(EXACT.subtract(reference, equity), _HUNDRED)
    return reference > 0 and lost >= EXACT.multiply(reference, percent)


def _percent(high: Decimal, low: Decimal, whole: Decimal | None = None) -> str:
    """For people: `high` less `low` in percent of `whole` (`high` where not given)."""
    share = EXACT.divide(EXACT.subtract(high, low), high if whole is None else whole)
    return plain(EXACT.multiply(share, _HUNDRED).quantize(Decimal("0.01")))


def check(rules: KillSwitchRules, lower: Decimal, upper: Decimal) -> None:
    """Refuse rules that do not fit the grid.

    A stop price inside the range is refused: the lines beyond it could never trade, while their
    share of the investment would lie idle.

    Args:
        rules: the rules.
        lower: price of the lowest line (quote).
        upper: price of the highest line (quote).

    Raises:
        UserError: names the setting, its value and what is allowed.
    """
    if rules.loss_price is not None and rules.loss_price >= lower:
        raise UserError(
            f"stop.loss_price = {plain(rules.loss_price)} must be below the lowest line "
            f"{plain(lower)}: lines under it would never trade; lower it or raise grid.lower"
        )
    if rules.profit_price is not None and rules.profit_price <= upper:
        raise UserError(
            f"stop.profit_price = {plain(rules.profit_price)} must be above the highest line "
            f"{plain(upper)}: lines over it would never trade; raise it or lower grid.upper"
        )
    for name in ("max_drawdown_percent", "daily_loss_percent"):
        percent = getattr(rules, name)
        if percent is not None and not 0 < percent < _HUNDRED:
            raise UserError(f"stop.{name} = {plain(percent)} must be above 0 and below 100")
    if rules.profit_percent is not None and rules.profit_percent <= 0:
        raise UserError(f"stop.profit_percent = {plain(rules.profit_percent)} must be above 0")
    if rules.liquidate and not rules.enabled:
        raise UserError(
            "stop.liquidate = true has nothing to act on: set one of stop.loss_price, "
            "stop.profit_price, stop.max_drawdown_percent, stop.daily_loss_percent or "
            "stop.profit_percent"
        )
