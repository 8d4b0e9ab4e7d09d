"""Ansible filter: where files of candles are kept: controller, host and container."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

SUFFIXES = r"(\.(csv|gz|zip|parquet))+$"


def recordings(sources: list[str], cache: str, directory: str) -> list[dict[str, str]]:
    """Return what becomes of each file: it is converted once for each content, and named after it.

    Args:
        sources: The files, by absolute path on the controller.
        cache: Where the controller keeps what it has converted.
        directory: Where the host keeps the bot's configuration.

    Returns:
        For each C(source), C(file) on the controller, C(there) on the host, and C(mount) in the
        container: the file's own name, which the bot's page shows. C(volume) is the mount
        as compose has it.
    """
    found = []
    for source in sources:
        content = hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16]
        name = re.sub(SUFFIXES, "", Path(source).name) + ".csv.gz"
        # Of several files, two may have one name.
        inside = f"/etc/gridbot/{content}" if len(sources) > 1 else "/etc/gridbot"
        found.append(
            {
                "source": source,
                "file": f"{cache}/candles/{content}.csv.gz",
                "there": f"{directory}/candles-{content}.csv.gz",
                "mount": f"{inside}/{name}",
                "volume": f"./candles-{content}.csv.gz:{inside}/{name}:ro",
            }
        )
    return found


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"grid_bot_recordings": recordings}
