"""Builds an image where there is no Docker: reads a Dockerfile and writes what `docker load` takes.

Nothing of another processor is run but what a stage of that processor asks for, by QEMU's user
emulation. Knows what this project's Dockerfiles use, and refuses the rest. Needs root, or the root
of a user namespace. Prints the image's two IDs: of its configuration and of its manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virtual_pi import emulation
from virtual_pi.errors import VirtualPiError

HEREDOC = re.compile(r"<<(['\"]?)(\w+)\1")
FLAG = re.compile(r"--([\w-]+)=(\S+)\s+")
SECONDS = {"s": 1, "m": 60}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OCI = "application/vnd.oci.image."
# In a mount namespace of its own, gone with the command.
ENTER = """set -e
mount --make-rprivate /
mount -t proc proc "$TREE/proc"
mount --rbind /dev "$TREE/dev"
eval "$BINDS"
exec chroot "$TREE" /usr/bin/env -i "$@"
"""


class BuildError(VirtualPiError):
    """What cannot be built, in one line."""


@dataclass
class Step:
    """One instruction: its name, flags, the rest of its line, and a heredoc's text."""

    name: str
    flags: list[tuple[str, str]]
    rest: str
    text: str | None = None


@dataclass
class Stage:
    """A stage that was built."""

    tree: Path
    config: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    # What made each layer, and what it holds. Without a layer the whole tree is one.
    layers: list[tuple[str, list[str]]] = field(default_factory=list)


def steps(dockerfile: str) -> Iterator[Step]:
    """Yield the instructions of a Dockerfile."""
    lines = iter(dockerfile.splitlines())
    for first in lines:
        line = first.strip()
        if not line or line.startswith("#"):
            continue
        while line.endswith("\\"):
            line = line[:-1] + next(lines).strip()
        name, _, rest = line.partition(" ")
        flags = []
        while found := FLAG.match(rest.lstrip()):
            flags.append((found[1], found[2]))
            rest = rest.lstrip()[found.end() :]
        text = None
        if name in ("RUN", "COPY") and (found := HEREDOC.search(rest)):
            body = []
            while (line := next(lines)) != found[2]:
                body.append(line)
            text = "".join(f"{one}\n" for one in body)
            rest = (rest[: found.start()] + rest[found.end() :]).strip()
        yield Step(name, flags, rest.strip(), text)


def nanoseconds(text: str) -> int:
    """Return a HEALTHCHECK's time as the configuration has it."""
    return int(text[:-1]) * SECONDS[text[-1]] * 10**9


def command(text: str) -> list[str]:
    """Return a command in its JSON form, the only one that is known.

    Raises:
        BuildError: It has another.
    """
    try:
        words: list[str] = json.loads(text)
    except ValueError as error:
        raise BuildError(f"a command is {text!r}: use a JSON list") from error
    return words


def health(step: Step) -> dict[str, Any]:
    """Return what the configuration says of a HEALTHCHECK."""
    names = {name.replace("-", ""): value for name, value in step.flags}
    times = {
        key: nanoseconds(names[key.lower()])
        for key in ("Interval", "Timeout", "StartPeriod", "StartInterval")
        if key.lower() in names
    }
    test = ["CMD", *command(step.rest.removeprefix("CMD").strip())]
    return {"Test": test, "Retries": int(names.get("retries", 0)), **times}


def parents(name: str) -> Iterator[str]:
    """Yield the directories above a path, the highest first."""
    parts = Path(name).parts
    for end in range(1, len(parts)):
        yield "/".join(parts[:end])


