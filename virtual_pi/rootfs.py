"""Root file systems from Debian's packages: mmdebstrap fetches, virtual_pi/recipe builds."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from virtual_pi.emulation import debian_architecture, enable_arm64
from virtual_pi.errors import VirtualPiError
from virtual_pi.paths import RECIPE

RELEASES = ("bookworm", "trixie")
# Until trixie, /bin -> usr/bin and its like came from what installed Debian, not from base-files.
MERGED_BY_INSTALLER = ("bookworm",)
REQUIRED = "?or(?priority(required),?essential)"
LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class Request:
    """What goes into a root file system.

    Attributes:
        release: Debian's release, such as trixie.
        arch: Debian's name of the architecture, arm64 or amd64.
        packages: apt's package names and patterns.
        dpkg_config: Files of dpkg options, below the recipe.
        customize: Script of the recipe to run at the end; None for none.
    """

    release: str
    arch: str
    packages: tuple[str, ...]
    dpkg_config: tuple[str, ...]
    customize: str | None = None


def read_list(path: Path) -> tuple[str, ...]:
    """Return the names that a file lists one a line, with comments after "#".

    Args:
        path: The file.
    """
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line)


def mirrors(release: str) -> list[str]:
    """Return the apt sources of a release; none means those which mmdebstrap knows by itself.

    GRIDBERRY_DEBIAN_MIRROR replaces Debian's archive, and GRIDBERRY_DEBIAN_SECURITY_MIRROR its
    security archive, which is left out where only the first is set.

    Args:
        release: Debian's release.
    """
    mirror = os.environ.get("GRIDBERRY_DEBIAN_MIRROR")
    security = os.environ.get("GRIDBERRY_DEBIAN_SECURITY_MIRROR")
    if not mirror:
        return []
    sources = [f"deb {mirror} {release} main", f"deb {mirror} {release}-updates main"]
    if security:
        sources.append(f"deb {security} {release}-security main")
    return sources


def recipe_hash(request: Request, module: str) -> str:
    """Return the name of what a request builds: it changes when anything that goes into it does.

    That is the request, the files of the recipe, and the code that carries it out.

    Args:
        request: The request.
        module: The file of the caller, whose code is part of the recipe too.
    """
    digest = hashlib.sha256(repr((request, mirrors(request.release))).encode())
    package = RECIPE.parent
    for path in [Path(__file__), Path(module), *sorted(RECIPE.rglob("*"))]:
        if path.is_file():
            digest.update(
                f"\0{path.relative_to(package)}\0{path.stat().st_mode & 0o111}\0".encode()
            )
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def require_build_tools(*programs: str) -> None:
    """Check that a root file system can be built here.

    Args:
        programs: Further programs that the caller needs.

    Raises:
        VirtualPiError: Not root, or a program is missing.
    """
    if os.geteuid() != 0:
        raise VirtualPiError(
            "building from Debian's packages needs root: run this command once with sudo,"
            " with GRIDBERRY_CACHE set to the cache you will use; running machines does not need it"
        )
    for program in ("mmdebstrap", "dpkg", "apt-get", "unshare", *programs):
        if not shutil.which(program):
            raise VirtualPiError(
                f"{program} is missing: install the packages of virtual_pi/apt-packages.txt"
            )


class Progress:
    """Prints each stage of a build when it ends, with the seconds it took, to standard error.

    Args:
        of: What is built, before each stage's name: others may be built beside it.
    """

    def __init__(self, of: str = "") -> None:
        self._of = of
        self._begin = self._stage_begin = time.monotonic()
        self._stage: str | None = None

    def stage(self, name: str) -> None:
        """End the stage before, if any, and begin one.

        Args:
            name: What begins, in a few words.
        """
        self.end()
        self._stage, self._stage_begin = name, time.monotonic()
        print(f"  {self._of}{name} ...", file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the stage that runs."""
        if self._stage:
            seconds = time.monotonic() - self._stage_begin
            print(f"  {self._of}{self._stage}: {seconds:.0f} s", file=sys.stderr, flush=True)
        self._stage = None

    def seconds(self) -> float:
        """Return the seconds since the first stage."""
        return time.monotonic() - self._begin


STAGES = {
    "download": "fetch the packages",
    "unpack": "unpack them",
    "configure": "configure them",
    "customize": "make it a Pi",
    "finish": "clean up",
}


def build(request: Request, target: Path, archives: Path, log: Path, progress: Progress) -> None:
    """Build a root file system in a directory.

    Args:
        request: What goes into it.
        target: The directory to make.
        archives: Where .deb files are kept between builds.
        log: File for everything the tools print.
        progress: Told of each stage.

    Raises:
        VirtualPiError: A tool failed; says where the log is, with its tail.
    """
    native = ""
    environment = os.environ | {"GRIDBERRY_RECIPE": os.fspath(RECIPE)}
    foreign = request.arch != debian_architecture()
    if foreign:
        enable_arm64()
    if foreign and debian_architecture() == "amd64":
        progress.stage("fetch this machine's own tools of the same release")
        native = os.fspath(target) + ".native"
        tools = (REQUIRED, *read_list(RECIPE / "native-tools.txt"))
        command = _mmdebstrap(request.release, debian_architecture(), Path(native))
        command += [f"--include={name}" for name in tools]
        _run(command, log, environment, lambda _: None)
    progress.stage("prepare apt")
    command = _mmdebstrap(request.release, request.arch, target)
    # A hook's first argument is the root; mmdebstrap runs it through a shell.
    command += [
        '--extract-hook=sh "$GRIDBERRY_RECIPE/unpack.sh" "$1"',
        "--skip=cleanup/apt/lists",
    ]
    environment |= {
        "ARCHIVES": os.fspath(archives),
        "CONFIGURE": os.fspath(RECIPE / "configure.sh"),
        "CUSTOMIZE": os.fspath(RECIPE / request.customize) if request.customize else "",
        "DPKG_CONFIG": " ".join(request.dpkg_config),
        "FILES": os.fspath(RECIPE / "files"),
        "NATIVE": native,
        # What init-system-helpers needs where the installer merged /usr; apt would choose the
        # program that merges it instead, which needs all of Perl.
        "MERGED": "usr-is-merged" if request.release in MERGED_BY_INSTALLER else "",
        "PACKAGES": " ".join(request.packages),
    }
    _run(command, log, environment, lambda name: progress.stage(STAGES.get(name, name)))


def _mmdebstrap(release: str, arch: str, target: Path) -> list[str]:
    merge = f'--setup-hook=sh "$GRIDBERRY_RECIPE/merge-usr.sh" "$1" {arch}'
    return [
        # Its mounts below the target stay in a namespace of their own: whatever happens to it,
        # nothing of this machine can be reached through the tree that is removed afterwards.
        *("unshare", "--mount", "--propagation", "private"),
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--variant=extract",
        f"--architectures={arch}",
        '--aptopt=Acquire::Languages "none"',
        *([merge] if release in MERGED_BY_INSTALLER else []),
        "--verbose",
        release,
        os.fspath(target),
        *mirrors(release),
    ]


def _run(
    command: Sequence[str],
    log: Path,
    environment: dict[str, str],
    on_stage: Callable[[str], None],
) -> None:
    """Run a command with its output in the log, reporting the stages it announces."""
    with (
        log.open("a") as file,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                file.write(line)
                if line.startswith("STAGE "):
                    on_stage(line.split(maxsplit=1)[1].strip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise VirtualPiError(f"mmdebstrap failed; the log is {log} and ends with:\n{tail}")
