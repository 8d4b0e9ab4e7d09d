"""The kill switches: each at its threshold exactly, and across restarts."""

import json
from decimal import Decimal

import pytest
from gridbase.errors import ExitCode, UserError
from gridbot.core.prices import Seen
from gridbot.policies.kill_switches import (
    DAY_MS,
    Halt,
    KillSwitchRules,
    KillSwitchState,
    KillSwitchWatch,
    check,
)
from hypothesis import given
from hypothesis import strategies as st

NOON = 20_000 * DAY_MS + DAY_MS // 2
INVESTED = Decimal(1000)


def watch(state: KillSwitchState | None = None, **rules) -> KillSwitchWatch:
    exact = {name: Decimal(value) for name, value in rules.items()}
    return KillSwitchWatch(KillSwitchRules(**exact), state or KillSwitchState())


def look(stops: KillSwitchWatch, price="100", equity="1000", at=NOON) -> Halt | None:
    return stops.observe(Seen.at(Decimal(price)), lambda _price: Decimal(equity), INVESTED, at)


@pytest.mark.parametrize(
    ("rules", "calm", "halting", "text"),
    [
        (
            {"loss_price": "90"},
            {"price": "90.00000001"},
            {"price": "90"},
            "price 90 is at or below the stop 90",
        ),
        (
            {"profit_price": "120"},
            {"price": "119.99999999"},
            {"price": "121.50"},
            "price 121.5 is at or above the target 120",
        ),
        (
            {"max_drawdown_percent": "10"},
            {"equity": "900.00000001"},
            {"equity": "900"},
            "equity 900 is 10 % below its highest 1000; the limit is 10 %",
        ),
        (
            {"daily_loss_percent": "2.5"},
            {"equity": "975.00000001"},
            {"equity": "975"},
            "equity 975 is 2.5 % below the day's start 1000; the limit is 2.5 %",
        ),
        (
            {"profit_percent": "20"},
            {"equity": "1199.99999999"},
            {"equity": "1200"},
            "equity 1200 is 20 % above the investment 1000; the target is 20 %",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_each_rule_stops_exactly_at_its_threshold(rules, calm, halting, text):
    stops = watch(**rules)
    assert look(stops) is None
    assert look(stops, **calm, at=NOON + 1) is None
    halt = look(stops, **halting, at=NOON + 2)
    (name,) = rules
    assert halt == Halt(f"stop.{name}", text, Decimal(halting.get("price", "100")), NOON + 2)


def test_no_rule_stops_nothing():
    assert not KillSwitchRules().enabled
    assert look(watch(), price="0.00000001", equity="0") is None


def test_a_drawdown_is_measured_from_the_highest_equity():
    stops = watch(max_drawdown_percent="10")
    assert [look(stops, equity=each) for each in ("1000", "1500", "1351")] == [None] * 3
    assert look(stops, equity="1350").reason_code == "stop.max_drawdown_percent"


def test_a_drawdown_of_a_grid_that_never_gained_is_measured_from_the_investment():
    stops = watch(max_drawdown_percent="10")
    assert look(stops, equity="990") is None
    assert look(stops, equity="900").reason_code == "stop.max_drawdown_percent"


def test_a_daily_loss_begins_anew_at_midnight_utc():
    stops = watch(daily_loss_percent="5")
    midnight = 20_001 * DAY_MS
    assert look(stops, equity="1000", at=NOON) is None
    assert look(stops, equity="951", at=midnight - 1) is None
    assert look(stops, equity="949", at=midnight) is None
    assert look(stops, equity="902", at=midnight + 1) is None
    assert look(stops, equity="901.55", at=midnight + 2).reason_code == "stop.daily_loss_percent"


def test_a_halt_repeats_as_long_as_its_cause():
    stops = watch(loss_price="90")
    assert look(stops, price="89") is not None
    assert look(stops, price="89") is not None
    assert look(stops, price="91") is None


def test_cleared_by_a_person_it_counts_anew():
    stops = watch(max_drawdown_percent="10")
    look(stops, equity="2000")
    assert look(stops, equity="1500") is not None
    stops.clear()
    assert look(stops, equity="1500") is None
    assert look(stops, equity="1351") is None
    assert look(stops, equity="1350") is not None


def test_the_price_rules_come_first():
    stops = watch(loss_price="90", max_drawdown_percent="1")
    assert look(stops, price="80", equity="500").reason_code == "stop.loss_price"


def test_a_restart_remembers_peak_and_day():
    before = watch(max_drawdown_percent="10", daily_loss_percent="8")
    look(before, equity="1500")
    document = json.loads(json.dumps(before.state.document()))
    assert document == {"peak": "1500", "day": 20_000, "day_equity": "1500"}
    after = watch(KillSwitchState.from_document(document), daily_loss_percent="8")
    assert look(after, equity="1380.01") is None
    assert look(after, equity="1380").reason_code == "stop.daily_loss_percent"


amounts = st.decimals(min_value=0, max_value=10**9, places=8)


@given(peak=st.none() | amounts, day=st.none() | st.integers(0, 10**6), start=st.none() | amounts)
def test_the_state_survives_as_a_document(peak, day, start):
    state = KillSwitchState(peak, day, start)
    document = json.loads(json.dumps(state.document()))
    assert KillSwitchState.from_document(document) == state


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"peak": "many", "day": 1, "day_equity": "1"},
        {"peak": "NaN", "day": 1, "day_equity": "1"},
        {"peak": 1.5, "day": 1, "day_equity": "1"},
        {"peak": "1", "day": "1", "day_equity": "1"},
        {"peak": "1", "day": True, "day_equity": "1"},
    ],
)
def test_a_damaged_state_is_refused(document):
    with pytest.raises(UserError, match="state of the stops is damaged") as error:
        KillSwitchState.from_document(document)
    assert error.value.exit_code == ExitCode.STATE


