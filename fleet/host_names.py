"""Lists of hosts as a person reads them: of many, only the first. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

SHOWN = 10
LONG = re.compile(rf"((?:[\w.-]+,){{{SHOWN}}})[\w.-]+(?:,[\w.-]+)*")


def few(names: Sequence[str]) -> str:
    """Return the names; of more than ten, the first ten and how many there are.

    Args:
        names: Of hosts.
    """
    text = ", ".join(names[:SHOWN])
    return text if len(names) <= SHOWN else f"{text}, ... ({len(names)} in all)"


def shortened(command: str) -> str:
    """Return a command whose long lists of hosts are cut after the tenth name.

    Args:
        command: As a shell has it, hosts separated by commas.
    """
    return LONG.sub(r"\1...", command)
