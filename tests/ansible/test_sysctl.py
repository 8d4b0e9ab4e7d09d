"""Role sysctl: its values, what it refuses, and its script against a kernel made of files."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from roles.sysctl.filter_plugins import kernel_values

ROLE = Path(__file__).resolve().parents[2] / "roles/sysctl"
OWN = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__sysctl_values"]
SCRIPT = (ROLE / "files/kernel_values.sh").read_text()


class TestValues:
    def test_the_guides_ask_for_these(self):
        assert OWN["vm.swappiness"] == 10
        assert OWN["fs.file-max"] == 65535

    def test_own_values_would_be_let_through(self):
        assert kernel_values.problems(OWN) == []

    def test_readme_has_each_value_and_a_reason(self):
        row = re.compile(r"^\| `(-?[\w.-]+)` \| `(\d+)` \| (.+) \|$", re.MULTILINE)
        rows = row.findall((ROLE / "README.md").read_text())
        assert {name: int(value) for name, value, _ in rows} == OWN

    def test_docker_keeps_what_it_needs(self):
        assert not any("forward" in name for name in OWN)

    def test_file_is_read_after_all_others(self):
        name = Path(yaml.safe_load((ROLE / "vars/main.yml").read_text())["__sysctl_path"]).name
        others = ["98-rpi.conf", "99-sysctl.conf", "99-zzz.conf", "k8s.conf", "protect-links.conf"]
        assert max([*others, name]) == name


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"swappiness": 1}, "sysctl_values has 'swappiness'; use a setting's name such as vm."),
        ({"vm.swap piness": 1}, "sysctl_values has 'vm.swap piness'"),
        ({"vm.a\nvm.b": 1}, "sysctl_values has 'vm.a\\nvm.b'"),
        ({"vm/../../etc/passwd": 1}, "sysctl_values has"),
        ({"net.ipv4.conf.*.rp_filter": 1}, "sysctl_values has"),
        ({10: 1}, "sysctl_values has 10; use a setting's name"),
        ({"vm.swappiness": True}, "sysctl_values.vm.swappiness is True; use a whole number, text"),
        ({"vm.swappiness": 1.5}, "sysctl_values.vm.swappiness is 1.5; use a whole number, text"),
        ({"vm.swappiness": [1]}, "sysctl_values.vm.swappiness is [1]; use a whole number, text"),
        ({"kernel.core_pattern": ""}, "is ''; use one line of 1 to 1024 characters"),
        ({"kernel.core_pattern": "a\nvm.b = 1"}, "use one line of 1 to 1024 characters"),
        (
            {"net.ipv4.ip_forward": 0},
            "sysctl_values.net.ipv4.ip_forward is 0; use 1: Docker's networks need it",
        ),
        ({"net/ipv4/ip_forward": "0"}, "is '0'; use 1"),
        ({"vm.min_free_kbytes": 4194304}, "use a whole number from 1024 to 262144: more"),
        ({"fs.file-max": 100}, "fs.file-max is 100; use a whole number from 8192"),
        ({"-vm.overcommit_memory": 2}, "use a whole number from 0 to 1: 2 keeps Docker"),
        (
            {"vm.swappiness": 1, "-vm/swappiness": 2},
            "sysctl_values has 'vm.swappiness' and '-vm/swappiness', which are the same",
        ),
    ],
)
def test_wrong_setting_is_one_line(values, says):
    [line] = kernel_values.problems(values)
    assert says in line
    assert "\n" not in line


def test_right_settings_are_let_through():
    values = {
        "net.ipv4.conf.eth0/100.rp_filter": 2,
        "net/ipv4/conf/eth0.100/log_martians": 0,
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
        "kernel.core_pattern": "|/bin/false",
        "vm.vfs_cache_pressure": None,
    }
    assert kernel_values.problems(values) == []


def test_inventory_wins_and_null_takes_out():
    own = {"vm.a": 1, "-vm.b": 2, "vm.c": 3}
    entries = kernel_values.merge(own, {"vm.b": "7\t8", "vm.a": None, "net.ipv4.conf.eth0/1.x": 0})
    assert kernel_values.file_lines(entries) == "vm/b = 7 8\nvm/c = 3\nnet/ipv4/conf/eth0.1/x = 0\n"


@pytest.fixture
def kernel(tmp_path):
    """A kernel's settings as files, with the role's script to run against them."""
    return Kernel(tmp_path)


class Kernel:
    """Files in place of /proc/sys."""

    def __init__(self, directory):
        self.settings = directory / "proc sys"
        self.note = directory / "var/lib/note"
        self.file = directory / "zz-gridberry.conf"
        for path, value in {
            "vm/swappiness": "60",
            "vm/dirty_bytes": "0",
            "vm/dirty_ratio": "20",
            "net/tcp_rmem": "4096\t131072\t6291456",
        }.items():
            self.put(path, value)
        applier = directory / "systemd-sysctl"
        applier.write_text(
            "#!/bin/sh\nwhile read -r path _ value; do\n"
            'echo "$value" >"$KERNEL/${path#-}" || exit 1\ndone <"$1"\n'
        )
        applier.chmod(0o755)
        self.applier = applier

    def put(self, path, value):
        """Set a setting, as something else than the role does."""
        file = self.settings / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    def get(self, path):
        """Read a setting."""
        return (self.settings / path).read_text().strip()

    def run(self, verb, wanted):
        """Run the script and return its status and what it printed."""
        entries = kernel_values.merge({}, wanted)
        self.file.write_text(
            "".join(
                f"{one['path']} = {one['value']}\n"
                for one in entries
                if (self.settings / one["path"]).exists()
            )
        )
        environment = os.environ | {
            "VERB": verb,
            "WANTED": kernel_values.file_lines(entries),
            "KERNEL": str(self.settings),
            "NOTE": str(self.note),
            "FILE": str(self.file),
            "SYSTEMD_SYSCTL": str(self.applier),
        }
        done = subprocess.run(
            ["sh", "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def converge(self, wanted):
        """Do what the role's effects do, in their order, and return whether anything was due."""
        due = False
        for probe, apply in (("probe-note", "note"), ("probe", "apply")):
            if self.run(probe, wanted)[0]:
                due = True
                assert self.run(apply, wanted) == (0, "")
                assert self.run(probe, wanted) == (0, "")
        return due