def test_what_is_worth_a_write():
    written = KillSwitchState(Decimal(1000), 7, Decimal(990))
    changed = {
        "first": KillSwitchState().worth_writing(KillSwitchState()),
        "from nothing": written.worth_writing(KillSwitchState()),
        "same": written.worth_writing(written),
        "0.1 % higher": KillSwitchState(Decimal(1001), 7, Decimal(990)).worth_writing(written),
        "more": KillSwitchState(Decimal("1001.01"), 7, Decimal(990)).worth_writing(written),
        "lower": KillSwitchState(Decimal(999), 7, Decimal(990)).worth_writing(written),
        "new day": KillSwitchState(Decimal(1000), 8, Decimal(990)).worth_writing(written),
        "other start": KillSwitchState(Decimal(1000), 7, Decimal(991)).worth_writing(written),
        "no peak": KillSwitchState(None, 7, Decimal(990)).worth_writing(written),
        "first peak": written.worth_writing(KillSwitchState(None, 7, Decimal(990))),
    }
    assert [name for name, worth in changed.items() if worth] == [
        "from nothing",
        "more",
        "lower",
        "new day",
        "other start",
        "no peak",
        "first peak",
    ]


def test_a_loss_needs_something_that_was_lost_from():
    """A small grid is watched as a large one is; nothing of nothing is no loss."""
    rules = KillSwitchRules(daily_loss_percent=Decimal(10))
    day = NOON // DAY_MS
    small = KillSwitchWatch(rules, KillSwitchState(INVESTED, day, Decimal("0.5")))
    assert look(small, equity="0.4") is not None
    nothing = KillSwitchWatch(rules, KillSwitchState(INVESTED, day, Decimal(0)))
    assert look(nothing, equity="0") is None


