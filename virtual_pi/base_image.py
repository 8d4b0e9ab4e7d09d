"""A small Debian as a tar for `docker import`: what debian:trixie-slim is, where no registry is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from virtual_pi import rootfs
from virtual_pi.errors import UsageError
from virtual_pi.image import archives, build_directory, run
from virtual_pi.paths import cache_directory

# mmdebstrap's names: minbase is every required package and apt, essential only the essential ones.
VARIANTS = {"minbase": (rootfs.REQUIRED, "apt"), "essential": ("?essential",)}
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
# What tells builds apart although they hold the same: caches and logs with their times.
LEFTOVERS = ("var/cache/ldconfig/aux-cache", "var/log/dpkg.log", "var/log/alternatives.log")


def base_request(release: str, arch: str, variant: str, include: Sequence[str]) -> rootfs.Request:
    """Return what goes into a base image.

    Args:
        release: Debian's release.
        arch: arm64 or amd64.
        variant: One of VARIANTS.
        include: Further packages.

    Raises:
        UsageError: A package's name cannot be one.
    """
    for name in include:
        if not PACKAGE.fullmatch(name):
            raise UsageError(f"--include names {name!r}: use Debian package names")
    packages = (*VARIANTS[variant], *sorted(set(include)))
    return rootfs.Request(release, arch, packages, dpkg_config=("dpkg.cfg",))


def write_base_image(
    target: Path, release: str, arch: str, variant: str, include: Sequence[str]
) -> None:
    """Write a base image's tar, built first if it is not in the cache.

    Args:
        target: The tar, replaced if it exists.
        release: Debian's release.
        arch: arm64 or amd64.
        variant: One of VARIANTS.
        include: Further packages.

    Raises:
        VirtualPiError: It cannot be built or written.
    """
    if not target.parent.is_dir():
        raise UsageError(f"TAR is {target}: the directory {target.parent} does not exist")
    request = base_request(release, arch, variant, include)
    cached = cache_directory() / f"base-{rootfs.recipe_hash(request, __file__)}.tar"
    if not cached.exists():
        rootfs.require_build_tools("tar")
        with build_directory("base") as work:
            if not cached.exists():
                _build(request, work, cached)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(cached, temporary)
    temporary.replace(target)


def _build(request: rootfs.Request, work: Path, cached: Path) -> None:
    progress = rootfs.Progress("base image: ")
    tree = work / "tree"
    rootfs.build(request, tree, archives(), work / "build.log", progress)
    progress.stage("write the tar")
    for name in LEFTOVERS:
        (tree / name).unlink(missing_ok=True)
    for name in ("var/lib/apt/lists", "var/cache/apt"):
        for path in (tree / name).iterdir() if (tree / name).is_dir() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    made = work / "base.tar"
    epoch = _newest_package_time(tree)
    run(
        *("tar", "--create", "--file", os.fspath(made), "--directory", os.fspath(tree)),
        *("--sort=name", "--numeric-owner", "--one-file-system", "--format=gnu"),
        *(f"--mtime=@{epoch}", "--clamp-mtime", "."),
    )
    progress.end()
    made.rename(cached)


def _newest_package_time(tree: Path) -> int:
    """Return the time that nothing in the tar is newer than: SOURCE_DATE_EPOCH, or the packages'.

    The files that packages bring keep their own times; what the build itself wrote gets the time of
    the newest of them, so that the same packages make the same tar.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        if not given.isdecimal():
            raise UsageError(f"SOURCE_DATE_EPOCH is {given!r}: use seconds since 1970")
        return int(given)
    programs = (tree / "usr" / "bin").iterdir()
    return max(int(path.lstat().st_mtime) for path in programs if not path.is_symlink())
