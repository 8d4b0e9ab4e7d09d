"""What `./gridberry logs` shows on a terminal."""

import json
import sys

from fleet import log_colors
from fleet.log_colors import CYAN, GRAY, PLAIN, RED, YELLOW, colored

EVENT = {
    "time": "2026-01-31T12:00:00.123Z",
    "level": "error",
    "event": "order pi1-1-4b2 refused: LOT_SIZE",
    "logger": "gridbot.trading.submission",
    "bot": "pi1",
    "symbol": "BTC/USDT",
    "order": "pi1-1-4b2",
}


def test_both_forms_look_alike() -> None:
    time, said = f"{GRAY}2026-01-31T12:00:00Z{PLAIN}", "BTC/USDT waits: no answer"
    text = colored("2026-01-31T12:00:00Z WARNING BTC/USDT waits: no answer")
    assert text == f"{time} {YELLOW}WARNING{PLAIN} {YELLOW}{said}{PLAIN}"
    said = colored(json.dumps(EVENT))
    assert said.startswith(f"{GRAY}{EVENT['time']}{PLAIN} {RED}ERROR  {PLAIN} {RED}order pi1-")
    assert said.endswith(f"{CYAN}BTC/USDT{PLAIN}")  # the order is in the text already
    assert colored(json.dumps(EVENT | {"level": "info"})).count(RED) == 0


def test_what_is_no_event_stays() -> None:
    for line in ("Traceback (most recent call last):", "[1, 2]", '{"time": 1}', ""):
        assert colored(line) == line
    assert "pi1 | CHANGED | rc=0 >>" in colored("pi1 | CHANGED | rc=0 >>")


def test_an_exchange_cannot_draw_on_the_terminal() -> None:
    evil = colored(json.dumps(EVENT | {"event": "\x1b]0;title\x07\x1b[2Jgone"}))
    assert "\x1b]" not in evil
    assert "\x1b[2J" not in evil


def test_a_command_is_shown_line_by_line(capfd) -> None:
    program = "print('2026-01-31T12:00:00Z ERROR one\\r'); print('two'); raise SystemExit(3)"
    assert log_colors.run([sys.executable, "-c", program], colored) == 3
    first, second = capfd.readouterr().out.splitlines()
    assert (first.endswith(f"{RED}one{PLAIN}"), second) == (True, "two")
    assert log_colors.run([sys.executable, "-c", program], None) == 3
    assert capfd.readouterr().out.splitlines()[0].startswith("2026-01-31T12:00:00Z ERROR one")
