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
from virtual_pi.image import Image, ensure_image
from virtual_pi.paths import cache_directory

APT_HELPER = "/usr/lib/apt/apt-helper"
MACHINE = ("virtual_pi", "molecule/default", "molecule/shared")


def archives(image: Image) -> list[str]:
    """Return where the archive says what packages it has now: one address a suite.

    Args:
        image: The virtual Pi's image, which names its sources.

    Raises:
        OSError: There is no debugfs.
        subprocess.SubprocessError: The image cannot be read.
    """
    command = ["debugfs", "-R", "cat /etc/apt/sources.list", os.fspath(image.root)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sources = [line.split() for line in said.splitlines() if line.startswith("deb ")]
    return [f"{address.rstrip('/')}/dists/{suite}/InRelease" for _, address, suite, *_ in sources]


def packages_now(image: Image) -> str | None:
    """Return a hash of the packages that the archive has now; None where it cannot be asked.

    Args:
        image: The virtual Pi's image.
    """
    total = hashlib.sha256()
    with tempfile.TemporaryDirectory() as directory:
        said = Path(directory) / "InRelease"
        try:
            addresses = archives(image)
            for address in addresses:
                # As apt fetches: by the proxies that it was told of.
                command = [APT_HELPER, "download-file", address, os.fspath(said)]
                subprocess.run(command, check=True, capture_output=True, cwd=directory, timeout=60)
                total.update(said.read_bytes())
        except (OSError, subprocess.SubprocessError):
            return None
    return total.hexdigest() if addresses else None


def candles(root: Path) -> str:
    """Return the file of recorded candles: the environment's, or the first beside the checkout.

    Args:
        root: The checkout.
    """
    found = sorted((root.parent / "shared" / "data").glob("*.csv"))
    return os.environ.get(CANDLES, os.fspath(found[0]) if found else "")


def snapshot(root: Path, candles: str) -> Path | None:
    """Return where the snapshot of the scenario `default` is, or is to be; None without a name.

    Args:
        root: The checkout.
        candles: The file of the exchange's candles; empty for a synthetic market.
    """
    packages = packages_now(ensure_image("trixie"))
    if packages is None:
        return None
    settings = {name: os.environ.get(name, "") for name in SETTINGS}
    settings |= {CANDLES: candles, "packages": packages}
    # Tests of the machine's code and of what molecule looks at afterwards make no machine.
    name = hash_of(root, (*SOURCES, *MACHINE), settings, without={"tests", "__pycache__"})
    return cache_directory().parent / "snapshots" / f"default-{name[:16]}"
