"""Bot and practice exchange as two processes of this computer: `./gridberry try`.

    python -m fleet.try_out [--candles FILE] [--symbol SYMBOL] [--speed N] [--port N] [--no-browser]

No root, no virtual machine, no container. The page opens once the bot serves it; Ctrl-C stops both.
Each market keeps its books in a directory of its own, and goes on there the next time.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from gridbase.errors import UserError

from inventory.demo_market import DEFAULT_SYMBOL, demo_grid, demo_settings

ROOT = Path(__file__).resolve().parents[1]
# Where the made-up market begins: in the middle of the role's own grid.
START_PRICE = Decimal(46000)
BALANCE = 20_000
INVESTMENT = 10_000
PORT = 8080
# A small computer that is busy starts Python in seconds.
PATIENCE_SECONDS = 120
END_SECONDS = 30
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Market:
    """What is traded.

    Attributes:
        symbol: Such as BTC/USDT.
        grid: The grid's settings: lower, upper (quote) and grids.
        candles: The recorded prices; None where they are made up.
    """

    symbol: str
    grid: dict[str, str]
    candles: Path | None

    @property
    def name(self) -> str:
        """Its directory's name: the same market finds its books again."""
        if self.candles is None:
            return f"{self.symbol.replace('/', '-')}-made-up"
        place = hashlib.sha256(os.fsencode(self.candles)).hexdigest()[:8]
        stem = re.sub(r"[^A-Za-z0-9.-]", "-", self.candles.name)
        return f"{self.symbol.replace('/', '-')}-{stem}-{place}"

    @property
    def prices(self) -> str:
        """Where its prices come from, in words."""
        if self.candles is None:
            return "made-up prices (profit here means nothing)"
        return f"recorded prices ({self.candles.name})"


class ProgramError(Exception):
    """A program ended, or said nothing: one line."""


class Program:
    """One of the two processes.

    Attributes:
        name: In words.
        log: Its output.
    """

    def __init__(self, name: str, log: Path, *words: str) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._begin = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Return if it runs.

        Raises:
            ProgramError: It has ended, with its last words.
        """
        if self._process.poll() is not None:
            said = self.log.read_bytes()[self._begin :].decode(errors="replace").splitlines()
            last = said[-1] if said else f"exit status {self._process.returncode}"
            raise ProgramError(f"{self.name} ended: {last} (its log: {self.log})")

    def stop(self) -> None:
        """End it, as a service manager would."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def ask(port: int, path: str) -> bytes | None:
    """Return what a program on this computer answers; None while it does not.

    Args:
        port: Its port.
        path: What is asked.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_for(programs: Sequence[Program], what: str, condition: Callable[[], bool]) -> None:
    """Return once a condition holds.

    Args:
        programs: What must run meanwhile.
        what: The condition in words.
        condition: The condition.

    Raises:
        ProgramError: A program has ended, or it takes too long.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        for program in programs:
            program.check()
        if time.monotonic() > end:
            raise ProgramError(f"waited {PATIENCE_SECONDS} s for {what}; logs: {programs[0].log}")
        time.sleep(POLL_SECONDS)


def has_orders(page: int) -> bool:
    """Return whether the bot has orders on the exchange.

    Args:
        page: The port of its page.
    """
    answer = ask(page, "/api/status")
    return answer is not None and bool(json.loads(answer).get("open_orders"))


