"""Puts what the user has downloaded in its place, once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

PLACE = Path("/opt/gridberry/ib_gateway")
USER = "gridberry-ib"
MARKER = "gridberry-installed"
# The installer is a program that nobody here has read: it writes its own directory, and sees no
# network and no other user's files.
SANDBOX = (
    *("User=" + USER, "UMask=0022", "NoNewPrivileges=yes", "CapabilityBoundingSet="),
    *("ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes"),
    *("PrivateNetwork=yes", "ProtectKernelTunables=yes", "ProtectControlGroups=yes"),
    *("RuntimeMaxSec=900", "MemoryMax=1G"),
)


class InstallError(Exception):
    """What stops an installation, in one line."""


def check(package: Path, wanted: str) -> None:
    """Refuse a file that is not the one that was meant.

    Raises:
        InstallError: It is another one.
    """
    with package.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise InstallError(f"{package} has the checksum {found}, and {wanted} was told")


def _run_installer(package: Path, target: Path) -> None:
    home = target / ".home"  # it may keep its Java there
    home.mkdir()
    for one in (target, home):
        shutil.chown(one, USER, USER)
    words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--setenv=HOME={home}"]
    for rule in (*SANDBOX, f"ReadWritePaths={target}", f"WorkingDirectory={target}"):
        words += ["-p", rule]
    done = subprocess.run(
        [*words, "/bin/sh", package, "-q", "-dir", target], capture_output=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").split("\n")
        raise InstallError(f"the installer ends with status {done.returncode}: {said[-2:][0]}")


def gateway(package: Path, wanted: str, target: Path) -> None:
    """Run IB Gateway's installer.

    Raises:
        InstallError: It is another file, or fails, or is none of IB Gateway.
    """
    check(package, wanted)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    package.chmod(0o755)
    _run_installer(package, target)
    for name in ("jars", "ibgateway.vmoptions", ".install4j/i4jruntime.jar"):
        if not (target / name).exists():
            raise InstallError(f"the installer is none of IB Gateway (standalone): no {name}")
    started = target / "ibgateway"
    if started.exists():  # so that it does not restart itself without IBC
        started.rename(target / "ibgateway1")
    subprocess.run(["chown", "-RhP", "root:root", target], check=True)
    finish(target, package)


def ibc(package: Path, wanted: str, target: Path) -> None:
    """Unpack IBC.

    Raises:
        InstallError: It is another file, or none of IBC for Linux.
    """
    check(package, wanted)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    try:
        with zipfile.ZipFile(package) as archive:
            archive.extractall(target)
    except zipfile.BadZipFile as error:
        raise InstallError(f"IBC's file is no zip: {error}") from error
    for name in ("IBC.jar", "scripts/ibcstart.sh"):
        if not (target / name).is_file():
            raise InstallError(f"the zip is none of IBC for Linux: no {name}")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
    finish(target, package)


def finish(target: Path, package: Path) -> None:
    """Note that all is there, after the disk has it, and forget the package."""
    os.sync()
    (target / MARKER).touch()
    os.sync()
    package.unlink()


def memory(target: Path, megabytes: int) -> None:
    """Set the most that Java takes for objects.

    Args:
        target: Where the Gateway is.
        megabytes: In MB.
    """
    options = target / "ibgateway.vmoptions"
    kept = [one for one in options.read_text().splitlines() if not re.match(r"-Xmx", one)]
    part = options.with_suffix(".part")
    part.write_text("\n".join([*kept, f"-Xmx{megabytes}m", ""]))
    part.replace(options)


def only(*names: str) -> None:
    """Remove what earlier versions have left."""
    for path in (*PLACE.glob("ibgateway/*"), *PLACE.glob("ibc-*")):
        if path.name not in names:
            shutil.rmtree(path)
