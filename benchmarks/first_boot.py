"""From an image file to the bot's page: a virtual Pi's first boot by Debian's cloud-init.

    python -m benchmarks.first_boot [--keep] [--name pi1] [--user owner]

The way of docs/first-pi.md with the launcher's own verbs. The computer that runs them is a network
namespace: a tap and a bridge lead from it to the machine's network. Its router is the one that QEMU
plays. Needs root. The last line is the outcome; the exit status is 0 where the bot trades and its
page answers.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from benchmarks.home_network import home_network
from benchmarks.plays import ROOT, VIRTUAL
from virtual_pi import lifecycle
from virtual_pi.card import ensure_card, read_card, write_card
from virtual_pi.errors import VirtualPiError
from virtual_pi.firmware import BootPartition
from virtual_pi.image import BOOT_BYTES, Image
from virtual_pi.machines import CreateOptions, Machine, create_machine
from virtual_pi.time_server import HOST_IN_GUEST

BOOT_SECONDS = 1200
PAGE_SECONDS = 300
PAUSE_SECONDS = 5
GRID = ("--lower", "42000", "--upper", "50000")
SEED = {"user-data": "cloud-config", "network-config": "network-config"}
T = TypeVar("T")


def wait_for(
    what: str,
    probe: Callable[[], T | None],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what a probe finds, asked again and again.

    Args:
        what: What is waited for, for the message.
        probe: Asks; None for "not yet".
        seconds: How long at most.
        clock: Tells the time.
        sleep: Waits.

    Raises:
        VirtualPiError: It did not come.
    """
    end = clock() + seconds
    while (found := probe()) is None:
        if clock() >= end:
            raise VirtualPiError(f"{what}: not within {seconds:g} s")
        sleep(PAUSE_SECONDS)
    return found


def settings_of_emulated(virtual: Mapping[str, Any], place: Path, time_port: int) -> dict[str, Any]:
    """Return what an inventory of this machine says beside what `./gridberry new` wrote.

    Args:
        virtual: The settings of all virtual Pis.
        place: Directory with the user's key and known hosts.
        time_port: Where the guest asks for the time.
    """
    # The page stays on the Pi's own address: the tunnel is tried.
    kept = {key: value for key, value in virtual.items() if key != "grid_bot_page_address"}
    return kept | {
        "ansible_ssh_private_key_file": os.fspath(place / "id"),
        "ansible_ssh_common_args": shlex.join(ssh_options(place)),
        "time_sync_servers": [f"{HOST_IN_GUEST} port {time_port}"],
    }


def ssh_options(place: Path) -> list[str]:
    """Return the options of a first login: the host's key is taken as it is, then compared.

    Args:
        place: Directory with the known hosts.
    """
    known = f"UserKnownHostsFile={place / 'known_hosts'}"
    return ["-o", known, "-o", "StrictHostKeyChecking=accept-new", "-o", "IdentitiesOnly=yes"]


def orders_open(found: Sequence[Mapping[str, Any]]) -> int:
    """Return how many orders are open, by `./gridberry status --json`.

    Args:
        found: What it printed.
    """
    bots = [host.get("bot") or {} for host in found]
    return sum(int(grid.get("open_orders") or 0) for bot in bots for grid in bot.get("grids") or [])


