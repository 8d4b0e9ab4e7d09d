"""Which bots a verb means: by Pi, by group, by a bot's name, or by what it trades."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridbase.errors import UserError

from roles.grid_bot.filter_plugins.accounts import symbols

FILE = "trades.yml"
PART = re.compile("([!&]?)(.*)")


def shared_pis(inventory: Path) -> dict[str, str]:
    """Return the Pis that have several bots, each with the group of all its bots.

    Args:
        inventory: The file or directory; `trades.yml` of it is read.

    Raises:
        UserError: The file cannot be read, or is not what it should be.
    """
    file = inventory / FILE
    if not file.exists():
        return {}
    # Ansible is slow to import, and most inventories do not need it.
    import yaml

    from plugins.inventory.trades import TradesError, bots_of, group_of

    try:
        found = bots_of(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TradesError) as error:
        raise UserError(f"{file}: {' '.join(str(error).split())}") from None
    return {pi: group_of(pi) for pi, bots in found.items() if {*bots} - {pi}}


def widened(limit: str, pis: Mapping[str, str]) -> str:
    """Return a pattern of hosts in which a Pi stands for all of its bots.

    Args:
        limit: As Ansible takes it.
        pis: Those that have several bots, with their groups.
    """
    parts = (PART.fullmatch(part) for part in limit.replace(":", ",").split(","))
    return ",".join(part[1] + pis.get(part[2], part[2]) for part in parts if part)


def traders(hosts: Mapping[str, Mapping[str, Any]], symbol: str) -> list[str]:
    """Return the bots that trade a symbol.

    Args:
        hosts: The variables of each.
        symbol: Such as BTC/USDT.

    Raises:
        UserError: None does.
    """
    found = [name for name, variables in hosts.items() if symbol in symbols(variables)]
    if not found:
        traded = sorted(set[str]().union(*map(symbols, hosts.values())))
        raise UserError(f"no bot there trades '{symbol}'; they trade {', '.join(traded)}")
    return found
