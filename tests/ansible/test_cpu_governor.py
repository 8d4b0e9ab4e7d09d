"""Role cpu_governor: what it decides, and the whole role against Pis made of files."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from roles.cpu_governor.filter_plugins import governors

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/cpu_governor"
PI = ROOT / "tests/fixtures/pi"
BOARDS = ["pi3b+", "pi4", "cm4", "pi5"]
POLICY = "sys/devices/system/cpu/cpufreq/policy0"

# Does with the fixture what systemd would do with the host.
SYSTEMCTL = """#!/bin/sh
unit=$HOST/etc/systemd/system/gridberry-cpu-governor.service
wants=$HOST/wants
case $1 in
    daemon-reload) ;;
    is-enabled) [ -e "$wants" ] ;;
    enable) [ -e "$unit" ] && touch "$wants" ;;
    disable) rm -f "$wants" ;;
    restart)
        line=$(sed -n "s/^ExecStart=.bin.sh -c '\\(.*\\)'$/\\1/p" "$unit")
        sh -c "$(echo "$line" | sed "s|/sys/|$HOST/sys/|g; s|[$][$]|$|g")"
        ;;
    *) echo "systemctl $*: not expected" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def host(tmp_path):
    """Make a host of the files of a board."""

    def make(board):
        shutil.copytree(PI / board, tmp_path / "host", symlinks=True)
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "systemctl").write_text(SYSTEMCTL)
        (programs / "systemctl").chmod(0o755)
        return Host(tmp_path / "host", programs)

    return make


