"""Role watchdog: what it decides for each device, and its script between systemd and the daemon."""

import os
import shutil
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml

from roles.watchdog.filter_plugins import watchdog

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/watchdog"
PI = ROOT / "tests/fixtures/pi"
DEFAULTS = {
    name.removeprefix("watchdog_"): value
    for name, value in yaml.safe_load((ROLE / "defaults/main.yml").read_text()).items()
}
DAEMON = DEFAULTS | {"mechanism": "daemon"}


class TestSettings:
    def test_defaults_are_let_through(self):
        assert watchdog.setting_problems(DEFAULTS) == []
        assert watchdog.setting_problems(DAEMON) == []

    def test_all_tests_of_the_daemon_are_let_through(self):
        settings = {"max_load_1": 24, "min_memory_mb": 16, "max_temperature": 95}
        file = {"heartbeat_file": "/run/gridberry/heartbeat", "heartbeat_age": 300}
        assert watchdog.setting_problems(DAEMON | settings | file) == []

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"timeout": 5}, "watchdog_timeout is 5; use a whole number from 10 to 600"),
            ({"reboot_timeout": 0}, "watchdog_reboot_timeout is 0; use a whole number from 15"),
            (
                {"mechanism": "systemd", "max_load_1": 24},
                (
                    "watchdog_max_load_1 is 24 and watchdog_mechanism is systemd, which does not"
                    " test it; use daemon"
                ),
            ),
            (
                {"mechanism": "systemd", "heartbeat_file": "/run/x"},
                "watchdog_heartbeat_file is '/run/x' and watchdog_mechanism is systemd",
            ),
            (
                {"max_load_1": 2},
                "watchdog_max_load_1 is 2; use a whole number from 8 to 1000",
            ),
            ({"min_memory_mb": 4096}, "use a whole number from 1 to 512, or 0: more is"),
            ({"max_temperature": 60}, "use a whole number from 86 to 110, or 0: below 86"),
            (
                {"heartbeat_file": "beat"},
                "watchdog_heartbeat_file is 'beat'; use a path of letters",
            ),
            ({"heartbeat_file": "/run/$(x)"}, "watchdog_heartbeat_file is '/run/$(x)'; use a path"),
            ({"heartbeat_file": "/sys/x"}, "watchdog_heartbeat_file is '/sys/x'; use a path"),
            (
                {"heartbeat_file": "/run/x", "heartbeat_age": 10},
                "watchdog_heartbeat_age is 10; use a whole number from 300 to 86400",
            ),
        ],
    )
    def test_what_contradicts_or_would_reboot_for_nothing_is_one_line(self, settings, says):
        [line] = watchdog.setting_problems(DAEMON | settings)
        assert says in line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(15, "15s"), (60, "1min"), (125, "2min 5s"), (90, "1min 30s"), (3600, "1h"), (0, "0")],
)
def test_spans_are_as_systemctl_shows_them(seconds, text):
    assert watchdog.span(seconds) == text


