"""The API as its clients see it: a real server, a real database, and an archive behind it."""

import asyncio
import base64
import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase import tokens
from gridbase.market import plain
from gridbot.store import Sample, Store
from hub.api.endpoints import ENDPOINTS
from hub.api.first_books import first_books
from hub.archive.place import Place
from hub.config import Archive, load

from bot.tests.bot.books.conftest import SYMBOL
from bot.tests.together.hub.conftest import QUICK, bot_of, collect, in_database, rows
from bot.tests.together.hub.test_archive import archive, three_weeks
from tests.postgres import Server

HOUR_MS = 3_600_000
CONFIG = """
[database]
host = "{host}"
database = "{database}"
user = "postgres"
[archive]
place = "{place}"
[server]
port = {port}
tokens_file = "{tokens}"
"""
# From lists that testers use: what sqlmap tries on PostgreSQL (boolean, error, union, stacked,
# time), and what breaks out of JSON, HTML, paths, templates and encodings.
HOSTILE = (
    "' OR '1'='1", "'; DROP TABLE fills; --", "1) UNION SELECT version() --",
    "pi1' AND pg_sleep(5)--", "pi1' AND 5382=5382 AND 'a'='a", "pi1') OR (1=1", "pi1\" OR 1=1--",
    "pi1' AND CAST((SELECT version()) AS int)=1--", "pi1'||(SELECT 'x' FROM pg_sleep(5))||'",
    "pi1' AND EXTRACTVALUE(1,CONCAT(0x5c,1))--", "1 AND (SELECT 1 FROM(SELECT COUNT(*),1)x)",
    "pi1' UNION ALL SELECT NULL,NULL,NULL--", "pi1';SELECT PG_SLEEP(5)--", "1;COPY fills TO '/x'",
    "pi1' AND 1=(SELECT COUNT(*) FROM GENERATE_SERIES(1,5000000))--", "(SELECT CHR(113)||CHR(98))",
    "pi1'/**/OR/**/1=1#", "pi1%' AND '%'='", "{pi1,pi2}", "pi1' ORDER BY 1--", "E'\\x27'", "%00",
    '"', "\\", "%27%20OR%201=1", "${7*7}", "{{7*7}}", "<script>alert(1)</script>", "\x00", "\ud800",
    "a" * 65, "../../etc/passwd", "$$; SELECT 1; $$", "pi1/*", "NULL", "-1", "0x7f", "1e309", "٣",
)  # fmt: skip


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Client:
    """Asks with a token."""

    def __init__(self, port, secret=None):
        self.port, self.secret, self.source = port, secret, "127.0.0.1"

    def ask(self, path, method="GET", body=None, **headers):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=20, source_address=(self.source, 0)
        )
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer, content

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, errors="surrogatepass")
        status, _, content = self.ask(f"/api/v1/{path}" + (f"?{query}" if query else ""))
        return status, json.loads(content)


@pytest.fixture(scope="module")
def fleet(server, template, tmp_path_factory):
    """A paper bot of which some trades are archived, a live one, and the hub over both."""
    from hub.database import Address

    server.sql(f"CREATE DATABASE api TEMPLATE {template.database} STRATEGY file_copy")
    address = Address(server.host, server.port, "api", "postgres")
    directory = tmp_path_factory.mktemp("fleet")
    lives = {}
    for name, mode in (("pi1", "paper"), ("pi2", "live")):
        (directory / name).mkdir()
        store = Store(directory / name)
        lives[name] = life = three_weeks(store)
        hours = range(life.start_ms // HOUR_MS, life.now_ms // HOUR_MS + 1)
        price = [life.price] * 4
        store.sample([Sample(SYMBOL, hour * HOUR_MS, *price, 3600, 3600) for hour in hours])
        store.halt(SYMBOL, reason_code="drawdown", text="<b>", price=Decimal(1), at_ms=5)
        store.close()
        collect(address, bot_of(directory / name, name, mode))
    (directory / "archive").mkdir()
    place = Place(Archive(str(directory / "archive"), 90, None, "us-east-1", None, None))
    from datetime import timedelta

    archive(address, place, datetime.fromtimestamp(life.now_ms / 1000, UTC) - timedelta(days=9))
    secret = subprocess_hub(directory, server, address)
    try:
        yield secret[0], lives, address
    finally:
        secret[1].terminate()
        secret[1].wait(timeout=20)


def subprocess_hub(directory, server, address):
    tokens_file, port = directory / "tokens", free_port()
    made, secret = tokens.created((), "reader", tokens.READ, 0)
    tokens.save(tokens_file, made)
    config = directory / "hub.toml"
    config.write_text(
        CONFIG.format(
            host=server.host,
            database=address.database,
            place=directory / "archive",
            port=port,
            tokens=tokens_file,
        )
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "hub", "serve", "--config", str(config)],
        env=environment,
        start_new_session=True,
    )
    client = Client(port, secret)
    client.directory = directory
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if client.ask("/health")[0] == 200 and client.get("bots")[1]["bots"]:
                break
        except OSError:
            pass
        time.sleep(0.05)
    assert process.poll() is None
    return client, process


