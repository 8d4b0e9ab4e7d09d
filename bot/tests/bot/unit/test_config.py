import copy
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import UserError
from gridbase.secret_files import read_secret
from gridbot.config.load import LIVE_CONFIRMATION, load_config, parse_config

GOOD = {
    "bot_name": "pi1",
    "exchange": {
        "name": "binance",
        "url": "http://exchange:8000",
        "api_key_file": "/run/secrets/key",
        "api_secret_file": "/run/secrets/secret",
    },
    "market": {"symbol": "BTC/USDT"},
    "grid": {"lower": "45000", "upper": "65000", "grids": 5, "investment": "10000"},
}


def changed(key, value):
    """The good document with one setting changed; None leaves it out."""
    document = copy.deepcopy(GOOD)
    section, _, name = key.rpartition(".")
    place = document.setdefault(section, {}) if section else document
    if value is None:
        place.pop(name, None)
    else:
        place[name] = value
    return document


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "localhost", "my_pi.home", "4pi", "a.1b"])
def test_a_page_host_is_an_address_or_a_name(host):
    assert parse_config(changed("page.host", host), Path("bot.toml")).page.host == host


def test_a_short_configuration_gets_the_defaults():
    config = parse_config(GOOD, Path("bot.toml"))
    (grid,) = config.grids
    assert (config.account.mode, grid.grid.spacing, grid.fees.rate) == (
        "paper",
        "arithmetic",
        Decimal("0.001"),
    )
    assert (grid.base, grid.quote, config.page.port) == ("BTC", "USDT", 8080)
    assert config.state_directory == Path("/var/lib/gridbot")
    assert config.account.poll_seconds == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("grid.lowr", "1", "grid.lowr is not a known setting; did you mean grid.lower?"),
        ("lower", "1", "lower is not a known setting; did you mean grid.lower?"),
        ("grids.lower", "1", "grids is not a known section; did you mean grid?"),
        (
            "page.colour",
            "red",
            "page.colour is not a known setting; known are page.host, page.port",
        ),
        *(
            ("page.host", host, f'page.host = "{host}" needs an address such as 127.0.0.1')
            for host in (
                "999.1.1.1",
                "1.2.3",
                "10.0.0.1.",
                "a b",
                "",
                "-a",
                "a..b",
                "::g",
                "x" * 64,
            )
        ),
        ("grid", "wide", 'grid = "wide" needs to be a section: [grid]'),
        ("bot_name", None, "bot_name is missing and has no default"),
        ("grid.upper", None, "grid.upper is missing and has no default"),
        ("grid.lower", "65000", "grid.lower = 65000 must be below grid.upper = 65000"),
        ("grid.lower", 70000, "grid.lower = 70000 must be below grid.upper = 65000"),
        ("grid.lower", 45000.5, 'grid.lower = 45000.5 needs quotes to be exact: "45000.5"'),
        ("grid.lower", "45,000", 'grid.lower = "45,000" needs plain digits above 0'),
        ("grid.lower", "-1", 'grid.lower = "-1" needs plain digits above 0'),
        ("grid.lower", "0", 'grid.lower = "0" needs an amount above 0'),
        ("grid.lower", "1e3", 'grid.lower = "1e3" needs plain digits above 0'),
        ("grid.lower", "\u0661", "needs plain digits above 0"),
        ("grid.lower", True, "grid.lower = true needs an amount in quotes above 0"),
        ("grid.investment", ["1"], "grid.investment = ['1'] needs an amount in quotes above 0"),
        ("grid.grids", "5", 'grid.grids = "5" needs a whole number from 1 to 999'),
        ("grid.grids", 0, "grid.grids = 0 needs a whole number from 1 to 999"),
        ("grid.grids", True, "grid.grids = true needs a whole number from 1 to 999"),
        ("grid.spacing", "log", 'grid.spacing = "log" needs "arithmetic" or "geometric"'),
        ("fees.rate", "0.5", 'fees.rate = "0.5" needs an amount 0 or more and below 0.5'),
        ("fees.in", "base", 'fees.in = "base" needs "received" or "quote"'),
        ("mode", "real", 'mode = "real" needs "paper" or "live"'),
        ("bot_name", "a name", 'bot_name = "a name" needs 1 to 12 letters, digits or hyphens'),
        ("bot_name", "b" * 200, "needs 1 to 12 letters"),
        ("market.symbol", "BTCUSDT", 'market.symbol = "BTCUSDT" needs a symbol such as "BTC/USDT"'),
        ("market.symbol", "BTC/BTC", "needs two different coins"),
        (
            "exchange.name",
            "kraken",
            'exchange.name = "kraken" is for mode = "live"; paper mode knows',
        ),
        ("exchange.url", None, "exchange.url is missing: paper mode needs"),
        ("exchange.url", "exchange:8000", "needs a URL of scheme, host and port only"),
        ("exchange.url", "http://x/api", "needs a URL of scheme, host and port only"),
        ("exchange.url", "http://[", "needs a URL of scheme, host and port only"),
        ("exchange.url", "http://x:99999", "needs a URL of scheme, host and port only"),
        ("exchange.url", "https://api.binance.com", "is the real exchange; paper mode needs"),
        ("exchange.url", "https://API1.Binance.us.", "is the real exchange; paper mode needs"),
        ("exchange.api_key_file", "key", 'exchange.api_key_file = "key" needs an absolute path'),
        (
            "exchange.request_share",
            4,
            "exchange.request_share = 4 needs a whole number from 5 to 100",
        ),
        ("exchange.timeout_seconds", 0, "exchange.timeout_seconds = 0 needs seconds from 1 to 60"),
        ("loop.poll_seconds", "often", 'loop.poll_seconds = "often" needs seconds from 0.05 to'),
        ("loop.poll_seconds", float("nan"), "loop.poll_seconds = nan needs seconds from 0.05 to"),
        ("page.port", 0, "page.port = 0 needs a whole number from 1 to 65535"),
        ("log.level", "loud", 'log.level = "loud" needs "debug" or "info"'),
        ("state.directory", "here", 'state.directory = "here" needs an absolute path'),
    ],
)
def test_a_mistake_is_one_line_with_setting_value_and_what_would_do(key, value, message):
    with pytest.raises(UserError) as refused:
        parse_config(changed(key, value), Path("bot.toml"))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    assert refused.value.exit_code == 2


