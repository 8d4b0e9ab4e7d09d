"""The roles' filters, and the pure functions of the smaller modules."""

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from roles.grid_bot.filter_plugins import image_plan
from roles.grid_bot.library import image_inputs
from roles.preflight.filter_plugins import preflight
from roles.status.filter_plugins import status
from roles.status.library import pi_status

IMAGE = "gridbot:0123456789abcdef-arm64"
WANTED = {
    "nvme_device": "/dev/nvme0n1",
    "free_mb": 2048,
    "releases": ["bookworm", "trixie"],
    "architectures": ["aarch64"],
    "sudo": False,
}
GOOD = """user trader
sudo yes
machine aarch64
release trixie
family debian
free 9000
python yes
nvme yes
disks /dev/vda (12G), /dev/nvme0n1 (4G)
"""


def test_good_host_has_no_problems():
    assert preflight.host_problems(GOOD, WANTED) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "sudo yes",
            "sudo no",
            "sudo asks trader for a password; run again with --ask-become-pass",
        ),
        ("machine aarch64", "machine armv7l", "its processor is armv7l; aarch64 would do"),
        ("release trixie", "release bullseye", "its system is debian bullseye"),
        ("family debian", "family fedora", "its system is fedora trixie"),
        ("free 9000", "free 100", "/var has 100 MB free and preflight_free_mb is 2048"),
        ("python yes\n", "", "no python3"),
        (
            "nvme yes\n",
            "",
            (
                "preflight_nvme_device is /dev/nvme0n1 and the host has no such block device, only"
                " /dev/vda (12G)"
            ),
        ),
    ],
)
def test_each_problem_is_one_line_with_setting_and_value(old, new, says):
    [line] = preflight.host_problems(GOOD.replace(old, new), WANTED)
    assert says in line
    assert "\n" not in line


def test_given_password_makes_sudo_right():
    look = GOOD.replace("sudo yes", "sudo no")
    assert preflight.host_problems(look, WANTED | {"sudo": True}) == []


SPECS = {
    "grid_bot_lower": {"type": "str"},
    "grid_bot_grids": {"type": "int"},
    "grid_bot_mode": {"type": "str", "choices": ["paper", "live"]},
    "grid_bot_dns": {"type": "list", "elements": "str"},
    "grid_bot_api_key": {"type": "str", "choices": ["x"], "no_log": True},
}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"grid_bot_lowr": 1},
            "grid_bot_lowr is not a setting of any role; did you mean grid_bot_lower?",
        ),
        ({"zzz": 1}, "zzz is not a setting of any role"),
        ({"grid_bot_grids": "many"}, "grid_bot_grids is 'many'; a whole number would do"),
        ({"grid_bot_mode": "pper"}, "grid_bot_mode is 'pper'; paper or live would do"),
        (
            {"grid_bot_dns": {"a": 1}},
            "grid_bot_dns is {'a': 1}; a list whose elements are each text would do",
        ),
        ({"grid_bot_api_key": "hidden"}, "grid_bot_api_key is not shown; x would do"),
    ],
)
def test_wrong_setting_is_one_line(values, line):
    assert preflight.setting_problems(values, SPECS) == [line]


def test_right_settings_are_let_through():
    assert preflight.setting_problems({"grid_bot_grids": 4, "grid_bot_lower": 1.5}, SPECS) == []


LOOKS = {
    "pi1": "arch arm64\r\n",
    "pi2": f"arch arm64\r\nimage {IMAGE} sha256:aa\r\nimage gridbot:older-arm64 sha256:bb\r\n",
    "pc": "arch amd64\n",
}


def test_the_host_that_has_the_image_makes_it():
    plan = image_plan.image_plan(LOOKS, "0123456789abcdef")
    assert plan["arm64"] == {
        "image": IMAGE,
        "maker": "pi2",
        "holders": ["pi2"],
        "lacking": ["pi1"],
    }
    assert plan["amd64"]["maker"] == "pc"


