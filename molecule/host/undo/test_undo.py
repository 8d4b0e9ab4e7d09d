"""The host's roles and Docker are undone, and nothing but what docs/ansible.md names stays.

What was before is read from the image that the machine was made of. Runs last: see molecule.yml.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAME = os.environ["GRIDBERRY_TEST_MACHINE"]
# Where roles write.
TREES = ("/etc", "/usr/local", "/opt")
KEPT = "/mnt/data/kept"
# Some of what role sysctl sets, as a kernel that nobody told anything has it.
KERNEL = {
    "vm.swappiness": "60",
    "vm.vfs_cache_pressure": "100",
    "vm.dirty_bytes": "0",
    "kernel.panic": "0",
    "kernel.panic_on_oops": "0",
    "net.ipv4.tcp_keepalive_time": "7200",
    "net.ipv4.tcp_rfc1337": "0",
}

# What a machine makes of itself at its first boot, or any program of Debian's at its work.
OWN = {
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/adjtime",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/machine-id",
    "/etc/mtab",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
}
# Packages that were removed leave these: users and groups, and their configuration.
USERS = {
    f"/etc/{name}{old}" for name in ("passwd", "group", "shadow", "gshadow") for old in ("", "-")
}
USERS |= {f"/etc/sub{name}{old}" for name in ("uid", "gid") for old in ("", "-")}


def tool(name: str) -> str:
    """Where a tool is that only root has in PATH."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found, f"{name} is missing; the package e2fsprogs or mtools has it"
    return found


def virtual_pi(*words: str) -> str:
    """What a verb of virtual_pi prints."""
    command = [sys.executable, "-m", "virtual_pi", *words]
    return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout


def boots() -> int:
    """How often the machine was started."""
    machines = json.loads(virtual_pi("list", "--json"))
    return next(one["boots"] for one in machines if one["name"] == NAME)


