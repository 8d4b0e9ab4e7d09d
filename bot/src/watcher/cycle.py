"""One cycle: chain, strikes near the money, snapshots with Greeks, bars."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gridbase.clock import Clock
from gridbase.gateway.hours import Hours
from ib_async.contract import Contract

from watcher.choosing import choose, day_of, figures
from watcher.config import Config
from watcher.gateway import Gateway, UnreachableError
from watcher.listener import MOST, NOT_LISTED, GatewayError, Snapshot

log = logging.getLogger(__name__)

AT_ONCE = 2  # symbols
HOURS_SECONDS = 6 * 3600.0
BAR_SECONDS = 60
FAILURES = (TimeoutError, GatewayError, ValueError)


@dataclass
class Look:
    """What one cycle saw of one stock.

    Attributes:
        symbol: of the stock.
        time_ms: when its price was read (Unix milliseconds).
        price: of the stock (currency); None where it is not known.
        options: a row for each.
        bars: of its latest minutes, those that are over.
        missing: what could not be had, and why.
    """

    symbol: str
    time_ms: int
    price: float | None = None
    options: list[dict[str, Any]] = field(default_factory=list)
    bars: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Cycles:
    """Looks at all stocks, again and again.

    Args:
        config: which ones.
        clock: time.
        gateway: is asked.

    Attributes:
        hours: sessions of the first stock; None before they are known.
    """

    def __init__(self, config: Config, clock: Clock, gateway: Gateway) -> None:
        self._config, self._clock, self._gateway = config, clock, gateway
        self.hours: Hours | None = None
        self._hours_asked = float("-inf")
        self._contracts: dict[str, Contract] = {}
        self._chains: dict[str, list[Any]] = {}
        self._unlisted: set[tuple[str, str, float]] = set()
        self._day = ""

    @property
    def day(self) -> str:
        """The exchange's day, such as ``20261110``; empty before its hours are known."""
        return "" if self.hours is None else self.hours.day(self._clock.now_ms())

    async def learn(self) -> None:
        """Ask for contracts and hours, where they are not known or old.

        Raises:
            UnreachableError: the Gateway cannot be asked.
            TimeoutError: it does not answer.
            GatewayError: it does not know a symbol, or refuses.
            ValueError: its answer makes no sense.
        """
        if self._clock.monotonic() - self._hours_asked < HOURS_SECONDS:
            return
        await self._gateway.connect()
        for symbol in self._config.symbols:
            wanted = Contract(
                secType="STK", symbol=symbol, exchange="SMART", currency=self._config.currency
            )
            found = await self._gateway.details(wanted)
            if len({one.contract.conId for one in found}) != 1:
                raise ValueError(f"{len(found)} contracts for {symbol}")
            self._contracts[symbol] = found[0].contract
            if symbol == self._config.symbols[0]:
                self.hours = Hours(found[0].liquidHours, found[0].timeZoneId)
        self._hours_asked = self._clock.monotonic()

    async def prepare(self) -> list[Look]:
        """Have the chains of the day; returns the looks of one cycle, which are still empty.

        Raises:
            UnreachableError: the Gateway cannot be asked.
        """
        if self._day != self.day:
            self._chains, self._unlisted, self._day = {}, set(), self.day
        looks = [Look(symbol, self._clock.now_ms()) for symbol in self._config.symbols]
        for look in looks:
            if look.symbol not in self._chains:
                await self._try(look, "chain", self._read_chain(look.symbol))
        return looks

    async def run(self, looks: list[Look]) -> None:
        """Look at all stocks once; what was seen before the connection broke is kept."""
        places = asyncio.Semaphore(AT_ONCE)
        try:
            await _all(self._look(look, places) for look in looks)
            for look in looks:
                asking = self._gateway.bars(self._contracts[look.symbol])
                rows = await self._try(look, "bars", asking) or []
                now = self._clock.now_ms() / 1000
                look.bars = [bar for row in rows if (bar := bar_of(row, now)) is not None]
        except UnreachableError as error:
            for look in looks:
                look.missing.append(f"the rest: {error}")

    async def _try(self, look: Look, what: str, asking: Any) -> Any:
        """An answer; None where there is none, which the look says."""
        try:
            return await asking
        except FAILURES as error:
            look.missing.append(f"{what}: {str(error) or 'no answer in time'}")
            return None

    async def _read_chain(self, symbol: str) -> None:
        self._chains[symbol] = await self._gateway.chain(self._contracts[symbol])

    async def _look(self, look: Look, places: asyncio.Semaphore) -> None:
        async with places:
            contract = self._contracts[look.symbol]
            seen = await self._try(look, "price", self._gateway.snapshot(contract))
            look.time_ms = self._clock.now_ms()
            look.price = None if seen is None else _middle(seen)
            if look.price is None:
                if seen is not None:
                    look.missing.append("price: the Gateway tells none")
                return
            unlisted = {row[1:] for row in self._unlisted if row[0] == look.symbol}
            chosen = choose(
                self._chains.get(look.symbol, []),
                look.price,
                day_of(self.day),
                days=self._config.expiry_days,
                count=self._config.strikes,
                unlisted=unlisted,
            )
            if chosen is None:
                look.missing.append("options: the chain has none that fit")
                return
            await _all(
                self._option(
                    look,
                    Contract(
                        secType="OPT",
                        symbol=look.symbol,
                        lastTradeDateOrContractMonth=chosen.expiry,
                        strike=strike,
                        right=right,
                        multiplier=chosen.multiplier,
                        exchange="SMART",
                        currency=self._config.currency,
                        tradingClass=chosen.trading_class,
                    ),
                )
                for strike in chosen.strikes
                for right in ("C", "P")
            )
            look.options.sort(key=lambda row: (row["strike"], row["right"]))

    async def _option(self, look: Look, contract: Contract) -> None:
        expiry, strike, right = (
            contract.lastTradeDateOrContractMonth,
            contract.strike,
            contract.right,
        )
        name = f"{expiry} {strike:g} {right}"
        try:
            seen = await self._gateway.snapshot(contract)
        except FAILURES as error:
            if isinstance(error, GatewayError) and error.code == NOT_LISTED:
                self._unlisted.add((look.symbol, expiry, strike))
            look.missing.append(f"{name}: {str(error) or 'no answer in time'}")
            return
        model = seen.model
        look.options.append(
            {
                "time_ms": self._clock.now_ms(),
                "expiry": expiry,
                "strike": strike,
                "right": right,
                "bid": seen.prices.get("bid"),
                "ask": seen.prices.get("ask"),
                "model": model.get("price"),
                **{
                    key: model.get(key) for key in ("volatility", "delta", "gamma", "vega", "theta")
                },
            }
        )

    def signal_of(self, look: Look) -> dict[str, Any]:
        """What a look says, for the signal file."""
        closes = [(bar["time"], bar["close"]) for bar in look.bars]
        said = (
            figures(look.price, look.options, closes, day_of(self.day))
            if look.price is not None
            else {"signal": "unknown"}
        )
        expiry = look.options[0]["expiry"] if look.options else None
        return {
            "time_ms": look.time_ms,
            "price": look.price,
            "expiry": expiry,
            **said,
            "options": look.options,
            "missing": look.missing,
        }


async def _all(asking: Any) -> None:
    """Have all done; where one fails, the others are ended, and waited for."""
    tasks = [asyncio.ensure_future(one) for one in asking]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _middle(seen: Snapshot) -> float | None:
    """Between bid and ask; where one is not known the latest trade, or the close before."""
    prices = seen.prices
    if "bid" in prices and "ask" in prices:
        return (prices["bid"] + prices["ask"]) / 2
    return prices.get("last", prices.get("close"))


def bar_of(row: Any, now: float) -> dict[str, Any] | None:
    """A bar; None where its minute is not over, or where it has no price.

    Args:
        row: the Gateway's; its time is that of its beginning (Unix seconds).
        now: Unix seconds.
    """
    moment = row.date
    seconds = int(moment.timestamp()) if isinstance(moment, datetime) else int(moment)
    prices = {"open": row.open, "high": row.high, "low": row.low, "close": row.close}
    if seconds + BAR_SECONDS > now or not all(0 < price < MOST for price in prices.values()):
        return None
    volume = float(row.volume)
    return {"time": seconds, **prices, "volume": volume if 0 <= volume < MOST else None}


def utc(time_ms: int) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