class TestDevice:
    @pytest.mark.parametrize(
        ("board", "timeout", "reboot_timeout"),
        [
            ("pi3b+", 15, 15),  # its kernel refuses more, and then nothing would be armed
            ("pi4", 60, 125),
            ("cm4", 60, 125),
            ("pi5", 60, 125),
            ("virtual", 60, 125),
        ],
    )
    def test_each_board_counts_to_what_it_can(self, board, timeout, reboot_timeout):
        plan = watchdog.plan(look(PI / board), DEFAULTS)
        assert plan["device"]
        assert not plan["load"]
        assert plan["module"] == ""
        assert plan["problems"] == []
        assert (plan["timeout"], plan["reboot_timeout"]) == (timeout, reboot_timeout)
        assert bool(plan["says"]) == (timeout < 60)

    @pytest.mark.parametrize("seconds", [16, 20, 27, 32, 43, 64, 120, 600])
    def test_what_resets_a_pi_again_and_again_is_refused(self, seconds):
        [line] = watchdog.plan(look(PI / "pi5"), DEFAULTS | {"timeout": seconds})["problems"]
        assert line.startswith(
            f"watchdog_timeout is {seconds}, with which a Pi's watchdog would fire after"
            f" {seconds % 16} s"
        )
        assert not watchdog.plan(look(PI / "virtual"), DEFAULTS | {"timeout": seconds})["problems"]
        # An old kernel's Pi counts to 15 whatever is asked.
        assert not watchdog.plan(look(PI / "pi3b+"), DEFAULTS | {"timeout": seconds})["problems"]

    @pytest.mark.parametrize("seconds", [10, 15, 28, 31, 60, 63, 125])
    def test_what_does_not_is_let_through(self, seconds):
        assert watchdog.plan(look(PI / "pi5"), DEFAULTS | {"timeout": seconds})["problems"] == []

    def test_unknown_device_counts_to_what_every_pi_does(self, tmp_path):
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev/watchdog0").touch()
        assert watchdog.plan(look(tmp_path), DEFAULTS)["timeout"] == 15

    def test_none_is_said_or_refused(self, tmp_path):
        plan = watchdog.plan(look(tmp_path), DEFAULTS)
        assert not plan["device"]
        assert plan["says"] == ["it has no watchdog device; nothing resets it when it hangs"]
        [line] = watchdog.plan(look(tmp_path), DEFAULTS | {"required": True})["problems"]
        assert line.startswith("it has no watchdog device and watchdog_required is true; use false")

    def test_temperature_is_tested_where_there_is_a_sensor(self):
        hot = DAEMON | {"max_temperature": 95}
        plan = watchdog.plan(look(PI / "pi4"), hot)
        assert plan["sensor"] == "/sys/class/thermal/thermal_zone0/temp"
        plan = watchdog.plan(look(PI / "virtual"), hot)
        assert plan["sensor"] == ""
        assert plan["says"] == [
            "it has no temperature sensor; watchdog_max_temperature is not tested"
        ]

    @pytest.mark.parametrize(("architecture", "pages"), [("arm64", 256), ("armhf", 4096)])
    def test_memory_is_in_pages_as_the_daemon_counts_them(self, architecture, pages):
        told = f"device watchdog0\nmax_timeout 0\narchitecture {architecture}\n"
        assert watchdog.plan(told, DAEMON | {"min_memory_mb": 16})["pages"] == pages