class FirstBoot:
    """The stages, in order, and what each leaves for the next.

    Args:
        place: Directory for all files.
        namespace: The network namespace of the computer that the verbs run on.
        tap: The tap device of the machine's network.
        name: The Pi's.
        user: Who logs in.
    """

    def __init__(self, place: Path, namespace: str, tap: str, name: str, user: str) -> None:
        self.place, self._namespace, self._tap = place, namespace, tap
        self._name, self._user = name, user
        self._password = secrets.token_hex(8)
        self._card, self._inventory = place / "card.img", place / "home"
        self._parts = Image(place / "parts")
        self._seed: dict[str, bytes] = {}
        self._address = ""
        self.machine: Machine | None = None
        self.orders = 0

    @property
    def stages(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """The stages: what each is called, and what it does."""
        return (
            ("image file", self.make_card),
            ("prepare", self.prepare),
            ("found", self.find),
            ("first login", self.log_in),
            ("seed checked", self.check_seed),
            ("new", self.new),
            ("deploy", self.deploy),
            ("status", self.status),
            ("open", self.open),
        )

    def make_card(self) -> None:
        """Make the image file from Debian's packages."""
        write_card(ensure_card("trixie"), self._card)

    def prepare(self) -> None:
        """Write the seed into the image file, with a key and a password for sudo."""
        key = os.fspath(self.place / "id")
        self._run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "laptop", "-f", key])
        hashed = self._run(["openssl", "passwd", "-6", "-stdin"], text=self._password)
        file = self.place / "hash"
        file.touch(mode=0o600)
        file.write_text(hashed)
        words = ("--host", self._name, "--user", self._user, "--key", f"{key}.pub")
        secret = ("--password-hash-file", os.fspath(file))
        self._gridberry("prepare", os.fspath(self._card), *words, *secret)

    def find(self) -> None:
        """Start the machine with the card, and look for it by its name."""
        self._parts.directory.mkdir()
        read_card(self._card, self._parts, BOOT_BYTES)
        boot = BootPartition(self._parts.boot)
        self._seed = {name: boot.read(name) for name in SEED}
        options = CreateOptions(tap=self._tap)
        self.machine = create_machine(self.place, self._name, self._parts, options)
        lifecycle.start(self.machine)

        def look() -> str | None:
            said = self._gridberry("find", self._name, "--json", may_fail=True)
            pis = json.loads(said) if said.strip() else []
            found = [at for pi in pis for at in pi["addresses"] if "." in at]
            return found[0] if found else None

        self._address = wait_for("an answer to find", look, BOOT_SECONDS)

    def log_in(self) -> None:
        """Log in with the key, and wait until cloud-init is done."""
        wait_for("a login", lambda: self._on_pi("id -un", may_fail=True) or None, BOOT_SECONDS)
        self._on_pi("cloud-init status --wait >/dev/null || true")
        said = self._on_pi("cloud-init status --long")
        if "status: done" not in said or "errors: []" not in said:
            raise VirtualPiError(f"cloud-init says: {said}")

    def check_seed(self) -> None:
        """Look whether the seed is valid to Debian's cloud-init, and what came of it."""
        for name, kind in SEED.items():
            schema = f"cloud-init schema --schema-type {kind} --config-file /tmp/{name}"
            self._on_pi(f"cat >/tmp/{name} && {schema}", text=self._seed[name].decode())
        found = self._on_pi("id -un; hostname; sudo -n true 2>/dev/null && echo free || echo asks")
        if found.split() != [self._user, self._name, "asks"]:
            raise VirtualPiError(f"the user, the name, and sudo are: {found.split()}")
        self._on_pi("sudo -S -p '' true", text=self._password + "\n")
        self._on_pi("test ! -e /boot/firmware/user-data")

    def new(self) -> None:
        """Write an inventory, with what is different on an emulated machine."""
        if self.machine is None:
            raise VirtualPiError("there is no machine yet")
        name = f"first-boot-{os.getpid()}"
        made = ROOT / "inventory" / name
        pi = ("--pi", f"{self._name}={self._address}", "--user", self._user, "--nvme", "yes")
        try:
            self._gridberry("new", name, "--yes", *pi, *GRID)
            shutil.copytree(made, self._inventory)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        virtual = yaml.safe_load((VIRTUAL / "group_vars" / "trading.yml").read_text())
        port = self.machine.settings().time_port
        text = json.dumps(settings_of_emulated(virtual, self.place, port), indent=1)
        (self._inventory / "group_vars/trading/emulated.yml").write_text(text)  # JSON is YAML

    def deploy(self) -> None:
        """Deploy, with sudo's password asked once."""
        self._gridberry("deploy", "-K", "-i", os.fspath(self._inventory), text=self._password)

    def status(self) -> None:
        """Wait until the bot has orders open."""
        words = ("status", "-K", "--json", "-i", os.fspath(self._inventory))

        def look() -> int | None:
            said = self._gridberry(*words, text=self._password, may_fail=True)
            return orders_open(json.loads(said)) or None if said.strip() else None

        self.orders = wait_for("open orders", look, PAGE_SECONDS)

    def open(self) -> None:
        """Read the page through the launcher's tunnel."""
        command = self._there([f"{ROOT}/gridberry", "open", "-i", os.fspath(self._inventory)])
        environment = self._environment() | {"BROWSER": "/bin/true"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as tunnel:
            try:
                lines = iter(tunnel.stdout or ())
                said = next((line for line in lines if line.startswith("The page of")), "")
                if not said:
                    raise VirtualPiError("open says no address")
                url = next(word for word in said.split() if word.startswith("http"))
                page = self._run(self._there(["curl", "-fsS", "--compressed", url]))
            finally:
                tunnel.send_signal(signal.SIGINT)
        if "<html" not in page or "Gridberry" not in page:
            raise VirtualPiError(f"the page begins with {page[:80]!r}")

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            # This machine's address may be that of an earlier one, to which a connection is open.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": os.fspath(self.place / "cp"),
            "GRIDBERRY_STATE": os.fspath(self.place),
        }

    def _there(self, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self._namespace, *command]

    def _gridberry(self, *words: str, text: str = "", may_fail: bool = False) -> str:
        return self._run(self._there([f"{ROOT}/gridberry", *words]), text=text, may_fail=may_fail)

    def _on_pi(self, script: str, *, text: str = "", may_fail: bool = False) -> str:
        options = ("-i", os.fspath(self.place / "id"), *ssh_options(self.place))
        batch = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=20")
        command = ["ssh", "-F", "none", *options, *batch, f"{self._user}@{self._address}", script]
        return self._run(self._there(command), text=text, may_fail=may_fail)

    def _run(self, command: Sequence[str], *, text: str = "", may_fail: bool = False) -> str:
        """Run a command outside any terminal, and return what it printed; empty where it failed."""
        log, said = self.place / "commands.log", self.place / "said"
        with log.open("a") as errors, said.open("w") as out:
            errors.write(f"$ {shlex.join(command)}\n")
            errors.flush()
            done = subprocess.run(
                command, check=False, input=text, stdout=out, stderr=errors, text=True,
                env=self._environment(), start_new_session=True,
            )  # fmt: skip
        printed = said.read_text(errors="replace")
        with log.open("a") as errors:
            errors.write(printed)
        if done.returncode and not may_fail:
            raise VirtualPiError(f"{command[:8]}: exit status {done.returncode}; see {log}")
        return "" if done.returncode else printed


