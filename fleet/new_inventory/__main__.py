"""Writes an inventory from a few questions: `./gridberry new`.

    python -m fleet.new_inventory [--yes] [--pi NAME[=ADDRESS]] [--candles FILE] ...

The result has passed the same checks as in a deployment before it gets its name.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from gridbase.errors import UserError
from gridbase.market import plain

from fleet.new_inventory import answers as allowed
from fleet.new_inventory.answers import Answers, Grid
from fleet.new_inventory.files import VAULT, files, vault
from fleet.new_inventory.proposal import backtest, in_words, propose_range, read_last_days
from fleet.new_inventory.questions import Questions
from inventory.demo_market import DEFAULT_SYMBOL, DUMP

ROOT = Path(__file__).resolve().parents[2]
REASON = re.compile(r"^\[ERROR\]: .*Action failed: (.*)$", re.MULTILINE)


def place_of(name: str, root: Path) -> Path:
    """Return the directory of a new inventory.

    Args:
        name: Its name.
        root: The checkout.

    Raises:
        UserError: The name is not allowed, or is taken.
    """
    place = root / "inventory" / allowed.inventory_name(name)
    if place.exists():
        raise UserError(f"inventory/{name} is there already; choose another name")
    return place


def choose_grid(ask: Questions, options: argparse.Namespace, symbol: str, budget: Decimal) -> Grid:
    """Return the grid, proposed from candles where there are any.

    Args:
        ask: Who asks.
        options: The command line's.
        symbol: The market.
        budget: What the grid may spend (quote).

    Raises:
        UserError: An option is wrong, or no grid fits.
    """
    if options.candles is None:
        return ask_grid(ask, options, None)
    try:
        candles = read_last_days(options.candles)
    except UserError as error:
        raise UserError(f"--candles: {error}") from error
    proposed = propose_range(candles)
    lower, upper = plain(proposed.lower), plain(proposed.upper)
    print(f"Proposed: {proposed.grids} grids from {lower} to {upper}")
    print(in_words(backtest(candles, symbol, budget, proposed), symbol))
    while (grid := ask_grid(ask, options, proposed)) != proposed:
        try:
            print(in_words(backtest(candles, symbol, budget, grid), symbol))
        except UserError as error:
            if ask.defaults or None not in {options.lower, options.upper, options.grids}:
                raise
            print(f"  {error}")
        else:
            break
    return grid


def ask_grid(ask: Questions, options: argparse.Namespace, proposed: Grid | None) -> Grid:
    """Return a grid as it is answered.

    Args:
        ask: Who asks.
        options: The command line's.
        proposed: The default; None: there is none for the range.

    Raises:
        UserError: An option is wrong, or nobody answers.
    """
    low, high, count = ("", "", "40")
    if proposed:
        low, high, count = plain(proposed.lower), plain(proposed.upper), str(proposed.grids)
    lower = ask.ask("--lower", options.lower, "Lowest price", low, allowed.amount)
    above = functools.partial(allowed.above, lower)
    upper = ask.ask("--upper", options.upper, "Highest price", high, above)
    return Grid(lower, upper, ask.ask("--grids", options.grids, "Grids", count, allowed.grids))


def all_answers(ask: Questions, options: argparse.Namespace) -> Answers:
    """Return what the inventory says.

    Args:
        ask: Who asks.
        options: The command line's.

    Raises:
        UserError: An option is wrong, or nobody answers.
    """
    given = " ".join(options.pi) if options.pi else None
    pis = ask.ask("--pi", given, "Your Pis, such as pi1=192.168.1.21 pi2", "pi1", allowed.pis_of)
    user = ask.ask("--user", options.user, "Their user", "trader", allowed.user)
    nvme = ask.ask("--nvme", options.nvme, "Has each an NVMe drive", "no", allowed.yes)
    exchange = ask.ask("--exchange", options.exchange, "Exchange", "binance", allowed.exchange)
    dump = DUMP.match(options.candles.name) if options.candles else None
    known = "/".join(dump.groups()) if dump else DEFAULT_SYMBOL
    symbol = ask.ask("--symbol", options.symbol, "Symbol", known, allowed.symbol)
    quote = symbol.partition("/")[2]
    text = f"Budget of each bot, {quote}"
    budget = ask.ask("--budget", options.budget, text, "10000", allowed.amount)
    grid = choose_grid(ask, options, symbol, budget)
    return Answers(pis, user, nvme, exchange, symbol, budget, grid)


def keys(ask: Questions, options: argparse.Namespace) -> str:
    """Return the vault with the API keys; empty where there are none.

    Args:
        ask: Who asks.
        options: The command line's.

    Raises:
        UserError: A file cannot be used, or one of the secrets is missing.
    """
    text = "API key, for real money later (Enter: none)"
    key = ask.secret("--api-key-file", options.api_key_file, text)
    if not key:
        return ""
    secret = ask.secret("--api-secret-file", options.api_secret_file, "Its secret")
    name = "--vault-password-file"
    password = ask.secret(name, options.vault_password_file, "A new password for the vault")
    if not secret or not password:
        raise UserError(f"an API key needs --api-secret-file and {name} as well")
    if options.vault_password_file is None and ask.secret(name, None, "Once more") != password:
        raise UserError("the two passwords of the vault differ; nothing was written")
    return vault(key, secret, password)


def check(inventory: Path) -> None:
    """Return if a deployment would take an inventory; no host is asked.

    Args:
        inventory: Its directory.

    Raises:
        UserError: It would not; says why.
    """
    playbook = os.fspath(ROOT / "playbooks" / "settings.yml")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", os.fspath(inventory), playbook]
    environment = os.environ | {"ANSIBLE_CONFIG": os.fspath(ROOT / "ansible.cfg")}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT
    )
    if done.returncode:
        said = done.stdout + done.stderr
        reason = REASON.search(said)
        last = (said.strip().splitlines() or ["no reason"])[-1]
        raise UserError(f"these settings are refused: {reason[1] if reason else last}")


def write(inventory: Path, contents: dict[str, str], locked: str) -> None:
    """Write an inventory that takes its name when it is whole and checked.

    Args:
        inventory: Its directory, which is not there.
        contents: The files by path.
        locked: The vault; empty: none.

    Raises:
        UserError: The settings are refused.
        OSError: It cannot be written.
    """
    inventory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{inventory.name}-", dir=inventory.parent))
    try:
        for name, text in contents.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        check(work)
        if locked:
            # After the check, which would need its password.
            (work / VAULT).touch(mode=0o600)
            (work / VAULT).write_text(locked)
        work.chmod(0o755)
        if inventory.exists():
            raise FileExistsError(17, "it is there already", os.fspath(inventory))
        work.rename(inventory)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says.

    Args:
        words: The words; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="./gridberry new",
        description="Write an inventory from a few questions; what an option says is not asked.",
        epilog="Example: ./gridberry new home --pi pi1=192.168.1.21 --candles SOLUSDT-1h-2026.zip",
    )
    parser.add_argument("name", nargs="?", default="home", help="of the inventory (home)")
    parser.add_argument(
        "--pi", action="append", metavar="NAME[=ADDRESS]", help="one of your Pis; again for more"
    )
    for option, text in {
        "--user": "who logs in (trader)",
        "--nvme": "whether each Pi has an NVMe drive: yes or no (no)",
        "--exchange": "binance (default) or binanceus",
        "--symbol": "what is traded (BTC/USDT)",
        "--budget": "what each bot may spend, in the second coin (10000)",
        "--lower": "lowest price",
        "--upper": "highest price",
        "--grids": "spaces between the grid's lines (40, or as proposed)",
    }.items():
        parser.add_argument(option, help=text)
    parser.add_argument(
        "--candles",
        type=Path,
        metavar="FILE",
        help="recorded prices: the range is proposed from them",
    )
    for option in ("--api-key-file", "--api-secret-file", "--vault-password-file"):
        parser.add_argument(option, type=Path, metavar="FILE", help="instead of asking (mode 0600)")
    parser.add_argument("--yes", action="store_true", help="take the defaults, unasked")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the inventory.

    Args:
        words: The command line's.
        root: The checkout.

    Returns:
        The exit status: 0 done, 1 it cannot be written, 2 wrong use or settings.
    """
    options = arguments_of(words)
    try:
        inventory = place_of(options.name, root)
        ask = Questions(options.yes)
        contents, locked = files(all_answers(ask, options)), keys(ask, options)
        print("Checking the settings (some seconds) ...", flush=True)
        write(inventory, contents, locked)
    except UserError as error:
        print(f"gridberry: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"gridberry: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        return 1
    print(f"Written: inventory/{options.name}")
    vault_option = " --ask-vault-pass" if locked else ""
    where = f"-i inventory/{options.name}{vault_option}"
    print(f"Next: ansible-playbook {where} playbooks/site.yml --check --diff")
    return 0


if __name__ == "__main__":
    sys.exit(main())