WANTED = {"vm.swappiness": 10, "net.tcp_rmem": "4096 1 2", "vm.dirty_bytes": 64, "-vm.lacking": 1}


class TestScript:
    def test_applies_once_and_sets_back(self, kernel):
        assert kernel.converge(WANTED)
        assert kernel.get("vm/swappiness") == "10"
        assert not kernel.converge(WANTED)
        assert kernel.run("probe-restored", {})[0] == 1
        assert kernel.run("restore", {}) == (0, "")
        assert kernel.get("vm/swappiness") == "60"
        assert kernel.get("net/tcp_rmem").split() == ["4096", "131072", "6291456"]
        # The bytes did not count before; writing the ratio makes the kernel forget them.
        assert kernel.get("vm/dirty_ratio") == "20"
        assert kernel.run("probe-restored", {}) == (0, "")

    def test_what_somebody_changed_is_named_and_set_again(self, kernel):
        kernel.converge(WANTED)
        kernel.put("vm/swappiness", "33")
        assert kernel.run("probe", WANTED) == (1, "vm/swappiness is 33 and should be 10")
        assert kernel.converge(WANTED)
        # What is noted is what was there before the first run.
        kernel.run("restore", {})
        assert kernel.get("vm/swappiness") == "60"

    def test_what_is_no_longer_wanted_goes_back(self, kernel):
        kernel.converge(WANTED)
        fewer = {"vm.swappiness": 10}
        assert kernel.run("probe", fewer)[0] == 1
        assert kernel.converge(fewer)
        assert kernel.get("net/tcp_rmem").split() == ["4096", "131072", "6291456"]
        assert kernel.note.read_text() == "vm/swappiness 60\n"
        assert not kernel.converge(fewer)

    def test_more_values_later_are_noted_too(self, kernel):
        kernel.converge({"vm.swappiness": 10})
        assert kernel.converge(WANTED)
        assert "net/tcp_rmem 4096 131072 6291456\n" in kernel.note.read_text()
        assert "vm/swappiness 60\n" in kernel.note.read_text()

    def test_what_the_kernel_lacks_is_said(self, kernel):
        status, said = kernel.run("probe", {"vm.lacking": 1})
        assert status == 1
        assert said.startswith("vm/lacking: the kernel has no such setting")

    def test_refused_old_value_is_said_and_the_rest_goes_back(self, kernel):
        kernel.converge(WANTED)
        # Nobody can write a directory, not even root.
        (kernel.settings / "vm/swappiness").unlink()
        (kernel.settings / "vm/swappiness").mkdir()
        status, said = kernel.run("restore", {})
        assert status == 1
        assert said.endswith("a reboot brings it back: vm/swappiness (60)")
        assert kernel.get("vm/dirty_ratio") == "20"
        assert kernel.run("probe-restored", {}) == (0, "")

    def test_broken_off_while_noting_leaves_the_note_whole(self, kernel):
        kernel.note.parent.mkdir(parents=True)
        kernel.note.with_name("note.new").write_text("vm/swap")
        assert kernel.converge(WANTED)
        assert "vm/swappiness 60\n" in kernel.note.read_text()


class TestKnown:
    @pytest.mark.parametrize(
        ("lines", "status"),
        [
            ("# a comment\nvm/swappiness = 10\n-vm/lacking = 1\n", 0),
            ("vm/swappiness = 10\nvm/lacking = 1\n", 1),
        ],
    )
    def test_file_with_what_the_kernel_lacks_is_refused(self, kernel, lines, status):
        kernel.file.write_text(lines)
        program = (ROLE / "files/known.awk").read_text()
        command = ["awk", "-v", f"kernel={kernel.settings}", program, str(kernel.file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert ("vm/lacking" in done.stdout) == bool(status)

    def test_program_has_no_mark_that_file_set_replaces(self):
        assert "%s" not in (ROLE / "files/known.awk").read_text()