class TestModule:
    @pytest.fixture
    def bare(self, tmp_path):
        """A Pi 4 without a device whose kernel has the modules."""
        shutil.copytree(PI / "pi4", tmp_path, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(tmp_path / "sys/class/watchdog")
        modules = tmp_path / "lib/modules/6.12-pi/modules.dep"
        modules.parent.mkdir(parents=True)
        modules.write_text(
            "kernel/drivers/watchdog/bcm2835_wdt.ko.xz:\nkernel/drivers/watchdog/softdog.ko.xz:\n"
        )
        return tmp_path

    def test_a_pi_gets_its_own(self, bare):
        plan = watchdog.plan(look(bare), DEFAULTS)
        assert (plan["module"], plan["load"], plan["device"]) == ("bcm2835_wdt", True, True)

    def test_what_was_loaded_stays_loaded_at_boot(self, bare):
        shutil.copytree(PI / "pi4/sys/class/watchdog", bare / "sys/class/watchdog")
        loads = bare / "etc/modules-load.d/gridberry-watchdog.conf"
        loads.parent.mkdir(parents=True)
        loads.write_text("# Written by Ansible (role watchdog).\nbcm2835_wdt\n")
        plan = watchdog.plan(look(bare), DEFAULTS)
        assert (plan["module"], plan["load"], plan["timeout"]) == ("bcm2835_wdt", False, 60)

    def test_the_kernels_own_is_asked_for(self, bare):
        (bare / "sys/firmware/devicetree/base/compatible").write_bytes(b"linux,dummy-virt\0")
        assert watchdog.plan(look(bare), DEFAULTS)["module"] == ""
        plan = watchdog.plan(look(bare), DEFAULTS | {"softdog": True})
        assert (plan["module"], plan["load"]) == ("softdog", True)


class TestFiles:
    def test_systemd_is_told_the_seconds(self):
        lines = render("system.conf.j2", DEFAULTS, PI / "pi4")
        assert lines[1:] == ["[Manager]", "RuntimeWatchdogSec=60", "RebootWatchdogSec=125"]

    def test_systemd_is_told_to_let_go_where_the_daemon_holds_it(self):
        lines = render("system.conf.j2", DAEMON, PI / "pi3b+")
        assert lines[-2:] == ["RuntimeWatchdogSec=0", "RebootWatchdogSec=15"]

    def test_daemon_tests_nothing_by_itself(self):
        assert render("daemon.conf.j2", DAEMON, PI / "pi4")[1:] == [
            "watchdog-device = /dev/watchdog0",
            "watchdog-timeout = 60",
            "interval = 5",
            "realtime = yes",
            "priority = 1",
            "admin =",
        ]

    def test_daemon_tests_what_is_set(self):
        tests = {"max_load_1": 24, "min_memory_mb": 16, "max_temperature": 95}
        file = {"heartbeat_file": "/run/gridberry/heartbeat"}
        lines = render("daemon.conf.j2", DAEMON | tests | file, PI / "pi4")
        assert {
            *("max-load-1 = 24", "max-load-5 = 24", "max-load-15 = 24"),
            "min-memory = 256",
            "temperature-sensor = /sys/class/thermal/thermal_zone0/temp",
            "max-temperature = 95",
        } < set(lines)
        assert lines[-2:] == ["file = /run/gridberry/heartbeat", "change = 900"]
        assert not any(
            "temperature" in line
            for line in render("daemon.conf.j2", DAEMON | tests, PI / "virtual")
        )

    def test_file_is_young_when_the_daemon_starts(self):
        file = {"heartbeat_file": "/run/gridberry/heartbeat"}
        lines = render("service.conf.j2", DAEMON | file, PI / "pi4")
        start = lines.index("ExecStart=/usr/sbin/watchdog -c /etc/gridberry/watchdog.conf")
        assert lines.index("ExecStartPre=/bin/mkdir -p /run/gridberry") < start
        assert lines.index("ExecStartPre=/bin/touch /run/gridberry/heartbeat") < start
        # The unit's own is taken back first: it would start what somebody has configured.
        assert lines[start - 1] == "ExecStart="


def render(name, settings, root):
    """Return the lines of one of the role's files for a host."""
    environment = jinja2.Environment(trim_blocks=True)  # noqa: S701 - no HTML
    environment.filters["dirname"] = os.path.dirname
    values = {f"watchdog_{key}": value for key, value in settings.items()}
    values["__watchdog_plan"] = watchdog.plan(look(root), settings)
    values["__watchdog_configuration_path"] = "/etc/gridberry/watchdog.conf"
    text = (ROLE / "templates" / name).read_text()
    return environment.from_string(text).render(values).splitlines()


def look(root):
    """Run the role's look.sh against a tree of files."""
    environment = os.environ | {"ROOT": str(root), "KERNEL": "6.12-pi"}
    # A Pi's answer, also where the tests run on another machine.
    command = ["sh", "-c", "dpkg() { echo arm64; }\n" + (ROLE / "files/look.sh").read_text()]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


# systemd as far as the role asks it: what its files say becomes true with daemon-reload.
SYSTEMCTL = r"""#!/bin/sh
echo "$*" >>"$HOST/asked"
arm() { # PID, seconds
    rm -f "$HOST"/proc/*/fd/9
    echo inactive >"$HOST/sys/class/watchdog/watchdog0/state"
    [ -n "$1" ] || return 0
    mkdir -p "$HOST/proc/$1/fd" && ln -s /dev/watchdog0 "$HOST/proc/$1/fd/9"
    echo active >"$HOST/sys/class/watchdog/watchdog0/state"
    echo "$2" >"$HOST/sys/class/watchdog/watchdog0/timeout"
}
stopped() { # what Debian's unit does then
    rm -f "$HOST/runs"
    arm
    [ -e "$HOST/dropin" ] || touch "$HOST/keepalive"
}
case "$*" in
    "show -p RuntimeWatchdogUSec --value") cat "$HOST/runtime" ;;
    "show -p RebootWatchdogUSec --value") cat "$HOST/reboot" ;;
    "show -p MainPID --value watchdog.service") [ ! -e "$HOST/runs" ] && echo 0 || echo 77 ;;
    "is-active -q watchdog.service") [ -e "$HOST/runs" ] ;;
    "is-active -q wd_keepalive.service") [ -e "$HOST/keepalive" ] ;;
    "is-enabled -q watchdog.service") [ -e "$HOST/enabled" ] ;;
    "cat watchdog.service") [ -e "$HOST/installed" ] ;;
    "reset-failed watchdog.service") ;;
    "stop wd_keepalive.service") rm -f "$HOST/keepalive" ;;
    "show -p NeedDaemonReload --value watchdog.service") echo no ;;
    "enable -q --no-reload watchdog.service") [ -e "$HOST/installed" ] && touch "$HOST/enabled" ;;
    "disable -q --no-reload watchdog.service") rm -f "$HOST/enabled" ;;
    "stop watchdog.service") [ ! -e "$HOST/runs" ] || stopped ;;
    "restart watchdog.service") touch "$HOST/runs"; rm -f "$HOST/keepalive"; arm 77 60 ;;
    daemon-reload | daemon-reexec)
        cp "$HOST/wants-runtime" "$HOST/runtime"; echo "2min 5s" >"$HOST/reboot"
        if [ "$(cat "$HOST/runtime")" != 0 ]; then arm 1 60; fi
        if [ "$(cat "$HOST/runtime")" = 0 ] && [ -L "$HOST/proc/1/fd/9" ]; then arm; fi
        ;;
    *) echo "systemctl $*: not expected" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def host(tmp_path):
    """A host with the watchdog package and a systemd that holds nothing yet."""
    return Host(tmp_path)


class Host:
    """A host of files, with a systemctl that changes them."""

    def __init__(self, root):
        self.root = root
        shutil.copytree(PI / "virtual", root, symlinks=True, dirs_exist_ok=True)
        (root / "proc/1/fd").mkdir(parents=True)
        (root / "bin").mkdir()
        program = root / "bin/systemctl"
        program.write_text(SYSTEMCTL)
        program.chmod(0o755)
        for name in ("runtime", "wants-runtime"):
            (root / name).write_text("0\n")
        (root / "reboot").write_text("10min\n")
        (root / "installed").touch()

    def has(self, name):
        """Tell whether something is there."""
        return (self.root / name).is_symlink() or (self.root / name).exists()

    def run(self, verb):
        """Run the role's script and return its status and what it printed."""
        environment = os.environ | {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "HOST": str(self.root),
            "VERB": verb,
            "SYS": str(self.root / "sys"),
            "PROC": str(self.root / "proc"),
            "NOTE": str(self.root / "var/note"),
            "DROPIN": str(self.root / "dropin"),
            "CONFIGURATION": str(self.root / "configuration"),
            "TIMEOUT": "60",
            "SPAN": "1min",
            "REBOOT_SPAN": "2min 5s",
        }
        command = ["sh", "-c", (ROLE / "files/watchdog.sh").read_text()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def effects(self, *pairs):
        """Do what the effects do, and return which of them were due."""
        due = []
        for probe, apply in pairs:
            if self.run(probe)[0]:
                due.append(apply)
                assert self.run(apply) == (0, "")
                assert self.run(probe) == (0, "")
        return due

    def systemd(self):
        """Converge to systemd."""
        self.effects(("probe-note", "note"))
        (self.root / "wants-runtime").write_text("1min\n")
        return self.effects(("probe-away", "away"), ("probe-systemd", "systemd"))

    def daemon(self):
        """Converge to the daemon."""
        self.effects(("probe-note", "note"))
        (self.root / "dropin").touch()
        (self.root / "configuration").touch()
        (self.root / "wants-runtime").write_text("0\n")
        return self.effects(("probe-released", "released"), ("probe-daemon", "daemon"))

    def absent(self):
        """Undo."""
        due = self.effects(("probe-stopped", "stopped"))
        for name in ("dropin", "configuration"):
            (self.root / name).unlink(missing_ok=True)
        (self.root / "wants-runtime").write_text("0\n")
        return due + self.effects(("probe-restored", "restored"))


class TestHandover:
    def test_systemd_takes_it_once(self, host):
        assert host.systemd() == ["systemd"]
        assert host.has("proc/1/fd/9")
        assert host.systemd() == []

    def test_from_systemd_to_the_daemon_and_back(self, host):
        host.systemd()
        assert host.daemon() == ["released", "daemon"]
        assert host.has("proc/77/fd/9")
        assert not host.has("proc/1/fd/9")
        assert host.has("enabled")
        assert host.daemon() == []
        assert host.systemd() == ["away"]
        assert host.has("proc/1/fd/9")
        assert not any(host.has(name) for name in ("runs", "enabled", "keepalive", "dropin"))
        assert host.systemd() == []

    def test_daemon_is_enabled_before_systemd_lets_go(self, host):
        host.systemd()
        (host.root / "asked").unlink()
        host.daemon()
        asked = (host.root / "asked").read_text().splitlines()
        assert asked.index("enable -q --no-reload watchdog.service") < asked.index("daemon-reload")

    def test_somebodys_own_daemon_makes_way_and_comes_back(self, host):
        for name in ("enabled", "runs"):
            (host.root / name).touch()
        assert host.systemd() == ["away"]
        assert not any(host.has(name) for name in ("runs", "enabled", "keepalive"))
        assert host.absent() == ["restored"]
        assert host.has("enabled")
        assert host.has("proc/77/fd/9")

    def test_undo_leaves_the_device_to_nobody_and_is_done_once(self, host):
        host.systemd()
        assert host.absent() == ["restored"]
        assert not host.has("proc/1/fd/9")
        assert host.absent() == []

    def test_undo_stops_the_daemon_while_it_is_configured_not_to_be_kept_alive(self, host):
        host.daemon()
        assert host.absent() == ["stopped", "restored"]
        assert not any(host.has(name) for name in ("runs", "enabled", "keepalive"))

    @pytest.mark.parametrize(
        ("break_it", "says"),
        [
            (
                lambda host: (host / "runtime").write_text("15s\n"),
                "systemd's RuntimeWatchdogUSec is 15s and should be 1min",
            ),
            (
                lambda host: (host / "reboot").write_text("10min\n"),
                "systemd's RebootWatchdogUSec is 10min and should be 2min 5s",
            ),
            (lambda host: (host / "proc/1/fd/9").unlink(), "systemd does not hold the watchdog"),
            (
                lambda host: (host / "sys/class/watchdog/watchdog0/state").write_text("inactive\n"),
                "the watchdog is inactive",
            ),
            (
                lambda host: (host / "sys/class/watchdog/watchdog0/timeout").write_text("30\n"),
                "the watchdog counts to 30 s and should to 60",
            ),
        ],
    )
    def test_each_thing_that_is_not_in_force_is_said(self, host, break_it, says):
        host.systemd()
        break_it(host.root)
        assert host.run("probe-systemd") == (1, says)

    def test_kernel_that_says_nothing_in_sys_is_believed_by_who_holds_it(self, host):
        host.systemd()
        shutil.rmtree(host.root / "sys/class/watchdog")
        assert host.run("probe-systemd") == (0, "")
