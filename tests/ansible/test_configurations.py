"""Settings of an inventory, through the role's own check: the bot and its exchange read them."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from gridbase.settings import WrongValueError
from gridbot.config.settings import SETTINGS

from roles.grid_bot.filter_plugins.accounts import (
    account_conflicts,
    guard_conflicts,
    share_conflicts,
)

ROOT = Path(__file__).resolve().parents[2]
PLAY = [
    {
        "hosts": "trading",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.import_role": {"name": role, "tasks_from": tasks}}
            for role, tasks in (("preflight", "settings.yml"), ("grid_bot", "check.yml"))
        ]
        + [
            {
                "ansible.builtin.copy": {
                    "content": "{{ __grid_bot_rendered }}",
                    "dest": "{{ playbook_dir }}/{{ inventory_hostname }}.json",
                    "mode": "0600",
                },
                "delegate_to": "localhost",
            }
        ],
    }
]


def play(directory: Path, inventory: Path, *words: str) -> subprocess.CompletedProcess:
    """Check an inventory as site.yml does; what bot and exchange would get is in `directory`."""
    (directory / "play.yml").write_text(yaml.safe_dump(PLAY))
    return subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", inventory),
            *(directory / "play.yml", *words),
        ],
        check=False,
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"},
        capture_output=True,
        text=True,
    )


def write_inventory(directory: Path, hosts: dict[str, dict]) -> Path:
    """An inventory of these hosts with their settings."""
    path = directory / "inventory.yml"
    path.write_text(yaml.safe_dump({"trading": {"hosts": hosts}}))
    return path


def examples() -> dict[str, dict]:
    """The settings that the documents show."""
    text = "".join((ROOT / "docs" / name).read_text() for name in ("ansible.md", "go-live.md"))
    blocks = re.findall(r"```yaml\n(grid_bot_.*?)```", text, re.DOTALL)
    return {f"example{number}": yaml.safe_load(block) for number, block in enumerate(blocks)}


def guard_example() -> dict:
    """What the documents set for all bots of an account with a loss limit."""
    text = (ROOT / "docs/ansible.md").read_text()
    [block] = re.findall(r"```yaml\n(# group_vars.*?grid_bot_account_guard.*?)```", text, re.DOTALL)
    return yaml.safe_load(block)


GRID = {"symbol": "A/B", "lower": "90", "upper": "110", "grids": 10, "investment": "1000"}
GUARD = {
    "grid_bot_mode": "testnet",
    "grid_bot_account": "guarded",
    "grid_bot_account_token": "token",
    "grid_bot_account_guard": {
        "role": "judge",
        "start_equity": "10000",
        "loss_limit": 500,
        "symbols": ["BTC/USDT", "ETH/USDT"],
    },
}
STOCK = {
    "grid_bot_exchange": "ib",
    "grid_bot_symbol": "SPY/USD",
    "grid_bot_lower": "480",
    "grid_bot_upper": "520",
    "grid_bot_grids": 8,
    "grid_bot_quantity": "5",
    "ib_gateway_installer": "/home/me/installer.sh",
    "ib_gateway_account": "DU1234567",
    "ib_gateway_restart": "05:15",
}
GOOD = {
    "plain": {},
    "confirmed": {
        "grid_bot_prices": "made-up",
        "grid_bot_exchange_start_price": "41999",
        "grid_bot_outside_range_purchase": "10000",
    },
    "testnet": {"grid_bot_mode": "testnet"},
    "judge": GUARD | {"grid_bot_symbol": "BTC/USDT"},
    "follower": GUARD
    | {"grid_bot_symbol": "ETH/USDT"}
    | {"grid_bot_account_guard": {"role": "follower", "url": "http://judge:8090"}},
    "alerts": {
        "grid_bot_log_format": "json",
        "grid_bot_alerts": {"alertmanager_url": "https://192.168.1.21:8427", "tls_name": "am"},
        "grid_bot_alert_ca": "-----BEGIN CERTIFICATE-----\nplanted\n",
        "grid_bot_alert_discord_url": "https://discord.com/api/webhooks/1/planted",
        "grid_bot_alertmanager_token": "planted",
    },
    # No price is known here: a start price is for made-up ones, and any range may be right.
    "live": {
        "grid_bot_prices": "live",
        "grid_bot_exchange": "binanceus",
        "grid_bot_exchange_start_price": "1",
        "grid_bot_lower": "90000",
        "grid_bot_upper": "110000",
    },
    "live-several": {
        "grid_bot_prices": "live",
        "grid_bot_symbols": [GRID | {"exchange": {"start_price": "1", "seed": 8}}],
    },
    "acting": {
        "grid_bot_prices": "live",
        "grid_bot_page_tokens": True,
        "grid_bot_page_acting": "yes",
        "grid_bot_page_https_proxy": True,
        "grid_bot_page_hosts": ["pi1.example.net"],
    },
    "published": {
        "grid_bot_prices": "live",
        "grid_bot_page_tokens": True,
        "grid_bot_page_address": "192.168.1.21",
    },
    "stock": STOCK,
    "stock-live": STOCK
    | {
        "grid_bot_mode": "live",
        "grid_bot_live_confirmation": "I accept that this bot trades real money",
        "grid_bot_gateway_client_id": "7",
        "ib_gateway_mode": "live",
        "ib_gateway_account": "U1234567",
    },
    "market": {
        "grid_bot_range": "atr",
        "grid_bot_atr_period": "20",
        "grid_bot_quantity": "0.005",
        "grid_bot_post_only": True,
        "grid_bot_stop": {"max_drawdown_percent": 15, "liquidate": "yes"},
        "grid_bot_trend": {"fast": 10},
    },
    "several": {
        "grid_bot_candles": "{{ playbook_dir }}/one/market.csv",
        "grid_bot_stop": {"max_drawdown_percent": "15"},
        "grid_bot_symbols": [
            GRID,
            {
                "symbol": "C/B",
                "range": "atr",
                "grids": "10",
                "quantity": "1",
                "stop": {"loss_price": "1"},
                "exchange": {"candles": "{{ playbook_dir }}/two/market.csv", "tick_size": "0.1"},
            },
            {
                "symbol": "C/D",
                "range": "atr",
                "grids": 10,
                "quantity": "1",
                "exchange": {"candles": "", "start_price": "200", "seed": 8},
            },
        ],
    },
}
CANDLES = "timestamp,open,high,low,close,volume\n" + "".join(
    f"{1640995200000 + 60000 * minute},100,101,99,100,1\n" for minute in range(3)
)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    """The directory with what bot and exchange of each good host and example get."""
    directory = tmp_path_factory.mktemp("accepted")
    # From a vault, there.
    keys = {"grid_bot_api_key": "{{ inventory_hostname }}", "grid_bot_api_secret": "secret"}
    for name, high in (("one", "101"), ("two", "102")):
        (directory / name).mkdir()
        (directory / name / "market.csv").write_text(CANDLES.replace("101", high))
    keys["grid_bot_cache"] = str(directory / "cache")
    hosts = {name: settings | keys for name, settings in GOOD.items()}
    hosts |= {name: settings | keys for name, settings in examples().items()}
    group = guard_example() | {"grid_bot_mode": "testnet", "grid_bot_account_token": "token"}
    hosts |= {"pi1": group | keys, "pi2": group | keys | {"grid_bot_symbol": "ETH/USDT"}}
    result = play(directory, write_inventory(directory, hosts))
    assert result.returncode == 0, result.stdout
    return directory


def test_every_example_of_the_documentation_is_accepted(accepted):
    assert len(examples()) == 5
    assert all((accepted / f"{name}.json").is_file() for name in examples())


def test_the_example_inventory_is_accepted(tmp_path):
    result = play(tmp_path, ROOT / "inventory/example")
    assert result.returncode == 0, result.stdout


def rendered(directory: Path, host: str) -> tuple[dict, dict]:
    """What bot and exchange of a host would read."""
    texts = json.loads((directory / f"{host}.json").read_text(encoding="utf-8"))
    return tomllib.loads(texts["bot"]), tomllib.loads(texts["exchange"])


def test_a_bot_on_the_testnet_has_no_practice_exchange(accepted):
    texts = json.loads((accepted / "testnet.json").read_text(encoding="utf-8"))
    bot = tomllib.loads(texts["bot"])
    assert bot["mode"] == "paper"
    assert bot["exchange"]["testnet"] is True
    assert "url" not in bot["exchange"]
    assert "live_confirmation" not in bot
    assert not texts["exchange"]


def test_a_bot_on_a_stock_is_told_where_the_gateway_is(accepted):
    bot = rendered_bot(accepted, "stock")
    assert bot["mode"] == "paper"
    assert bot["exchange"] == {
        "name": "ib",
        "gateway": "/run/gridberry-gateway/api",
        "account": "DU1234567",
        "client_id": 1,
        "restart": "05:15",
        "pacing_directory": "/run/gridberry-gateway",
    }
    assert bot["grid"]["quantity"] == "5"
    assert "investment" not in bot["grid"]
    assert bot["fees"] == {"rate": "0.001", "in": "quote"}
    live = rendered_bot(accepted, "stock-live")
    assert (live["mode"], live["exchange"]["client_id"]) == ("live", 7)
    assert live["exchange"]["account"] == "U1234567"


# What is wrong with a bot on a stock, and what is said of it.
WRONG_STOCKS = {
    "no-gateway": ({"ib_gateway_installer": ""}, "is ib, which also needs role ib_gateway"),
    "no-gateway-any-more": ({"ib_gateway_state": "absent"}, "which also needs role ib_gateway"),
    "modes": ({"ib_gateway_mode": "live"}, "grid_bot_mode is paper beside ib_gateway_mode: live"),
    "nobody": ({"ib_gateway_account": ""}, "grid_bot_gateway_account is empty; use the account's"),
    "real": (
        {"grid_bot_gateway_account": "U1234567", "ib_gateway_account": ""},
        "grid_bot_gateway_account begins with U1 and grid_bot_mode is paper",
    ),
    "another": (
        {"grid_bot_gateway_account": "DU7654321"},
        "grid_bot_gateway_account is DU7654321 beside ib_gateway_account: DU1234567",
    ),
    "unconfirmed": (
        {"grid_bot_mode": "live", "ib_gateway_mode": "live", "ib_gateway_account": "U1234567"},
        "which also needs grid_bot_live_confirmation to be: I accept",
    ),
    "read-only": ({"ib_gateway_read_only": True}, "ib_gateway_read_only: true keeps"),
    "prices": ({"grid_bot_prices": "live"}, "grid_bot_prices and grid_bot_candles are for the"),
    "coin": ({"grid_bot_symbol": "BTC/USDT"}, "grid_bot_symbol is BTC/USDT; with"),
    "testnet": ({"grid_bot_mode": "testnet"}, "grid_bot_mode is testnet; with"),
    "range": ({"grid_bot_lower": ""}, "grid.lower"),
    "parts": ({"grid_bot_quantity": "1.5"}, "needs whole shares"),
    "number": ({"grid_bot_gateway_client_id": 0}, "exchange.client_id = 0"),
}


def test_what_is_wrong_with_a_bot_on_a_stock_is_one_line(tmp_path):
    wrong = {
        name: STOCK | {"grid_bot_symbol": f"S{number}/USD"} | more
        for number, (name, (more, _)) in enumerate(WRONG_STOCKS.items())
    }
    result = play(tmp_path, write_inventory(tmp_path, wrong))
    assert result.returncode != 0
    said = re.findall(rf"({'|'.join(wrong)}): (.*?)(?=\\n|\n|\"$)", result.stdout)
    for name, (_, text) in WRONG_STOCKS.items():
        assert any(host == name and text in line for host, line in said), (name, result.stdout)


def test_bots_of_one_account_at_interactive_brokers_differ():
    own = STOCK | {"grid_bot_name": "same"}
    lines = account_conflicts({"pi1": own, "pi2": own, "pi3": STOCK | {"ib_gateway_account": "D"}})
    assert lines == [
        (
            "pi1, pi2: grid_bot_name is same on each of these hosts of the account DU1234567; use"
            " another for each (at most 12 letters, digits or hyphens)"
        ),
        (
            "pi1, pi2: each of these hosts trades SPY/USD on the account DU1234567; use one host"
            " for a symbol"
        ),
    ]


def rendered_bot(directory: Path, host: str) -> dict:
    """What the bot of a host would read, where it has no practice exchange."""
    texts = json.loads((directory / f"{host}.json").read_text(encoding="utf-8"))
    return tomllib.loads(texts["bot"])


def test_the_guard_of_an_account_reaches_its_bots(accepted):
    assert rendered_bot(accepted, "pi1")["account_guard"]["role"] == "judge"
    assert rendered_bot(accepted, "pi2")["account_guard"]["role"] == "follower"
    assert rendered_bot(accepted, "pi2")["exchange"]["request_share"] == 50
    for host, expected in (
        (
            "judge",
            {
                "role": "judge",
                "start_equity": "10000",
                "loss_limit": "500",
                "symbols": ["BTC/USDT", "ETH/USDT"],
            },
        ),
        ("follower", {"role": "follower", "url": "http://judge:8090"}),
    ):
        guard = rendered_bot(accepted, host)["account_guard"]
        assert guard == expected | {"token_file": "/run/secrets/account_token"}


def test_only_what_is_set_reaches_the_bot(accepted):
    plain, exchange = rendered(accepted, "plain")
    assert plain["grid"] == {
        "lower": "42000",
        "upper": "50000",
        "grids": 40,
        "spacing": "arithmetic",
        "investment": "10000",
    }
    assert set(plain) == {
        *("mode", "bot_name", "exchange", "market"),
        *("grid", "fees", "state", "page", "loop", "metrics", "log"),
    }
    assert plain["exchange"]["stream_url"] == f"ws://exchange:{exchange['stream_port']}"
    alerts, _ = rendered(accepted, "alerts")
    assert alerts["log"] == {"level": "info", "format": "json"}
    assert alerts["alerts"] == {
        "host": "alerts",
        "alertmanager_url": "https://192.168.1.21:8427",
        "tls_name": "am",
        "discord_url_file": "/run/secrets/alert_discord_url",
        "alertmanager_token_file": "/run/secrets/alertmanager_token",
        "ca_file": "/run/secrets/alert_ca",
    }
    assert "planted" not in str(alerts)
    market, _ = rendered(accepted, "market")
    assert market["grid"] == {
        "range": "atr",
        "atr_interval": "1h",
        "atr_period": 20,
        "atr_multiple": "3",
        "grids": 40,
        "spacing": "arithmetic",
        "quantity": "0.005",
        "post_only": True,
    }
    assert market["stop"] == {"max_drawdown_percent": "15", "liquidate": True}
    assert market["trend"] == {"fast": 10}


def test_acting_is_for_the_host_itself(accepted):
    served = {"host": "0.0.0.0", "port": 8080}
    assert rendered(accepted, "plain")[0]["page"] == served
    tokens = served | {"tokens_file": "/var/lib/gridbot/tokens.json"}
    # Whoever comes from elsewhere has the gateway's address where there is a userland proxy.
    assert rendered(accepted, "published")[0]["page"] == tokens
    assert rendered(accepted, "acting")[0]["page"] == tokens | {
        "act_from": ["127.0.0.0/8", "::1", "gateway"],
        "trusted_proxies": ["gateway"],
        "hosts": ["localhost", "127.0.0.1", "::1", "pi1.example.net"],
        "acting": True,
    }


def test_prices_are_live_unless_told_otherwise(accepted):
    for host, name in (("plain", "binance"), ("live", "binanceus")):
        _, exchange = rendered(accepted, host)
        assert exchange["live"] == name
        assert not {"speed", "seed", "start_price", "candles"} & set(exchange)
    _, exchange = rendered(accepted, "live-several")
    assert exchange["symbols"] == [{"symbol": "A/B", "seed": 8}]
    _, exchange = rendered(accepted, "confirmed")
    assert "live" not in exchange
    assert (exchange["speed"], exchange["seed"]) == (60, 7)
    assert "live" not in rendered(accepted, "several")[1]


def test_several_grids_have_their_markets_on_the_exchange(accepted):
    bot, exchange = rendered(accepted, "several")
    assert "market" not in bot
    assert "grid" not in bot
    assert [grid["symbol"] for grid in bot["grids"]] == ["A/B", "C/B", "C/D"]
    assert bot["grids"][1] == {
        "symbol": "C/B",
        "range": "atr",
        "grids": 10,
        "quantity": "1",
        "stop": {"loss_price": "1"},
    }
    assert bot["stop"] == {"max_drawdown_percent": "15"}
    assert "symbol" not in exchange
    assert "candles" not in exchange
    assert exchange["balances"] == {"B": "20000", "D": "20000"}
    one, two, made = exchange["symbols"]
    assert (one["symbol"], two["symbol"]) == ("A/B", "C/B")
    assert two["tick_size"] == "0.1"
    # Two files of one name, each in a place of its own.
    names = {Path(market["candles"]) for market in (one, two)}
    assert {name.name for name in names} == {"market.csv.gz"}
    assert len(names) == 2
    assert made == {"symbol": "C/D", "start_price": "200", "seed": 8}
    assert "start_price" not in exchange
    kept = {path.name for path in (accepted / "cache/candles").iterdir()}
    assert kept == {f"{name.parent.name}.csv.gz" for name in names}


def test_a_synthetic_market_begins_in_the_middle_of_the_range(tmp_path):
    ether = {"lower": "2200", "upper": "3200"}
    tiny = {"lower": "0.00000913", "upper": "0.0000109", "grids": 40, "investment": "9000"}
    hosts = {
        "bitcoin": {},
        "ether": {f"grid_bot_{key}": value for key, value in ether.items()},
        "wanted": {"grid_bot_exchange_start_price": "47000"},
        "market": {"grid_bot_range": "atr"},
        "several": {
            "grid_bot_symbols": [
                {"symbol": "ETH/USDT", "grids": 20, "investment": "9000"} | ether,
                {"symbol": "A/USDT"} | tiny,
            ]
        },
    }
    made_up = {host: settings | {"grid_bot_prices": "made-up"} for host, settings in hosts.items()}
    result = play(tmp_path, write_inventory(tmp_path, made_up))
    assert result.returncode == 0, result.stdout
    begins = {
        host: [
            one["start_price"]
            for exchange in [rendered(tmp_path, host)[1]]
            for one in exchange.get("symbols", [exchange])
        ]
        for host in hosts
    }
    assert begins == {
        "bitcoin": ["46000"],
        "ether": ["2700"],
        "wanted": ["47000"],
        "market": ["46000"],
        "several": ["2700", "0.00001002"],
    }


def test_what_the_bot_refuses_is_one_line_a_host(tmp_path):
    wrong = {
        "twice": {"grid_bot_quantity": "1", "grid_bot_investment": "5"},
        "range": {"grid_bot_range": "atr", "grid_bot_lower": "5"},
        "trend": {"grid_bot_trend": {"fast": 50}},
        "stop": {"grid_bot_stop": {"loss_price": "45000"}},
        "acting": {"grid_bot_page_acting": True},
        "proxy": {"grid_bot_page_https_proxy": True, "grid_bot_page_address": "0.0.0.0"},
        "hook": {"grid_bot_alert_discord_url": "d.com/planted", "grid_bot_alert_ca": "planted"},
        "entry": {"grid_bot_symbols": [{"symbol": "A/B", "lower": "1", "upper": "2"}]},
        # The exchange's rules at the price where its market begins.
        "band": {"grid_bot_exchange_start_price": "2700"},
        "recorded": {"grid_bot_candles": "{{ playbook_dir }}/market.csv"},
        "poor": {"grid_bot_exchange_balance": "9999"},
        "row": {"grid_bot_candles": "{{ playbook_dir }}/wrong.csv"},
        "small": {"grid_bot_investment": "300"},
        "high": {
            "grid_bot_lower": "500000",
            "grid_bot_upper": "10000001",
            "grid_bot_exchange_start_price": "600000",
        },
        "start": {
            "grid_bot_lower": "90000",
            "grid_bot_upper": "110000",
            "grid_bot_exchange_start_price": "46000",
        },
    }
    for settings in wrong.values():
        settings["grid_bot_prices"] = "recorded" if "grid_bot_candles" in settings else "made-up"
    # What needs no price is refused with live prices as well.
    wrong["live-poor"] = wrong["poor"] | {"grid_bot_prices": "live"}
    (tmp_path / "market.csv").write_text(CANDLES)
    (tmp_path / "wrong.csv").write_text(CANDLES.replace("100,1\n", "100,x\n", 1))
    result = play(tmp_path, write_inventory(tmp_path, wrong))
    assert result.returncode != 0
    for line in (
        "twice: gridbot check: grid.investment and grid.quantity are both set",
        "range: gridbot check: grid.lower = 5 must be left out",
        "trend: gridbot check: trend.fast = 50 must be below trend.slow = 50",
        "stop: gridbot check: stop.loss_price = 45000 must be below the lowest line 42000",
        "acting: gridbot check: page.acting = true needs page.tokens_file",
        "proxy: grid_bot_page_https_proxy is true and grid_bot_page_address is 0.0.0.0",
        "hook: grid_bot_alert_discord_url needs one address that begins with https:// or http://",
        "; grid_bot_alert_ca needs certificates in PEM format",
        "entry: gridbot check: grids, entry 1 (A/B): grid.grids is missing",
        "band: BTC/USDT begins at 2700: grid.upper = 50000 is outside the exchange's price band",
        "recorded: BTC/USDT begins at 100: grid.upper = 50000 is outside the exchange's price",
        "poor: BTC/USDT: needs 10000 USDT, more than",
        "live-poor: BTC/USDT: needs 10000 USDT, more than the 9999 USDT of grid_bot_exchange_",
        "wrong.csv: line 2: volume 'x' is not a number",
        "start: BTC/USDT begins at 46000: the price 46000 is outside the range grid.lower = 90000",
        # As the bot itself would say it on the Pi: the lot size is known here as well.
        "small: BTC/USDT begins at 46000: 40 of 40 pairs show no profit in USDT",
        "high: BTC/USDT begins at 600000: grid.upper = 10000001 is above the highest price",
    ):
        assert line in result.stdout, result.stdout
    assert "planted" not in result.stdout


def test_prices_and_candles_must_fit_each_other(tmp_path):
    candles = {"grid_bot_candles": "{{ playbook_dir }}/market.csv"}
    wrong = {
        "without": {"grid_bot_prices": "recorded"},
        "both": {"grid_bot_prices": "live"} | candles,
    }
    (tmp_path / "market.csv").write_text(CANDLES)
    result = play(tmp_path, write_inventory(tmp_path, wrong))
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert "without: grid_bot_prices is recorded, which needs a file of candles" in said
    assert "both: grid_bot_prices is live, and candles are set as well" in said


def amounts() -> dict[str, tuple[dict, str]]:
    """For each amount that an inventory may hold: settings with a float in it, and its name."""
    found = {}
    for key, setting in SETTINGS.items():
        try:
            setting.read(0.5)
        except WrongValueError as error:
            if "needs quotes to be exact" not in str(error):
                continue
            table, _, name = key.partition(".")
            own = {"grid": name, "fees": f"fee_{name}"}.get(table)
            variable = f"grid_bot_{own or table}"
            settings = {variable: 0.5 if own else {name: 0.5}}
            if table == "account_guard":
                settings = GUARD | {"grid_bot_api_key": key, "grid_bot_account": key}
                settings |= {variable: {"role": "judge", name: 0.5}, "grid_bot_api_secret": "s"}
            found[key] = (settings | ({"grid_bot_range": "atr"} if "atr" in key else {}), key)
    found["balance"] = ({"grid_bot_exchange_balance": 10000.5}, "balances")
    start = {"grid_bot_prices": "made-up", "grid_bot_exchange_start_price": 46000.5}
    found["start"] = (start, "start_price")
    for name in ("start_price", "tick_size", "lot_size"):
        entry = GRID | {"exchange": {name: 0.5}}
        settings = {"grid_bot_prices": "made-up", "grid_bot_symbols": [entry]}
        found[f"of a symbol, {name}"] = (settings, name)
    entry = GRID | {"lower": 90.5}
    found["of a symbol, lower"] = ({"grid_bot_symbols": [entry]}, "grid.lower")
    return found


def test_every_amount_without_quotes_is_refused_by_its_name(tmp_path):
    cases = amounts()
    assert len(cases) == 23
    hosts = {f"host{number}": settings for number, (settings, _) in enumerate(cases.values())}
    result = play(tmp_path, write_inventory(tmp_path, hosts))
    assert result.returncode != 0
    said = {
        line.strip().strip('"').partition(": ")[0]: line
        for line in result.stdout.replace("\\n", "\n").splitlines()
        if "needs quotes" in line
    }
    for number, (_, name) in enumerate(cases.values()):
        assert f"{name} = " in said.get(f"host{number}", ""), (name, result.stdout)


GUARDED = {"grid_bot_account_guard": {"role": "follower"}}
HOME = {"grid_bot_address_group": "home"}
ACCOUNT = {"grid_bot_mode": "testnet", "grid_bot_account": "main", "grid_bot_api_secret": "secret"}


def test_bots_in_each_others_way_are_refused(tmp_path):
    several = [GRID, GRID | {"symbol": "BTC/USDT"}]
    hosts = {
        "pi1": ACCOUNT | {"grid_bot_api_key": "one"} | HOME,
        "pi2": ACCOUNT | {"grid_bot_api_key": "{{ 'o' }}ne", "grid_bot_symbol": "C/D"},
        "a-very-long-1": ACCOUNT | {"grid_bot_api_key": "three", "grid_bot_symbols": several},
        "a-very-long-2": ACCOUNT | {"grid_bot_api_key": "four", "grid_bot_symbol": "D/E"},
        # None of these has an account with one above.
        "own": ACCOUNT | {"grid_bot_api_key": "five", "grid_bot_account": ""} | HOME,
        "other": ACCOUNT | {"grid_bot_api_key": "six", "grid_bot_exchange": "binanceus"} | HOME,
        "paper": {"grid_bot_api_key": "one", "grid_bot_account": "main"} | GUARDED,
        "gone": ACCOUNT | {"grid_bot_api_key": "one", "grid_bot_state": "absent"},
    }
    inventory = write_inventory(tmp_path, hosts)
    result = play(tmp_path, inventory, "--limit", "own")
    assert result.returncode != 0
    said = re.findall(r"(?s)Action failed: (.*?)\n(?:Origin|fatal)", result.stdout + result.stderr)
    # As Ansible has the hosts: sorted by name.
    key, name, symbol, share, guard = said[0].splitlines()
    assert key.startswith("pi1, pi2: grid_bot_api_key is the same on each of these hosts; ")
    assert name.startswith(
        "a-very-long-1, a-very-long-2: grid_bot_name is a-very-long- on each of these hosts of the"
    )
    assert symbol.startswith(
        "a-very-long-1, pi1: each of these hosts trades BTC/USDT on the account"
    )
    assert share.startswith("own (100), pi1 (100): grid_bot_request_share adds up to 200 percent")
    assert guard == "paper: grid_bot_account_guard is set, and this bot has an account of its own"


def test_shares_of_one_address_above_the_whole_are_refused():
    bot = {"grid_bot_mode": "live", "grid_bot_address_group": "home"}
    hosts = {
        "pi1": bot | {"grid_bot_request_share": "60"},
        "pi2": bot | {"grid_bot_request_share": 40},
        # None of these asks from the address above, or the same exchange.
        "away": bot | {"grid_bot_address_group": "office"},
        "alone": {"grid_bot_mode": "live"},
        "paper": {"grid_bot_address_group": "home"},
        "gone": bot | {"grid_bot_state": "absent"},
        "testnet": bot | {"grid_bot_mode": "testnet"},
        "other": bot | {"grid_bot_exchange": "kraken"},
    }
    assert share_conflicts(hosts) == []
    [line] = share_conflicts(hosts | {"pi2": bot})
    assert line == (
        "pi1 (60), pi2 (100): grid_bot_request_share adds up to 160 percent on the address home;"
        " use at most 100"
    )


def test_a_guard_with_a_gap_is_refused():
    judge = GUARD | {"grid_bot_mode": "live", "grid_bot_symbol": "BTC/USDT"}
    follower = judge | GUARDED | {"grid_bot_symbol": "ETH/USDT"}
    hosts = {"pi1": judge, "pi2": follower, "own": {"grid_bot_mode": "live"}}
    assert guard_conflicts(hosts) == []

    def one(**changed):
        [line] = guard_conflicts(hosts | changed)
        return line

    assert one(pi2=judge) == (
        "pi1, pi2: 2 bots of the account guarded have the role judge in grid_bot_account_guard;"
        " use exactly one"
    )
    assert one(pi1=follower).startswith("pi1, pi2: 0 bots of the account guarded have the role")
    assert one(pi2=follower | {"grid_bot_account_guard": {}}) == (
        "pi2: grid_bot_account_guard is not set, and other bots of the account guarded have it"
    )
    for token in ("other", ""):
        assert one(pi2=follower | {"grid_bot_account_token": token}) == (
            "pi1, pi2: grid_bot_account_token has to be set, and the same for all bots of the"
            " account guarded"
        )
    assert one(pi2=follower | {"grid_bot_symbol": "SOL/USDT"}) == (
        "pi1: grid_bot_account_guard.symbols lacks SOL/USDT, which bots of the account guarded"
        " trade"
    )
    assert one(own=GUARDED | {"grid_bot_mode": "live"}) == (
        "own: grid_bot_account_guard is set, and this bot has no grid_bot_account"
    )


def test_hosts_one_after_the_other_are_each_checked(tmp_path):
    inventory = write_inventory(tmp_path, {"first": {}, "second": {"grid_bot_alert_ca": "x"}})
    (tmp_path / "play.yml").write_text(yaml.safe_dump([PLAY[0] | {"serial": 1}]))
    result = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", inventory, tmp_path / "play.yml"],
        check=False, cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"},
    )  # fmt: skip
    assert (tmp_path / "first.json").exists(), result.stdout
    assert "second: grid_bot_alert_ca needs certificates" in result.stdout
    assert "first: " not in result.stdout


def test_the_check_does_not_depend_on_which_host_is_first(tmp_path):
    # A task for all hosts runs on the first: one without a bot must not hide what the others have.
    hosts = {
        "a-fenced": {"grid_bot_state": "fenced", "grid_bot_mode": "live"},
        "b-wrong": {"grid_bot_trend": {"fast": 50}},
        "c-wrong": {"grid_bot_mode": "live"},
    }
    result = play(tmp_path, write_inventory(tmp_path, hosts))
    assert result.returncode != 0
    assert "b-wrong: gridbot check: trend.fast = 50 must be below trend.slow" in result.stdout
    said = " ".join(result.stdout.split())
    assert "c-wrong: grid_bot_mode is live, which also needs grid_bot_live_confirmation to" in said
    assert "a-fenced: " not in said.partition("PLAY RECAP")[0].replace("ok: [a-fenced", "")
