"""The launcher's verbs for an inventory of Pis, each a thin layer over one Ansible command.

    python -m fleet.cli VERB [-i INVENTORY] [--limit HOSTS] [-K] ...

The command is printed before it runs, so that it can be copied; docs/gridberry.md has each verb.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from gridbase.errors import UserError

from fleet import rollout_verb
from fleet.ansible import Ansible, check_words, find_inventory, state_directory, sudo_password
from fleet.bots import shared_pis, traders, widened
from fleet.completion import completion
from fleet.drift import Reader, status_of
from fleet.drift import table as drifts
from fleet.log_colors import Line, colored
from fleet.log_colors import run as run_colored
from fleet.rollout_verb import whole_number
from fleet.ssh import open_page, ssh_command
from fleet.variable_files import check_variable_files
from playbooks.filter_plugins.variables import variable_problems
from roles.status.filter_plugins.status_table import all_answered, status_table

# Each bot has its own of a Pi with several.
BOT = "{{ grid_bot_project | default('gridberry') }}-bot"
DIRECTORY = "{{ grid_bot_directory | default('/opt/gridberry/bot') }}"
# Says why a bot is fenced, and fails.
NOT_FENCED = (
    "{{ 'echo grid_bot_state is fenced; false && ' if grid_bot_state | default('') == 'fenced' }}"
    f"! cat {DIRECTORY}/fenced 2>/dev/null"
)
IN_BOT = f"docker exec {BOT} gridbot"
CONFIG = "--config /etc/gridbot/bot.toml"
USAGE, FAILED = 2, 1
RED, GREEN, YELLOW, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
COLORS = {
    "trading": GREEN, "paused": YELLOW, "starting": YELLOW, "ending": YELLOW, "closed": YELLOW,
    **dict.fromkeys(("halted", "waiting", "stopped", "silent", "unknown", "exited"), RED),
    **dict.fromkeys(("absent", "fenced"), RED),
}  # fmt: skip
STATE = re.compile(rf"(?<=  )({'|'.join(COLORS)})(?= )")
WATCH_SECONDS = 10
PROGRESS_SECONDS = 5
LINES = 100

Run = Callable[[argparse.Namespace, Ansible], int]


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with the status for wrong use."""
        print(f"gridberry: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(USAGE)


def deploy(options: argparse.Namespace, ansible: Ansible) -> int:
    """Bring hosts and bots to what the inventory says."""
    return _site(ansible, options.rest)


def check(options: argparse.Namespace, ansible: Ansible) -> int:
    """Show what `deploy` would change."""
    return _site(ansible, ["--check", "--diff", *options.rest])


def _site(ansible: Ansible, words: list[str]) -> int:
    """Run site.yml; what it would refuse is said first, in one line each, and nothing is run."""
    refused, asked = ansible.refusals(*words)
    for reason in refused:
        print(f"gridberry: {reason}", file=sys.stderr)
    if refused:
        return FAILED if asked else USAGE
    return ansible.playbook("site", *words)


def drift(options: argparse.Namespace, ansible: Ansible) -> int:
    """Show what differs from the inventory on each host."""
    reader, shown = Reader(), time.monotonic()
    names = ansible.hosts()
    for line in ansible.events("site", "--check", "--diff"):
        task = reader.read(line)
        if task and time.monotonic() - shown > PROGRESS_SECONDS:
            shown = time.monotonic()
            print(f"  {task} ...", file=sys.stderr, flush=True)
    found = reader.hosts(names)
    print(json.dumps([asdict(one) for one in found], indent=2) if options.json else drifts(found))
    return status_of(found)


def audit(_: argparse.Namespace, ansible: Ansible) -> int:
    """Compare each bot's books with its exchange's."""
    return ansible.playbook("audit")


def given(verb: str, **settings: object) -> list[str]:
    """Return the arguments that hand options to a verb's playbook.

    Args:
        verb: The playbook's first word, which its variables have before them.
        settings: The options; None and False are not handed over.

    Raises:
        UserError: One is not allowed.
    """
    said = {f"{verb}_{key}": value for key, value in settings.items() if value not in (None, False)}
    for line in variable_problems(said, verb):
        name, rest = line.split(" ", 1)
        option = name.removeprefix(f"{verb}_").replace("_", "-")
        raise UserError(f"--{option} {rest}")
    return ["-e", json.dumps(said)] if said else []


def resume(options: argparse.Namespace, ansible: Ansible) -> int:
    """Say which kill switches have fired; with --yes, begin new grids."""
    settings = {"symbol": options.symbol, "take": options.take, "confirmed": options.yes}
    return ansible.playbook("resume", *given("resume", **settings))


def pause(options: argparse.Namespace, ansible: Ansible) -> int:
    """Let the bots send nothing until resume."""
    settings = {"symbol": options.symbol, "reason": options.reason, "cancel": options.cancel}
    return ansible.playbook("pause", *given("pause", **settings))


def flatten(options: argparse.Namespace, ansible: Ansible) -> int:
    """Say what would be canceled and sold; with --yes, do it."""
    settings = {"symbol": options.symbol, "reason": options.reason, "sell": options.sell}
    return ansible.playbook("flatten", *given("flatten", **settings, confirmed=options.yes))


def rotate_keys(_: argparse.Namespace, ansible: Ansible) -> int:
    """Replace API keys by those in the vault, each once it has shown that it works."""
    return ansible.playbook("rotate_keys")


def rollback(options: argparse.Namespace, ansible: Ansible) -> int:
    """Go back to an earlier release."""
    release = ["-e", f"rollback_release={options.release}"] if options.release else []
    return ansible.playbook("rollback", *release, *options.rest)


def backup(_: argparse.Namespace, ansible: Ansible) -> int:
    """Back up the bots now."""
    return ansible.playbook("backup")


def restore(options: argparse.Namespace, ansible: Ansible) -> int:
    """Say what a backup would bring back; with --yes, put it back."""
    settings = {
        "confirmed": options.yes,
        "snapshot": options.snapshot,
        "from_host": options.from_host,
        "old_is_off": options.old_is_off,
    }
    words = given("restore", **settings)
    if options.old_is_off and not options.from_host:
        raise UserError("--old-is-off is for --from-host, which is missing")
    names = list(ansible.hosts()) if options.from_host else []
    if len(names) > 1:
        raise UserError(
            f"--from-host is '{options.from_host}', whose books one host can have, and this is for"
            f" {', '.join(names)}; choose one with --limit"
        )
    return ansible.playbook("restore", *words)


def stop(_: argparse.Namespace, ansible: Ansible) -> int:
    """Stop the bots."""
    status = ansible.command(f"docker stop {BOT}")
    print("Open orders stay on the exchange: ./gridberry start goes on with them.")
    return status


def start(_: argparse.Namespace, ansible: Ansible) -> int:
    """Start the bots, but none that was moved to another host."""
    return ansible.command(f"{NOT_FENCED} && docker start {BOT}")


def report(options: argparse.Namespace, ansible: Ansible) -> int:
    """Show profit and fees by day or month, from the bots' books."""
    return ansible.command(f"{IN_BOT} report {CONFIG} --by {options.by}")


def logs(options: argparse.Namespace, ansible: Ansible) -> int:
    """Show the latest lines of the bots' logs."""
    if not options.follow:
        return ansible.command(f"docker logs --tail {options.lines} {BOT}", line=_log_line())
    name, variables = one_host(options, ansible)
    bot = f"{variables.get('grid_bot_project', 'gridberry')}-bot"
    words = ["sudo", "docker", "logs", "--follow", "--tail", str(options.lines), bot]
    return log_in([*ssh_command(name, variables), "-t", "--", *words], _log_line())


def _log_line() -> Line | None:
    """How a line of a log is drawn: with colors where a person reads it."""
    return None if not sys.stdout.isatty() or os.environ.get("NO_COLOR") else colored


def ssh(options: argparse.Namespace, ansible: Ansible) -> int:
    """Log in, or run one command."""
    name, variables = one_host(options, ansible)
    words = ["--", *options.rest] if options.rest else []
    return log_in([*ssh_command(name, variables), *words])


def open_(options: argparse.Namespace, ansible: Ansible) -> int:
    """Open the bot's page through a tunnel."""
    name, variables = one_host(options, ansible)
    return open_page(name, variables, ssh_command(name, variables))


def status(options: argparse.Namespace, ansible: Ansible) -> int:
    """Show a line for each grid of each host."""
    while True:
        found = ask_hosts(ansible)
        if options.watch is None:
            break
        clear = "\x1b[2J\x1b[H" if sys.stdout.isatty() else ""
        print(f"{clear}{time.strftime('%H:%M:%S')}\n{table(found)}", flush=True)
        time.sleep(options.watch)
    return show(found, as_json=options.json)


def show(found: list[dict[str, Any]], *, as_json: bool) -> int:
    """Print the table, or JSON; returns 1 where a host or its bot did not answer."""
    print(json.dumps(found, indent=2) if as_json else table(found))
    return 0 if all_answered(found) else FAILED


def ask_hosts(ansible: Ansible) -> list[dict[str, Any]]:
    """Return what `playbooks/status.yml` collects.

    Raises:
        UserError: Not even a file came of it.
    """
    state = state_directory()
    file, log = state / "status.json", state / "status.log"
    words = ["-e", json.dumps({"status_output": os.fspath(file), "status_hosts": ansible.limit})]
    if ansible.playbook("status", *words, log=log, quick=True) != 0:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise ProgramError("\n".join([*last[-20:], f"gridberry: no status; the log: {log}"]))
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return the table, with colors where a person reads it."""
    text = status_table(found)
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return STATE.sub(lambda state: f"{COLORS[state[0]]}{state[0]}{PLAIN}", text)


class ProgramError(Exception):
    """Ansible failed; its last lines."""


def one_host(options: argparse.Namespace, ansible: Ansible) -> tuple[str, dict[str, Any]]:
    """Return the host that is named, or the only one, with its variables.

    Raises:
        UserError: It is not in the inventory, or there are several to choose from.
    """
    hosts = ansible.hosts()
    name = options.host or (next(iter(hosts)) if len(hosts) == 1 else "")
    if name not in hosts:
        which = f"there is no host '{name}'" if name else "name the host"
        raise UserError(f"{which}: {ansible.inventory} has {', '.join(hosts)}")
    return name, hosts[name]


def chosen(options: argparse.Namespace, ansible: Ansible) -> str:
    """Return the pattern of hosts that a verb's options mean.

    A Pi stands for all of its bots, and a symbol for the bots that trade it.

    Raises:
        UserError: `trades.yml` is wrong, or nobody trades the symbol.
    """
    named = options.host if options.verb == "logs" and not options.follow else ""
    limit = widened(named or ansible.limit, shared_pis(ansible.path))
    symbol = getattr(options, "symbol", "")
    if "/" in limit:
        symbol, limit = limit, ""
    if not symbol:
        return limit
    ansible.limit = limit
    return ",".join(traders(ansible.hosts(), symbol))


def log_in(command: list[str], line: Line | None = None) -> int:
    """Say a command of ssh and run it; its exit status is the verb's."""
    print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
    return run_colored(command, line)


class Verbs:
    """The parser of the whole command line, and how a verb is added to it."""

    def __init__(self) -> None:
        self.top = Parser(prog="./gridberry", description="Verbs for an inventory of Pis.")
        self._verbs = self.top.add_subparsers(
            dest="verb", required=True, metavar="VERB", parser_class=Parser
        )

    @property
    def each(self) -> Mapping[str, argparse.ArgumentParser]:
        """The verbs' parsers by name."""
        return self._verbs.choices

    def plain(self, name: str, text: str, example: str, run: Run | None) -> argparse.ArgumentParser:
        """Add a verb."""
        added = self._verbs.add_parser(
            name, help=text, description=f"{text}.", epilog=f"Example: ./gridberry {example}"
        )
        added.set_defaults(run=run, limit="", ask_become_pass=False, takes="", of_all=False)
        return added

    def for_one(self, name: str, text: str, example: str, run: Run) -> argparse.ArgumentParser:
        """Add a verb for one host of an inventory."""
        added = self.plain(name, text, example, run)
        added.add_argument(
            *("-i", "--inventory"),
            type=_some,
            default=os.environ.get("GRIDBERRY_INVENTORY") or None,
            help="inventory: a file or directory (GRIDBERRY_INVENTORY; else your only one below"
            " inventory/, else the virtual Pis)",
        )
        return added

    def for_all(self, name: str, text: str, example: str, run: Run) -> argparse.ArgumentParser:
        """Add a verb for all hosts of an inventory, or some."""
        added = self.for_one(name, text, example, run)
        added.add_argument(
            "-l",
            "--limit",
            type=_some,
            default=None,
            help="only these hosts, bots, groups (a pattern), or bots of a symbol",
        )
        added.add_argument(
            "-K", "--ask-become-pass", action="store_true", help="ask once for sudo's password"
        )
        added.set_defaults(of_all=True)
        return added


def all_verbs() -> Verbs:
    """Return the parser with all verbs."""
    verbs = Verbs()
    _add_deployment(verbs)
    _add_reports(verbs)
    _add_bots(verbs)
    _add_hosts(verbs)
    shells = verbs.plain(
        "completion", "Print completions for a shell",
        'eval "$(./gridberry completion bash)"', None,
    )  # fmt: skip
    shells.add_argument("shell", choices=("bash", "zsh", "fish"))
    return verbs


def _add_deployment(verbs: Verbs) -> None:
    for name, text, run in (
        ("check", "Show what deploy would change, and change nothing", check),
        ("deploy", "Bring hosts and bots to what the inventory says", deploy),
    ):
        one = verbs.for_all(name, text, f"{name} -i inventory/home --limit pi1", run)
        one.set_defaults(takes="further arguments of ansible-playbook, such as --tags grid_bot")
    text = "Go back to the last good release, image and configuration"
    one = verbs.for_all("rollback", text, "rollback --limit pi1", rollback)
    one.add_argument("--release", type=_count, help="to this one (the last good one)")
    one.set_defaults(takes="further arguments of ansible-playbook, such as --check --diff")
    rollout_verb.add(verbs.for_all("rollout", *rollout_verb.WORDS, rollout_verb.run))


def _add_reports(verbs: Verbs) -> None:
    text = "Show what differs from the inventory on each host (exit status 4)"
    one = verbs.for_all("drift", text, "drift --json", drift)
    one.add_argument("--json", action="store_true", help="one object for each host")
    one = verbs.for_all("status", "Show a line for each grid", "status --watch", status)
    one.add_argument("--json", action="store_true", help="one object for each host")
    one.add_argument(
        *("--watch", "-w"), type=_count, nargs="?", const=WATCH_SECONDS, metavar="SECONDS",
        help=f"again every so many seconds ({WATCH_SECONDS}), until Ctrl-C",
    )  # fmt: skip
    text = "Compare each bot's books with its exchange's, to the last digit"
    verbs.for_all("audit", text, "audit --limit pi1", audit)
    one = verbs.for_all("report", "Show profit and fees by period", "report --by day", report)
    one.add_argument("--by", choices=("day", "month"), default="month", help="the period (month)")
    text = "Show the latest lines of the bots' logs"
    one = verbs.for_all("logs", text, "logs --follow pi1", logs)
    one.add_argument("host", nargs="?", default="", help="with --follow: the host")
    one.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    one.add_argument("--lines", type=_count, default=LINES, help=f"how many ({LINES})")


def _add_bots(verbs: Verbs) -> None:
    text = "Stop the bots; their orders stay on the exchange"
    verbs.for_all("stop", text, "stop --limit pi1", stop)
    verbs.for_all("start", "Start stopped bots", "start --limit pi1", start)
    text = "Let the bots send nothing until resume; their orders stay"
    one = verbs.for_all("pause", text, "pause --reason holidays", pause)
    _add_what(one)
    text = "take their open orders back, and place them again after the pause"
    one.add_argument("--cancel", action="store_true", help=text)
    text = "Show what ending the grids would cancel"
    one = verbs.for_all("flatten", text, "flatten --yes --sell --limit pi1", flatten)
    _add_what(one)
    one.add_argument("--sell", action="store_true", help="sell what they hold, too")
    one.add_argument("--yes", action="store_true", help="do it; no grid begins before resume")
    text = "Show which kill switches have fired, and which grids are paused"
    one = verbs.for_all("resume", text, "resume --yes --limit pi1", resume)
    one.add_argument("--yes", action="store_true", help="go on; begin new grids where one ended")
    one.add_argument("--symbol", help="of several grids this one")
    text = "the coins that the ended grid left (docs/bot.md)"
    one.add_argument("--take", choices=("nothing", "over"), help=text)
    text = "Replace API keys by those in the vault, each once it was tried"
    verbs.for_all("rotate-keys", text, "rotate-keys --limit pi1", rotate_keys)
    verbs.for_all("backup", "Back up the bots now; they trade on", "backup --limit pi1", backup)
    text = "Show what a backup would bring back"
    one = verbs.for_all("restore", text, "restore --yes --limit pi1", restore)
    one.add_argument("--yes", action="store_true", help="put it back")
    one.add_argument("--snapshot", metavar="ID", help="this one (the latest)")
    text = "another host's, whose bot is stopped"
    one.add_argument("--from-host", metavar="HOST", help=text)
    text = "that host cannot be asked: it is off, and stays off"
    one.add_argument("--old-is-off", action="store_true", help=text)


def _add_what(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--symbol", help="of several grids this one")
    verb.add_argument("--reason", help="what the page and status say")


def _add_hosts(verbs: Verbs) -> None:
    for name, text, example, run in (
        ("open", "Open the bot's page through an SSH tunnel", "open pi1", open_),
        ("ssh", "Log in, or run one command", "ssh pi1 -- uname -a", ssh),
    ):
        one = verbs.for_one(name, text, example, run)
        one.add_argument("host", nargs="?", default="", help="not needed where there is only one")
    one.set_defaults(takes="a command that runs there")


def _some(text: str) -> str:
    # What a script left empty would mean all hosts, or another inventory.
    if not text.strip():
        raise argparse.ArgumentTypeError(f"'{text}' is not allowed; name one, or leave it out")
    return text


def _count(text: str) -> int:
    return whole_number(text, 1)


def main(words: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        words: The command line's.

    Returns:
        The exit status.
    """
    verbs = all_verbs()
    words = list(sys.argv[1:] if words is None else words)
    at = words.index("--") if "--" in words else len(words)
    options = verbs.top.parse_args(words[:at])
    options.rest = words[at + 1 :]
    if options.rest and not options.takes:
        verbs.top.error(f"{options.verb} takes nothing after --")
    if options.run is None:
        print(completion(verbs.each, options.shell))
        return 0
    if os.environ.get("GRIDBERRY_BARE"):
        say = "nothing is installed yet: run ./gridberry setup or ./gridberry demo first"
        print(f"gridberry: {say}", file=sys.stderr)
        return FAILED
    try:
        inventory = find_inventory(options.inventory or "")
        if options.run is not ssh:
            check_words(options.rest)
        with sudo_password(ask=options.ask_become_pass) as password:
            ansible = Ansible(inventory, options.limit or "", password)
            check_variable_files(ansible.path, inventory)
            ansible.limit = chosen(options, ansible)
            if options.of_all:
                ansible.check_hosts()
            status: int = options.run(options, ansible)
            return status
    except UserError as error:
        print(f"gridberry: {error}", file=sys.stderr)
        return USAGE
    except ProgramError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 0 if getattr(options, "watch", None) or getattr(options, "follow", False) else 130


if __name__ == "__main__":
    sys.exit(main())
