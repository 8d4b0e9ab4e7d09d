"""Whole machines of Debian trixie for tests, on any Debian: systemd runs in namespaces of its own.

The root file system is made once (a minute, 0.7 GB) and kept in GRIDBERRY_CACHE under the hash of
what goes into it; a machine shares its /usr, read-only, and copies the rest. Machines reach each
other through a switch in a network namespace of its own, and nothing else.

As a program it makes the root file system and prints its path:

    sudo python -m tests.trixie_machine
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.trixie_root import MachineMissingError, trixie_root

PACKAGES = (
    *("systemd-sysv", "dbus", "python3", "iproute2", "procps", "openssl", "ca-certificates"),
    *("openssh-server", "postgresql-17", "postgresql-17-timescaledb", "pgbackrest"),
    *("xvfb", "x11vnc", "nftables", "nginx", "git", "python3-venv"),
)
BOOT_SECONDS = 60.0
NETWORK = "10.77.0."
# $1 is the machine's directory, $2 the root file system, $3 its name, $4 a directory as /mnt/usb.
BOOT = """
set -e
R=$1/root
mkdir -p "$R"
mount --bind "$R" "$R"
if [ ! -e "$1/made" ]; then
  for d in etc var root bin lib lib64 sbin; do cp -a "$2/$d" "$R/"; done
  for d in usr local proc sys dev run tmp mnt/usb mnt/data home opt srv boot old; do
    mkdir -p "$R/$d"
  done
  chmod 1777 "$R/tmp"
  touch "$1/made"
fi
mount --bind "$2/usr" "$R/usr"
mount -o remount,bind,ro "$R/usr"
mount --bind "$R/local" "$R/usr/local"
mount --bind "$4" "$R/mnt/usb"
mount -t proc proc "$R/proc"
mount -t sysfs sysfs "$R/sys"
mount -t tmpfs tmpfs "$R/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for n in null zero full random urandom tty; do
  touch "$R/dev/$n"
  mount --bind "/dev/$n" "$R/dev/$n"
done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
hostname "$3"
echo "$3" >"$R/etc/hostname"
ip link set lo up
cd "$R"
pivot_root . old
umount -l /old
# As at a real boot: what a unit is given (LoadCredential) reaches it by a mount that is shared.
mount --make-rshared /
exec env -i container=gridberry PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd
"""


def root_file_system() -> Path:
    """Make the root file system, or find it in the cache.

    Raises:
        MachineMissingError: It cannot be made here.
    """
    # A cluster is the role's to make.
    hook = 'chroot "$1" pg_dropcluster 17 main'
    return trixie_root("trixie-machine", PACKAGES, ("nsenter", "ip"), hook)


def _children(process: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _kernel_groups() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise MachineMissingError("the kernel has no cgroup2 mounted")


class Switch:
    """A network of machines."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        time.sleep(0.1)
        self.do("ip", "link", "add", "br0", "type", "bridge")
        self.do("ip", "link", "set", "br0", "up")

    @property
    def process(self) -> int:
        """A process in the switch's namespace."""
        return self._holder.pid

    def do(self, *command: str) -> None:
        """Run a command in the switch's namespace."""
        subprocess.run(["nsenter", "-t", str(self._holder.pid), "-n", *command], check=True)

    def plug(self, machine: Machine) -> None:
        """Connect a machine that runs."""
        port = f"p{machine.number}"
        subprocess.run(
            ["nsenter", "-t", str(self._holder.pid), "-n", "ip", "link", "del", port],
            check=False,
            stderr=subprocess.DEVNULL,
        )
        peer = ("peer", "name", "eth0", "netns", str(machine.process))
        self.do("ip", "link", "add", port, "type", "veth", *peer)
        self.do("ip", "link", "set", port, "master", "br0", "up")
        machine.run("ip", "address", "add", f"{machine.address}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")

    def cut(self, machine: Machine) -> None:
        """Cut a machine's cable."""
        self.do("ip", "link", "set", f"p{machine.number}", "down")

    def mend(self, machine: Machine) -> None:
        """Mend it."""
        self.do("ip", "link", "set", f"p{machine.number}", "up")

    def close(self) -> None:
        """Take the network away."""
        self._holder.kill()
        self._holder.wait()