def test_one_host_of_a_processor_builds_unless_another_is_named():
    looks = dict.fromkeys(("pi1", "pi2", "pi3"), "arch arm64")
    assert image_plan.image_plan(looks, "x")["arm64"]["maker"] == "pi1"
    assert image_plan.image_plan(looks, "x", "pi3")["arm64"]["maker"] == "pi3"


def test_builder_that_is_no_host_is_refused():
    with pytest.raises(AnsibleFilterError, match="grid_bot_builder is 'pi9'; auto, controller"):
        image_plan.image_plan(LOOKS, "x", "pi9")


def test_equal_texts_are_checked_once():
    same = image_plan.same_texts({"pi1": "a", "pi2": "b", "pi3": "a"})
    assert same == [{"text": "a", "names": "pi1, pi3"}, {"text": "b", "names": "pi2"}]


def make_context(directory: Path) -> Path:
    """A build context with files that belong to it and others."""
    files = {
        "Dockerfile": "FROM scratch\n",
        ".dockerignore": "*\n!requirements.lock\n!src\n**/__pycache__\n**/*.pyc\n",
        "requirements.lock": "a==1\n",
        "src/pkg/a.py": "a = 1\n",
        "src/pkg/a.pyc": "",
        "src/pkg/__pycache__/a.pyc": "",
        "tests/test_a.py": "",
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def inputs(context: Path, **more):
    """Run the module's function."""
    return image_inputs.run({"context": str(context), "more": {}, "limit": 1000} | more)


def test_only_what_dockerignore_lets_in_counts(tmp_path):
    context = make_context(tmp_path)
    first = inputs(context)
    assert first["files"] == [".dockerignore", "Dockerfile", "requirements.lock", "src/pkg/a.py"]
    (context / "tests/test_a.py").write_text("changed")
    assert inputs(context) == first


@pytest.mark.parametrize("name", ["Dockerfile", "requirements.lock", "src/pkg/a.py", "src/new.py"])
def test_any_input_changes_the_hash(tmp_path, name):
    context = make_context(tmp_path)
    first = inputs(context)["hash"]
    (context / name).write_text("changed\n")
    assert inputs(context)["hash"] != first
    assert inputs(context, more={"arch": "arm64"})["hash"] != inputs(context)["hash"]


def test_context_that_is_too_large_is_refused(tmp_path):
    context = make_context(tmp_path)
    (context / "src/large").write_text("x" * 1000)
    with pytest.raises(image_inputs.ContextError, match="more than 1000"):
        inputs(context)


def test_status_keeps_hosts_that_cannot_be_asked():
    results = {
        "pi1": {"status": {"arch": "aarch64"}},
        "pi2": {"unreachable": True, "msg": "Failed to connect:\nno route"},
        "pi3": {},
    }
    assert status.status_objects(results) == [
        {"host": "pi1", "arch": "aarch64"},
        {"host": "pi2", "error": "Failed to connect: no route"},
        {"host": "pi3", "error": "it was not asked"},
    ]


def test_status_without_a_bot_says_so():
    found = pi_status.bot_status(None, None)
    assert found["state"] == "absent"
    assert set(found) == {
        "state",
        "mode",
        "symbol",
        "memory_limit_bytes",
        "memory_used_bytes",
        "open_orders",
        "buys",
        "sells",
        "grid_profit",
        "price",
        "uptime_seconds",
        "restarts",
    }


def test_status_reads_what_the_kernel_writes():
    assert pi_status.temperature("51540") == 51.5
    assert pi_status.temperature(None) is None
    assert pi_status.memory_available("MemTotal: 10 kB\nMemAvailable:    2048 kB\n") == 2097152
    lines = "0::/system.slice/docker-1f.scope\n"
    assert pi_status.cgroup_directory(lines) == "/sys/fs/cgroup/system.slice/docker-1f.scope"
    assert pi_status.cgroup_directory("5:memory:/docker/1f\n") is None
    running = "cgroup_disable=memory root=/dev/a ipv6.disable=1"
    assert not pi_status.reboot_required("root=/dev/a ipv6.disable=1\n", running, flag=False)
    assert pi_status.reboot_required("root=/dev/a quiet\n", running, flag=False)
    assert pi_status.reboot_required(None, running, flag=True)