class Host:
    """A host of files."""

    def __init__(self, root, programs):
        self.root = root
        self.programs = programs

    def write(self, path, text):
        """Write one of its files."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def governor(self, policy="policy0"):
        """Read a governor."""
        return (
            (self.root / POLICY).with_name(policy).joinpath("scaling_governor").read_text().strip()
        )

    def shell(self, script, **more):
        """Run one of the role's scripts and return its status and output."""
        environment = os.environ | {"ROOT": str(self.root), "KERNEL": "6.12-pi"} | more
        text = (ROLE / "files" / script).read_text()
        done = subprocess.run(
            ["sh", "-c", text], env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def look(self):
        """Run look.sh."""
        return self.shell("look.sh")[1]

    def play(self, *words):
        """Run the role and return its output."""
        play = self.programs.parent / "play.yml"
        play.write_text(
            "- hosts: localhost\n  connection: local\n  gather_facts: false\n"
            "  roles:\n    - role: cpu_governor\n"
        )
        root = f"__cpu_governor_root={self.root}"
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-e", root, *words, str(play)],
            cwd=ROOT,
            env=os.environ
            | {
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "HOST": str(self.root),
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
                "ANSIBLE_INTERPRETER_PYTHON": "auto_silent",
                "ANSIBLE_NOCOLOR": "true",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["", "Performance", "a b", "x" * 20, "../x", 5, None])
def test_what_is_no_name_is_one_line(name):
    [line] = governors.name_problems(name)
    assert line.startswith(f"cpu_governor_name is {name!r}; use performance, ondemand or another")


@pytest.mark.parametrize("board", BOARDS)
def test_each_board_has_the_default_and_no_imagined_one(host, board):
    look = host(board).look()
    assert governors.words(look, "policy") == ["policy0 ondemand"]
    assert governors.host_problems(look, "performance") == []
    [line] = governors.host_problems(look, "turbo")
    assert line == (
        "cpu_governor_name is 'turbo'; use conservative, ondemand, performance, powersave,"
        " schedutil, userspace: this kernel has no other"
    )


def test_governor_that_is_a_module_counts(host):
    pi = host("pi4")
    pi.write(f"{POLICY}/scaling_available_governors", "performance schedutil \n")
    pi.write(
        "lib/modules/6.12-pi/modules.dep",
        "kernel/drivers/cpufreq/cpufreq_ondemand.ko.xz: kernel/drivers/cpufreq/x.ko.xz\n"
        "kernel/drivers/cpufreq/cpufreq-dt.ko.xz:\n",
    )
    assert governors.host_problems(pi.look(), "ondemand") == []
    assert governors.host_problems(pi.look(), "conservative") != []


def test_virtual_machine_has_no_policy(host):
    virtual = host("virtual")
    assert virtual.look() == ""
    assert virtual.shell("governors.sh", VERB="probe", WANTED="performance") == (
        1,
        "the kernel does not scale the CPUs' frequency",
    )


def test_each_policy_is_looked_at(host):
    pi = host("pi5")
    shutil.copytree(pi.root / POLICY, (pi.root / POLICY).with_name("policy2"))
    pi.write(f"{POLICY}/scaling_governor", "performance\n")
    assert pi.shell("governors.sh", VERB="probe", WANTED="performance") == (
        1,
        "governor is ondemand (policy2)",
    )


def test_other_lines_of_other_programs_stay(host):
    pi = host("pi4")
    pi.write("usr/bin/raspi-config", "")
    pi.write(
        "etc/default/cpu_governor",
        '#\n# CPU_DEFAULT_GOVERNOR="ondemand"\n\n'
        "CPU_DEFAULT_GOVERNOR=ondemand\nCPU_ONDEMAND_UP_THRESHOLD=70\n\n",
    )
    line = 'CPU_DEFAULT_GOVERNOR="performance"'
    written = governors.defaults_file(pi.look(), "raspi-config", line)
    assert written == (
        '#\n# CPU_DEFAULT_GOVERNOR="ondemand"\n\nCPU_ONDEMAND_UP_THRESHOLD=70\n'
        'CPU_DEFAULT_GOVERNOR="performance"\n'
    )
    pi.write("etc/default/cpu_governor", written)
    assert governors.defaults_file(pi.look(), "raspi-config", line) == written


@pytest.mark.skipif(os.geteuid() != 0, reason="the role writes files that root owns")
class TestRole:
    def test_sets_says_nothing_new_and_goes_back(self, host):
        pi = host("pi4")
        shutil.copytree(pi.root / POLICY, (pi.root / POLICY).with_name("policy2"))
        pi.write("usr/bin/raspi-config", "")
        pi.write("etc/init.d/cpufrequtils", "")
        pi.write("etc/systemd/system/ssh.service", "")
        pi.write("etc/default/cpu_governor", "CPU_ONDEMAND_UP_THRESHOLD=70\n")
        before = sorted(path.relative_to(pi.root) for path in pi.root.rglob("*"))
        said = pi.play("--check")
        assert "failed=0" in said
        assert "changed=1" in said
        assert pi.governor() == "ondemand"
        assert "changed=1" in pi.play()
        assert pi.governor() == pi.governor("policy2") == "performance"
        assert (pi.root / "etc/default/cpu_governor").read_text() == (
            'CPU_ONDEMAND_UP_THRESHOLD=70\nCPU_DEFAULT_GOVERNOR="performance"\n'
        )
        assert (pi.root / "etc/default/cpufrequtils").read_text() == 'GOVERNOR="performance"\n'
        pi.write(f"{POLICY}/scaling_governor", "powersave\n")
        assert "changed=1" in pi.play()
        assert pi.governor() == "performance"
        assert "changed=0" in pi.play()
        assert "changed=1" in pi.play("-e", "cpu_governor_state=absent")
        assert pi.governor() == pi.governor("policy2") == "ondemand"
        assert (
            pi.root / "etc/default/cpu_governor"
        ).read_text() == "CPU_ONDEMAND_UP_THRESHOLD=70\n"
        after = {path.relative_to(pi.root) for path in pi.root.rglob("*")} - set(before)
        assert {str(path) for path in after} == {"var", "var/lib", "var/lib/gridberry"}

    def test_virtual_machine_is_said_and_left_alone(self, host):
        said = host("virtual").play()
        assert "its kernel scales no frequencies" in said
        assert "changed=0" in said
        assert "failed=0" in said

    def test_governor_that_the_kernel_lacks_changes_nothing(self, host):
        pi = host("pi3b+")
        said = pi.play("-e", "cpu_governor_name=turbo")
        assert "cpu_governor_name is 'turbo'; use conservative, ondemand, performance" in said
        assert not (pi.root / "etc").exists()
