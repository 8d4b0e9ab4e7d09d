"""Root file systems of trixie for tests, made once and kept under the hash of their recipe."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from virtual_pi.paths import cache_directory
from virtual_pi.rootfs import mirrors

RELEASE, ARCHITECTURE = "trixie", "amd64"


class MachineMissingError(Exception):
    """There can be no trixie here; the text says why."""


def trixie_root(
    name: str, packages: Sequence[str], programs: Sequence[str], hook: str = "true"
) -> Path:
    """Make a root file system, or find it in the cache.

    Args:
        name: Its directory in the cache.
        packages: Debian's packages in it.
        programs: What must be on this machine to use it, beside mmdebstrap.
        hook: A command of the shell that finishes it; $1 is its directory.

    Raises:
        MachineMissingError: It cannot be made here.
    """
    recipe = repr((packages, RELEASE, ARCHITECTURE, hook, mirrors(RELEASE)))
    kept = cache_directory().parent / name
    root = kept / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if os.geteuid() != 0:
        raise MachineMissingError("needs root: namespaces and mounts")
    if root.is_dir():
        return root
    for program in ("mmdebstrap", "unshare", *programs):
        if not shutil.which(program):
            raise MachineMissingError(f"{program} is missing: install the package that has it")
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _make(root, packages, hook)
    return root


def _make(root: Path, packages: Sequence[str], hook: str) -> None:
    part, log = root.with_name(root.name + ".part"), root.with_name("log")
    shutil.rmtree(part, ignore_errors=True)
    command = (
        *("unshare", "--mount", "--propagation", "private", "mmdebstrap", "--mode=root"),
        *("--variant=minbase", "--format=directory", f"--architectures={ARCHITECTURE}"),
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        f"--customize-hook={hook}",
        f"--include={','.join(packages)}",
        *(RELEASE, os.fspath(part), *mirrors(RELEASE)),
    )
    with log.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    if done.returncode:
        last = log.read_text(errors="replace").splitlines()[-1:]
        raise MachineMissingError(f"mmdebstrap failed, see {log}: {' '.join(last)}")
    part.replace(root)
