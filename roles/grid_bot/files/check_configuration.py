"""Reads both configurations as the bot and its exchange would, on the controller.

Input: one JSON object with the texts `bot` and `exchange` (empty in live mode). Prints one line for
what is wrong, and ends with status 2; says nothing and ends with 0 where both are right.
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

from gridbot.cli import main as gridbot
from gridbot.errors import UserError
from gridbot.exchange.config import load_config


def check_bot(path: Path) -> str:
    """Return what the bot says is wrong with its configuration; empty when nothing is."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = gridbot(["check", "--offline", "--config", str(path)])
    return said.getvalue().strip() or f"gridbot check ended with {status}" if status else ""


def check_exchange(path: Path) -> str:
    """Return what is wrong with the exchange's configuration; empty when nothing is."""
    try:
        load_config(path, {})
    except UserError as error:
        return f"gridbot exchange: {error}"
    return ""


def main() -> int:
    """Check what standard input holds; returns the exit status."""
    texts = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as directory:
        for name, check in (("bot", check_bot), ("exchange", check_exchange)):
            path = Path(directory, f"{name}.toml")
            path.write_text(texts[name], encoding="utf-8")
            wrong = check(path) if texts[name] else ""
            if wrong:
                line = wrong.splitlines()[-1]
                for prefix in (f"configuration {path}: ", f"{path}: "):
                    line = line.replace(prefix, "")
                print(line, file=sys.stderr)
                return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
