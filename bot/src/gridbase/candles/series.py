"""A recorded market in memory: six arrays, 48 bytes a candle, no library needed."""

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

DEFAULT_INTERVAL_MS = 60_000


class Candle(NamedTuple):
    """One candle.

    Attributes:
        time: when it opens, in milliseconds since 1970 UTC.
        open: first price, in units of 10^-8 quote.
        high: highest price, in units.
        low: lowest price, in units.
        close: last price, in units.
        volume: base traded, as the double nearest to the printed number.
    """

    time: int
    open: int
    high: int
    low: int
    close: int
    volume: float


@dataclass
class Findings:
    """What was odd in a file without being wrong.

    Attributes:
        duplicates: rows that repeat the time of the row before; the first of them counts.
        gaps: places where candles are missing.
        missing_candles: how many candles the gaps lack together.
        rounded_prices: prices printed with more than eight decimals, rounded half up to eight.
        recorded_gaps: stretches of which the recorder says that they are missing.
        recorded_gap_ms: how long these are together.
    """

    duplicates: int = 0
    gaps: int = 0
    missing_candles: int = 0
    rounded_prices: int = 0
    recorded_gaps: int = 0
    recorded_gap_ms: int = 0

    def sentences(self) -> list[str]:
        """One short sentence for each kind of finding there is."""
        found = []
        if self.duplicates:
            found.append(f"{self.duplicates} duplicate candles left out")
        if self.gaps:
            found.append(f"{self.gaps} gaps, {self.missing_candles} candles missing")
        if self.rounded_prices:
            found.append(f"{self.rounded_prices} prices rounded to 8 decimals")
        if self.recorded_gaps:
            seconds = self.recorded_gap_ms / 1000
            found.append(f"{self.recorded_gaps} gaps in the recording, {seconds:.1f} s in all")
        return found


@dataclass
class Steps:
    """Distances between neighbouring candles: what the interval is, and where candles lack."""

    counts: Counter[int] = field(default_factory=Counter)

    def interval_ms(self) -> int:
        """The commonest distance; of equally common ones the shortest; 1 minute if none."""
        if not self.counts:
            return DEFAULT_INTERVAL_MS
        return min(self.counts, key=lambda step: (-self.counts[step], step))

    def gaps(self) -> tuple[int, int]:
        """Number of gaps, and of candles missing in them."""
        interval = self.interval_ms()
        wide = [(step, count) for step, count in self.counts.items() if step > interval]
        missing = sum((-(-step // interval) - 1) * count for step, count in wide)
        return sum(count for _, count in wide), missing


class CandleSeries:
    """Candles of one market in order of time.

    Attributes:
        name: the file's name, for people.
        fingerprint: SHA-256 of times and prices, the same for every format of the same candles.
        interval_ms: length of a candle in milliseconds.
        findings: oddities found while reading.
        start: when the first candle opens, in milliseconds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.fingerprint = ""
        self.interval_ms = DEFAULT_INTERVAL_MS
        self.findings = Findings()
        self._times = array("q")
        self._opens = array("q")
        self._highs = array("q")
        self._lows = array("q")
        self._closes = array("q")
        self._volumes = array("d")

    def append(self, candle: Candle) -> None:
        """Add the next candle."""
        self._times.append(candle.time)
        self._opens.append(candle.open)
        self._highs.append(candle.high)
        self._lows.append(candle.low)
        self._closes.append(candle.close)
        self._volumes.append(candle.volume)

    def take_fingerprint(self) -> None:
        """Work out `fingerprint` once all candles are there."""
        digest = hashlib.sha256()
        for column in (self._times, self._opens, self._highs, self._lows, self._closes):
            digest.update(memoryview(column).cast("B"))
        self.fingerprint = digest.hexdigest()

    @property
    def length(self) -> int:
        """Number of candles."""
        return len(self._times)

    @property
    def start(self) -> int:
        """When the first candle opens, in milliseconds."""
        return self._times[0]

    @property
    def span_ms(self) -> int:
        """From the first candle's opening to the last one's end."""
        return self._times[-1] - self._times[0] + self.interval_ms

    def candle(self, index: int) -> Candle:
        """The candle at `index`, counted from 0."""
        return Candle(
            self._times[index],
            self._opens[index],
            self._highs[index],
            self._lows[index],
            self._closes[index],
            self._volumes[index],
        )