@given(equities=st.lists(st.decimals(min_value=500, max_value=2000, places=2), max_size=60))
def test_a_halt_comes_at_the_first_look_that_breaks_the_rule_and_writes_are_few(equities):
    """Against a plain restatement of the rule; and a restart from what was written halts alike."""
    stops, written, writes = watch(max_drawdown_percent="10"), KillSwitchState(), 0
    peak = INVESTED
    for index, equity in enumerate(equities):
        peak = max(peak, equity)
        halted = look(stops, equity=equity, at=NOON + index) is not None
        assert halted == (equity <= peak * Decimal("0.9"))
        if stops.state.worth_writing(written):
            written = stops.state
            writes += 1
        restarted = watch(written, max_drawdown_percent="10.1")
        if look(restarted, equity=equity, at=NOON + index) is not None:
            assert halted
    # From 1000 to 2000 there are at most 694 steps of more than 0.1 %.
    assert writes <= 1 + min(len(equities), 694)


LOWER, UPPER = Decimal(45_000), Decimal(65_000)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"loss_price": "45000"}, "stop.loss_price = 45000 must be below the lowest line 45000"),
        ({"profit_price": "65000"}, "stop.profit_price = 65000 must be above the highest line"),
        ({"max_drawdown_percent": "100"}, "stop.max_drawdown_percent = 100 must be above 0"),
        ({"daily_loss_percent": "0"}, "stop.daily_loss_percent = 0 must be above 0 and below"),
        ({"profit_percent": "0"}, "stop.profit_percent = 0 must be above 0"),
    ],
)
def test_rules_that_do_not_fit_are_refused(rules, message):
    exact = KillSwitchRules(**{name: Decimal(value) for name, value in rules.items()})
    with pytest.raises(UserError, match=message):
        check(exact, LOWER, UPPER)


def test_liquidation_without_a_stop_is_refused():
    with pytest.raises(UserError, match=r"stop\.liquidate = true has nothing to act on"):
        check(KillSwitchRules(liquidate=True), LOWER, UPPER)


def test_rules_that_fit():
    check(KillSwitchRules(), LOWER, UPPER)
    check(
        KillSwitchRules(
            *(Decimal(44_999), Decimal(65_001), Decimal(20), Decimal(5), Decimal(150)),
            liquidate=True,
        ),
        LOWER,
        UPPER,
    )


def dipped(stops: KillSwitchWatch, low="95", high="105", last="100", holds="10") -> Halt | None:
    """A look at prices, of a grid of 1,000 that holds so much base."""
    seen = Seen(Decimal(last), Decimal(low), Decimal(high))
    cash = INVESTED - Decimal(holds) * 100
    return stops.observe(seen, lambda price: cash + Decimal(holds) * price, INVESTED, NOON)


@pytest.mark.parametrize(
    ("rules", "seen", "at"),
    [
        ({"loss_price": "90"}, {"low": "90"}, "90"),
        ({"profit_price": "110"}, {"high": "110"}, "110"),
        ({"max_drawdown_percent": "8"}, {"low": "92"}, "92"),
        ({"daily_loss_percent": "8"}, {"low": "92"}, "92"),
    ],
)
def test_a_dip_or_peak_since_the_look_before_counts(rules, seen, at):
    stops = watch(**rules)
    assert dipped(stops) is None
    halt = dipped(stops, **seen)
    assert (halt.reason_code, halt.price) == (f"stop.{next(iter(rules))}", Decimal(at))


def test_a_profit_counts_at_the_latest_price():
    stops = watch(profit_percent="8")
    assert dipped(stops, high="120") is None
    assert dipped(stops, high="120", last="108").reason_code == "stop.profit_percent"


def test_a_low_counts_against_the_peak_before():
    stops = watch(max_drawdown_percent="10")
    assert dipped(stops) is None
    assert dipped(stops, low="95", last="105") is None  # 9.5 % below the new peak's 1,050
    assert stops.state.peak == 1_050
    assert dipped(stops, low="94.5", last="105").price == Decimal("94.5")


def test_without_books_that_are_up_to_date_prices_still_count():
    stops = watch(loss_price="90", max_drawdown_percent="1")
    low = Seen.at(Decimal(91))
    assert stops.observe(low, None, INVESTED, NOON) is None
    assert stops.state.peak is None
    assert stops.observe(Seen.at(Decimal(90)), None, INVESTED, NOON).price == 90
