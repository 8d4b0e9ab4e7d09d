"""The bots' logs for a terminal: colors by level; a line of JSON as one that a person reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

RED, YELLOW, GRAY, BOLD, CYAN = "\x1b[31m", "\x1b[33m", "\x1b[90m", "\x1b[1m", "\x1b[36m"
PLAIN = "\x1b[0m"
LEVELS = {"debug": GRAY, "warning": YELLOW, "error": RED, "critical": RED}
TEXT = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z) (?P<level>[A-Z]+) (?P<event>.*)", re.DOTALL)
HOST = re.compile(r"\S+ \| [A-Z]+!? \|.*")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # an exchange's words may hold some

Line = Callable[[str], str]


def colored(line: str) -> str:
    """A line of a log, or of Ansible around it, with colors.

    Args:
        line: Without its end.
    """
    if HOST.fullmatch(line):
        return f"{BOLD}{line}{PLAIN}"
    try:
        event = json.loads(line)
        return _drawn(event["time"], event["level"], event["event"], _about(event))
    except (ValueError, TypeError, KeyError):
        found = TEXT.fullmatch(line)
    if found is None:
        return CONTROL.sub("", line)
    return _drawn(found["time"], found["level"].lower(), found["event"], "")


def _about(event: Mapping[str, str]) -> str:
    """What an event is about, as far as its text does not say so."""
    text = event["event"]
    about = [event[key] for key in ("symbol", "order") if event.get(key, "") not in text]
    trace = "\n" + event["trace"] if "trace" in event else ""
    return " ".join(about) + trace


def _drawn(time: str, level: str, event: str, about: str) -> str:
    time, level, event, about = (CONTROL.sub("", text) for text in (time, level, event, about))
    color = LEVELS.get(level, "")
    said = f"{color}{event}{PLAIN if color else ''}"
    end = f" {CYAN}{about}{PLAIN}" if about else ""
    return f"{GRAY}{time}{PLAIN} {color}{level.upper():<7}{PLAIN if color else ''} {said}{end}"


def run(
    command: Sequence[str],
    line: Line | None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command, each line of its output as `line` makes it; the exit status.

    Args:
        command: Its words.
        line: Makes what is printed; None: the output is left as it is.
        cwd: Where it runs.
        environment: Its own; None: this process's.
    """
    if line is None:
        return subprocess.run(command, check=False, cwd=cwd, env=environment).returncode
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for text in process.stdout or ():
            sys.stdout.write(line(text.rstrip("\r\n")) + "\n")
            sys.stdout.flush()
    return process.returncode
