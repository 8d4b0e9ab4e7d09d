"""Ansible filters: bots of one inventory that would be in each other's way on the exchange."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

NAME_LENGTH = 12
GONE = ("absent", "fenced")
PAGE_PORT, JUDGE_PORT = 8080, 8090
IB, CLIENT_ID = "ib", 1
WHOLE = 100  # percent of the request weight that an exchange allows an address


def account_conflicts(inventory: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each API key, name or symbol that two bots must not share.

    Args:
        inventory: The variables of each host, of those that the inventory sets. Without a
            C(grid_bot_account) no other bot trades on its account; a paper bot's exchange is its
            own; at Interactive Brokers the account's name is known.
    """
    keys, names, traded = (defaultdict[tuple[str, ...], list[str]](list) for _ in range(3))
    for host, found in inventory.items():
        mode = found.get("grid_bot_mode", "paper")
        own = mode == "paper" and not _at_ib(found)  # its exchange
        if own or found.get("grid_bot_state") in GONE:
            continue
        if not _at_ib(found) and (key := found.get("grid_bot_api_key")):
            keys[str(key),].append(host)
        if name := _account(found):
            account = (mode, found.get("grid_bot_exchange", "binance"), name)
            names[*account, found.get("grid_bot_name") or _default_name(host)].append(host)
            for symbol in symbols(found):
                traded[*account, symbol].append(host)
    return [
        *_lines(keys, "grid_bot_api_key is the same on each of these hosts; make one for each"),
        *_lines(
            names,
            "grid_bot_name is {3} on each of these hosts of the account {2}; use another for each"
            f" (at most {NAME_LENGTH} letters, digits or hyphens)",
        ),
        *_lines(
            traded, "each of these hosts trades {3} on the account {2}; use one host for a symbol"
        ),
    ]


