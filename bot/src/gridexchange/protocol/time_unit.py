"""Times in milliseconds or, for who asks for them, in microseconds. Pure.

The exchange's clock ticks in milliseconds: microseconds end in three zeros.
"""

from gridexchange.errors import ApiError

MICROSECONDS_IN_MS = 1000
# No time in milliseconds is as large before the year 5138, none in microseconds as small.
FIRST_IN_MICROSECONDS = 10**14
UNITS = {
    "MICROSECOND": True,
    "microsecond": True,
    "MILLISECOND": False,
    "millisecond": False,
}
# In an answer, and in the events of each type.
TIMES = {
    "serverTime",
    "retryAfter",
    "time",
    "updateTime",
    "transactTime",
    "workingTime",
    "openTime",
    "closeTime",
}
EVENT_TIMES = {
    "executionReport": {"E", "T", "O", "W"},
    "outboundAccountPosition": {"E", "u"},
    "kline": {"E", "t", "T"},
}
KLINE_TIMES = (0, 6)


def wants_microseconds(unit: str | None) -> bool:
    """Whether a client asks for microseconds.

    Args:
        unit: what it names as its unit of time; None where it names none.

    Raises:
        ApiError: -1194, there is no such unit.
    """
    if unit is None:
        return False
    if unit not in UNITS:
        raise ApiError(
            -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
        )
    return UNITS[unit]


def to_microseconds(time: int) -> int:
    """A time that a client sent, in milliseconds or microseconds, as microseconds."""
    return time if time >= FIRST_IN_MICROSECONDS else time * MICROSECONDS_IN_MS


def answer_in_microseconds(answer: object) -> object:
    """An answer whose times are in milliseconds, with microseconds instead."""
    if isinstance(answer, list):
        if answer and isinstance(answer[0], int):
            return [
                _longer(item) if place in KLINE_TIMES else item for place, item in enumerate(answer)
            ]
        return [answer_in_microseconds(item) for item in answer]
    return _convert(answer, TIMES)


def event_in_microseconds(event: dict[str, object]) -> dict[str, object]:
    """An event whose times are in milliseconds, with microseconds instead."""
    converted = _convert(event, EVENT_TIMES.get(str(event.get("e")), {"E"}))
    return converted if isinstance(converted, dict) else event


def _convert(value: object, names: set[str]) -> object:
    if isinstance(value, dict):
        return {
            name: _longer(item) if name in names else _convert(item, names)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_convert(item, names) for item in value]
    return value


def _longer(time: object) -> object:
    return time * MICROSECONDS_IN_MS if isinstance(time, int) else time
