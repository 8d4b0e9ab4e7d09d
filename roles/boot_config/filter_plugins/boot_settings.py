"""Ansible filters: lines for config.txt from settings, and what is wrong with the settings.

What the firmware takes: raspberrypi/documentation, config_txt/overclocking.adoc, conditional.adoc
and memory.adoc.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# In this order: a Pi 400 sees [pi4] as well, and the later line wins.
FILTERS = (
    *("all", "none", "pi0", "pi0w", "pi02", "pi1", "pi2", "pi3", "pi3+"),
    *("pi4", "pi400", "cm4", "cm4s", "pi5", "pi500", "cm5"),
)
GPU_MEM = (16, 512)  # MB
OVERCLOCKS = re.compile(
    r"\s*((arm|gpu|core|h264|isp|v3d|hevc|sdram)_freq|over_voltage\w*|force_turbo)\s*="
)
DTPARAM = re.compile(r"[\w-]+(=[^\s\[\]]+)?")


@dataclass(frozen=True)
class Board:
    """What may be asked of a board's processor.

    Attributes:
        lowest: MHz that it idles at: the default of `arm_freq_min`.
        highest: MHz beyond which it is known not to start.
        delta: Whether the firmware knows `over_voltage_delta`.
    """

    lowest: int
    highest: int
    delta: bool = False


BOARDS = {
    "pi02": Board(600, 1200),
    "pi3": Board(600, 1400),
    "pi3+": Board(600, 1500),
    "pi4": Board(600, 2147, delta=True),
    "pi400": Board(600, 2147, delta=True),
    "cm4": Board(600, 2147, delta=True),
    "cm4s": Board(600, 2147, delta=True),
    "pi5": Board(1500, 3000, delta=True),
    "pi500": Board(1500, 3000, delta=True),
    "cm5": Board(1500, 3000, delta=True),
}
# Above 6 the firmware wants force_turbo=1, and then sets the bit that voids the warranty.
OVER_VOLTAGE = (0, 6)
OVER_VOLTAGE_DELTA = (0, 50000)  # microvolts


def limits(board: Board) -> dict[str, tuple[int, int]]:
    """Return the bounds of each setting that a board's overclock may have."""
    known = {"arm_freq": (board.lowest, board.highest), "over_voltage": OVER_VOLTAGE}
    return known | ({"over_voltage_delta": OVER_VOLTAGE_DELTA} if board.delta else {})


def is_within(value: object, bounds: tuple[int, int]) -> bool:
    """Tell whether a value is a whole number within bounds, both included."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value)):
        return False
    return bounds[0] <= int(str(value)) <= bounds[1]


def board_problems(name: str, wanted: object) -> list[str]:
    """Return a line for each thing in one board's overclock that is not allowed."""
    board = BOARDS.get(name)
    if board is None:
        return [f"boot_config_overclock has {name!r}; use {', '.join(BOARDS)}"]
    known = limits(board)
    if not isinstance(wanted, dict):
        return [f"boot_config_overclock.{name} is {wanted!r}; use a mapping of {', '.join(known)}"]
    lines = []
    for key, value in wanted.items():
        if key not in known:
            lines.append(f"boot_config_overclock.{name} has {key!r}; use {', '.join(known)}")
        elif not is_within(value, known[key]):
            low, high = known[key]
            lines.append(
                f"boot_config_overclock.{name}.{key} is {value!r}; use a whole number from {low} to"
                f" {high}"
            )
    return lines


def section_problems(sections: dict) -> list[str]:
    """Return a line for each thing in the sections that is not allowed."""
    lines = []
    for name, wanted in sections.items():
        if name not in FILTERS:
            lines.append(f"boot_config_sections has {name!r}; use {', '.join(FILTERS)}")
        elif not isinstance(wanted, list) or not all(isinstance(line, str) for line in wanted):
            lines.append(f"boot_config_sections.{name} is {wanted!r}; use a list of lines")
        else:
            lines += [
                f"boot_config_sections.{name} has the line {line!r}; a filter is a key of"
                " boot_config_sections"
                for line in wanted
                if line.lstrip().startswith("[")
            ]
    return lines


def cooling_problems(settings: dict) -> list[str]:
    """Return a line where a processor is to run faster and nothing cools it."""
    sections = settings["sections"].values()
    free = [*settings["lines"], *(line for wanted in sections for line in wanted)]
    named = [line for line in free if OVERCLOCKS.match(str(line))]
    if settings["active_cooling"] or not (settings["overclock"] or named):
        return []
    what = f"config.txt is to have {named[0]!r}" if named else "boot_config_overclock is set"
    return [f"{what} and boot_config_active_cooling is false; add a fan, and set it to true"]


def setting_problems(settings: dict) -> list[str]:
    """Return a line for each thing in the role's settings that is not allowed.

    Args:
        settings: As the role's C(vars/main.yml) has them.
    """
    problems = []
    if settings["gpu_mem"] and not is_within(settings["gpu_mem"], GPU_MEM):
        low, high = GPU_MEM
        problems.append(
            f"boot_config_gpu_mem is {settings['gpu_mem']}; use 0 or a whole number from {low} to"
            f" {high}"
        )
    problems += [
        f"boot_config_dtparam has {entry!r}; use name or name=value"
        for entry in settings["dtparam"]
        if not DTPARAM.fullmatch(str(entry))
    ]
    found = section_problems(settings["sections"])
    for name, wanted in settings["overclock"].items():
        problems += board_problems(name, wanted)
    problems += found or cooling_problems(settings)
    if settings["tryboot"] and not settings["reboot"]:
        problems.append(
            "boot_config_tryboot is true and boot_config_reboot is false; a try needs both to be"
            " true"
        )
    return problems


def config_lines(settings: dict) -> list[str]:
    """Return the lines of Gridberry's block in config.txt.

    Args:
        settings: As the role's C(vars/main.yml) has them, without problems.
    """
    lines = []
    if settings["gpu_mem"]:
        lines.append(f"gpu_mem={settings['gpu_mem']}")
    if settings["arm_64bit"]:
        lines.append("arm_64bit=1")
    lines += [f"dtparam={entry}" for entry in settings["dtparam"]]
    lines += settings["lines"]
    for name in FILTERS:
        fast = settings["overclock"].get(name, {})
        wanted = [f"{key}={value}" for key, value in fast.items()]
        wanted += settings["sections"].get(name, [])
        if wanted:
            lines += [f"[{name}]", *wanted]
    return lines


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "boot_config_problems": setting_problems,
            "boot_config_lines": config_lines,
        }