def test_money_may_be_a_whole_number():
    assert parse_config(changed("grid.lower", 45000), Path("x")).grids[0].grid.lower == 45000


def test_the_testnet_is_paper_and_takes_no_address():
    wanted = changed(key="exchange.testnet", value=True)
    with pytest.raises(
        UserError, match=r"exchange\.url = .* must be left out with exchange\.testnet"
    ):
        parse_config(wanted, Path("x"))
    del wanted["exchange"]["url"]
    assert parse_config(wanted, Path("x")).account.exchange.testnet
    with pytest.raises(UserError, match='is play money: use it with mode = "paper"'):
        parse_config(wanted | {"mode": "live", "live_confirmation": LIVE_CONFIRMATION}, Path("x"))
    wanted["exchange"]["name"] = "binanceus"
    with pytest.raises(UserError, match=r"Binance\.US has no test network"):
        parse_config(wanted, Path("x"))


def test_live_takes_two_settings_and_no_address():
    live = changed("mode", "live")
    with pytest.raises(UserError, match="must be left out in live mode"):
        parse_config(live, Path("x"))
    del live["exchange"]["url"]
    with pytest.raises(UserError, match='mode = "live" also needs live_confirmation = "I accept'):
        parse_config(live, Path("x"))
    live["live_confirmation"] = "yes"
    with pytest.raises(UserError, match="also needs live_confirmation"):
        parse_config(live, Path("x"))
    live["live_confirmation"] = LIVE_CONFIRMATION
    assert parse_config(live, Path("x")).account.mode == "live"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"mode = paper", "is not valid TOML: "),
        (b"mode = 'paper'\nmode = 'paper'", "is not valid TOML: "),
        (b"\xff\xfe", "is not UTF-8 text"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_can_not_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "bot.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        load_config(path)
    assert str(refused.value).startswith(f"configuration {path}: ")
    assert message in str(refused.value)


def secret(tmp_path, content, mode=0o600):
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_secret_is_read_without_its_line_end(tmp_path):
    assert read_secret(secret(tmp_path, b"abc\n"), "exchange.api_key_file") == "abc"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(tmp_path, mode):
    path = secret(tmp_path, b"s3cr3t", mode)
    with pytest.raises(UserError, match=rf"has mode {mode:04o}.*set its mode to 0600") as refused:
        read_secret(path, "exchange.api_key_file")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"s3cr3t\nmore", b"s3cr3t\x00", b"\xff\xfe"])
def test_a_secret_that_is_not_one_line_is_refused_without_being_shown(tmp_path, content):
    with pytest.raises(UserError, match="needs one line with the key") as refused:
        read_secret(secret(tmp_path, content), "exchange.api_key_file")
    assert "s3cr3t" not in str(refused.value)


def test_a_missing_secret_is_named(tmp_path):
    with pytest.raises(UserError, match=r"exchange\.api_key_file = .*No such file"):
        read_secret(tmp_path / "none", "exchange.api_key_file")
