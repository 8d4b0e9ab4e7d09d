"""The provisioned virtual Pi that molecule's scenario `default` begins with, where it is known.

It is named by a hash of all that it was made of: what site.yml takes from the checkout, the machine
itself, the scenario, and Debian's packages as the archive has them now. What cannot be asked has no
name, and the scenario then provisions a fresh one.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from fleet.demo import CANDLES, SETTINGS, SOURCES, hash_of
from virtual_pi.paths import cache_directory
from virtual_pi.rootfs import mirrors

DEBIAN = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
MACHINE = ("virtual_pi", "molecule/default", "molecule/shared")


def archives(release: str) -> list[str]:
    """Return where the archive says what packages it has now: one address a suite.

    Args:
        release: Debian's release.
    """
    sources = mirrors(release) or [
        f"deb {DEBIAN} {release} main",
        f"deb {DEBIAN} {release}-updates main",
        f"deb {SECURITY} {release}-security main",
    ]
    suites = [source.split()[1:3] for source in sources]
    return [f"{address.rstrip('/')}/dists/{suite}/InRelease" for address, suite in suites]


def packages_now(release: str) -> str | None:
    """Return a hash of the packages that the archive has now; None where it cannot be asked.

    Args:
        release: Debian's release.
    """
    total = hashlib.sha256()
    with tempfile.TemporaryDirectory() as directory:
        for address in archives(release):
            said = Path(directory) / "InRelease"
            # As apt fetches: by the proxies that it was told of.
            command = ["/usr/lib/apt/apt-helper", "download-file", address, os.fspath(said)]
            try:
                subprocess.run(command, check=True, capture_output=True, cwd=directory, timeout=60)
                total.update(said.read_bytes())
            except (OSError, subprocess.SubprocessError):
                return None
    return total.hexdigest()


def snapshot(root: Path, candles: str) -> Path | None:
    """Return where the snapshot of the scenario `default` is, or is to be; None without a name.

    Args:
        root: The checkout.
        candles: The file of the exchange's candles; empty for a synthetic market.
    """
    packages = packages_now("trixie")
    if packages is None:
        return None
    settings = {name: os.environ.get(name, "") for name in SETTINGS}
    settings |= {CANDLES: candles, "packages": packages}
    # Tests of the machine's code and of what molecule looks at afterwards make no machine.
    name = hash_of(root, (*SOURCES, *MACHINE), settings, without={"tests", "__pycache__"})
    return cache_directory().parent / "snapshots" / f"default-{name[:16]}"
