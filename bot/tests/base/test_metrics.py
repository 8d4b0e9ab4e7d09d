"""How metrics are declared, served, and to whom."""

import pytest
from gridbase.metrics import Access, Durations, Kind, Metric, MetricsPage, render
from gridbot.service.metrics import METRICS, PREFIX
from gridexchange.rest import metrics as exchange
from watcher import metrics as watcher

from .metrics_rules import problems

TOKEN = "planted-secret-token"


def test_all_metrics_follow_prometheus_rules():
    assert problems(METRICS, PREFIX) == []
    assert problems(exchange.METRICS, exchange.PREFIX) == []
    assert problems(watcher.METRICS, watcher.PREFIX) == []


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (Metric("bot_price", Kind.GAUGE, "x"), "begin with"),
        (Metric("gridbot_fills", Kind.COUNTER, "x"), "needs _total"),
        (Metric("gridbot_fills_total", Kind.GAUGE, "x"), "no counter"),
        (Metric("gridbot_step_ms", Kind.GAUGE, "x"), "base unit"),
        (Metric("gridbot_drawdown_percent", Kind.GAUGE, "x"), "base unit"),
        (Metric("gridbot_step", Kind.HISTOGRAM, "x"), "needs its unit"),
        (Metric("gridbot_step_count", Kind.GAUGE, "x"), "part of a histogram"),
        (Metric("gridbot_price", Kind.GAUGE, " "), "no help"),
        (Metric("gridbot_Price", Kind.GAUGE, "x"), "lower case"),
        (Metric("gridbot_price", Kind.GAUGE, "x", ("le",)), "reserved"),
        (Metric("gridbot_price_by_symbol", Kind.GAUGE, "x", ("symbol",)), "by which label"),
    ],
)
def test_the_linter_finds_what_breaks_them(metric, said):
    (problem,) = problems([metric], PREFIX)
    assert said in problem


def test_durations_are_counted_in_buckets():
    durations = Durations((0.1, 1))
    for seconds in (0.05, 0.1, 0.5, 7):
        durations.observe(seconds)
    assert durations.buckets() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert durations.total == (4, pytest.approx(7.65))
    metric = Metric("gridbot_wait_seconds", Kind.HISTOGRAM, "Waits", ("symbol",))
    text = render([(metric, {("A/B",): durations})], PREFIX).decode()
    assert 'gridbot_wait_seconds_bucket{le="+Inf",symbol="A/B"} 4.0' in text
    assert 'gridbot_wait_seconds_count{symbol="A/B"} 4.0' in text


def asked(access: Access, **environ: str) -> str:
    return (
        MetricsPage(lambda: b"1\n", access).answer({"REMOTE_ADDR": "127.0.0.1", **environ}).status
    )


def test_without_a_token_only_this_machine_may_read():
    assert asked(Access(None, "127.0.0.1")) == "200 OK"
    assert asked(Access(None, "::1"), REMOTE_ADDR="::1") == "200 OK"
    assert asked(Access(None, "localhost")) == "200 OK"
    # In a container everybody comes from Docker's gateway, or seems near through its proxy.
    assert asked(Access(None, "0.0.0.0")) == "403 Forbidden"
    assert asked(Access(None, "0.0.0.0"), REMOTE_ADDR="172.18.0.1") == "403 Forbidden"
    assert asked(Access(None, "127.0.0.1"), REMOTE_ADDR="192.0.2.7") == "403 Forbidden"
    assert asked(Access(None, "127.0.0.1"), HTTP_X_FORWARDED_FOR="192.0.2.7") == "403 Forbidden"


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
)
def test_with_a_token_nobody_reads_without_it(given):
    access = Access(TOKEN, "127.0.0.1")
    assert asked(access, HTTP_AUTHORIZATION=given) == "401 Unauthorized"
    refused = MetricsPage(lambda: b"1\n", access).answer({"HTTP_AUTHORIZATION": given})
    assert refused.headers == (("WWW-Authenticate", 'Bearer realm="metrics"'),)
    assert TOKEN.encode() not in refused.body


def test_with_the_token_everybody_reads():
    for host, asker in (("0.0.0.0", "172.18.0.1"), ("127.0.0.1", "127.0.0.1")):
        for kind in ("Bearer", "bearer"):
            given = f"{kind} {TOKEN}"
            access = Access(TOKEN, host)
            assert asked(access, REMOTE_ADDR=asker, HTTP_AUTHORIZATION=given) == "200 OK"
