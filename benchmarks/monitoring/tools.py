"""Debian trixie's monitoring programs, unpacked into a cache: nothing of this system changes.

python -m benchmarks.monitoring.tools
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from virtual_pi.paths import cache_directory

PACKAGES = ("victoria-metrics", "prometheus-alertmanager", "prometheus-node-exporter")
RELEASE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class ToolsError(Exception):
    """What is missing, in one line for a person."""


def place() -> Path:
    """Return the directory in which the programs are unpacked."""
    return cache_directory() / "monitoring" / RELEASE


def program(name: str) -> Path | None:
    """Return a program's path, or None where it is not unpacked.

    Args:
        name: Such as `vmalert-tool`.
    """
    found = place() / "usr/bin" / name
    return found if found.is_file() else None


def missing() -> str:
    """Return why what needs the programs cannot run; empty where it can."""
    if program("vmalert-tool"):
        return ""
    return (
        f"{', '.join(PACKAGES)} of Debian {RELEASE} are not unpacked:"
        " python -m benchmarks.monitoring.tools"
    )


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        ToolsError: It failed, or is not there.
    """
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ToolsError(f"{command[0]} is missing; this needs Debian or Ubuntu") from None
    if done.returncode:
        raise ToolsError(f"{command[0]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return done.stdout


def mirror() -> str:
    """Return the Debian mirror that this system uses."""
    wanted = ("--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
    uris = [uri for uri in run("apt-get", "indextargets", *wanted).split() if "security" not in uri]
    if not uris:
        raise ToolsError("this system's apt knows no Debian mirror")
    return uris[0]


def unpack() -> None:
    """Have apt fetch and verify the packages, with lists of its own, and unpack them."""
    building = place().with_name(f"{RELEASE}.new")
    shutil.rmtree(building, ignore_errors=True)
    for name in ("lists/partial", "archives/partial", "packages"):
        (building / "apt" / name).mkdir(parents=True)
    apt = building / "apt"
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {RELEASE} main\n")
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    run("apt-get", *words, "update")
    run("apt-get", *words, "download", *PACKAGES, cwd=apt / "packages")
    for package in sorted((apt / "packages").glob("*.deb")):
        run("dpkg", "-x", str(package), str(building))
    shutil.rmtree(apt)
    shutil.rmtree(place(), ignore_errors=True)
    building.rename(place())


def main() -> int:
    """Unpack what is missing; returns the exit status."""
    try:
        if missing():
            unpack()
    except ToolsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{place()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
