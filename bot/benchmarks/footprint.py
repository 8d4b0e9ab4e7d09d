"""The bot's footprint beside its limits: image, memory in its cgroup, build context.

    python bot/benchmarks/footprint.py STATUS.json

STATUS.json is what `./gridberry status --json` prints. Exits 1 where a limit is exceeded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from docker.utils.build import exclude_paths

BOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
LIMITS = {"image": 180 * MEGABYTE, "memory": 120 * MEGABYTE, "build context": 1_200_000}


def build_context_bytes() -> int:
    """Size of the files that `docker build bot/` sends, as Docker's own rules pick them."""
    patterns = [
        line
        for line in (BOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    files = (BOT / name for name in exclude_paths(str(BOT), patterns))
    return sum(file.stat().st_size for file in files if file.is_file())


def footprint(hosts: list[dict[str, object]]) -> list[tuple[str, str, int, int]]:
    """Rows of what, where, measured and allowed, in bytes."""
    rows = [("build context", "bot/", build_context_bytes(), LIMITS["build context"])]
    for host in hosts:
        name, bot = str(host["host"]), host["bot"]
        assert isinstance(bot, dict)  # noqa: S101 (a host without a bot has no footprint)
        rows.append(("image", name, int(str(host["image_bytes"])), LIMITS["image"]))
        rows.append(("memory", name, int(bot["memory_used_bytes"]), LIMITS["memory"]))
    return rows


def main() -> int:
    """Print the table; 1 if anything is over its limit."""
    hosts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    over = False
    print(f"{'WHAT':<14} {'WHERE':<14} {'MEASURED':>12} {'LIMIT':>10}")
    for what, where, measured, limit in footprint(hosts):
        over = over or measured > limit
        sizes = f"{measured / MEGABYTE:>9.2f} MB {limit / MEGABYTE:>7.0f} MB"
        print(f"{what:<14} {where:<14} {sizes}" + ("  OVER" if measured > limit else ""))
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
