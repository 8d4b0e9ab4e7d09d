"""First-boot files onto a flashed card, or into an image: `./gridberry prepare`.

    python -m fleet.card.prepare IMAGE_OR_DIRECTORY --host NAME --user USER --key FILE ...

The Pi then starts with its name, a user, the user's key and its network: no screen, no keyboard.
"""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import yaml
from gridbase.errors import UserError
from gridbase.secret_files import read_secret

from fleet.card import cloud_init, first_run
from fleet.card.place import CardError, Place, open_place
from fleet.card.settings import (
    Address,
    FirstBoot,
    Wifi,
    check_host,
    check_password_hash,
    check_user,
    read_address,
    read_keys,
    read_wifi,
)

TRIXIE, BOOKWORM = "trixie", "bookworm"
CMDLINE, CONFIG, ISSUE = "cmdline.txt", "config.txt", "issue.txt"
KEPT_SUFFIX = ".before-prepare"
# What an earlier run, or the Imager, put into cmdline.txt.
OURS = re.compile(r"systemd\.(run|run_success_action|unit)=.*|ds=nocloud(;.*)?")
# Images of bookworm go on beside those of trixie; the first of trixie, without cloud-init, is of:
ISSUED = re.compile(r"reference (\d{4}-\d{2}-\d{2})")
FIRST_TRIXIE = "2025-10-01"


def release_of(place: Place, names: frozenset[str]) -> str:
    """Return which release an image holds, by the files of its boot partition.

    Args:
        place: The boot partition.
        names: Its files.

    Raises:
        UserError: It does not say, or is one without a way to prepare it.
    """
    if {cloud_init.USER_DATA, cloud_init.META_DATA} <= names:
        return TRIXIE
    issued = ISSUED.search(place.read(ISSUE).decode(errors="replace")) if ISSUE in names else None
    if issued is None or issued[1] >= FIRST_TRIXIE:
        raise UserError(
            "the boot partition has no files of cloud-init and does not say its release: add"
            " --release bookworm if it is that, or flash the latest Raspberry Pi OS Lite (64-bit)"
        )
    return BOOKWORM