def test_every_trade_once_over_all_pages(fleet):
    client, lives, address = fleet
    assert rows(address, "SELECT count(*) > 0 FROM fills") == [(True,)]
    seen, after = [], {}
    while True:
        status, page = client.get("fills", bot="pi1", limit=17, **after)
        assert status == 200
        seen += page["fills"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    fills = lives["pi1"].fills
    assert len(seen) == len(fills)
    assert [one["time"] for one in seen] == sorted((f.time_ms for f in fills), reverse=True)
    assert {one["trade_id"]: (one["price"], one["mode"]) for one in seen} == {
        fill.trade_id: (str(fill.price.normalize().__format__("f")), "paper") for fill in fills
    }


def test_ledger_profit_and_equity_are_the_books(fleet):
    client, lives, _ = fleet
    status, ledger = client.get("ledger")
    assert status == 200
    assert {one["mode"] for one in ledger["accounts"]} == {"paper", "live"}
    years = ledger["positions"][0]["years"]
    gain = sum(Decimal(year["gain"]) for year in years.values())
    _, profit = client.get("profit", bot="pi1", limit=1000)
    assert sum(Decimal(day["gain"]) for day in profit["days"]) == gain
    life = lives["pi1"]
    _, equity = client.get("equity", bot="pi1", symbol=SYMBOL, limit=1000)
    last = equity["equity"][-1]
    assert Decimal(last["equity"]) == life.engine.books.equity(life.price)
    assert Decimal(last["held"]) == life.engine.books.base_held


def test_a_part_of_equity_is_that_part_of_all_of_it(fleet):
    client, _, _ = fleet
    known = {"bot": "pi1", "symbol": SYMBOL}
    _, whole = client.get("equity", **known, limit=1000)
    middle = whole["equity"][len(whole["equity"]) // 2]
    begin = datetime.fromtimestamp(middle["time"] / 1000 - 3600, UTC).isoformat()
    _, part = client.get("equity", **known, limit=7, **{"from": begin.replace("+00:00", "Z")})
    place = whole["equity"].index(middle)
    assert part["equity"] == whole["equity"][place : place + 7]


def test_another_process_reads_the_books_first(fleet, server, tmp_path):
    client, _, address = fleet
    config = tmp_path / "hub.toml"
    place = Path(client.directory) / "archive"
    config.write_text(
        CONFIG.format(host=server.host, database=address.database, place=place, port=1, tokens="t")
    )
    books = asyncio.run(first_books(load(config)))
    assert [book.document() for book in books] == client.get("ledger")[1]["positions"]
    assert multiprocessing.active_children() == []
    # One that is killed, or cannot read, has none; who asks for them then reads them.
    config.write_text(config.read_text().replace(address.database, "nowhere"))
    assert list(asyncio.run(first_books(load(config)))) == []


def test_orders_incidents_and_hours(fleet):
    client, lives, _ = fleet
    _, live = client.get("orders", state="live", bot="pi1", limit=1000)
    assert {one["order"] for one in live["orders"]} == set(lives["pi1"].engine.live)
    _, every = client.get("orders", limit=3)
    assert len(every["orders"]) == 3
    assert every["next"]
    _, more = client.get("orders", limit=3, after=every["next"])
    assert not {o["order"] + o["bot"] for o in more["orders"]} & {
        o["order"] + o["bot"] for o in every["orders"]
    }
    _, incidents = client.get("incidents", bot="pi2")
    assert [(one["code"], one["text"]) for one in incidents["incidents"]] == [("drawdown", "<b>")]
    _, hours = client.get("candles", bot="pi1", symbol=SYMBOL, limit=5)
    assert len(hours["candles"]) == 5
    price = plain(lives["pi1"].price)
    assert {name: hours["candles"][0][name] for name in ("open", "high", "low", "close")} == (
        dict.fromkeys(("open", "high", "low", "close"), price)
    )
    _, none = client.get("candles", bot="pi9", symbol=SYMBOL)
    assert none["candles"] == []


def test_what_a_client_has_is_not_sent_again(fleet):
    client, _, _ = fleet
    status, answer, _ = client.ask("/api/v1/fills?limit=5")
    tag = answer.getheader("ETag")
    assert (status, bool(tag)) == (200, True)
    status, _, content = client.ask("/api/v1/fills?limit=5", **{"If-None-Match": tag})
    assert (status, content) == (304, b"")


def test_without_a_token_nothing_is_told(fleet):
    client, _, _ = fleet
    for path in (*ENDPOINTS, "/api/v1/live"):
        for secret in (None, "wrong", "gridberry_" + "A" * 43):
            status, answer, content = Client(client.port, secret).ask(path)
            assert (status, answer.getheader("WWW-Authenticate")) == (401, "Bearer"), path
            assert list(json.loads(content)) == ["error"]
        assert client.ask(path, method="POST")[0] == 405
    assert Client(client.port).ask("/")[0] == 200


def test_a_token_of_another_scope_is_refused_in_one_line(fleet):
    client, _, _ = fleet
    path, secret = client.directory / "tokens", "gridberry_" + "B" * 43
    with tokens.changing(path) as kept:
        other = tokens.Token("other", (tokens.ACT,), 0, tokens.digest_of(secret))
        tokens.save(path, [*kept, other])
    status, _, content = Client(client.port, secret).ask("/api/v1/fills")
    said = {"error": "needs a token of the scope `read`: hub tokens create"}
    assert (status, json.loads(content)) == (401, said)
    assert client.ask("/api/v1/fills")[0] == 200


def test_only_a_proxy_of_this_host_says_that_a_session_came_over_https(fleet):
    client, _, _ = fleet
    nobody, body = Client(client.port), json.dumps({"token": client.secret})
    forwarded = {"X-Forwarded-Proto": "https"}
    for nobody.source, secure in (("127.0.0.1", True), ("127.0.0.5", False)):
        _, answer, _ = nobody.ask("/api/v1/session", "POST", body, **forwarded)
        assert ("Secure" in answer.headers["Set-Cookie"]) == secure


def test_a_session_keeps_the_token_where_no_script_reads_it(fleet):
    client, _, _ = fleet
    nobody = Client(client.port)
    body = json.dumps({"token": client.secret})
    for wrong in ("{}", "[]", "nonsense", '{"token": 1}', json.dumps({"token": "x" * 9000})):
        assert nobody.ask("/api/v1/session", "POST", wrong)[0] in {400, 401, 413}
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert nobody.ask("/api/v1/session", "POST", body, **foreign)[0] == 403
    status, answer, _ = nobody.ask("/api/v1/session", "POST", body)
    cookie = answer.getheader("Set-Cookie")
    assert status == 204
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert nobody.ask("/api/v1/bots", Cookie=cookie.partition(";")[0])[0] == 200


def test_hostile_keys_of_a_page_are_refused_or_compared_as_texts(fleet):
    client, _, address = fleet
    before = rows(address, "SELECT count(*) FROM fills")
    for path in [path for path, endpoint in ENDPOINTS.items() if "after" in endpoint.parameters]:
        name = path.removeprefix("/api/v1/")
        known = client.get(name)[1]

        def ask(key, name=name):
            text = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()
            return client.get(name, after=text)

        for value in HOSTILE:
            for key in ([value, 1, "1"], ["2030-01-01T00:00:00Z", value, "1"], value):
                status, document = ask(key)
                assert status == 400 or value.isdecimal(), (path, key, document)
            status, document = ask(["2030-01-01T00:00:00Z", 1, value])
            refused = status == 400 and not value.isprintable()
            assert refused or (status, document) == (200, known), (path, value)
    assert rows(address, "SELECT count(*) FROM fills") == before


def test_hostile_parameters_are_refused_or_find_nothing(fleet):
    client, _, address = fleet
    before = rows(address, "SELECT count(*) FROM fills")
    for path, endpoint in ENDPOINTS.items():
        for name in (*endpoint.parameters, "unknown'--"):
            for value in HOSTILE:
                given = {"bot": "pi1", "symbol": SYMBOL} if "bot" in endpoint.parameters else {}
                if "kind" in endpoint.parameters or "state" in endpoint.parameters:
                    given.pop("symbol", None)
                status, document = client.get(
                    path.removeprefix("/api/v1/"), **{**given, name: value}
                )
                assert status in {200, 400}, (path, name, value, document)
                if status == 200:
                    lists = [one for one in document.values() if isinstance(one, list)]
                    assert name in {"bot", "symbol"}, (path, name, value)
                    assert not any(lists), (path, name, value)
                else:
                    assert "\n" not in document["error"]
    assert rows(address, "SELECT count(*) FROM fills") == before


def test_a_hundred_clients_hear_at_once(fleet):
    client, _, address = fleet
    streams = []
    for _ in range(100):
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        connection.request(
            "GET", "/api/v1/live", headers={"Authorization": f"Bearer {client.secret}"}
        )
        streams.append((connection, connection.getresponse()))
    heard = []

    def listen(answer):
        while True:
            line = answer.readline().decode()
            if line.startswith("data:") and '"state":"told"' in line:
                heard.append(line)
                return

    threads = [threading.Thread(target=listen, args=(one,), daemon=True) for _, one in streams]
    for thread in threads:
        thread.start()

    async def tell(connection):
        await connection.execute(
            "UPDATE bots SET answered = now(), status = '{\"state\": \"told\"}' WHERE name = 'pi2'"
        )
        await connection.execute("SELECT pg_notify('gridberry_fleet', 'pi2')")

    in_database(address, tell)
    for thread in threads:
        thread.join(timeout=30)
    assert len(heard) == 100
    assert len(set(heard)) == 1
    for connection, _ in streams:
        connection.close()


def test_openapi_has_every_path(fleet):
    client, _, _ = fleet
    status, document = client.get("openapi.json")
    assert status == 200
    assert set(document["paths"]) == set(ENDPOINTS)


def test_page_is_small_and_loads_nothing_from_elsewhere(fleet):
    client, _, _ = fleet
    status, answer, content = client.ask("/", **{"Accept-Encoding": "gzip"})
    assert (status, answer.getheader("Content-Encoding")) == (200, "gzip")
    assert len(content) < 60_000
    policy = answer.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"://" not in client.ask("/")[2].replace(b"http://www.w3.org/2000/svg", b"")


def test_a_database_that_goes_and_comes_back(tmp_path, template):
    assert template
    from hub.database import Address, migrate

    with Server(tmp_path / "own", settings=QUICK) as own:
        own.sql("CREATE DATABASE api")
        address = Address(own.host, own.port, "api", "postgres")
        in_database(address, migrate)
        (tmp_path / "pi1").mkdir()
        (tmp_path / "archive").mkdir()
        store = Store(tmp_path / "pi1")
        three_weeks(store)
        store.close()
        collect(address, bot_of(tmp_path / "pi1"))
        client, process = subprocess_hub(tmp_path, own, address)
        try:
            assert client.get("fills", limit=1)[0] == 200
            own.kill()
            status, document = client.get("fills", limit=1)
            assert status == 503
            assert document["error"].startswith("database: ")
            assert client.get("bots")[1]["bots"][0]["name"] == "pi1"
            own.start()
            assert client.get("fills", limit=1)[0] == 200
        finally:
            process.terminate()
            process.wait(timeout=20)
