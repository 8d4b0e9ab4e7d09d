"""`/api/v1` of a bot that trades: who can ask, who can act, and what comes of it."""

import io
import json
import logging
import resource
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import pytest
from gridbase.errors import UserError
from gridbase.tokens import changing, created, revoked, save
from gridbot.accounting.trade_history import latest
from gridbot.service.access import COOKIE, SESSION_SECONDS, Access
from gridbot.service.acting import CONFIRM_SECONDS, Acting
from gridbot.service.api import Api
from gridbot.service.audit_log import AuditLog
from gridbot.service.log_lines import LogLines
from gridbot.service.openapi import openapi
from gridbot.service.web import Page
from gridbot.store import Store

from .test_traffic import step

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "openapi.json"
LOCAL = "127.0.0.1"


class Bot:
    """A bot, its page, and who asks it."""

    def __init__(self, make_world, tmp_path, **page):
        self.world = make_world()
        self.tokens = tmp_path / "tokens.json"
        rules = {"tokens_file": str(self.tokens), "acting": True} | page
        self.world.document["page"] = {k: one for k, one in rules.items() if one is not None}
        self.runner = self.world.runner()
        step(self.world, self.runner, 15)
        self.runner._books.read()
        config, clock = self.world.config, self.world.clock
        self.page = Page(self.runner)
        self.audit = AuditLog(config.state_directory)
        self.log = LogLines()
        self.page.api = Api(
            self.runner,
            Access(config.page, clock.monotonic),
            acting=Acting(config, clock, self.audit),
            audit=self.audit,
            log=self.log,
            channel=self.page.channel,
        )
        self.read, self.act = self.token("laptop", "read"), self.token("phone", "act")

    def token(self, name, scope):
        with changing(self.tokens) as tokens:
            more, secret = created(tokens, name, scope, 0)
            save(self.tokens, more)
        return secret

    def ask(self, path, token="", content=None, method=None, peer=LOCAL, **headers):
        """Status, document and headers of an answer."""
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method or ("GET" if content is None else "POST"),
            "PATH_INFO": path if path.startswith("/api") else "/api/v1" + path,
            "QUERY_STRING": query,
            "REMOTE_ADDR": peer,
            "HTTP_HOST": "localhost:8080",
            "CONTENT_TYPE": "application/json",
            "wsgi.input": io.BytesIO(b"" if content is None else json.dumps(content).encode()),
        }
        if token:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        environ |= {f"HTTP_{name}": value for name, value in headers.items() if value is not None}
        told = {}
        chunks = self.page(
            environ, lambda status, pairs: told.update(status=int(status[:3]), headers=pairs)
        )
        body = b"".join(chunks)
        headers = dict(told["headers"])
        is_json = "json" in headers.get("Content-Type", "")
        return told["status"], json.loads(body) if is_json and body else body, headers

    def do(self, action, token=None, **content):
        """What an action would do, and what it did."""
        token = token or self.act
        status, proposal, _ = self.ask("/proposals", token, {"action": action, **content})
        assert status == 201, proposal
        status, done, _ = self.ask("/actions", token, {"confirmation": proposal["confirmation"]})
        assert status == 200, done
        return proposal, done


@pytest.fixture
def bot(make_world, tmp_path):
    return Bot(make_world, tmp_path)


READABLE = (
    *("/session", "/system", "/system/circuit-breakers", "/grids", "/orders", "/fills"),
    *("/profit", "/equity", "/prices", "/log", "/audit", "/events"),
)


def test_no_secret_is_told_with_the_log(bot):
    line = f"Authorization: Bearer {bot.act}"
    bot.log.emit(logging.LogRecord("gridbot", logging.WARNING, "", 0, "%s", (line,), None))
    _, told, _ = bot.ask("/log", bot.read)
    assert "[token]" in str(told)
    assert bot.act not in str(told)


def test_an_event_whose_words_do_not_fit_stops_nobody(bot, capsys):
    record = logging.LogRecord("gridbot", logging.INFO, "x.py", 1, "%d orders", ("no",), None)
    bot.log.handle(record)
    assert "Logging error" in capsys.readouterr().err
    assert bot.log.latest(10) == []