class Builder:
    """Builds the stages that the wanted one needs, each once."""

    def __init__(self, dockerfile: str, work: Path, arch: str, bases: dict[str, Path]) -> None:
        """Take a Dockerfile, a directory for stages, the processor, and bases by processor."""
        self.work, self.arch, self.bases = work, arch, bases
        self.contexts: dict[str, Path] = {}
        self.recipes: dict[str, list[Step]] = {}
        self.built: dict[str, Stage] = {}
        for step in steps(dockerfile):
            if step.name == "FROM":
                _, _, name = step.rest.partition(" AS ")
                self.last = name or str(len(self.recipes))
                self.recipes[self.last] = []
            if self.recipes:
                self.recipes[self.last].append(step)

    def stage(self, name: str) -> Stage:
        """Build a stage, unless it is.

        Raises:
            BuildError: There is none of this name, or it has what is not known here.
        """
        if name not in self.built:
            if name not in self.recipes:
                raise BuildError(
                    f"the Dockerfile has no stage {name!r}; {', '.join(self.recipes)} are there"
                )
            first, *others = self.recipes[name]
            stage = self.begin(name, first)
            for step in others:
                try:
                    act = getattr(self, f"do_{step.name.lower()}")
                except AttributeError:
                    raise BuildError(f"{step.name} is not known here") from None
                act(stage, step)
            self.built[name] = stage
        return self.built[name]

    def begin(self, name: str, step: Step) -> Stage:
        """Return a new stage with what FROM names: another stage, nothing, or the base."""
        source = step.rest.partition(" AS ")[0]
        tree = self.work / name
        if source in self.recipes:
            before = self.stage(source)
            run("cp", "-a", before.tree, tree)
            return Stage(tree, json.loads(json.dumps(before.config)), {}, [*before.layers])
        tree.mkdir(mode=0o755)
        if source != "scratch":
            arch = (
                emulation.debian_architecture()
                if dict(step.flags).get("platform") == "$BUILDPLATFORM"
                else self.arch
            )
            # Devices cannot be made in a user namespace, and an image has none.
            run("tar", "-xpf", self.bases[arch], "-C", tree, "--numeric-owner", "--exclude=./dev/*")
        return Stage(tree)

    def source(self, stage: str | None) -> Path:
        """Return the directory that `from` names, the context without it."""
        if stage is None or stage in self.contexts:
            return self.contexts[stage or ""]
        return self.stage(stage).tree

    def do_arg(self, stage: Stage, step: Step) -> None:
        """Give RUN a variable, of which TARGETARCH has a value by itself."""
        name, _, value = step.rest.partition("=")
        stage.arguments[name] = self.arch if name == "TARGETARCH" else value

    def do_env(self, stage: Stage, step: Step) -> None:
        """Set variables of the image."""
        stage.config.setdefault("Env", []).extend(shlex.split(step.rest))

    def do_label(self, stage: Stage, step: Step) -> None:
        """Set labels of the image."""
        labels = dict(one.split("=", 1) for one in shlex.split(step.rest))
        stage.config.setdefault("Labels", {}).update(labels)

    def do_user(self, stage: Stage, step: Step) -> None:
        """Set the user."""
        stage.config["User"] = step.rest

    def do_expose(self, stage: Stage, step: Step) -> None:
        """Name a port."""
        stage.config.setdefault("ExposedPorts", {})[f"{step.rest}/tcp"] = {}

    def do_healthcheck(self, stage: Stage, step: Step) -> None:
        """Set the check of health."""
        stage.config["Healthcheck"] = health(step)

    def do_entrypoint(self, stage: Stage, step: Step) -> None:
        """Set the program; a CMD that was inherited belongs to another one."""
        stage.config["Entrypoint"] = command(step.rest)
        stage.config.pop("Cmd", None)

    def do_cmd(self, stage: Stage, step: Step) -> None:
        """Set the program's arguments."""
        stage.config["Cmd"] = command(step.rest)

    def do_workdir(self, stage: Stage, step: Step) -> None:
        """Set the directory, made where it is missing."""
        stage.config["WorkingDir"] = step.rest
        (stage.tree / step.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def do_copy(self, stage: Stage, step: Step) -> None:
        """Copy a file, what a directory holds, or a text; from the context all is root's."""
        flags = dict(step.flags)
        *sources, there = shlex.split(step.rest)
        target = stage.tree / str(Path(stage.config.get("WorkingDir", "/")) / there).lstrip("/")
        made: list[str] = []
        if step.text is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(step.text, encoding="utf-8")
            made = [target.relative_to(stage.tree).as_posix()]
        for name in sources:
            source = self.source(flags.get("from")) / name.lstrip("/")
            into = (
                target
                if source.is_dir() or not there.endswith(("/", "."))
                else target / source.name
            )
            (into if source.is_dir() else into.parent).mkdir(parents=True, exist_ok=True)
            own = [] if "from" in flags else ["--no-preserve=ownership"]
            run("cp", "-a", *own, f"{source}/." if source.is_dir() else source, into)
            found = source.rglob("*") if source.is_dir() else [source]
            made += [
                (into / one.relative_to(source)).relative_to(stage.tree).as_posix() for one in found
            ]
        if "chmod" in flags:
            for name in made:
                (stage.tree / name).chmod(int(flags["chmod"], 8))
        names = {*made, *(above for name in made for above in parents(name))}
        stage.layers.append((f"COPY {step.rest}", sorted(names)))

    def do_run(self, stage: Stage, step: Step) -> None:
        """Run a command in the stage's tree."""
        binds = []
        for kind, text in step.flags:
            options = dict(one.partition("=")[::2] for one in text.split(","))
            if kind != "mount" or options.get("type") != "bind":
                raise BuildError(f"RUN --{kind}={text} is not known here")
            source = self.source(options.get("from")) / options.get("source", "").lstrip("/")
            target = stage.tree / options["target"].lstrip("/")
            target.mkdir() if source.is_dir() else target.touch()
            binds.append((source, target))
        variables = {"PATH": PATH, "HOME": "/root", **stage.arguments}
        variables |= dict(one.split("=", 1) for one in stage.config.get("Env", []))
        shell = f"cd {shlex.quote(stage.config.get('WorkingDir', '/'))}\n{step.text or step.rest}"
        for name in ("proc", "dev"):
            (stage.tree / name).mkdir(exist_ok=True)
        run(
            *("unshare", "--mount", "--pid", "--fork", "sh", "-c", ENTER, "sh"),
            *(f"{name}={value}" for name, value in variables.items()),
            *("/bin/sh", "-c", shell),
            TREE=stage.tree,
            BINDS="\n".join(
                f"mount --bind {shlex.quote(str(a))} {shlex.quote(str(b))}" for a, b in binds
            ),
        )
        for _, target in binds:
            target.rmdir() if target.is_dir() else target.unlink()
        stage.layers = []


def run(*words: str | Path, **variables: str | Path) -> None:
    """Run a command.

    Raises:
        BuildError: It failed; its last lines say why.
    """
    done = subprocess.run(
        words, env={**os.environ, **variables}, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-8:])
        raise BuildError(f"{words[0]} ended with status {done.returncode}: {last}")