class Machine:
    """A machine that can be switched on and off, and whose power can be cut.

    Args:
        directory: Where its files are.
        number: Of its address in the network.
        name: Its host name.
        usb: A directory that it has as /mnt/usb; several machines may have the same.
        switch: Its network.
    """

    def __init__(self, directory: Path, number: int, name: str, usb: Path, switch: Switch) -> None:
        self.root = root_file_system()
        self.directory, self.number, self.name, self.usb = directory, number, name, usb
        self.switch = switch
        self.address = f"{NETWORK}{number}"
        self.process = 0
        self._unshare: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        usb.mkdir(parents=True, exist_ok=True)

    def path(self, inside: str) -> Path:
        """Return where a file of the machine is here (not below /usr, /run and /mnt/usb)."""
        return self.directory / "root" / inside.lstrip("/")

    def kernel_group(self) -> Path:
        """Return the control group that all its processes are in."""
        return _kernel_groups() / f"gridberry-{os.getpid()}-{self.name}"

    def boot(self) -> None:
        """Switch it on, and wait until systemd has started what it is to start.

        Raises:
            RuntimeError: It does not start.
        """
        group = self.kernel_group()
        group.mkdir(exist_ok=True)
        spaces = ("--fork", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")
        enter = f'echo 0 >{group}/cgroup.procs; exec unshare "$@"'
        arguments = (self.directory, self.root, self.name, self.usb)
        command = ["sh", "-c", enter, "sh", *spaces, "--propagation=private", "--kill-child"]
        with (self.directory / "console").open("ab") as console:
            self._unshare = subprocess.Popen(
                [*command, "sh", "-c", BOOT, "sh", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        until = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < until and self._unshare.poll() is None:
            time.sleep(0.1)
            found = _children(self._unshare.pid)
            if found and Path(f"/proc/{found[0]}/comm").read_text().strip() == "systemd":
                self.process = found[0]
                break
        if not self.process:
            raise RuntimeError(f"{self.name} does not start: see {self.directory}/console")
        self.switch.plug(self)
        while time.monotonic() < until:
            state = self.ask("systemctl", "is-system-running")
            if state in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise RuntimeError(f"{self.name} is {state}: {self.ask('systemctl', 'list-jobs')}")

    def command(self, *words: str) -> list[str]:
        """Return a command that runs inside, as root."""
        return ["nsenter", "-t", str(self.process), "-a", "--", *words]

    def run(self, *words: str, text: str | None = None) -> str:
        """Run a command inside and return what it prints.

        Raises:
            RuntimeError: It failed; says what it printed.
        """
        done = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def ask(self, *words: str) -> str:
        """Run a command inside; what it prints, whatever its status is."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    def cut_power(self) -> None:
        """End all its processes at once (SIGKILL)."""
        if self.process:
            os.kill(self.process, signal.SIGKILL)
        self._gone()

    def shut_down(self) -> None:
        """Stop its services in order, then switch it off."""
        self.ask("systemctl", "stop", "postgresql@17-main.service")
        self.cut_power()

    def _gone(self) -> None:
        if self._unshare is not None:
            self._unshare.wait(timeout=60)
        self._unshare, self.process = None, 0
        group = self.kernel_group()
        for path in sorted(group.rglob("*/"), key=lambda one: -len(one.parts)):
            path.rmdir()
        if group.is_dir():
            group.rmdir()


if __name__ == "__main__":
    try:
        print(root_file_system())
    except MachineMissingError as error:
        raise SystemExit(f"trixie_machine: {error}") from error