def test_nothing_is_told_without_a_token(bot):
    for path in READABLE:
        assert bot.ask(path)[0] == 401
        assert bot.ask(path, "wrong")[0] == 401
        assert bot.ask(f"{path}?token={bot.read}")[0] == 401
        assert bot.ask(path, bot.read)[0] == 200
    with changing(bot.tokens) as tokens:
        save(bot.tokens, revoked(tokens, "laptop"))
    assert bot.ask("/log", bot.read)[0] == 401


def test_without_a_file_of_tokens_the_page_only_shows(make_world, tmp_path):
    bot = Bot(make_world, tmp_path, tokens_file=None, acting=False)
    for path in READABLE:
        status, told, _ = bot.ask(path, bot.act)
        assert (status, "is off" in told["detail"]) == (403, True)
    assert bot.ask("/proposals", bot.act, {"action": "close"})[0] == 403
    assert bot.ask("/api/page")[0] == 200


def test_what_it_tells_is_what_the_bot_says(bot):
    status = json.loads(json.dumps(bot.runner.status()))
    (grid,) = status["grids"]
    assert bot.ask("/system", bot.read)[1]["state"] == "trading"
    (breaker,) = bot.ask("/system/circuit-breakers", bot.read)[1]["items"]
    assert breaker["state"] == "closed"
    (short,) = bot.ask("/grids", bot.read)[1]["items"]
    assert short["equity"] == grid["equity"]
    orders = bot.ask("/orders?limit=200", bot.read)[1]["items"]
    assert [one["client_id"] for one in orders] == [one["client_id"] for one in grid["orders"]]
    for one in orders:
        away = 100 * (Decimal(one["price"]) - Decimal(grid["price"])) / Decimal(grid["price"])
        assert abs(Decimal(one["distance_percent"]) - away) < Decimal("0.01")
    fills = bot.ask("/fills?limit=20", bot.read)[1]["items"]
    assert [{k: v for k, v in one.items() if k != "trade_id"} for one in fills] == (
        grid["recent_fills"]
    )
    days = bot.runner.books()["grids"]["BTC/USDT"]["days"]
    for path in ("/profit", "/equity"):
        for told, day in zip(bot.ask(path, bot.read)[1]["items"], days, strict=True):
            assert told.items() <= day.items()
    prices = bot.ask("/prices?limit=2000", bot.read)[1]["items"]
    assert prices[-1]["price"] == grid["price"]


def test_trades_are_read_once_until_the_books_change(bot, monkeypatch):
    opened = []

    def counted(*args, **words):
        opened.append(args)
        return Store(*args, **words)

    monkeypatch.setattr("gridbot.service.books_reader.Store", counted)
    first = bot.ask("/fills?limit=200", bot.read)[1]
    assert bot.ask("/fills?limit=200", bot.read)[1] == first
    assert len(opened) == 1
    while bot.ask("/fills?limit=200", bot.read)[1] == first:
        step(bot.world, bot.runner, 5)
    (trader,) = (one.trader for one in bot.runner._workers)
    while trader.step():
        pass
    told = {one["order"] for one in bot.ask("/fills?limit=200", bot.read)[1]["items"]}
    store = Store(bot.world.config.state_directory, read_only=True)
    grid = store.grid_run("BTC/USDT")
    assert told == {one.fill.client_id for one in latest(store, grid, 200)}
    store.close()


def test_pages_of_a_list_are_all_of_it(bot):
    _, whole, _ = bot.ask("/fills?limit=200", bot.read)
    rows, after = [], ""
    while after is not None:
        _, part, _ = bot.ask(f"/fills?limit=7{after and '&after=' + quote(after)}", bot.read)
        rows += part["items"]
        after = part["next"]
    assert rows == whole["items"]
    assert len(rows) > 7


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "limit=0",
        "limit=999",
        "after=1.5",
        "after=s",
        "limit=٣",
        "symbol=ETH/USDT",
    ],
)
def test_a_wrong_query_is_one_line(bot, query):
    status, told, _ = bot.ask(f"/fills?{query}", bot.read)
    assert status == 400
    assert told["detail"].startswith(query.partition("=")[0])


def test_an_answer_that_is_known_is_not_sent_again(bot):
    _, _, headers = bot.ask("/orders", bot.read)
    status, body, _ = bot.ask("/orders", bot.read, IF_NONE_MATCH=headers["ETag"])
    assert (status, body) == (304, b"")