def undo(*words: str) -> subprocess.CompletedProcess:
    """Run undo.yml against it."""
    command = ["ansible-playbook", "-i", "inventory/virtual", "playbooks/undo.yml", *words]
    plain = os.environ | {"ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
    return subprocess.run(command, check=False, cwd=ROOT, env=plain, capture_output=True, text=True)


def recap(said: str) -> dict[str, int]:
    """Ansible's counts for the machine."""
    (line,) = [line for line in said.splitlines() if line.startswith(f"{NAME} ") and "ok=" in line]
    return {word: int(count) for word, count in (one.split("=") for one in line.split()[2:])}


@pytest.fixture(scope="module")
def image():
    """The directory of the image that the machine was made of."""
    machines = json.loads(virtual_pi("list", "--json"))
    release = next(one["release"] for one in machines if one["name"] == NAME)
    return Path(virtual_pi("image", "--release", release).split()[-1])


@pytest.fixture(scope="module")
def before(image, tmp_path_factory):
    """The image's TREES and list of packages, in a directory."""
    directory = tmp_path_factory.mktemp("before")
    for path in (*TREES, "/var/lib/dpkg/status"):
        place = directory / Path(path).parent.relative_to("/")
        place.mkdir(parents=True, exist_ok=True)
        asked = [tool("debugfs"), "-R", f"rdump {path} {place}", image / "root.img"]
        subprocess.run(asked, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module", autouse=True)
def undone(machine, pi):
    """The run that undoes everything; the machine has been rebooted by it."""
    pi.check_output(f"echo kept >{KEPT} && sync {KEPT}")
    count = boots()
    done = undo()
    machine.forget_connection()
    assert done.returncode == 0, done.stdout[-3000:]
    assert boots() == count + 1, "it was to reboot once"
    return done


def lines_before(before: Path) -> set[str]:
    """Paths in the image's TREES: kind, mode, and content or target."""
    found = set()
    for tree in TREES:
        for path in (before / tree[1:]).rglob("*"):
            name = f"/{path.relative_to(before)}"
            mode = path.lstat().st_mode & 0o7777
            if path.is_symlink():
                found.add(f"{name} link {path.readlink()}")
            elif path.is_dir():
                found.add(f"{name} directory {mode:o}")
            else:
                found.add(f"{name} {mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return found


def lines_now(pi) -> set[str]:
    """The same of the machine."""
    trees = " ".join(TREES)
    said = pi.check_output(
        f"find {trees} -mindepth 1 -type l -printf '%p link %l\\n'"
        " -o -mindepth 1 -type d -printf '%p directory %m\\n' -o -type f -printf '%p %m\\n';"
        f" find {trees} -type f -exec sha256sum {{}} +"
    ).splitlines()
    digests = {}
    for line in said:
        digest, _, path = line.partition("  ")
        if len(digest) == 64:
            digests[path] = digest
    found = set()
    for line in said:
        path = line.split(" ", 1)[0]
        if path.startswith("/"):
            found.add(f"{line} {digests[path]}" if path in digests else line)
    return found


LEFTOVERS = r"""
removed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^config-files //p')
for package in $removed; do
    echo "package $package"
    dpkg-query -W -f='${Conffiles}\n' "$package" | awk '{print $1}'
    cat "/var/lib/dpkg/info/$package.list"
    awk -v package="$package" '$1 == package {print $2}' /var/lib/ucf/registry
done 2>/dev/null
# What enabled their units.
cat /var/lib/systemd/deb-systemd-helper-enabled/*.dsh-also
"""
# What some write when they are installed, or while they run.
WRITTEN_BY = {"apparmor": ["/etc/apparmor.d/"], "containerd": ["/etc/cni", "/etc/containerd"]}


def left_by_packages(pi):
    """A function that tells whether a line of lines_now is what a removed package left."""
    said = pi.check_output(LEFTOVERS).splitlines()
    paths = {line for line in said if line.startswith("/")}
    paths |= {str(parent) for path in paths for parent in Path(path).parents}
    packages = {line.removeprefix("package ") for line in said} & WRITTEN_BY.keys()
    places = tuple(place for package in packages for place in WRITTEN_BY[package])

    def left(line: str) -> bool:
        path, _, what = line.partition(" ")
        # /etc/rc2.d/S01chrony link ../init.d/chrony
        script = f"/etc/init.d/{Path(what).name}" if "../init.d/" in what else path
        return script in paths or (places != () and path.startswith(places))

    return left


def test_files_are_those_of_the_image(pi, before):
    was, now, left = lines_before(before), lines_now(pi), left_by_packages(pi)
    gone = [line for line in was - now if line.split()[0] not in OWN | USERS]
    new = [line for line in now - was if line.split()[0] not in OWN | USERS and not left(line)]
    assert "\n".join(sorted(gone)) == ""
    assert "\n".join(sorted(new)) == ""


def test_the_host_has_its_own_name(pi):
    assert pi.file("/etc/hosts").content_string == f"127.0.0.1\tlocalhost\n127.0.1.1\t{NAME}\n"


def test_boot_files_are_those_of_the_image(pi, image):
    there = pi.check_output("ls -A /boot/firmware").split()
    assert sorted(there) == ["cmdline.txt", "config.txt", "initramfs8", "kernel8.img"]
    for name in ("cmdline.txt", "config.txt"):
        asked = [tool("mtype"), "-i", image / "boot.img", f"::{name}"]
        was = subprocess.run(asked, check=True, capture_output=True).stdout
        assert pi.file(f"/boot/firmware/{name}").content == was


def test_packages_are_those_of_the_image(pi, before):
    words = ["dpkg-query", f"--admindir={before}/var/lib/dpkg", "-W"]
    form = "${Package} ${Version} ${db:Status-Status}\n"
    was = subprocess.run([*words, f"-f={form}"], check=True, capture_output=True, text=True).stdout
    now = pi.check_output(f"dpkg-query -W -f='{form.strip()}\\n'")

    def installed(text: str) -> set[str]:
        return {line for line in text.splitlines() if line.endswith(" installed")}

    assert installed(now) == installed(was)
    assert pi.check_output("dpkg --audit") == ""


def test_nothing_of_it_runs(pi):
    assert pi.check_output("systemctl list-units --failed --no-legend --plain") == ""
    assert pi.check_output("systemctl list-unit-files --no-legend 'gridberry*' || true") == ""
    active = "systemctl list-units --no-legend --plain 'docker*' 'containerd*' 'chrony*' 'smart*'"
    assert pi.check_output(active) == ""
    assert pi.check_output("sed 1d /proc/swaps") == ""
    assert pi.check_output("! command -v nft >/dev/null || nft list ruleset") == ""
    said = pi.check_output("systemctl is-active systemd-timesyncd systemd-journald ssh")
    assert said.split() == ["active"] * 3


def test_the_kernel_has_its_own_values(pi):
    assert (
        dict(
            line.split(" = ") for line in pi.check_output(f"sysctl {' '.join(KERNEL)}").splitlines()
        )
        == KERNEL
    )
    assert pi.file("/proc/sys/net/ipv6").exists


def test_mounts_are_those_of_the_system(pi):
    for place in ("/mnt/data", "/var/log"):
        assert pi.run(f"mountpoint -q {place}").rc != 0
    # Trixie has it in memory by itself, and allows it half of that.
    size = pi.run("findmnt -bnro SIZE --mountpoint /tmp").stdout
    total = int(pi.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo")) * 1024
    assert not size or abs(int(size) - total // 2) < 2**20


def test_what_is_on_the_drive_stays(pi):
    said = pi.check_output(
        "at=$(mktemp -d) && mount -L gridberry $at && cd $at && cat kept &&"
        " ls && cd / && umount $at && rmdir $at"
    )
    assert said.split()[0] == "kept"
    assert "docker" in said.split()
    assert "swapfile" not in said.split()


def test_of_what_gridberry_noted_only_incidents_stay(pi):
    there = set(pi.check_output("ls -A /var/lib/gridberry 2>/dev/null || true").split())
    assert there <= {"incidents.jsonl", "incidents.boot"}


def test_a_second_undo_has_nothing_to_do():
    done = undo("--check", "--diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert recap(done.stdout)["changed"] == 0, done.stdout[-6000:]
