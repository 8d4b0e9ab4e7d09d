"""What the Gateway's answers mean: hours, cursors, corrections, and its codes."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from gridbase.gateway.hours import DAY_MS, MINUTE_MS, Hours, restarted_at
from gridbot.exchanges.ib.answers import (
    Cursor,
    failure_kind,
    is_notice,
    is_paper,
    latest_revisions,
    read_trade,
)
from gridbot.exchanges.port import Failure

TEXT = (
    "20261105:0930-20261105:1600;20261106:0930-20261106:1300;20261107:CLOSED;20261108:CLOSED;"
    "20261109:0930-20261109:1600"
)


def at(text):
    """Unix milliseconds of a time in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def hours():
    return Hours(TEXT, "US/Eastern")


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-05T14:29", "2026-11-05T14:30"),
        ("2026-11-05T14:30", None),
        ("2026-11-05T20:59", None),
        ("2026-11-05T21:00", "2026-11-06T14:30"),
        ("2026-11-06T18:00", "2026-11-09T14:30"),  # closes early, then a weekend
        ("2026-11-09T22:00", None),  # nothing is known of what comes then
    ],
)
def test_when_trading_begins_again(hours, now, opens):
    assert hours.opens_after(at(now)) == (None if opens is None else at(opens))


def test_the_end_of_a_session(hours):
    closed = at("2026-11-05T21:00")
    assert hours.opens_after(closed + 60_000, grace_ms=90_000) is None
    assert hours.closed_since(closed) == closed
    assert hours.closed_since(at("2026-11-05T15:00")) is None
    assert hours.day(at("2026-11-06T03:00")) == "20261105"


@pytest.mark.parametrize("text", ["20261105:0930", "yesterday", "20261105:0930-20261105:2599"])
def test_hours_that_make_no_sense(text):
    with pytest.raises(ValueError, match=r"."):
        Hours(text, "US/Eastern")
    with pytest.raises(ValueError, match="zone"):
        Hours(TEXT, "Mars/Olympus")


@pytest.mark.parametrize(
    ("now", "over"),
    [("23:57", None), ("23:58", "00:05"), ("00:04", "00:05"), ("00:05", None), ("12:00", None)],
)
def test_the_gate_around_a_restart_at_midnight(now, over):
    day = at("2026-11-05T00:00")
    hour, minute = map(int, now.split(":"))
    moment = day + (hour * 60 + minute) * MINUTE_MS
    found = restarted_at(moment, 0)
    assert (None if found is None else f"{found % DAY_MS // MINUTE_MS // 60:02}:05") == over
    assert restarted_at(moment, None) is None


def trade(exec_id, side="BOT", shares=10.0, price=100.01):
    execution = SimpleNamespace(
        execId=exec_id,
        permId=5,
        price=price,
        shares=shares,
        side=side,
        time=datetime(2026, 11, 5, 15, tzinfo=UTC),
        lastLiquidity=1,
        orderRef="pi1-a",
    )
    report = SimpleNamespace(commission=1.0, currency="USD")
    return read_trade(execution, report)


def test_amounts_are_those_that_the_gateway_wrote():
    one = trade("0001.02.01.01", shares=3.0, price=100.1).trade
    assert (one.price, one.quote, one.commission) == (
        Decimal("100.1"),
        Decimal("300.3"),
        Decimal(1),
    )
    with pytest.raises(ValueError, match="not set"):
        trade("0001.02.01.01", price=1.7976931348623157e308)


def test_a_corrected_execution_takes_the_place_of_the_first():
    first, second, other = trade("a.1.01"), trade("a.1.02", price=100.02), trade("a.2.01")
    latest = latest_revisions([second, other, first])
    assert [(one.stem, one.trade.price) for one in latest] == [
        ("a.1", Decimal("100.02")),
        ("a.2", Decimal("100.01")),
    ]


def test_a_cursor_knows_what_it_is_after_and_whether_all_is_there():
    first, second = trade("a.1.01"), trade("a.2.01", side="SLD", shares=4.0)
    cursor = Cursor.read(str(Cursor.of("20261105", Decimal(10), [first])))
    assert cursor.news("20261105", [first, second]) == [second]
    assert cursor.explains([second], Decimal(6))
    assert not cursor.explains([], Decimal(6))
    # Of the next day all is new.
    assert cursor.news("20261106", [second]) == [second]
    assert not cursor.explains([second], Decimal(7))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (201, Failure.REJECTED),
        (110, Failure.REJECTED),
        (10147, Failure.NOT_FOUND),
        (162, Failure.RATE_LIMITED),
        (1100, Failure.UNREACHABLE),
        (103, Failure.AMBIGUOUS),
        (99999, Failure.AMBIGUOUS),
    ],
)
def test_kinds_of_failures(code, kind):
    assert failure_kind(code) is kind
    assert not is_notice(code)


def test_notices_and_names_of_accounts():
    assert all(is_notice(code) for code in (2104, 399, 202))
    assert is_paper("DU1234567")
    assert not is_paper("U1234567")