def free_port(wanted: int = 0) -> int:
    """Return a port of 127.0.0.1 that nobody has: the wanted one, if it is free.

    Args:
        wanted: The port; 0 for any.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError:
            listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def choose_market(candles: Path | None, symbol: str) -> Market:
    """Return the market and a grid that fits it.

    Args:
        candles: The recorded prices; None for made-up ones.
        symbol: What is traded; empty for what the file's name says, or BTC/USDT.

    Raises:
        UserError: The file cannot be read, or no grid fits its first price.
    """
    if candles is None:
        settings = demo_grid(START_PRICE)
    else:
        candles = candles.absolute()
        settings = demo_settings(candles, symbol)
        symbol = settings.pop("grid_bot_symbol")
    grid = {key.removeprefix("grid_bot_"): value for key, value in settings.items()}
    return Market(symbol or DEFAULT_SYMBOL, grid, candles)


def toml(tables: dict[str, dict[str, object]]) -> str:
    """Return settings as TOML.

    Args:
        tables: Texts and whole numbers by table and key; the table "" comes before all tables.
    """
    # A JSON text is a TOML text: both escape alike.
    lines = []
    for table, values in tables.items():
        lines += [f"\n[{table}]"] if table else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def write_settings(place: Path, market: Market, ports: dict[str, int], speed: int) -> None:
    """Write what both programs are told, and their shared key, once.

    Args:
        place: The market's directory.
        market: The market.
        ports: Of the exchange, its streams and the page.
        speed: Market seconds in a real one.
    """
    keys = {f"{key}_file": os.fspath(place / key) for key in ("api_key", "api_secret")}
    for path in map(Path, keys.values()):
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
    exchange: dict[str, object] = {
        "host": "127.0.0.1",
        "port": ports["exchange"],
        "stream_port": ports["streams"],
        **keys,
        "state_directory": os.fspath(place / "exchange"),
        "symbol": market.symbol,
        "speed": speed,
        **({"candles": os.fspath(market.candles)} if market.candles else {}),
        **({} if market.candles else {"start_price": str(START_PRICE)}),
    }
    bot: dict[str, dict[str, object]] = {
        "": {"mode": "paper", "bot_name": "try"},
        "exchange": {
            "name": "binance",
            "url": f"http://127.0.0.1:{ports['exchange']}",
            "stream_url": f"ws://127.0.0.1:{ports['streams']}",
            **keys,
        },
        "market": {"symbol": market.symbol},
        "grid": {**market.grid, "grids": int(market.grid["grids"]), "investment": str(INVESTMENT)},
        "state": {"directory": os.fspath(place / "bot")},
        "page": {"host": "127.0.0.1", "port": ports["page"]},
    }
    balances: dict[str, object] = {market.symbol.partition("/")[2]: str(BALANCE)}
    files = {"exchange.toml": {"": exchange, "balances": balances}, "bot.toml": bot}
    for name, tables in files.items():
        (place / name).write_text(toml(tables))
    for name in ("exchange", "bot"):
        (place / name).mkdir(mode=0o700, exist_ok=True)


def trade(place: Path, ports: dict[str, int], *, browser: bool) -> None:
    """Run both programs until they are interrupted.

    Args:
        place: The market's directory.
        ports: Of the exchange, its streams and the page.
        browser: Whether the page is opened.

    Raises:
        ProgramError: One of them ended by itself.
    """
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"  {time.monotonic() - started:4.1f} s  {what}", flush=True)

    with ExitStack() as stack:
        settings = os.fspath(place / "exchange.toml")
        log = place / "exchange.log"
        programs = [Program("the practice exchange", log, "gridexchange", "--config", settings)]
        stack.callback(programs[0].stop)
        ready = "/api/v3/ping"
        wait_for(programs, "the exchange", lambda: ask(ports["exchange"], ready) is not None)
        say("the practice exchange is open")
        settings, log = os.fspath(place / "bot.toml"), place / "bot.log"
        programs.append(Program("the bot", log, "gridbot", "run", "--config", settings))
        # Last in, first out: the bot ends before its exchange does.
        stack.callback(programs[1].stop)
        wait_for(programs, "the page", lambda: ask(ports["page"], "/api/status") is not None)
        page = f"http://127.0.0.1:{ports['page']}/"
        say(f"the page: {page}")
        if browser:
            webbrowser.open(page)
        wait_for(programs, "the first order", lambda: has_orders(ports["page"]))
        say("orders are on the exchange. Ctrl-C stops both; the books are kept")
        while True:
            for program in programs:
                program.check()
            time.sleep(POLL_SECONDS)


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says.

    Args:
        words: The words; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="./gridberry try", description="Trade on paper on this computer, without a Pi."
    )
    parser.add_argument(
        "--candles", type=Path, metavar="FILE", help="recorded prices (none: made-up ones)"
    )
    parser.add_argument(
        "--symbol", default="", help="their market, where no Binance file name says it (BTC/USDT)"
    )
    parser.add_argument(
        "--speed", type=int, default=60, metavar="N", help="market seconds per second (60)"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help="of the page; another one if it is taken (8080)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    options = parser.parse_args(words)
    if options.speed < 1:
        parser.error(f"--speed is {options.speed}; a whole number from 1 on is allowed")
    if not 0 <= options.port < 65536:
        parser.error(f"--port is {options.port}; 0 to 65535 is allowed (0: any)")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Trade until interrupted.

    Args:
        words: The command line's.

    Returns:
        The exit status: 0 when interrupted, 1 when a program ended by itself, 2 for wrong use.
    """
    options = arguments_of(words)
    try:
        market = choose_market(options.candles, options.symbol)
    except UserError as error:
        print(f"gridberry: --candles: {error}", file=sys.stderr)
        return 2
    state = Path(os.environ.get("GRIDBERRY_STATE", ROOT / ".gridberry"))
    place = state / "try" / market.name
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    ports = {name: free_port() for name in ("exchange", "streams")} | {
        "page": free_port(options.port)
    }
    write_settings(place, market, ports, options.speed)
    lower, upper, grids = (market.grid[key] for key in ("lower", "upper", "grids"))
    print(f"{market.symbol} on {market.prices}: {grids} grids from {lower} to {upper}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        trade(place, ports, browser=not options.no_browser)
    except ProgramError as error:
        print(f"gridberry: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. Books, settings and logs: {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
