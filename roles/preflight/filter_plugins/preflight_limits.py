"""Ansible filter: what the containers of all bots of a host may use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LIMIT = re.compile("grid_bot_(state|mode|exchange|(exchange_)?(cpus|memory))")


def limits(bots: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of the containers of a host, by the settings' names.

    Args:
        bots: The variables of each bot of the host; with several, the bot goes before the setting.
        defaults: Those of the role C(grid_bot).
    """
    found: dict[str, Any] = {}
    for bot, own in bots.items():
        told = {key: own.get(key, value) for key, value in defaults.items() if LIMIT.fullmatch(key)}
        state, paper = told.pop("grid_bot_state"), told.pop("grid_bot_mode") == "paper"
        practices = told.pop("grid_bot_exchange") != "ib" and paper
        for key, value in told.items() if state == "present" else ():
            if practices or not key.startswith("grid_bot_exchange_"):
                found[f"{bot} {key}" if len(bots) > 1 else key] = value
    return found


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filter by its name."""
        return {"preflight_limits": limits}