def add_blob(layout: Path, kind: str, file: Path) -> dict[str, Any]:
    """Move a file among the blobs, and return its descriptor."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size = file.stat().st_size
    file.rename(layout / "blobs/sha256" / digest)
    return {"mediaType": f"{OCI}{kind}", "digest": f"sha256:{digest}", "size": size}


def add_json(layout: Path, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """Write a value among the blobs, and return its descriptor."""
    file = layout / "new.json"
    file.write_text(json.dumps(value), encoding="utf-8")
    return add_blob(layout, kind, file)


def pack_layer(tree: Path, names: list[str], file: Path) -> None:
    """Write these paths of a tree, in their order, as a layer."""
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            one = archive.gettarinfo(tree / name, name)
            one.uname = one.gname = ""
            one.mtime = int(one.mtime)
            if one.isreg():
                with (tree / name).open("rb") as stream:
                    archive.addfile(one, stream)
            else:
                archive.addfile(one)


def write_layout(stage: Stage, image: str, arch: str, layout: Path) -> tuple[str, str]:
    """Write an image as `docker save` does; return the IDs of configuration and manifest."""
    (layout / "blobs/sha256").mkdir(parents=True)
    whole = sorted(one.relative_to(stage.tree).as_posix() for one in stage.tree.rglob("*"))
    layers = []
    made = stage.layers or [("RUN", whole)]
    for _, names in made:
        pack_layer(stage.tree, names, layout / "new.tar")
        layers.append(add_blob(layout, "layer.v1.tar", layout / "new.tar"))
    history = [{"created_by": text} for text, _ in made]
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    platform = {"architecture": arch, "os": "linux"}
    described = {**platform, "config": stage.config, "rootfs": rootfs, "history": history}
    config = add_json(layout, "config.v1+json", described)
    manifest = add_json(
        layout,
        "manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": config,
            "layers": layers,
        },
    )
    notes = {"io.containerd.image.name": f"docker.io/library/{image}"}
    notes["org.opencontainers.image.ref.name"] = image.partition(":")[2]
    index = {
        "schemaVersion": 2,
        "manifests": [{**manifest, "platform": platform, "annotations": notes}],
    }
    blobs = [f"blobs/sha256/{one['digest'].removeprefix('sha256:')}" for one in (config, *layers)]
    known = [{"Config": blobs[0], "RepoTags": [image], "Layers": blobs[1:]}]
    for name, value in {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": index,
        "manifest.json": known,
    }.items():
        (layout / name).write_text(json.dumps(value), encoding="utf-8")
    return config["digest"], manifest["digest"]


def require(arch: str) -> None:
    """Check that stages of a processor can be run here.

    Raises:
        VirtualPiError: They cannot; says why.
    """
    if os.geteuid() != 0:
        raise BuildError("building an image without Docker needs root")
    if arch not in (emulation.debian_architecture(), "arm64"):
        raise BuildError(f"programs of {arch} cannot be run here")
    if arch == "arm64":
        emulation.enable_arm64()
    run("unshare", "--mount", "--pid", "--fork", "true")


def pair(text: str) -> list[str]:
    """Return name and value of NAME=VALUE."""
    return text.split("=", 1)


def build(options: argparse.Namespace, files: list[str]) -> tuple[str, str]:
    """Build what the command line names, of these files, and return the image's IDs."""
    with tempfile.TemporaryDirectory(prefix="gridberry-image-") as folder:
        work = Path(folder)
        context = work / "context"
        for name in files:
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(options.context / name, context / name)
        dockerfile = (options.context / "Dockerfile").read_text(encoding="utf-8")
        builder = Builder(
            dockerfile, work, options.arch, {one: Path(tar) for one, tar in options.base}
        )
        builder.contexts = {
            "": context,
            **{one: Path(place) for one, place in options.build_context},
        }
        stage = builder.stage(options.target or builder.last)
        identities = write_layout(stage, options.image, options.arch, work / "layout")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        new = options.out.with_name(f"{options.out.name}.new")
        program = "zstd -q -1" if shutil.which("zstd") else "gzip -1"
        run("sh", "-c", f'tar -C "$1" -cf - . | {program} >"$2"', "sh", work / "layout", new)
        new.rename(options.out)
    return identities


def main() -> None:
    """Run the command line; the context's files come on standard input, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("context", type=Path)
    parser.add_argument("out", type=Path, help="the image, compressed")
    parser.add_argument("image", help="its name")
    parser.add_argument("arch", choices=("arm64", "amd64"))
    parser.add_argument("--target", help="the stage; else the last one")
    for name, value in {"--build-context": "NAME=DIRECTORY", "--base": "ARCH=TAR"}.items():
        parser.add_argument(name, action="append", default=[], metavar=value, type=pair)
    try:
        if sys.argv[1:2] == ["--can"]:
            require(sys.argv[2])
        else:
            options = parser.parse_args()
            print(*build(options, sys.stdin.read().split()))
    except VirtualPiError as error:
        sys.exit(f"container_build: {error}")


if __name__ == "__main__":
    main()