def pi_conflicts(inventory: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each name or port that two bots of one Pi must not share.

    Args:
        inventory: As for C(account_conflicts).
    """
    names, ports, clients = (defaultdict[tuple[str, ...], list[str]](list) for _ in range(3))
    for host, found in inventory.items():
        bots = found.get("grid_bot_neighbors") or []
        if len(bots) < 2 or found.get("grid_bot_state") in GONE:
            continue
        pi = str(found.get("grid_bot_pi") or host)
        names[pi, str(found.get("grid_bot_name") or _default_name(host))].append(host)
        ports[pi, str(found.get("grid_bot_page_port", PAGE_PORT))].append(host)
        if _at_ib(found):
            clients[pi, str(found.get("grid_bot_gateway_client_id", CLIENT_ID))].append(host)
        if _role(found) == "judge":
            ports[pi, str(found.get("grid_bot_judge_port", JUDGE_PORT))].append(host)
    return [
        *_lines(
            names,
            "grid_bot_name is {1} for each of these bots on {0}; use another for each"
            f" (at most {NAME_LENGTH} letters, digits or hyphens)",
        ),
        *_lines(
            ports,
            "each of these bots on {0} uses the port {1}; use another grid_bot_page_port (or"
            " grid_bot_judge_port) for each",
        ),
        *_lines(
            clients,
            "each of these bots on {0} has the grid_bot_gateway_client_id {1}; use another for"
            " each, and keep it: another number cannot cancel a bot's orders",
        ),
    ]


def share_conflicts(inventory: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each address whose bots may together ask more than the exchange allows.

    Args:
        inventory: As for C(account_conflicts). Without a C(grid_bot_address_group) a bot has an
            address of its own.
    """
    groups = defaultdict[tuple[str, ...], dict[str, int]](dict)
    for host, found in inventory.items():
        mode = found.get("grid_bot_mode", "paper")
        group = found.get("grid_bot_address_group")
        if not group or mode == "paper" or found.get("grid_bot_state") in GONE:
            continue
        address = str(mode), str(found.get("grid_bot_exchange", "binance")), str(group)
        groups[address][host] = int(found.get("grid_bot_request_share", WHOLE))
    lines = []
    for (_, _, group), shares in groups.items():
        bots = ", ".join(f"{host} ({share})" for host, share in shares.items())
        total = sum(shares.values())
        if total > WHOLE:
            lines.append(
                f"{bots}: grid_bot_request_share adds up to {total} percent on the address {group};"
                f" use at most {WHOLE}"
            )
    return lines


def guard_conflicts(inventory: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each gap in the loss limit over an account.

    Args:
        inventory: As for C(account_conflicts).
    """
    lines = []
    accounts = defaultdict[tuple[str, ...], dict[str, Mapping[str, Any]]](dict)
    for host, found in inventory.items():
        if found.get("grid_bot_state") in GONE:
            continue
        mode, name = found.get("grid_bot_mode", "paper"), found.get("grid_bot_account")
        if name and mode != "paper":
            account = str(mode), str(found.get("grid_bot_exchange", "binance")), str(name)
            accounts[account][host] = found
        elif _role(found):
            why = "has an account of its own" if mode == "paper" else "has no grid_bot_account"
            lines.append(f"{host}: grid_bot_account_guard is set, and this bot {why}")
    for (_, _, name), bots in accounts.items():
        if any(_role(found) for found in bots.values()):
            lines += _guard_lines(name, bots)
    return lines


def _guard_lines(name: str, bots: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines for the bots of one account that has a guard."""
    lines, hosts = [], ", ".join(bots)
    judges = [host for host, found in bots.items() if _role(found) == "judge"]
    if len(judges) != 1:
        lines.append(
            f"{hosts}: {len(judges)} bots of the account {name} have the role judge in"
            " grid_bot_account_guard; use exactly one"
        )
    lines += [
        f"{host}: grid_bot_account_guard is not set, and other bots of the account {name} have it"
        for host, found in bots.items()
        if not _role(found)
    ]
    tokens = {found.get("grid_bot_account_token") or "" for found in bots.values()}
    if len(tokens) > 1 or "" in tokens:
        lines.append(
            f"{hosts}: grid_bot_account_token has to be set, and the same for all bots of the"
            f" account {name}"
        )
    traded = set[str]().union(*map(symbols, bots.values()))
    for host in judges:
        found = bots[host]
        valued = found["grid_bot_account_guard"].get("symbols") or symbols(found)
        if missing := sorted(traded.difference(valued)):
            lines.append(
                f"{host}: grid_bot_account_guard.symbols lacks {', '.join(missing)}, which bots of"
                f" the account {name} trade"
            )
    return lines


def _at_ib(found: Mapping[str, Any]) -> bool:
    """Tell whether a bot trades at Interactive Brokers."""
    return found.get("grid_bot_exchange") == IB


def _account(found: Mapping[str, Any]) -> str:
    """The account that a bot says it trades on; empty for none."""
    of_gateway = found.get("grid_bot_gateway_account") or found.get("ib_gateway_account")
    return str((of_gateway if _at_ib(found) else found.get("grid_bot_account")) or "")


def _role(found: Mapping[str, Any]) -> str:
    """A bot's part in the guard of its account; empty for none."""
    guard = found.get("grid_bot_account_guard")
    role = guard.get("role") if isinstance(guard, Mapping) else ""
    return str(role or "")


def _default_name(host: str) -> str:
    """A bot's name where the inventory has none, as the role's defaults make it."""
    return re.sub("[^A-Za-z0-9-]", "-", host)[:NAME_LENGTH]


def symbols(found: Mapping[str, Any]) -> set[str]:
    """The symbols that a host's bot trades; what is none is the bot's to refuse."""
    grids = found.get("grid_bot_symbols") or []
    if not grids:
        return {str(found.get("grid_bot_symbol", "BTC/USDT"))}
    return {str(grid.get("symbol")) for grid in grids if isinstance(grid, Mapping)}


def _lines(shared: Mapping[tuple[str, ...], Sequence[str]], text: str) -> list[str]:
    """Return a line for each entry that has several hosts."""
    several = [(entry, hosts) for entry, hosts in shared.items() if len(hosts) > 1]
    return [f"{', '.join(hosts)}: {text.format(*entry)}" for entry, hosts in several]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "grid_bot_account_conflicts": account_conflicts,
            "grid_bot_pi_conflicts": pi_conflicts,
            "grid_bot_share_conflicts": share_conflicts,
            "grid_bot_guard_conflicts": guard_conflicts,
        }
