"""The command line: `python3 -m virtual_pi VERB`."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from virtual_pi import lifecycle
from virtual_pi.base_image import VARIANTS, write_base_image
from virtual_pi.errors import UsageError, VirtualPiError
from virtual_pi.image import ensure_image
from virtual_pi.machines import (
    CreateOptions,
    Machine,
    all_machines,
    check_options,
    create_machine,
    find_machine,
    list_machines,
    ssh_command,
)
from virtual_pi.paths import cache_directory, state_directory
from virtual_pi.rootfs import RELEASES, Progress
from virtual_pi.snapshot import load, take

OK, FAILED, USAGE = 0, 1, 2
RELEASE = "trixie"
SIZE = re.compile(r"(\d+)([MG])")
UNITS = {"M": 1024**2, "G": 1024**3}
CONSOLE_POLL_SECONDS = 0.3


def size(text: str) -> int:
    """Return the bytes of a size such as 12G.

    Args:
        text: A number and M (MiB) or G (GiB).
    """
    match = SIZE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: use a number and M or G, as in 12G")
    return int(match[1]) * UNITS[match[2]]


def package_names(text: str) -> list[str]:
    """Return the names of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with the status for wrong use."""
        print(f"{self.prog}: {message} (see --help)", file=sys.stderr)
        sys.exit(USAGE)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Parser(
        prog="virtual_pi",
        description="ARM64 machines in QEMU that behave like a Raspberry Pi.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong use."
        " GRIDBERRY_STATE, GRIDBERRY_CACHE and GRIDBERRY_DEBIAN_MIRROR are explained in"
        " docs/virtual-pi.md.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str) -> Parser:
        added: Parser = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def release(added: Parser) -> None:
        added.add_argument("--release", default=RELEASE, choices=RELEASES, help="Debian's release")

    def names(added: Parser) -> None:
        added.add_argument("names", nargs="*", metavar="NAME")
        added.add_argument("--all", action="store_true", help="every machine there is")

    image = verb("image", _image, "build the image, if it is not in the cache, and print its path")
    release(image)
    image.add_argument("--json", action="store_true")
    image.add_argument("--base", type=Path, metavar="TAR", help="beside it: base-image TAR")
    image.add_argument("--include", default="", metavar="PKG,...", help="its further packages")

    create = verb("create", _create, "create machines")
    create.add_argument("names", nargs="+", metavar="NAME")
    release(create)
    _make_of(create)
    create.add_argument("--start", action="store_true", help="start them too")
    create.add_argument("--wait", action="store_true", help="with --start: wait until SSH answers")

    start = verb("start", _start, "switch machines on")
    names(start)
    start.add_argument("--wait", action="store_true", help="wait until SSH answers")
    names(verb("stop", _stop, "power machines off cleanly"))
    snapshot = verb("snapshot", _snapshot, "keep the disks of a machine that is off")
    snapshot.add_argument("name", metavar="NAME")
    snapshot.add_argument("directory", metavar="DIRECTORY", type=Path)
    names(verb("cut", _cut, "cut machines' power: nothing is flushed"))
    names(verb("remove", _remove, "remove machines and their disks; cuts their power first"))
    listing = verb("list", _list, "list the machines")
    listing.add_argument("--json", action="store_true")

    ssh = verb("ssh", _ssh, "log in, or run a command: ssh NAME [-- COMMAND...]")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    console = verb("console", _console, "print a machine's console log")
    console.add_argument("name", metavar="NAME")
    console.add_argument("--follow", action="store_true", help="go on as it grows")
    verb("clean-cache", _clean_cache, "remove the built images and fetched packages")

    base = verb("base-image", _base_image, "write a small Debian as a tar for docker import")
    base.add_argument("tar", metavar="TAR", type=Path)
    release(base)
    base.add_argument("--arch", default="arm64", choices=("arm64", "amd64"))
    base.add_argument("--variant", default="minbase", choices=VARIANTS)
    base.add_argument("--include", default="", metavar="PKG,...", help="further packages")
    base.add_argument("--json", action="store_true")
    return top


def _make_of(create: Parser) -> None:
    """Add what a machine can be made of."""
    create.add_argument("--memory", type=int, default=2048, metavar="MIB", help="default: 2048")
    create.add_argument("--cpus", type=int, default=2, help="default: 2")
    create.add_argument("--disk", type=size, default="12G", metavar="SIZE", help="default: 12G")
    drive = create.add_mutually_exclusive_group()
    drive.add_argument("--nvme", type=size, default="4G", metavar="SIZE", help="default: 4G")
    drive.add_argument("--no-nvme", action="store_true", help="no NVMe drive")
    create.add_argument(
        "--forward",
        type=int,
        action="append",
        default=[],
        metavar="GUESTPORT",
        help="make a TCP port of the guest reachable from 127.0.0.1; may be repeated",
    )
    create.add_argument(
        "--record-boot",
        action="store_true",
        help="record what a boot writes to the boot partition: boot.log, boot-before.img",
    )
    create.add_argument(
        "--from",
        dest="snapshot",
        type=Path,
        metavar="DIRECTORY",
        help="begin with the disks of a snapshot: its release, and disks no smaller",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: The arguments; those of the process where None.
    """
    options = parser().parse_args(arguments)
    # Ending must run what cleans up, also when it is not by the keyboard.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        status: int = options.run(options)
    except UsageError as error:
        print(f"virtual_pi {options.verb}: {error}", file=sys.stderr)
        return USAGE
    except (VirtualPiError, OSError) as error:
        print(f"virtual_pi: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    return status


def _chosen(options: argparse.Namespace) -> list[Machine]:
    """Return the machines that NAME... or --all mean."""
    state = state_directory()
    if options.all and options.names:
        raise UsageError("give names or --all, not both")
    if options.all:
        return all_machines(state)
    if not options.names:
        raise UsageError("which machine? give names or --all")
    return [find_machine(state, name) for name in dict.fromkeys(options.names)]


def _image(options: argparse.Namespace) -> int:
    progress = Progress()
    # Most of a build keeps one processor busy.
    with ThreadPoolExecutor(1) as beside:
        base = beside.submit(_write_base, options)
        image = ensure_image(options.release)
        base.result()
    if options.json:
        seconds = round(progress.seconds(), 1)
        print(json.dumps({"path": str(image.directory), "seconds": seconds}))
    else:
        print(image.directory)
    return OK


def _write_base(options: argparse.Namespace) -> None:
    """Write the base image that `image` may be asked for."""
    if options.base:
        include = package_names(options.include)
        write_base_image(options.base.absolute(), RELEASE, "arm64", "minbase", include)


def _create(options: argparse.Namespace) -> int:
    wanted = CreateOptions(
        memory_mib=options.memory,
        cpus=options.cpus,
        disk_bytes=options.disk,
        nvme_bytes=None if options.no_nvme else options.nvme,
        forwards=tuple(options.forward),
        release=options.release,
        record_boot=options.record_boot,
    )
    names = list(dict.fromkeys(options.names))
    check_options(names, wanted)
    state = state_directory()
    for name in names:
        if Machine(state, name).exists():
            raise VirtualPiError(f"there already is a machine {name!r}: remove it first")
    if options.snapshot is None:
        image = ensure_image(options.release)
    else:
        kept = load(options.snapshot.absolute())
        image = kept.image
        drive = wanted.nvme_bytes if kept.has_nvme else None
        wanted = replace(wanted, release=kept.release, nvme_bytes=drive, time_port=kept.time_port)
    machines = [create_machine(state, name, image, wanted) for name in names]
    for machine in machines:
        print(f"created {machine.name}: SSH on 127.0.0.1:{machine.settings().ssh_port}")
    if options.start:
        _start_all(machines, wait=options.wait)
    return OK


def _start_all(machines: Sequence[Machine], *, wait: bool) -> None:
    """Start all that can be started; then fail if one could not."""
    failures = []
    started = []
    for machine in machines:
        try:
            was_off = lifecycle.start(machine)
        except VirtualPiError as error:
            failures.append(str(error))
            continue
        print(f"started {machine.name}" if was_off else f"{machine.name} is on", flush=True)
        started.append(machine)
    if wait:
        lifecycle.wait_for_ssh(started)
    if failures:
        raise VirtualPiError("\n".join(failures))


def _start(options: argparse.Namespace) -> int:
    _start_all(_chosen(options), wait=options.wait)
    return OK


def _stop(options: argparse.Namespace) -> int:
    machines = _chosen(options)
    lifecycle.press_power_button(machines)
    for machine in machines:
        print(f"{machine.name} is {machine.status().state}")
    return OK


def _snapshot(options: argparse.Namespace) -> int:
    take(find_machine(state_directory(), options.name), options.directory.absolute())
    print(f"kept the disks of {options.name} in {options.directory}")
    return OK


def _cut(options: argparse.Namespace) -> int:
    for machine in _chosen(options):
        was_on = lifecycle.cut(machine)
        print(f"cut the power of {machine.name}" if was_on else f"{machine.name} was off")
    return OK


def _remove(options: argparse.Namespace) -> int:
    for machine in _chosen(options):
        lifecycle.remove(machine)
        print(f"removed {machine.name}")
    return OK


def _list(options: argparse.Namespace) -> int:
    machines = list_machines(state_directory())
    if options.json:
        print(json.dumps(machines, indent=2))
        return OK
    if not machines:
        print("no machines; 'create pi1 --start --wait' makes one")
    for machine in machines:
        ssh = machine["ssh"]
        forwards = " ".join(f"{guest}->{host}" for guest, host in machine["forwards"].items())
        print(
            f"{machine['name']:<12} {machine['state']:<8} ssh {ssh['host']}:{ssh['port']}"
            f"  {machine['memory_mib']} MiB  boots {machine['boots']}  {forwards}".rstrip()
        )
        if machine["reason"]:
            print(f"{'':<12} {machine['reason']}")
    return OK


def _ssh(options: argparse.Namespace) -> int:
    machine = find_machine(state_directory(), options.name)
    if not lifecycle.is_on(machine):
        status = machine.status()
        raise VirtualPiError(f"{machine.name} is {status.state}: start it first")
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    return subprocess.run([*ssh_command(machine), *command], check=False).returncode


def _console(options: argparse.Namespace) -> int:
    machine = find_machine(state_directory(), options.name)
    if not machine.console.exists():
        raise VirtualPiError(f"{machine.name} has not been started yet")
    with machine.console.open(errors="replace") as log:
        while True:
            sys.stdout.write(log.read())
            sys.stdout.flush()
            if not options.follow:
                return OK
            time.sleep(CONSOLE_POLL_SECONDS)


def _clean_cache(_: argparse.Namespace) -> int:
    machines = ", ".join(machine.name for machine in all_machines(state_directory()))
    if machines:
        raise VirtualPiError(f"machines still use the cached image: remove {machines} first")
    if cache_directory().exists():
        shutil.rmtree(cache_directory())
    print(f"removed {cache_directory()}")
    return OK


def _base_image(options: argparse.Namespace) -> int:
    progress = Progress()
    include = package_names(options.include)
    write_base_image(
        options.tar.absolute(), options.release, options.arch, options.variant, include
    )
    if options.json:
        size_bytes = options.tar.stat().st_size
        seconds = round(progress.seconds(), 1)
        print(json.dumps({"path": str(options.tar), "bytes": size_bytes, "seconds": seconds}))
    else:
        print(options.tar)
    return OK
