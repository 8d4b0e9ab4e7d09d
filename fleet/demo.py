"""Virtual Pis that trade on paper: `./gridberry demo`.

    python -m fleet.demo [--pis N] [--again] [--due]

The launcher calls it once everything is installed and the machines' image is built. Machines that
were provisioned from just what the checkout holds now are only switched on: site.yml would change
nothing there, and takes two minutes to see it on an emulated Pi. `--due` only tells whether one is
to be provisioned, by its exit status: 0 yes, 1 no, 2 that one trades another market.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from gridbase.errors import UserError

from fleet.try_out import ask
from inventory.demo_market import demo_settings
from virtual_pi.errors import VirtualPiError
from virtual_pi.image import ensure_image
from virtual_pi.lifecycle import check_on, start, wait_for_ssh
from virtual_pi.machines import (
    CreateOptions,
    Machine,
    all_machines,
    create_machine,
    write_whole,
)
from virtual_pi.paths import state_directory

ROOT = Path(__file__).resolve().parents[1]
INVENTORY = ROOT / "inventory" / "virtual"
# What site.yml makes of a virtual Pi follows from these, the candles and SETTINGS.
SOURCES = (
    *("ansible.cfg", "requirements.lock", "playbooks", "plugins", "roles"),
    *("inventory/virtual", "inventory/demo_market.py"),
    *("bot/Dockerfile", "bot/build.lock", "bot/requirements.lock", "bot/image", "bot/src"),
)
CACHES = frozenset({"__pycache__"})
CANDLES = "GRIDBERRY_CANDLES"
SYMBOL = "GRIDBERRY_SYMBOL"
SETTINGS = (CANDLES, SYMBOL, "GRIDBERRY_SPEED")
PAGE_PORT = 8080
# After a boot, Docker and the bot take a minute on an emulated Pi; on a busy computer, longer.
HEALTHY_SECONDS = 600
REPORT_SECONDS = 10
POLL_SECONDS = 0.5
UNCHANGED = """\
Nothing that they were provisioned from has changed: playbooks/site.yml is not run again
(./gridberry demo --again runs it)."""


def files_of(
    sources: Sequence[str], root: Path, without: AbstractSet[str] = CACHES
) -> Iterator[Path]:
    """Yield the files of the checkout that are there, in a fixed order.

    Args:
        sources: Files and directories.
        root: The checkout.
        without: Names of directories that are left out.
    """
    for source in sources:
        place = root / source
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and not without & {*path.relative_to(root).parts}:
                yield path


def hash_of(
    root: Path, sources: Sequence[str], settings: dict[str, str], without: AbstractSet[str] = CACHES
) -> str:
    """Return a hash of what a machine is provisioned from.

    Args:
        root: The checkout.
        sources: Its files and directories that count.
        settings: Of the environment, by name; the candles count by their content.
        without: Names of directories that are left out.
    """
    texts = {name: text for name, text in settings.items() if name != CANDLES}
    total = hashlib.sha256(repr(sorted(texts.items())).encode())
    candles = [Path(settings[CANDLES])] if settings.get(CANDLES) else []
    for path in [*files_of(sources, root, without), *candles]:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.name if path in candles else path.relative_to(root)
        total.update(f"{name} {path.stat().st_mode & 0o111} {content}\n".encode())
    return total.hexdigest()


def recipe(root: Path, settings: dict[str, str]) -> str:
    """Return a hash of all that a machine of the demo is provisioned from.

    Args:
        root: The checkout.
        settings: Of the environment, by name; the candles count by their name and content.
    """
    return hash_of(root, SOURCES, settings)


def market_of(settings: dict[str, str]) -> str:
    """Return which market and grid the demo's bots trade, in words.

    Args:
        settings: Of the environment, by name.

    Raises:
        UserError: The candles cannot be read, or no grid fits there.
    """
    if not settings[CANDLES]:
        return "made-up prices"
    grid = demo_settings(Path(settings[CANDLES]), settings[SYMBOL])
    symbol, lower, upper, grids = (
        grid[f"grid_bot_{name}"] for name in ("symbol", "lower", "upper", "grids")
    )
    return f"{symbol}, {grids} grids from {lower} to {upper}"


def market_file(machine: Machine) -> Path:
    """Return the file that says what market a machine trades; it goes with the machine.

    Args:
        machine: The machine.
    """
    return machine.directory / "market"


def check_market(machines: Sequence[Machine], wanted: str) -> None:
    """Check that no machine trades another market: its bot keeps its grid until that is ended.

    Args:
        machines: Those of the demo, made or not.
        wanted: What they are to trade.

    Raises:
        VirtualPiError: One does; says how to go on.
    """
    for machine in machines:
        file = market_file(machine)
        if file.exists() and (market := file.read_text()) != wanted:
            raise VirtualPiError(
                f"{machine.name} trades {market}, and this demo is of {wanted}: remove the virtual"
                " Pis and their books with ./gridberry down --machines, then run it again"
            )


def mark(machine: Machine) -> Path:
    """Return the file that says what a machine was provisioned from; it goes with the machine.

    Args:
        machine: The machine.
    """
    return machine.directory / "provisioned"


def due(machines: Sequence[Machine], wanted: str) -> list[Machine]:
    """Return the machines that are to be provisioned.

    Args:
        machines: Those of the demo, made or not.
        wanted: The hash of what they are to be provisioned from.
    """
    return [m for m in machines if not mark(m).exists() or mark(m).read_text() != wanted]


def provision(machines: Sequence[Machine], wanted: str, market: str) -> int:
    """Run site.yml on all virtual Pis; return its exit status.

    Args:
        machines: Those of the demo.
        wanted: The hash of what they are provisioned from.
        market: What they are to trade.
    """
    # What fails half-way has provisioned nothing, but its bot may trade already.
    for machine in machines:
        mark(machine).unlink(missing_ok=True)
        write_whole(market_file(machine), market)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", os.fspath(INVENTORY)]
    done = subprocess.run([*command, os.fspath(ROOT / "playbooks" / "site.yml")], check=False)
    if done.returncode == 0:
        for machine in machines:
            write_whole(mark(machine), wanted)
    return done.returncode


def page_port(machine: Machine) -> int | None:
    """Return the port of 127.0.0.1 at which a bot's page is; None where it is not forwarded.

    Args:
        machine: The bot's machine.
    """
    return machine.settings().forwards.get(PAGE_PORT)


def wait_for_bots(machines: Sequence[Machine], seconds: float) -> list[Machine]:
    """Return once every bot says that it is healthy, or after a while: those that do not.

    Args:
        machines: Their machines, which are on or starting.
        seconds: How long at most.

    Raises:
        VirtualPiError: One does not come up; shows the end of its console.
    """
    begin = reported = time.monotonic()
    waiting = list(machines)
    while waiting := [m for m in waiting if (at := page_port(m)) and ask(at, "/health") is None]:
        for machine in waiting:
            check_on(machine)
        now = time.monotonic()
        if now - begin > seconds:
            break
        if now - reported >= REPORT_SECONDS:
            reported = now
            names = ", ".join(machine.name for machine in waiting)
            print(f"  {names}: boots and starts its bot, {now - begin:.0f} s", flush=True)
        time.sleep(POLL_SECONDS)
    return waiting


def told(machine: Machine) -> str:
    """Return a line on what a machine's bot does and where its page is.

    Args:
        machine: The bot's machine.
    """
    port = page_port(machine)
    if port is None:
        return f"{machine.name}: its page is not forwarded to this computer"
    address = f"http://127.0.0.1:{port}/"
    if (answer := ask(port, "/api/status")) is None:
        return f"{machine.name}: the bot does not answer yet at {address}: see ./gridberry status"
    bot = json.loads(answer)
    # One that has not reached its exchange yet knows no price.
    price = f" at {bot['price']}" if bot.get("price") else ""
    return (
        f"{machine.name}: {bot['state']}, {bot['mode']}, {bot['symbol']}{price},"
        f" {bot.get('open_orders') or 0} orders open; the page: {address}"
    )


def switch_on(machines: Sequence[Machine]) -> None:
    """Make the machines that are missing, and switch all on; their systems take a while to come up.

    Args:
        machines: The machines.

    Raises:
        VirtualPiError: One cannot be made, or does not start.
    """
    for machine in machines:
        if not machine.exists():
            options = CreateOptions(forwards=(PAGE_PORT,))
            image = ensure_image(options.release)
            create_machine(machine.state_dir, machine.name, image, options)
            print(f"  {machine.name}: made")
        start(machine)


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says.

    Args:
        words: The words; None for the process's own.
    """
    parser = argparse.ArgumentParser(prog="./gridberry demo", description="Trade on virtual Pis.")
    parser.add_argument("--pis", type=int, default=1, metavar="N", help="how many virtual Pis (1)")
    parser.add_argument("--again", action="store_true", help="run site.yml in any case")
    parser.add_argument("--due", action="store_true", help="only tell whether site.yml would run")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Switch the machines on, and provision those that need it.

    Args:
        words: The command line's.

    Returns:
        The exit status: 0 done (or due), 1 failed (or not due), 2 another market is traded.
    """
    options = arguments_of(words)
    state = state_directory()
    named = [Machine(state, f"pi{number}") for number in range(1, options.pis + 1)]
    # Whoever has made more of them keeps them: site.yml takes all.
    others = [m for m in all_machines(state) if m.name not in {n.name for n in named}]
    machines = [*named, *others]
    settings = {name: os.environ.get(name, "") for name in SETTINGS}
    wanted = recipe(ROOT, settings)
    try:
        market = market_of(settings)
        check_market(machines, market)
    except (UserError, VirtualPiError) as error:
        print(f"gridberry: {error}", file=sys.stderr)
        return 2
    if options.due:
        return int(not (options.again or due(machines, wanted)))
    try:
        switch_on(machines)
        if options.again or due(machines, wanted):
            wait_for_ssh(machines)
            print("\n== playbooks/site.yml", flush=True)
            if provision(machines, wanted, market) != 0:
                return 1
        else:
            print(UNCHANGED, flush=True)
        silent = wait_for_bots(machines, HEALTHY_SECONDS)
    except VirtualPiError as error:
        print(f"gridberry: {error}", file=sys.stderr)
        return 1
    print(*map(told, machines), sep="\n", flush=True)
    return int(bool(silent))


if __name__ == "__main__":
    sys.exit(main())
