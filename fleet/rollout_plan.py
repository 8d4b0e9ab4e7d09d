"""In which order a rollout goes over the hosts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from gridbase.errors import UserError

MODES = ("paper", "testnet", "live")
SHARE_PERCENT = 25


def batches(modes: Mapping[str, str], canaries: Sequence[str] = ()) -> list[list[str]]:
    """Return the batches: canaries, a quarter of all, the rest; no batch mixes modes.

    Args:
        modes: Each host's mode, in the order of the inventory.
        canaries: The hosts that come first; none: the first one of the order.

    Raises:
        UserError: A canary is not one of the hosts, or a mode is none.
    """
    for name in canaries:
        if name not in modes:
            raise UserError(f"--canary names '{name}'; the hosts are {', '.join(modes)}")
    for name, mode in modes.items():
        if mode not in MODES:
            raise UserError(f"{name}: grid_bot_mode is '{mode}'; use {', '.join(MODES)}")
    order = sorted(modes, key=lambda name: MODES.index(modes[name]))  # stable
    first = [name for name in order if name in canaries] or order[:1]
    rest = [name for name in order if name not in first]
    quarter = -(-len(modes) * SHARE_PERCENT // 100)
    sizes = (first, rest[:quarter], rest[quarter:])
    return [list(same) for part in sizes for _, same in groupby(part, modes.__getitem__)]
