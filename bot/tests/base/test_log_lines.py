"""A log as text and as JSON, and what never gets into it."""

import json
import logging

import pytest
from gridbase.log_lines import JsonLines, TextLines
from gridbase.redaction import redacted
from gridbase.secret_files import read_secret

PLANTED = {
    "key": "X-MBX-APIKEY: vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    "signature": "GET /order?signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b",
    "secret": '{"apiSecret": "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"}',
    "token": "Authorization: Bearer gridberry_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
    "bare token": "no such token gridberry_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
    "discord": "POST https://discord.com/api/webhooks/123456/AbC-dEf_GhI failed",
    "local discord": "POST http://127.0.0.1:8123/api/webhooks/123456/AbC-dEf_GhI failed",
    "slack": "https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXX said no",
    "telegram": "https://api.telegram.org/bot123456:AAE-xyz/sendMessage said no",
    "ntfy": "https://ntfy.sh/my-secret-topic said no",
    "password": "http://me:hunter2hunter2@proxy:3128 is away",
    "private key": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----",
}
HIDDEN = (
    "vmPUZE6m", "c8db5682", "NhqPtmdS", "gridberry_Zm9v", "AbC-dEf", "T000/B000", "123456:AAE",
    "my-secret-topic", "hunter2", "MC4CAQ",
)  # fmt: skip
INNOCENT = (
    "bought 0.001 at 50000.12 (order pi1-BTCUSDT-1-4b2, fee 0.000001 BTC)",
    "exchange http://127.0.0.1:8000/api/v3 did not answer 5 times in a row",
    "gridbot 0.1.0: BTC/USDT on https://api.binance.com/api/v3, live mode, page on port 8080",
    "BTC/USDT waits: exchange: it does not accept the API key (code -2015) (next try in 60 s)",
)


def record(text: str, *arguments: object, **more: object) -> logging.LogRecord:
    one = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "name": "gridbot.x"})
    one.msg, one.args, one.created = text, arguments, 1_790_000_000.25
    vars(one).update(more)
    return one


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("formatter", [TextLines(), JsonLines("pi1", ["BTC/USDT"])])
def test_no_secret_is_logged(formatter, kind):
    said = formatter.format(record("it failed: %s", PLANTED[kind]))
    assert not [secret for secret in HIDDEN if secret in said]
    assert "[" in said.partition("failed")[2]


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays(text):
    assert redacted(text) == text


def test_a_secret_that_was_read_is_known_by_its_value(tmp_path):
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("unlike/any-pattern.of.secrets\n")
    read_secret(file, "alerts.webhook_url_file")
    said = TextLines().format(record("POST %s: 404", "unlike/any-pattern.of.secrets"))
    assert said == "2026-09-21T14:13:20Z INFO POST [alerts.webhook_url]: 404"


def test_an_error_of_the_program_is_one_line_without_secrets():
    error = RuntimeError(PLANTED["discord"])
    trace = (RuntimeError, error, None)
    said = JsonLines("pi1", []).format(record("it failed", exc_info=trace))
    assert "\n" not in said
    assert "AbC-dEf" not in said
    assert "RuntimeError" in json.loads(said)["trace"]


def test_an_order_can_be_followed():
    lines = JsonLines("pi1", ["BTC/USDT", "ETH/USDT"])
    accepted = record("order %s accepted: %s", "pi1-BTCUSDT-1-4b2", "buy 1 at 2", symbol="ETH/USDT")
    assert json.loads(lines.format(accepted)) == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "info",
        "event": "order pi1-BTCUSDT-1-4b2 accepted: buy 1 at 2",
        "logger": "gridbot.x",
        "bot": "pi1",
        "symbol": "ETH/USDT",
        "order": "pi1-BTCUSDT-1-4b2",
    }
    waits = json.loads(lines.format(record("%s waits: %s (%d)", "BTC/USDT", "no answer", 3)))
    assert (waits["symbol"], waits.get("order")) == ("BTC/USDT", None)
    other = json.loads(lines.format(record("order %s accepted", "pi2-BTCUSDT-1-4b2")))
    assert "order" not in other  # another bot's