def test_a_session_is_as_good_as_its_token_and_ends_with_it(bot):
    status, told, headers = bot.ask("/session", bot.act, {})
    assert (status, told["name"], told["acting"]) == (200, "phone", True)
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert bot.act not in cookie
    pair = cookie.partition(";")[0]
    assert bot.ask("/log", COOKIE=pair)[0] == 200
    assert bot.ask("/log", COOKIE=f"{COOKIE}=other")[0] == 401
    assert bot.ask("/proposals", "", {"action": "pause"}, COOKIE=pair)[0] == 201
    for host, origin in (
        ("evil.example", None),
        ("localhost:8080", "http://evil.example"),
        ("localhost:8080", "null"),
        ("localhost:8080", "https://localhost:8080"),
        ("localhost:8080", "http://localhost:9999"),
        ("[", None),
    ):
        for path, content in (("/log", None), ("/proposals", {"action": "pause"})):
            found = bot.ask(path, "", content, COOKIE=pair, HOST=host, ORIGIN=origin)
            assert found[0] == 403, (host, origin, path)
    assert bot.ask("/log", COOKIE=pair, SEC_FETCH_SITE="cross-site")[0] == 403
    bot.world.clock.sleep(SESSION_SECONDS + 1)
    assert bot.ask("/log", COOKIE=pair)[0] == 401
    pair = bot.ask("/session", bot.act, {})[2]["Set-Cookie"].partition(";")[0]
    assert bot.ask("/session", method="DELETE", COOKIE=pair)[0] == 204
    assert bot.ask("/log", COOKIE=pair)[0] == 401
    pair = bot.ask("/session", bot.act, {})[2]["Set-Cookie"].partition(";")[0]
    with changing(bot.tokens) as tokens:
        save(bot.tokens, revoked(tokens, "phone"))
    assert bot.ask("/log", COOKIE=pair)[0] == 401


def test_a_token_that_only_reads_cannot_act(bot):
    for path, content in (("/proposals", {"action": "close"}), ("/actions", {"confirmation": "x"})):
        status, told, _ = bot.ask(path, bot.read, content)
        assert (status, told["detail"]) == (403, "token laptop has no scope act")


def test_acting_is_off_by_default(make_world, tmp_path):
    bot = Bot(make_world, tmp_path, acting=False)
    status, told, _ = bot.ask("/proposals", bot.act, {"action": "close"})
    assert (status, "acting is off" in told["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("peer", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("127.9.9.9", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("192.168.1.7", {}, False),
        ("172.18.0.1", {}, False),
        ("", {}, False),
        # A proxy on this host hands on what came from elsewhere.
        ("127.0.0.1", {"X_FORWARDED_FOR": "192.168.1.7"}, False),
        ("127.0.0.1", {"FORWARDED": "for=192.168.1.7"}, False),
        ("127.0.0.1", {"X_FORWARDED_PROTO": "https"}, False),
        ("192.168.1.7", {"X_FORWARDED_PROTO": "https"}, False),
        ("10.0.0.5", {"X_FORWARDED_PROTO": "https"}, True),
        ("10.0.0.5", {"X_FORWARDED_PROTO": "http"}, False),
        ("10.0.0.5", {}, False),
    ],
)
def test_acting_over_plain_http_is_for_this_host_alone(
    make_world, tmp_path, peer, headers, allowed
):
    bot = Bot(make_world, tmp_path, trusted_proxies=["10.0.0.0/24"])
    content = {"action": "pause"}
    status, told, _ = bot.ask("/proposals", bot.act, content, peer=peer, **headers)
    assert (status == 201) == allowed, told
    if not allowed:
        assert "came over plain HTTP" in told["detail"]
        assert bot.ask("/log", bot.act, peer=peer, **headers)[0] == 403  # it may act: not at all
        assert bot.ask("/log", bot.read, peer=peer, **headers)[0] == 200


