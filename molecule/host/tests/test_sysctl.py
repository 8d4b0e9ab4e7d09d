"""Kernel settings: the values that the kernel has, not those in a file."""

import shlex
from pathlib import Path

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles/sysctl"
OWN = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__sysctl_values"]


@pytest.fixture(scope="module")
def live(pi):
    """Every value of the role by its name, as the kernel has it; one command for all."""
    paths = [name.removeprefix("-").replace(".", "/") for name in OWN]
    # grep shows a file's name and its lines, and is silent about files that are not there.
    words = " ".join(shlex.quote(path) for path in paths)
    said = pi.check_output(f"cd /proc/sys && grep -s '' {words} || :")
    lines = (line.partition(":") for line in said.splitlines())
    return {path.replace("/", "."): value for path, _, value in lines}


def test_each_value_is_the_kernels(live):
    wanted = {name.removeprefix("-"): str(value) for name, value in OWN.items()}
    lacking = {name.removeprefix("-") for name in OWN if name.startswith("-")} - set(live)
    assert live == {name: value for name, value in wanted.items() if name not in lacking}
    # IPv6 is off, and only that is lacking on Debian's kernel.
    assert all(name.startswith("net.ipv6.") for name in lacking)


def test_every_interface_follows(pi):
    """What `all` and `default` say holds for those that were there before, Docker's among them."""
    said = pi.check_output(
        "cd /proc/sys/net/ipv4/conf && grep '' */send_redirects */accept_redirects */rp_filter"
    )
    values = dict(line.split(":") for line in said.splitlines())
    assert len(values) > 3 * 3  # all, default, lo, and one that leads out
    # `lo` is older than the settings, and nobody is redirected over it.
    redirects = {path for path in values if path.endswith("redirects") and path[:3] != "lo/"}
    assert {values[path] for path in redirects} == {"0"}
    assert values["all/rp_filter"] == "2"  # the kernel takes the larger of this and the interface's


def test_limit_of_open_files_is_that_of_the_whole_system(pi):
    used, _, most = pi.file("/proc/sys/fs/file-nr").content_string.split()
    assert int(most) == 65535
    assert int(used) < int(most) / 4


def test_containers_still_reach_the_network(pi):
    assert pi.file("/proc/sys/net/ipv4/ip_forward").content_string.strip() == "1"


def test_what_was_before_is_kept(pi):
    lines = pi.file("/var/lib/gridberry/sysctl").content_string.splitlines()
    assert "vm/swappiness 60" in lines
    # The bytes did not count before.
    assert "vm/dirty_bytes =vm/dirty_ratio 20" in lines
