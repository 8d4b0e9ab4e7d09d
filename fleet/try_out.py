"""Bot and practice exchange as two processes of this computer: `./gridberry try`.

    python -m fleet.try_out [--live-prices | --candles FILE] [--symbol SYMBOL] ...

No root, no virtual machine, no container. The page opens once the bot serves it; Ctrl-C stops both.
Each market keeps its books in a directory of its own, and goes on there the next time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from gridbase.errors import UserError

from fleet.live_price import EXCHANGES
from fleet.try_market import START_PRICE, Market, books, choose_market, live_market

BALANCE = 20_000
INVESTMENT = 10_000
PORT = 8080
# A small computer that is busy starts Python in seconds.
PATIENCE_SECONDS = 120
END_SECONDS = 30
POLL_SECONDS = 0.1


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


def ask(port: int, path: str, *, any_status: bool = False) -> bytes | None:
    """Return what a program on this computer answers; None while it does not.

    Args:
        port: Its port.
        path: What is asked.
        any_status: Whether an answer that says no counts as well.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if any_status or answer.status == http.HTTPStatus.OK else None
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
        **(market.live or {"speed": speed}),
        **({"candles": os.fspath(market.candles)} if market.candles else {}),
        **({} if market.candles or market.live else {"start_price": str(START_PRICE)}),
    }
    bot: dict[str, dict[str, object]] = {
        "": {"mode": "paper", "bot_name": "try"},
        "exchange": {
            "name": market.live.get("live", "binance"),
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
    prices = parser.add_mutually_exclusive_group()
    prices.add_argument(
        "--live-prices", action="store_true", help="those of an exchange, without a key"
    )
    prices.add_argument(
        "--candles", type=Path, metavar="FILE", help="recorded prices (neither: made-up ones)"
    )
    parser.add_argument("--exchange", choices=EXCHANGES, help="whose live prices (binance)")
    # For a stand-in of that exchange.
    for name in ("--live-rest", "--live-streams"):
        parser.add_argument(name, default="", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument(
        "--symbol", default="", help="the market, where no Binance file name says it (BTC/USDT)"
    )
    parser.add_argument(
        "--speed", type=int, metavar="N", help="market seconds per second (60; of live prices 1)"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help="of the page; another one if it is taken (8080)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    options = parser.parse_args(words)
    for name in ("exchange", "live_rest", "live_streams"):
        if getattr(options, name) and not options.live_prices:
            parser.error(
                f"--{name.replace('_', '-')} is for --live-prices; add that, or leave it out"
            )
    if options.live_prices and options.speed not in {None, 1}:
        parser.error(f"--speed is {options.speed}; live prices take their time: leave it out")
    options.speed = 60 if options.speed is None else options.speed
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
        The exit status: 0 when interrupted, 1 when a program ended by itself or the exchange whose
        prices are wanted cannot be used, 2 for wrong use.
    """
    options = arguments_of(words)
    try:
        if options.live_prices:
            market = live_market(options)
        else:
            market = choose_market(options.candles, options.symbol)
    except UserError as error:
        name = "--live-prices" if options.live_prices else "--candles"
        print(f"gridberry: {name}: {error}", file=sys.stderr)
        return 1 if options.live_prices else 2
    place = books() / market.name
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