def test_what_is_confirmed_names_the_amounts_and_is_done_once(bot):
    exchange = bot.world.api.exchange
    _, proposal, _ = bot.ask("/proposals", bot.act, {"action": "liquidate"})
    held = bot.runner.status()["grids"][0]["base_held"]
    (would,) = proposal["would"]
    assert would["base"] == held
    resting = len(exchange.listing("BTCUSDT").engine.orders)
    assert would["orders"] == resting
    assert would["text"] == f"cancel {resting} open orders and sell {held} BTC"
    step(bot.world, bot.runner, 5)
    assert bot.runner.status()["state"] == "trading"  # only told what would be done
    confirmation = {"confirmation": proposal["confirmation"]}
    other = bot.token("other", "act")
    assert bot.ask("/actions", other, confirmation)[0] == 409  # another's, and gone with that
    assert bot.ask("/actions", bot.act, confirmation)[0] == 409
    _, done = bot.do("liquidate", reason="I have seen enough")
    assert done["done"][0]["possible"]
    step(bot.world, bot.runner, 30)
    document = bot.runner.status()
    assert document["state"] == "halted"
    assert "I have seen enough (phone)" in document["grids"][0]["halt"]["text"]
    assert exchange.balances["BTC"].locked == 0
    assert Decimal(document["grids"][0]["closing"]["base"]) < Decimal("0.00001")
    assert bot.ask("/proposals", bot.act, {"action": "close"})[0] == 409
    lines = bot.ask("/audit", bot.read)[1]["items"]
    assert [(one["token"], one["action"]) for one in lines] == [("phone", "liquidate")] * 2
    assert lines[1]["result"] == "confirmed"
    assert " sell " in lines[0]["result"]
    assert (bot.audit._path.stat().st_mode & 0o777) == 0o600


def test_pause_resume_and_close(bot):
    bot.do("pause", reason="holiday")
    step(bot.world, bot.runner, 5)
    assert bot.runner.status()["grids"][0]["paused_by_hand"]
    assert bot.ask("/proposals", bot.act, {"action": "pause"})[0] == 409
    bot.do("resume")
    step(bot.world, bot.runner, 5)
    assert bot.runner.status()["state"] == "trading"
    bot.do("close", symbol="BTC/USDT")
    step(bot.world, bot.runner, 20)
    document = bot.runner.status()
    assert document["state"] == "halted"
    assert not document["grids"][0]["halt"]["liquidate"]
    proposal, _ = bot.do("resume")
    assert "clear its kill switch" in proposal["would"][0]["text"]
    step(bot.world, bot.runner, 30)
    assert bot.runner.status()["state"] == "trading"
    (trader,) = (one.trader for one in bot.runner._workers)
    while trader.step():  # until it has heard of every trade
        pass
    assert bot.world.audit().differences == []


def test_a_proposal_of_the_same_moment_brings_no_other_back(bot, monkeypatch):
    _, proposal, _ = bot.ask("/proposals", bot.act, {"action": "pause"})
    confirmation = {"confirmation": proposal["confirmation"]}
    told = []

    def meanwhile(_size):
        told.append(bot.ask("/actions", bot.act, confirmation)[0])
        return "another"

    monkeypatch.setattr("gridbot.service.acting.secrets.token_urlsafe", meanwhile)
    assert bot.ask("/proposals", bot.act, {"action": "close"})[0] == 201
    told.append(bot.ask("/actions", bot.act, confirmation)[0])
    assert told == [200, 409]


def test_signing_in_at_the_same_moment_brings_no_ended_session_back(bot, monkeypatch):
    headers = {"ORIGIN": "http://localhost:8080"}
    first = bot.ask("/session", bot.read, {}, **headers)[2]["Set-Cookie"].partition(";")[0]

    def meanwhile(_size):
        bot.ask("/session", method="DELETE", COOKIE=first)
        return "another"

    monkeypatch.setattr("gridbot.service.access.secrets.token_urlsafe", meanwhile)
    assert bot.ask("/session", bot.read, {}, **headers)[0] == 200
    assert bot.ask("/session", COOKIE=first)[0] == 401


def test_a_confirmation_is_good_for_a_minute(bot):
    _, proposal, _ = bot.ask("/proposals", bot.act, {"action": "close"})
    bot.world.clock.sleep(CONFIRM_SECONDS + 1)
    assert bot.ask("/actions", bot.act, {"confirmation": proposal["confirmation"]})[0] == 409
    assert not bot.audit.latest(10)


def test_nothing_is_done_without_its_log(bot):
    bot.audit._path.mkdir()
    _, proposal, _ = bot.ask("/proposals", bot.act, {"action": "close"})
    status, told, _ = bot.ask("/actions", bot.act, {"confirmation": proposal["confirmation"]})
    assert (status, "nothing is done without its log" in told["detail"]) == (503, True)
    store = Store(bot.world.config.state_directory, read_only=True)
    assert store.open_halt("BTC/USDT") is None
    store.close()


