"""The virtual Pi's image: root file system and boot partition, built once for each recipe."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virtual_pi import rootfs
from virtual_pi.errors import VirtualPiError
from virtual_pi.locks import locked
from virtual_pi.paths import RECIPE, cache_directory

ROOT_BYTES = 12 * 1024**3
BOOT_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Image:
    """What a machine's disks begin as: a built image, or a snapshot of a machine.

    Attributes:
        directory: Where it is.
    """

    directory: Path

    @property
    def root(self) -> Path:
        """The root file system, a sparse raw ext4 image of ROOT_BYTES."""
        return self.directory / "root.img"

    @property
    def boot(self) -> Path:
        """The boot partition, a raw vfat image of BOOT_BYTES."""
        return self.directory / "boot.img"

    @property
    def nvme(self) -> Path:
        """The NVMe drive of a snapshot, in qcow2; a built image has none."""
        return self.directory / "nvme.qcow2"


def image_request(release: str) -> rootfs.Request:
    """Return what goes into the virtual Pi's image.

    Args:
        release: Debian's release.
    """
    return rootfs.Request(
        release=release,
        arch="arm64",
        packages=(rootfs.REQUIRED, *rootfs.read_list(RECIPE / "packages.txt")),
        dpkg_config=("dpkg.cfg", "dpkg-modules.cfg"),
        customize="customize.sh",
    )


def ensure_image(release: str) -> Image:
    """Return the image of a release, built first if this recipe's is not in the cache.

    Args:
        release: Debian's release.

    Raises:
        VirtualPiError: It cannot be built.
    """
    return ensure(image_request(release))


def ensure(
    request: rootfs.Request, adapt: Callable[[Path], None] | None = None, *modules: str
) -> Image:
    """Return the image of a request, built first if it is not in the cache.

    Args:
        request: What goes into it.
        adapt: Changes the root file system before it is written; None for nothing.
        modules: The files with the code of `adapt`, which is part of the recipe then.

    Raises:
        VirtualPiError: It cannot be built.
    """
    name = "-".join(rootfs.recipe_hash(request, module) for module in (__file__, *modules))
    image = Image(cache_directory() / name)
    if image.directory.is_dir():
        return image
    rootfs.require_build_tools("mke2fs", "mkfs.vfat", "mcopy")
    with build_directory("image") as work:
        if image.directory.is_dir():  # another invocation built it while this one waited
            return image
        progress = rootfs.Progress()
        tree = work / "tree"
        rootfs.build(request, tree, archives(), work / "build.log", progress)
        if adapt:
            adapt(tree)
        progress.stage("write the disks")
        made = Image(work / "image")
        made.directory.mkdir()
        _write_boot(tree / "boot" / "firmware", made.boot)
        _write_root(tree, made.root)
        progress.end()
        made.directory.rename(image.directory)
    return image


def archives() -> Path:
    """Return where .deb files are kept between builds."""
    return cache_directory() / "debs"


@contextmanager
def build_directory(kind: str) -> Iterator[Path]:
    """Yield a directory in the cache, to be gone afterwards; one build of a kind runs at a time.

    The log of a failed build is kept as build-KIND.log in the cache.

    Args:
        kind: What is built there, in a word.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"build-{kind}.lock"):
        for left in cache.glob(f"building-{kind}-*"):  # of a build whose machine lost power
            shutil.rmtree(left)
        work = Path(tempfile.mkdtemp(prefix=f"building-{kind}-", dir=cache))
        work.chmod(0o755)  # apt drops its privileges while it fetches
        try:
            yield work
        except VirtualPiError as error:
            if not (work / "build.log").exists():
                raise
            kept = cache / f"build-{kind}.log"
            shutil.copyfile(work / "build.log", kept)
            raise VirtualPiError(
                str(error).replace(os.fspath(work / "build.log"), os.fspath(kept))
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _write_boot(source: Path, target: Path) -> None:
    """Move what is in /boot/firmware onto a partition of its own."""
    with target.open("wb") as file:
        file.truncate(BOOT_BYTES)
    run("mkfs.vfat", "-F", "32", "-n", "bootfs", os.fspath(target))
    files = sorted(source.iterdir())
    run("mcopy", "-i", os.fspath(target), *(os.fspath(path) for path in files), "::")
    for path in files:
        path.unlink()


def _write_root(tree: Path, target: Path) -> None:
    # Written out now, or every guest's kernel would zero the inode tables in the background.
    options = "lazy_itable_init=0,lazy_journal_init=0"
    with target.open("wb") as file:
        file.truncate(ROOT_BYTES)
    run(
        *("mke2fs", "-q", "-t", "ext4", "-L", "rootfs", "-m", "1", "-E", options),
        *("-d", os.fspath(tree), os.fspath(target)),
    )


def run(*command: str) -> str:
    """Run a tool and return what it printed.

    Args:
        command: The program and its arguments.

    Raises:
        VirtualPiError: It failed; says why.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VirtualPiError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
