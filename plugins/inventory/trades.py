"""Ansible inventory: which Pi trades what, and a host for each further bot of a Pi.

The first bot of a Pi bears the Pi's name, and is what a Pi with one bot always was. Each further
one is reached as its Pi is, is in the groups of its Pi, and has a project of its own on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.template import trust_as_template
from ansible.vars.plugins import get_vars_from_path

DOCUMENTATION = r"""
name: trades
short_description: Which Pi trades what
description:
  - Reads one file that names the bots of each Pi with their settings, those of the role C(grid_bot)
    without C(grid_bot_). The Pis themselves are in a file that Ansible reads before it.
options:
  plugin: {description: C(trades)., required: true, choices: [trades]}
  bots:
    description: For each Pi its bots, for each bot its settings.
    type: dict
    required: true
author: [Gridberry]
"""

EXAMPLES = r"""
plugin: trades
bots:
  pi1:
    pi1: {symbol: BTC/USDT, lower: "42000", upper: "50000"}
    pi1-eth: {symbol: ETH/USDT, lower: "2200", upper: "3200", page_port: 8081}
"""

FILE = "trades.yml"
# The group of all bots that are not their Pi's first one.
GUESTS = "guests"
PREFIX = "grid_bot_"
# Of compose's project, containers, volumes and units.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
# Directories below /opt/gridberry and projects of compose: those of other parts.
TAKEN = re.compile(r"bot|recorder|watcher|(.*-)?hub")


class TradesError(AnsibleParserError):
    """What is wrong in the file, in one line."""


def bots_of(document: object) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the settings of each bot of each Pi, as the file has them.

    Args:
        document: The file's content.

    Raises:
        TradesError: It is not what it should be.
    """
    pis = document.get("bots") if isinstance(document, Mapping) else None
    if not isinstance(pis, Mapping) or not pis:
        raise TradesError("bots is missing; it has the bots of each Pi, by the Pi's name")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    places: dict[str, str] = {}
    for pi, bots in pis.items():
        if not isinstance(bots, Mapping) or not bots:
            raise TradesError(f"{pi} has no bots; name each, with its settings below it")
        for name, settings in bots.items():
            if name in places:
                raise TradesError(
                    f"the bot {name} is on {places[name]} and on {pi}; use another name"
                )
            places[name] = pi
            if name != pi and (name in pis or not NAME.fullmatch(str(name))):
                raise TradesError(
                    f"{pi} has a bot named '{name}'; use lower-case letters, digits and hyphens, at"
                    " most 40, and the name of no other Pi"
                )
            if name != pi and TAKEN.fullmatch(str(name)):
                raise TradesError(
                    f"{pi} has a bot named '{name}', as another part of Gridberry is; use another"
                    " name"
                )
            if not isinstance(settings or {}, Mapping):
                raise TradesError(f"{name} is '{settings}'; use settings, such as symbol: BTC/USDT")
        found[str(pi)] = {str(name): dict(settings or {}) for name, settings in bots.items()}
    return found


def group_of(pi: str) -> str:
    """Return the name of the group with all bots of a Pi."""
    return "on_" + re.sub("[^A-Za-z0-9_]", "_", pi)


class InventoryModule(BaseInventoryPlugin):
    """What Ansible finds in this file."""

    NAME = "trades"

    def verify_file(self, path: str) -> bool:
        """Tell whether this may be such a file."""
        return super().verify_file(path) and Path(path).suffix in {".yml", ".yaml"}

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the bots to the inventory.

        Raises:
            TradesError: The file is wrong, or names a Pi that is not there.
        """
        super().parse(inventory, loader, path, cache)
        # Its values may be templates, as in any file of the inventory.
        document = loader.load_from_file(path, cache="none", trusted_as_template=True)
        for pi, bots in bots_of(document).items():
            if pi not in inventory.hosts:
                raise TradesError(f"no file before it in the inventory has a Pi named '{pi}'")
            self._add(pi, bots, Path(path).parent)

    def _add(self, pi: str, bots: Mapping[str, Mapping[str, Any]], directory: Path) -> None:
        """Add the bots of one Pi; what the Pi has of its own without them goes first."""
        host = self.inventory.hosts[pi]
        guests = [name for name in bots if name != pi]
        neighbors = [trust_as_template(name) for name in (pi, *guests)]
        reached = {**host.vars, **get_vars_from_path(self.loader, str(directory), [host], "task")}
        reached = {key: value for key, value in reached.items() if not key.startswith(PREFIX)}
        groups = [group.name for group in host.get_groups() if group.name != "all"]
        if guests:
            groups += [self.inventory.add_group(name) for name in (group_of(pi), GUESTS)]
            self.inventory.add_child(group_of(pi), pi)
            self._set(pi, {"grid_bot_neighbors": neighbors})
        for name in guests:
            self.inventory.add_host(name)
            for group in groups:
                self.inventory.add_child(group, name)
            place = {
                "grid_bot_pi": neighbors[0],
                "grid_bot_neighbors": neighbors,
                "grid_bot_project": trust_as_template(f"gridberry-{name}"),
                "grid_bot_directory": trust_as_template(f"/opt/gridberry/{name}"),
            }
            self._set(name, {"ansible_host": neighbors[0], **reached, **place})
        for name, settings in bots.items():
            self._set(name, {f"{PREFIX}{key}": value for key, value in settings.items()})

    def _set(self, name: str, variables: Mapping[str, Any]) -> None:
        """Set variables of a host."""
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
