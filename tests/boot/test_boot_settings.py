"""From settings to the lines of config.txt, and what is refused; one golden file for each board."""

import pytest
from ansible.module_utils import boot_text

from roles.boot_config.filter_plugins.boot_settings import config_lines, setting_problems
from tests.boot.test_generated import settings as taken_by

NOTHING = {
    "gpu_mem": 0,
    "arm_64bit": False,
    "dtparam": [],
    "lines": [],
    "sections": {},
    "overclock": {},
    "active_cooling": False,
    "tryboot": False,
    "reboot": True,
}
EVERYTHING = {
    "gpu_mem": 16,
    "arm_64bit": True,
    "dtparam": ["audio=off", "watchdog"],
    "lines": ["disable_splash=1"],
    "sections": {"pi5": ["dtparam=fan_temp0=45000"], "cm4": ["otg_mode=1"]},
    "overclock": {
        "pi5": {"arm_freq": 2800, "over_voltage_delta": 50000},
        "pi4": {"arm_freq": 2000, "over_voltage": 6},
    },
    "active_cooling": True,
    "tryboot": True,
    "reboot": True,
}
GOLDEN = """\
# BEGIN gridberry: written by Ansible, changes in here are lost
[all]
gpu_mem=16
arm_64bit=1
dtparam=audio=off
dtparam=watchdog
disable_splash=1
[pi4]
arm_freq=2000
over_voltage=6
[cm4]
otg_mode=1
[pi5]
arm_freq=2800
over_voltage_delta=50000
dtparam=fan_temp0=45000
[all]
# END gridberry
"""
FOR_ALL = ["gpu_mem=16", "arm_64bit=1", "dtparam=audio=off", "dtparam=watchdog", "disable_splash=1"]
GOLDEN_BOARDS = {
    "pi4": [*FOR_ALL, "arm_freq=2000", "over_voltage=6"],
    "cm4": [*FOR_ALL, "arm_freq=2000", "over_voltage=6", "otg_mode=1"],
    "pi5": [*FOR_ALL, "arm_freq=2800", "over_voltage_delta=50000", "dtparam=fan_temp0=45000"],
}


def test_nothing_is_written_unless_it_is_asked_for():
    assert config_lines(NOTHING) == []
    assert setting_problems(NOTHING) == []


def test_block_is_the_golden_one():
    assert setting_problems(EVERYTHING) == []
    assert boot_text.new_config("", tuple(config_lines(EVERYTHING))) == GOLDEN


@pytest.mark.parametrize("board", GOLDEN_BOARDS)
def test_each_board_takes_its_own(board):
    before = "[pi4]\nfirst=1\n"
    after = boot_text.new_config(before, tuple(config_lines(EVERYTHING)))
    first = [] if board == "pi5" else ["first=1"]
    assert taken_by(after.encode(), board) == first + GOLDEN_BOARDS[board]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gpu_mem": 15}, "boot_config_gpu_mem is 15; use 0 or a whole number from 16 to 512"),
        ({"gpu_mem": -1}, "boot_config_gpu_mem is -1"),
        ({"dtparam": ["a b"]}, "boot_config_dtparam has 'a b'; use name or name=value"),
        ({"dtparam": ["a=1\n[pi4]"]}, "boot_config_dtparam has"),
        ({"sections": {"pi9": ["a=1"]}}, "boot_config_sections has 'pi9'; use all, none, pi0"),
        ({"sections": {"pi4": "a=1"}}, "boot_config_sections.pi4 is 'a=1'; use a list of lines"),
        ({"sections": {"pi4": ["[all]"]}}, "a filter is a key of boot_config_sections"),
        (
            {"overclock": {"all": {"arm_freq": 2000}}},
            "boot_config_overclock has 'all'; use pi02, pi3",
        ),
        (
            {"overclock": {"pi4": 2000}},
            "boot_config_overclock.pi4 is 2000; use a mapping of arm_freq",
        ),
        (
            {"overclock": {"pi4": {"freq": 1}}},
            "boot_config_overclock.pi4 has 'freq'; use arm_freq,",
        ),
        (
            {"overclock": {"pi4": {"arm_freq": 2148}}},
            "is 2148; use a whole number from 600 to 2147",
        ),
        (
            {"overclock": {"pi5": {"arm_freq": 3001}}},
            "is 3001; use a whole number from 1500 to 3000",
        ),
        (
            {"overclock": {"pi4": {"over_voltage": 7}}},
            "over_voltage is 7; use a whole number from 0",
        ),
        ({"overclock": {"pi4": {"over_voltage": True}}}, "over_voltage is True"),
        ({"overclock": {"pi3": {"over_voltage_delta": 1}}}, "has 'over_voltage_delta'"),
        ({"tryboot": True, "reboot": False}, "boot_config_tryboot is true and boot_config_reboot"),
    ],
)
def test_setting_that_will_not_do_is_refused_with_one_line(change, says):
    problems = setting_problems(NOTHING | {"active_cooling": True} | change)
    assert len(problems) == 1
    assert says in problems[0]
    assert "; use " in problems[0] or problems[0].endswith(("boot_config_sections", "true"))


@pytest.mark.parametrize(
    "change",
    [
        {"overclock": {"pi4": {"arm_freq": 1800}}},
        {"lines": ["arm_freq=2000"]},
        {"lines": ["over_voltage_delta=1"]},
        {"sections": {"pi5": ["force_turbo=1"]}},
    ],
)
def test_nothing_runs_faster_without_a_fan(change):
    (problem,) = setting_problems(NOTHING | change)
    assert "boot_config_active_cooling is false; add a fan, and set it to true" in problem
    assert setting_problems(NOTHING | change | {"active_cooling": True}) == []


@pytest.mark.parametrize("usual", ["start.elf", "start4.elf"])
def test_least_graphics_memory_needs_the_firmware_for_it(usual):
    lines = ("gpu_mem=16",)
    with pytest.raises(boot_text.BootFileError, match="use 32"):
        boot_text.check_cut_down(lines, frozenset({usual}), "/boot/firmware")
    every = frozenset(name for names in boot_text.CUT_DOWN for name in names)
    boot_text.check_cut_down(lines, every, "/boot/firmware")
    boot_text.check_cut_down(lines, frozenset(), "/boot/firmware")  # a Pi 5 alone
    boot_text.check_cut_down(("gpu_mem=32",), frozenset({usual}), "/boot/firmware")
