"""The role network, run on this machine with a directory of the test's for its root."""

import os
import subprocess
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "## template:jinja\n# as shipped\n127.0.1.1 {{fqdn}} {{hostname}}\n"
PLAY = """- hosts: localhost
  connection: local
  gather_facts: false
  roles:
    - role: network
"""


class Host:
    """A directory with /etc/hosts, and with cloud-init's template if it is there."""

    def __init__(self, root: Path, *, cloud_init: bool):
        self.root = root
        self.hosts = root / "etc/hosts"
        self.template = root / "etc/cloud/templates/hosts.debian.tmpl"
        self.hosts.parent.mkdir()
        self.hosts.write_text("127.0.1.1 before\n")
        if cloud_init:
            self.template.parent.mkdir(parents=True)
            self.template.write_text(TEMPLATE)
        (root / "play.yml").write_text(PLAY)

    def play(self, *words: str) -> str:
        """Run the role and return its recap."""
        done = subprocess.run(
            [
                *("ansible-playbook", "-i", "localhost,", "-e", f"__network_root={self.root}"),
                *("-e", "network_hostname=pi1.lan", *words, str(self.root / "play.yml")),
            ],
            cwd=ROOT,
            env=os.environ
            | {
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_INTERPRETER_PYTHON": "auto_silent",
                "ANSIBLE_NOCOLOR": "true",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return next(line for line in done.stdout.splitlines() if "ok=" in line)

    def boot(self) -> None:
        """Write /etc/hosts as cloud-init does it: Jinja without the first line of the template."""
        first, text = self.template.read_text().split("\n", 1)
        assert first == "## template:jinja"
        environment = jinja2.Environment(  # noqa: S701 - no HTML
            trim_blocks=True, undefined=jinja2.StrictUndefined, extensions=["jinja2.ext.do"]
        )
        written = environment.from_string(text).render(hostname="pi1", fqdn="pi1.lan")
        self.hosts.write_text(written + "\n")


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the role gives its files to root")


def test_cloud_init_writes_at_boot_what_the_role_wrote(tmp_path):
    host = Host(tmp_path, cloud_init=True)
    # Not Jinja's to Ansible either: as an inventory has it with !unsafe.
    (tmp_path / "vars.yml").write_text(
        "network_hosts: [!unsafe '192.168.1.10 nas # {{ no }} {% name %} {# here #}']\n"
    )
    settings = ("-e", f"@{tmp_path / 'vars.yml'}")
    assert "changed=1" in host.play(*settings)
    written = host.hosts.read_text()
    assert "127.0.1.1\tpi1.lan pi1\n" in written
    assert "192.168.1.10 nas # {{ no }} {% name %} {# here #}\n" in written
    host.boot()
    assert host.hosts.read_text() == written
    assert "changed=0" in host.play(*settings)
    assert "changed=0" in host.play("--check", *settings)
    assert "changed=1" in host.play("-e", "network_state=absent")
    assert host.hosts.read_text() == "127.0.1.1 before\n"
    assert host.template.read_text() == TEMPLATE
    assert "changed=0" in host.play("-e", "network_state=absent")


def test_without_cloud_init_there_is_no_template(tmp_path):
    host = Host(tmp_path, cloud_init=False)
    assert "changed=1" in host.play()
    assert "127.0.1.1\tpi1.lan pi1\n" in host.hosts.read_text()
    assert not host.template.parent.exists()
    assert "changed=0" in host.play()


def test_the_host_tells_its_own_name(tmp_path):
    host = Host(tmp_path, cloud_init=True)
    host.play("-e", "network_hostname=")
    name = Path("/proc/sys/kernel/hostname").read_text().strip()
    assert name in host.hosts.read_text().splitlines()[2].split()