def run_stages(
    stages: Sequence[tuple[str, Callable[[], None]]], say: Callable[[str], None]
) -> float:
    """Run stages one after the other, and say the time of each; returns the seconds of all.

    Args:
        stages: What each is called, and what it does.
        say: Told of them.

    Raises:
        VirtualPiError: One failed; the later ones have not begun.
    """
    begin = time.monotonic()
    for name, run in stages:
        at = time.monotonic()
        try:
            run()
        except VirtualPiError as error:
            raise VirtualPiError(f"{name}: {error}") from error
        say(f"{name}: {time.monotonic() - at:.0f} s")
    return time.monotonic() - begin


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="first_boot", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", default="pi1", help="the Pi's name (pi1)")
    parser.add_argument("--user", default="owner", help="who logs in (owner)")
    parser.add_argument("--keep", action="store_true", help="keep files and logs")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("only root can make a network namespace, a bridge and a tap")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A shell in the background has it ignored, and the tunnel, which it ends, would ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Short: the path of a socket must fit into 108 bytes.
    place = Path(tempfile.mkdtemp(prefix="gb-", dir="/var/tmp"))

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        with home_network(f"gb{os.getpid()}") as tap:
            boot = FirstBoot(place, f"gb{os.getpid()}", tap, options.name, options.user)
            try:
                seconds = run_stages(boot.stages, say)
            finally:
                if boot.machine is not None:
                    shutil.copyfile(boot.machine.console, place / "console.log")
                    lifecycle.remove(boot.machine)
    except VirtualPiError as error:
        say(f"{error} (the logs: {place})")
        return 1
    if not options.keep:
        shutil.rmtree(place)
    say(f"from image file to page in {seconds:.0f} s: {boot.orders} orders open, the page answers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
