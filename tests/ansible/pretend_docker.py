"""Stands in for Docker with compose on this machine: containers are notes, the bot is the real one.

Its world is a directory: `images.json` (by reference: id, labels, healthy), `containers.json`,
`volumes/NAME`, and `asked`, a line for each call.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from gridbot.store import SCHEMA_VERSION

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """#!/bin/sh
exec {python} {program} {world} "$@"
"""
# A second apart: what becomes of the old container, and then of the new one.
EVENTS = ("exec_die", "kill", "die", "destroy", "start", "health_status: healthy", "exec_die")
# The bot's `check`, as the program of an image with this schema answers.
CHECK = """
import sys
import gridbot.store.database as database
database.SCHEMA_VERSION = int(sys.argv.pop(1))
from gridbot.cli import main
sys.exit(main(sys.argv[1:]))
"""


def make(world: Path) -> Path:
    """Make a world without images; return the directory for PATH."""
    (world / "bin").mkdir(parents=True)
    (world / "volumes").mkdir()
    save(world, "images", {})
    save(world, "containers", {})
    script = world / "bin/docker"
    script.write_text(SCRIPT.format(python=sys.executable, program=__file__, world=world))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return world / "bin"


def address(world: Path) -> str:
    """Return the address of every container: the world's own, as another's page may be served."""
    return "127.77.{}.{}".format(*hashlib.sha256(str(world).encode()).digest())


def load(world: Path, name: str) -> dict[str, Any]:
    """Read one of the world's files."""
    found: dict[str, Any] = json.loads((world / f"{name}.json").read_text())
    return found


def save(world: Path, name: str, value: dict[str, Any]) -> None:
    """Write one of the world's files."""
    (world / f"{name}.json").write_text(json.dumps(value))


def add_image(
    world: Path, reference: str, *, schema: int = SCHEMA_VERSION, healthy: bool = True
) -> None:
    """Have an image on this host."""
    labels = {"gridberry.state-schema": str(schema), "gridberry.state-oldest-reader": str(schema)}
    identity = "sha256:" + hashlib.sha256(reference.encode()).hexdigest()
    images = load(world, "images")
    images[reference] = {"id": identity, "labels": labels, "healthy": healthy}
    save(world, "images", images)


def wanted(directory: str) -> dict[str, Any]:
    """What compose makes of compose.yaml."""
    place = Path(directory).absolute()
    compose = yaml.safe_load((place / "compose.yaml").read_text())
    for service in compose["services"].values():
        mounts = []
        for text in service.get("volumes", []):
            source, target = text.split(":")[:2]
            kind = "bind" if source[0] in "./" else "volume"
            path = os.path.normpath(place / source) if kind == "bind" else source
            mounts.append({"type": kind, "source": path, "target": target})
        service["volumes"] = mounts
    for secret in (compose.get("secrets") or {}).values():
        secret["file"] = os.path.normpath(place / secret["file"])
    return compose


def hash_of(service: dict[str, Any]) -> str:
    """The hash of a service's configuration."""
    return hashlib.sha256(json.dumps(service, sort_keys=True).encode()).hexdigest()