def test_a_kill_switch_that_nobody_was_shown_is_not_cleared(bot):
    bot.do("pause")
    _, proposal, _ = bot.ask("/proposals", bot.act, {"action": "resume"})
    assert proposal["would"][0]["text"] == "go on after its pause (from the page (phone))"
    store = Store(bot.world.config.state_directory, beside=True)
    store.halt("BTC/USDT", reason_code="stop.loss_price", text="too low", price=Decimal(1), at_ms=1)
    status, done, _ = bot.ask("/actions", bot.act, {"confirmation": proposal["confirmation"]})
    assert status == 200
    assert not done["done"][0]["possible"]
    assert "clear its kill switch (too low)" in done["done"][0]["text"]
    assert store.open_halt("BTC/USDT") is not None
    assert store.open_pause("BTC/USDT") is not None
    store.close()
    proposal, _ = bot.do("resume")
    assert "clear its kill switch (too low)" in proposal["would"][0]["text"]


def test_what_was_done_is_told_though_its_log_fails(bot, caplog):
    write = bot.audit.write
    bot.audit.write = lambda **entry: write(**entry) if entry["result"] == "confirmed" else full()

    def full():
        raise UserError("No space left on device")

    _, done = bot.do("pause")
    assert done["done"][0]["possible"]
    assert "the audit log lacks what came of pause" in caplog.text
    store = Store(bot.world.config.state_directory, read_only=True)
    assert store.open_pause("BTC/USDT") is not None
    store.close()


def test_a_torn_line_of_the_log_is_no_line_and_spoils_none(bot):
    bot.audit.write(result="first")
    size = bot.audit._path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with pytest.raises(UserError, match=r"audit\.jsonl"):
            bot.audit.write(result="the disk is full in the middle of this")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert bot.audit._path.stat().st_size == size + 10
    bot.audit.write(result="last")
    assert [one["result"] for one in bot.audit.latest(9)] == ["last", "first"]


def test_actions_are_rate_limited(bot):
    told = [bot.ask("/proposals", bot.act, {"action": "pause"})[0] for _ in range(15)]
    assert told[:12] == [201] * 12
    assert told[12:] == [429] * 3
    bot.world.clock.sleep(10)
    assert bot.ask("/proposals", bot.act, {"action": "pause"})[0] == 201


def test_wrong_tokens_are_rate_limited_and_the_right_one_is_not(bot):
    told = [bot.ask("/log", f"wrong{number}")[0] for number in range(25)]
    assert told == [401] * 20 + [429] * 5
    assert bot.ask("/log", bot.read)[0] == 200


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ({"action": "explode"}, "action needs one of pause, resume, close, liquidate"),
        ({}, "action needs one of"),
        ({"action": ["close"]}, "action needs one of"),
        ({"action": "close", "symbol": "ETH/USDT"}, "symbol needs one of BTC/USDT"),
        ({"action": "close", "amount": "1"}, "known are action, reason, symbol"),
        ({"action": "close", "reason": "two\nlines"}, "reason needs one line"),
        ({"action": "close", "reason": ""}, "reason needs one line"),
        ({"action": "close", "reason": "x" * 201}, "more than 200"),
    ],
)
def test_a_wrong_action_is_one_line(bot, content, detail):
    status, told, _ = bot.ask("/proposals", bot.act, content)
    assert status == 400
    assert detail in told["detail"]


def test_a_file_that_others_can_read_opens_nothing(bot):
    bot.tokens.chmod(0o644)
    assert bot.ask("/log", bot.read)[0] == 503


def test_the_document_is_the_committed_one_and_has_every_route(bot):
    status, told, _ = bot.ask("/openapi.json")
    assert status == 200
    assert told == openapi() == json.loads(DOCUMENT.read_text(encoding="utf-8"))
    routes = {(one.method.lower(), one.path) for one in bot.page.api.routes}
    assert routes == {(method, path) for path, each in told["paths"].items() for method in each}
    assert bot.ask("/nothing", bot.read)[0] == 404
    status, _, headers = bot.ask("/orders", bot.read, {})
    assert (status, headers["Allow"]) == (405, "GET")
