"""Ansible filter: of hosts whose settings are the same, the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Where and how a host is reached, and what differs on each and is of one kind on all.
OWN = ("ansible_host", "ansible_port", "inventory_hostname", "inventory_hostname_short")
SECRETS = ("grid_bot_api_key", "grid_bot_api_secret")
BOT = "grid_bot_"


def unlike(hosts: Sequence[str], hostvars: Any) -> list[dict[str, str]]:
    """Return the first C(host) of each kind, and its C(group): by its bot, or by all else.

    Args:
        hosts: Their names.
        hostvars: Ansible's; what is in it is compared as the inventory has it, templates unfilled.
    """
    kinds: dict[tuple[str, str], str] = {}
    for host in hosts:
        found = {key: value for key, value in hostvars.raw_get(host).items() if key not in OWN}
        found |= {key: bool(found[key]) for key in SECRETS if key in found}
        every = sorted(found.items())
        bot = [one for one in every if one[0].startswith(BOT)]
        others = [one for one in every if not one[0].startswith(BOT)]
        kinds.setdefault(("unlike_bots", repr(bot)), host)
        kinds.setdefault(("unlike_hosts", repr(others)), host)
    return [{"host": host, "group": group} for (group, _), host in kinds.items()]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filter by its name."""
        return {"unlike": unlike}
