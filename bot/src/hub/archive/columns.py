"""How the fields of a row are stored in Parquet, to the last digit. Pure.

An amount is a whole number and the power of ten that it counts, which delta encoding makes small; a
text stands in for one that does not fit. An exchange's ID is a number where it is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from gridbase.market import EXACT, plain

_MOST = 2**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Column:
    """How the values of one field are stored: as one column of Parquet, or as several.

    Attributes:
        parts: ends of the columns' names, with type and whether a cell may be empty.
        delta: ends of those that are delta-encoded.
        words: ends of those that have few values.
        store: values as columns.
        load: the columns as values.
        cast: of the database's column, for who reads it.
    """

    parts: Mapping[str, tuple[pa.DataType, bool]]
    delta: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    store: Callable[[Sequence[Any]], Iterable[Sequence[Any]]] = lambda values: (values,)
    load: Callable[..., Iterable[Any]] = lambda values: values
    cast: str = ""


def _milliseconds(times: Sequence[datetime]) -> Iterable[Sequence[int]]:
    return ([(time - _EPOCH) // MILLISECOND for time in times],)


def _times(milliseconds: Sequence[int]) -> Iterable[datetime]:
    return [_EPOCH + timedelta(milliseconds=one) for one in milliseconds]


def _identities(names: Sequence[str | None]) -> Iterable[Sequence[Any]]:
    numbers = [_number(name) for name in names]
    pairs = zip(names, numbers, strict=True)
    return numbers, [name if number is None else None for name, number in pairs]


def _number(name: str | None) -> int | None:
    if name is None or not (name.isdecimal() and len(name) < 19):
        return None
    number = int(name)
    return number if str(number) == name else None


def _names(numbers: Sequence[int | None], texts: Sequence[str | None]) -> Iterable[str | None]:
    pairs = zip(numbers, texts, strict=True)
    return [text if number is None else str(number) for number, text in pairs]


def _whole(amount: Decimal | None) -> tuple[int | None, int | None, str | None]:
    """An amount as number, digits behind the point, and text where it does not fit."""
    if amount is None:
        return None, None, None
    digits = max(0, -int(amount.as_tuple().exponent))
    number = int(amount.scaleb(digits, EXACT))
    if abs(number) >= _MOST:
        return None, None, plain(amount)
    return number, digits, None


def _amount(number: int | None, digits: int | None, text: str | None) -> Decimal | None:
    if text is not None:
        return Decimal(text)
    return None if number is None else Decimal(number).scaleb(-(digits or 0), EXACT)


TIME = Column({"_ms": (pa.int64(), False)}, ("_ms",), (), _milliseconds, _times)
INT = Column({"": (pa.int32(), False)}, ("",))
LONG = Column({"": (pa.int64(), False)}, ("",))
FLAG = Column({"": (pa.bool_(), False)})
LETTER = Column({"": (pa.string(), False)}, words=("",), cast="::text")
WORD = Column({"": (pa.string(), False)}, words=("",))
TEXT = Column({"": (pa.string(), False)})
AMOUNT = Column(
    {"": (pa.int64(), True), "_digits": (pa.int32(), True), "_text": (pa.string(), True)},
    ("",),
    ("_digits",),
    lambda values: zip(*map(_whole, values), strict=True),
    lambda *parts: map(_amount, *parts),
)
IDENTITY = Column(
    {"_number": (pa.int64(), True), "_text": (pa.string(), True)},
    ("_number",),
    (),
    _identities,
    _names,
)