def command_line(text: str, words: Sequence[str]) -> str:
    """Return cmdline.txt with words for the first boot; those of an earlier run are left out.

    Args:
        text: Its content.
        words: The words.

    Raises:
        UserError: It is no command line of a kernel.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise UserError(f"{CMDLINE} has {len(lines)} lines; a Pi reads one: flash the card again")
    kept = [word for word in lines[0].split() if not OURS.fullmatch(word)]
    if not any(word.startswith("root=") for word in kept):
        raise UserError(f"{CMDLINE} names no root=: this is not the boot partition of a Pi")
    return " ".join([*kept, *words]) + "\n"


def plan(place: Place, settings: FirstBoot, release: str) -> dict[str, bytes]:
    """Return the files to write, in order: cmdline.txt, which makes them count, is the last.

    Args:
        place: The boot partition.
        settings: What the Pi is told.
        release: trixie or bookworm; empty: what the boot partition says.

    Raises:
        UserError: It is not the boot partition of a Pi.
    """
    names = place.names()
    for name in (CONFIG, CMDLINE):
        if name not in names:
            raise UserError(f"there is no {name}: this is not the boot partition of a Pi")
    if (release or release_of(place, names)) == TRIXIE:
        texts = cloud_init.files(settings, KEPT_SUFFIX)
        words = cloud_init.kernel_words(texts)
    else:
        texts, words = first_run.files(settings), first_run.KERNEL_WORDS
    old = place.read(CMDLINE)
    texts[CMDLINE] = command_line(old.decode(errors="surrogateescape"), words)
    contents = {name: text.encode(errors="surrogateescape") for name, text in texts.items()}
    kept = {
        name + KEPT_SUFFIX: place.read(name)
        for name in contents
        if name in names and name + KEPT_SUFFIX not in names and name != first_run.FIRST_RUN
    }
    return kept | contents


def check_written(place: Place, contents: dict[str, bytes]) -> None:
    """Return if what is on the boot partition is what was meant, and can be read as such.

    Args:
        place: The boot partition.
        contents: What was written.

    Raises:
        CardError: It is not.
    """
    for name, content in contents.items():
        if place.read(name) != content:
            raise CardError(f"{name} reads back differently: a bad card?")
    for name in (cloud_init.USER_DATA, cloud_init.META_DATA, cloud_init.NETWORK):
        if name in contents and not isinstance(yaml.safe_load(place.read(name)), dict):
            raise CardError(f"{name} cannot be read again as YAML")


def passphrase(file: Path | None, ssid: str) -> str:
    """Return a Wi-Fi's passphrase, from a file or as it is typed.

    Args:
        file: The file, of mode 0600; None: ask.
        ssid: The network's name.

    Raises:
        UserError: The file cannot be used, or nobody can be asked.
    """
    if file is not None:
        return read_secret(file, "--wifi-passphrase-file")
    if not sys.stdin.isatty():
        raise UserError("--wifi asks for the passphrase: run it in a terminal, or add"
                        " --wifi-passphrase-file FILE (mode 0600)")  # fmt: skip
    return getpass.getpass(f"Passphrase of the Wi-Fi {ssid}: ")


def settings_of(options: argparse.Namespace) -> FirstBoot:
    """Return what the Pi is told.

    Args:
        options: The command line's.

    Raises:
        UserError: An option is wrong.
    """
    host, user = check_host(options.host), check_user(options.user)
    try:
        keys = read_keys(options.key.read_text(errors="replace"), str(options.key))
    except OSError as error:
        raise UserError(f"--key {options.key}: {error.strerror}") from error
    address: Address | None = None
    if bool(options.address) != bool(options.gateway):
        raise UserError("--address and --gateway go together")
    if options.address:
        address = read_address(options.address, options.gateway)
    password = ""
    if path := options.password_hash_file:
        password = check_password_hash(read_secret(path, "--password-hash-file"), str(path))
    wifi: Wifi | None = None
    if (options.wifi is None) != (options.country is None):
        raise UserError("--wifi and --country go together")
    if options.wifi is None and options.wifi_passphrase_file:
        raise UserError("--wifi-passphrase-file needs --wifi and --country")
    if options.wifi is not None:
        secret = passphrase(options.wifi_passphrase_file, options.wifi)
        wifi = read_wifi(options.wifi, secret, options.country)
    return FirstBoot(host, user, keys, password, wifi, address)


def report(settings: FirstBoot, contents: dict[str, bytes], *, image: bool) -> str:
    """Return what was done and what comes next.

    Args:
        settings: What the Pi is told.
        contents: What was written.
        image: Whether it went into an image file.
    """
    written = ", ".join(name for name in contents if not name.endswith(KEPT_SUFFIX))
    lines = [f"Written: {written} (the files before: *{KEPT_SUFFIX})"]
    if settings.wifi:
        lines.append(
            "The key of your Wi-Fi lies readable on the card until its first boot has removed it:"
            " whoever has the card until then has your Wi-Fi. The removed file is not overwritten."
        )
    if settings.password_hash:
        lines.append("So does the hash of the password. sudo will ask for the password.")
    else:
        lines.append(f"{settings.user} logs in with the key alone, and sudo asks for no password.")
    at = str(settings.address.interface.ip) if settings.address else f"{settings.host}.local"
    card = "flash this file as it is" if image else "unmount the card"
    lines.append(f"Next: {card}, start the Pi with it, then: ./gridberry find {settings.host}")
    lines.append(f"      ssh {settings.user}@{at}")
    return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with the status for wrong use."""
        print(f"gridberry: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says.

    Args:
        words: The words; None for the process's own.
    """
    parser = Parser(
        prog="./gridberry prepare",
        description="Write first-boot files onto a flashed card or into an image.",
        epilog="Example: ./gridberry prepare /media/me/bootfs --host pi1 --user trader"
        " --key ~/.ssh/id_ed25519.pub --wifi Home --country DE",
    )
    parser.add_argument(
        "place", type=Path, metavar="IMAGE_OR_DIRECTORY",
        help="an image file, or where the card's first partition (bootfs) is mounted",
    )  # fmt: skip
    parser.add_argument("--host", required=True, metavar="NAME", help="the Pi's name")
    parser.add_argument("--user", required=True, help="the user you will log in as")
    parser.add_argument(
        "--key", required=True, type=Path, metavar="FILE", help="the user's public SSH key"
    )
    parser.add_argument(
        "--wifi", metavar="SSID", help="a wireless network; its passphrase is asked"
    )
    parser.add_argument("--country", metavar="CC", help="where that is, such as DE")
    parser.add_argument(
        "--wifi-passphrase-file", type=Path, metavar="FILE", help="instead of asking (mode 0600)"
    )
    parser.add_argument("--address", metavar="IP/LEN", help="a static address (none: DHCP)")
    parser.add_argument("--gateway", metavar="IP", help="the router, which answers for names, too")
    parser.add_argument(
        "--password-hash-file", type=Path, metavar="FILE",
        help="a password, as `openssl passwd -6` prints it (mode 0600): sudo then asks for it",
    )  # fmt: skip
    parser.add_argument(
        "--release", choices=(TRIXIE, BOOKWORM), default="", help="where the card does not say it"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Write the files.

    Args:
        words: The command line's.

    Returns:
        The exit status: 0 done, 1 the card failed or mtools is missing, 2 wrong use.
    """
    options = arguments_of(words)
    try:
        settings = settings_of(options)
        place = open_place(options.place)
        contents = plan(place, settings, options.release)
        place.write(contents)
        check_written(place, contents)
    except (UserError, CardError) as error:
        print(f"gridberry: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    print(report(settings, contents, image=options.place.is_file()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