class Docker:
    """One call."""

    def __init__(self, world: Path, words: list[str]) -> None:
        self.world, self.words = world, words
        self.images, self.containers = load(world, "images"), load(world, "containers")

    def option(self, name: str) -> str:
        return self.words[self.words.index(name) + 1]

    def version(self) -> str:
        return json.dumps({"Client": {}, "Server": {"ApiVersion": "1.50"}})

    def compose(self) -> str:
        if "version" in self.words:
            return json.dumps({"version": "2.30.0"})
        named = "--project-directory" in self.words
        compose = wanted(self.option("--project-directory") if named else ".")
        if "config" in self.words:
            if "--hash" in self.words:
                each = compose["services"].items()
                return "\n".join(f"{name} {hash_of(one)}" for name, one in each)
            return json.dumps(compose)
        if "up" in self.words:
            self.up(compose)
        return "[]" if "images" in self.words else ""

    def up(self, compose: dict[str, Any]) -> None:
        project = compose["name"]
        names = {one["container_name"] for one in compose["services"].values()}
        for name in [n for n, one in self.containers.items() if one["project"] == project]:
            if name not in names:
                del self.containers[name]
        for service, one in compose["services"].items():
            image = self.images[one["image"]]
            new = {
                "name": one["container_name"],
                "project": project,
                "service": service,
                "books": compose["volumes"]["bot"]["name"],
                "hash": hash_of(one),
                "image": image["id"],
                "labels": image["labels"],
                "health": "healthy" if image["healthy"] else "unhealthy",
            }
            self.containers[one["container_name"]] = new
        for volume in compose["volumes"].values():
            (self.world / "volumes" / volume["name"]).mkdir(exist_ok=True)
        save(self.world, "containers", self.containers)

    def ps(self) -> str:
        label = self.option("--filter").removeprefix("label=com.docker.compose.project=")
        return "\n".join(n for n, one in self.containers.items() if one["project"] == label)

    def image(self) -> str:
        if self.words[1] == "ls":
            return "\n".join(f"{name} {one['id']}" for name, one in self.images.items())
        reference = self.words[-1]
        if reference not in self.images:
            sys.exit(f"Error response from daemon: No such image: {reference}")
        image = self.images[reference]
        if self.words[1] == "rm":
            if image["id"] in [one["image"] for one in self.containers.values()]:
                sys.exit("Error response from daemon: conflict: image is being used")
            del self.images[reference]
            save(self.world, "images", self.images)
            return ""
        labels = image["labels"]
        said = [labels["gridberry.state-schema"]]
        form = self.option("--format") if "--format" in self.words else ""
        said += [labels["gridberry.state-oldest-reader"]] if "reader" in form else []
        return " ".join(([image["id"]] if ".Id" in form else []) + said)

    def inspect(self) -> str:
        form, lines = self.option("--format"), []
        for word in self.words[3:]:
            if word not in self.containers:
                sys.exit(f"Error: No such object: {word}")
            one = self.containers[word]
            if ".Mounts" in form:
                lines.append(f"{self.world}/volumes/{one['books']}")
            elif ".State.Running" in form:
                lines.append(f"running={str(one.get('running', True)).lower()}")
            elif "config-hash" in form:
                lines.append(
                    f"{one['service']} {one['hash']} running {one['health']} {one['image']}"
                )
            elif "state-schema" in form:
                lines.append(" ".join(one["labels"].values()))
            elif "RestartCount" in form:
                lines.append(f"running, {one['health']}, restarted 0 times")
            elif "Health" in form:
                lines.append("the page does not answer")
            else:
                lines.append(one["image"])
        return "\n".join(lines)

    def bot(self, *command: str) -> None:
        """Run something as in the bot's container, and end as it does."""
        environment = os.environ | {"PYTHONPATH": str(ROOT / "bot/src")}
        sys.exit(subprocess.run(command, check=False, env=environment).returncode)

    def volume(self) -> str:
        if self.words[1] == "inspect":
            return str(self.world / "volumes" / self.words[-1])
        name = self.option("--filter").removeprefix("name=^").removesuffix("$")
        return name if (self.world / "volumes" / name).is_dir() else ""

    def container(self) -> str:
        found = [one for one in self.containers.values() if one["name"] == self.words[-1]]
        if not found:
            sys.exit(f"Error: No such container: {self.words[-1]}")
        health = {"Status": found[0]["health"]}
        started = "2026-01-01T00:00:00.0Z"
        status = {"Status": "running", "Pid": 0, "StartedAt": started, "Health": health}
        network = {"Networks": {"own": {"IPAddress": address(self.world)}}}
        inspected = {"State": status, "NetworkSettings": network, "RestartCount": 0}
        return json.dumps([inspected | {"Image": found[0]["image"]}])

    def exec(self) -> str:
        if self.words[2] == "sh":
            state = f"{self.world}/volumes/{self.containers[self.words[1]]['books']}"
            script = self.words[-1].replace("/var/lib/gridbot", state)
            self.bot("sh", "-c", script.replace("gridbot ", f"{sys.executable} -m gridbot "))
        return json.dumps({"equal": True})  # of an audit

    def events(self) -> str:
        lines = [f"{10**9 * n} bot {what}" for n, what in enumerate(EVENTS)]
        return "\n".join(lines) if len(self.containers) else ""

    def stop(self) -> str:
        self.containers[self.words[1]]["running"] = False
        save(self.world, "containers", self.containers)
        return ""

    def logs(self) -> str:
        return "a line of the log"

    def run(self) -> str:
        mounts = [self.words[n + 1] for n, word in enumerate(self.words) if word == "--volume"]
        inside = {one.split(":")[1]: one.split(":")[0] for one in mounts}
        state = self.world / "volumes" / inside["/var/lib/gridbot"]
        if "restore" in self.words:
            words = self.words[self.words.index("restore") :]
            told = (word.replace("/var/lib/gridbot", str(state)) for word in words)
            self.bot(sys.executable, "-m", "gridbot", *told)
        at = self.words.index("check")
        known = self.images | {one["id"]: one for one in self.images.values()}
        schema = known[self.words[at - 1]]["labels"]["gridberry.state-schema"]
        config = inside["/etc/gridbot/bot.toml"]
        words = ["check", "--offline", "--config", config, "--state", str(state)]
        self.bot(sys.executable, "-c", CHECK, schema, *words)


def main() -> None:
    """Answer one call of docker."""
    world, words = Path(sys.argv[1]), sys.argv[2:]
    if words[0] == "--host":
        words = words[2:]
    with (world / "asked").open("a") as file:
        print(*words[:3], file=file)
    said = getattr(Docker(world, words), words[0])()
    if said:
        print(said)


if __name__ == "__main__":
    main()
