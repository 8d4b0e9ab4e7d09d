#!/usr/bin/python
"""Ansible module: the history of what ran in a compose project's directory, and the way back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_file import flush, replace

DOCUMENTATION = r"""
module: compose_release
short_description: Keeps the history of a compose project's releases, and goes back in it
description:
  - A release is what ran, or was to run - the rendered files, the images' IDs, the schema of the
    state that they write. Each is a directory C(releases/NUMBER) beside compose.yaml, with the
    files (hard links) and C(release.json). Its files are compose.yaml and what this mounts from
    the same directory.
  - Secrets are not copied. A release records a digest of each, so that a change can be told.
options:
  directory: {type: path, required: true, description: Directory of compose.yaml.}
  action:
    description: C(begin) records what is about to start, C(end) what came of it. C(look) tells the
      releases and the one to go back to, C(back) puts its files in place.
    type: str
    choices: [begin, end, look, back]
    required: true
  who: {type: str, default: "", description: Who does it, as user@host.}
  project: {type: str, default: "", description: Compose's name of the project. With C(end), how
    long each service was away is recorded.}
  number: {type: int, default: 0, description: The release to go back to; 0 for the last good one
    before the current one.}
  failed: {type: str, default: "", description: With C(end), why it failed. Empty means that it is
    good.}
  keep: {type: int, default: 5, description: How many releases stay. The last good one always does.}
  kept_images: {type: path, default: "", description: With C(end), a directory where the IDs of all
    images of the history are noted. Role docker's timer leaves these images alone.}
author: [Gridberry]
"""

EXAMPLES = r"""
- name: Record what is about to start
  compose_release:
    directory: /opt/gridberry/bot
    action: begin
    who: admin@laptop
"""

RETURN = r"""
release: {description: The release that was recorded or found., type: dict, returned: always}
current: {description: The number of the release whose files are in place; 0 for none., type: int,
  returned: always}
notes: {description: What should be said before one goes back., type: list, elements: str,
  returned: always}
"""

RECORD = "release.json"
COMPOSE = "compose.yaml"
KEYS = {"configuration", "files", "images", "result", "secrets", "state_schema", "volumes"}
SCHEMA_LABEL = "gridberry.state-schema"


class ReleaseError(Exception):
    """What stops the module, in one line for the user."""


def digest(content: bytes) -> str:
    """Return a short digest."""
    return hashlib.sha256(content).hexdigest()[:16]


def docker(*words: str) -> str:
    """Return what Docker prints.

    Raises:
        ReleaseError: It failed; its last line says why.
    """
    done = subprocess.run(["docker", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise ReleaseError(f"docker {words[0]} {words[1]} ended with {done.returncode}: {said}")
    return done.stdout


def configuration(directory: Path, files: list[str]) -> str:
    """Return the hash of a configuration's names and contents; a missing file has none."""
    lines = []
    for name in files:
        path = directory / name
        lines.append(f"{name} {digest(path.read_bytes()) if path.is_file() else 'missing'}\n")
    return digest("".join(lines).encode())


def image_of(reference: str) -> dict[str, str]:
    """Return an image's C(reference), C(id) and state C(schema), with empty texts for none.

    Raises:
        ReleaseError: Docker does not answer.
    """
    form = '{{.Id}} {{with .Config.Labels}}{{index . "' + SCHEMA_LABEL + '"}}{{end}}'
    try:
        identity, _, schema = (
            docker("image", "inspect", "--format", form, reference).strip().partition(" ")
        )
    except ReleaseError as error:
        if "no such image" not in str(error).lower():
            raise
        identity = schema = ""
    return {"reference": reference, "id": identity, "schema": schema.strip()}


def secrets_of(compose: dict[str, Any]) -> dict[str, str]:
    """Return a digest of each file with a secret, by path; empty where it is missing."""
    found = {}
    for secret in compose.get("secrets", {}).values():
        path = Path(secret["file"])
        found[str(path)] = digest(path.read_bytes()) if path.is_file() else ""
    return found


def compose_of(directory: Path) -> dict[str, Any]:
    """Return what compose makes of a directory's compose.yaml."""
    said = docker("compose", "--project-directory", str(directory), "config", "--format", "json")
    compose: dict[str, Any] = json.loads(said)
    return compose


def files_of(directory: Path, compose: dict[str, Any]) -> list[str]:
    """Return the names of the configuration's files: those that containers mount, and compose's.

    A directory that they mount is where they write: no configuration.
    """
    mounts = [one for each in compose["services"].values() for one in each.get("volumes", [])]
    sources = {Path(one["source"]) for one in mounts if one["type"] == "bind"}
    mounted = {path.name for path in sources if path.parent == directory and not path.is_dir()}
    return sorted(mounted | {COMPOSE})


def describe(directory: Path) -> dict[str, Any]:
    """Return what a release records of a directory: files, images, schema, volumes, secrets."""
    compose = compose_of(directory)
    images = {
        name: image_of(service["image"]) for name, service in sorted(compose["services"].items())
    }
    schemas = {name: image.pop("schema") for name, image in images.items()}
    for name, service in compose["services"].items():  # a container's label is above its image's
        schemas[name] = service.get("labels", {}).get(SCHEMA_LABEL, schemas[name])
    known = sorted(int(schema) for schema in schemas.values() if schema)
    return {
        "files": files_of(directory, compose),
        "images": images,
        "state_schema": known[-1] if known else None,
        "volumes": {key: one["name"] for key, one in sorted(compose.get("volumes", {}).items())},
        "secrets": secrets_of(compose),
    }


def pauses(project: str, since: str) -> dict[str, float]:
    """Return for how many seconds each service was away: from its end to its health.

    Args:
        project: Compose's name of the project.
        since: When the start began (UTC).
    """
    form = '{{.TimeNano}} {{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}'
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    label = f"label=com.docker.compose.project={project}"
    words = ("--filter", label, "--since", since, "--until", now, "--format", form)
    ended: dict[str, int] = {}
    away: dict[str, float] = {}
    try:
        lines = docker("events", "--filter", "type=container", *words).splitlines()
    except ReleaseError:
        return {}  # a measurement, on which nothing depends
    for line in lines:
        moment, service, action = line.split(" ", 2)
        if action in ("kill", "die"):
            ended.setdefault(service, int(moment))
        elif action == "health_status: healthy" and service in ended:
            away[service] = round((int(moment) - ended[service]) / 1e9, 1)
    return away


class History:
    """The releases of one directory."""

    def __init__(self, directory: Path) -> None:
        """Read what is there.

        Raises:
            ReleaseError: A record is damaged.
        """
        self.directory = directory
        self.place = directory / "releases"
        numbers = (path.name for path in self.place.glob("[0-9]*") if path.name.isdecimal())
        self.all = [self._read(int(name)) for name in sorted(numbers, key=int)]

    def _read(self, number: int) -> dict[str, Any]:
        path = self.place / str(number) / RECORD
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{path} is damaged; remove {path.parent} and run again") from error
        if not isinstance(record, dict) or record.get("number") != number or KEYS - set(record):
            raise ReleaseError(f"{path} is damaged; remove {path.parent} and run again")
        return record

    def write(self, record: dict[str, Any]) -> None:
        """Write a record anew."""
        path = self.place / str(record["number"]) / RECORD
        replace(path, (json.dumps(record, indent=2) + "\n").encode(), 0o600)

    def here(self) -> str:
        """Return the hash of the configuration that is in place; empty without one."""
        if not (self.directory / COMPOSE).is_file():
            return ""
        return configuration(self.directory, files_of(self.directory, compose_of(self.directory)))

    def current(self, here: str) -> int:
        """Return the number of the newest release that has this configuration; 0 for none."""
        return max((one["number"] for one in self.all if one["configuration"] == here), default=0)

    def begin(self, source: Path, facts: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Record the files of a directory as what is about to start, unless the newest is that.

        Args:
            source: Where the files are.
            facts: What `describe` says of them, and more to record.

        Returns:
            The record, and whether it was written.
        """
        newest = self.all[-1] if self.all else {"number": 0, "configuration": "", "images": {}}
        same = configuration(source, facts["files"])
        is_newest = (newest["configuration"], newest["images"]) == (same, facts["images"])
        if is_newest and newest["result"] in ("good", "starting"):
            return newest, False
        if is_newest:  # it failed, and is tried again
            newest.update({**facts, "result": "starting"})
            self.write(newest)
            return newest, True
        number = newest["number"] + 1
        record = {"number": number, "configuration": same, "result": "starting", **facts}
        self.place.mkdir(mode=0o700, exist_ok=True)
        for left in self.place.glob(".new*"):
            shutil.rmtree(left)
        new = Path(tempfile.mkdtemp(dir=self.place, prefix=".new"))
        for name in facts["files"]:
            os.link(source / name, new / name)
        replace(new / RECORD, (json.dumps(record, indent=2) + "\n").encode(), 0o600)
        new.rename(self.place / str(number))
        flush(self.place)
        self.all.append(record)
        return record, True

    def target(self, number: int, here: str) -> dict[str, Any]:
        """Return the release to go back to.

        Args:
            here: The hash of the configuration that is in place.
            number: The one that is wanted; 0 for the last good one before the current one, or the
                one to which an interrupted rollback was going.

        Raises:
            ReleaseError: There is none.
        """
        known = {one["number"]: one for one in self.all}
        if number:
            if number not in known:
                there = ", ".join(map(str, known)) or "none"
                raise ReleaseError(f"rollback_release is {number}; the releases here are: {there}")
            if known[number]["result"] != "good":
                said = f"release {number} is not good ({known[number]['result']})"
                raise ReleaseError(f"rollback_release is {number}: {said}; use a good one")
            return known[number]
        newest = self.all[-1] if self.all else None
        if newest and newest["result"] == "starting" and newest.get("back_to") in known:
            return known[newest["back_to"]]
        current = known.get(self.current(here))
        before = current.get("back_to", current["number"]) if current else float("inf")
        for one in reversed(self.all):
            if one["number"] < before and one["result"] == "good" and one["configuration"] != here:
                return one
        raise ReleaseError("there is no good release before the current one; nothing was changed")

    def check(self, target: dict[str, Any]) -> list[str]:
        """Check that a release can run again; return what has changed since.

        Raises:
            ReleaseError: It cannot: something that it needs is not there any more.
        """
        name = f"release {target['number']}"
        place = self.place / str(target["number"])
        if configuration(place, target["files"]) != target["configuration"]:
            raise ReleaseError(f"{name}: its files in {place} are not those that ran; use another")
        for image in target["images"].values():
            if image_of(image["reference"])["id"] != image["id"]:
                said = f"{name} needs the image {image['reference']} ({image['id'][:19]})"
                raise ReleaseError(f"{said}, which is not on this host any more; use another")
        notes = []
        for path, was in target["secrets"].items():
            if not Path(path).is_file():
                raise ReleaseError(f"{name} needs the secret {path}, which is not there any more")
            if digest(Path(path).read_bytes()) != was:
                notes.append(f"the secret {Path(path).name} has changed since {name}; it stays")
        return notes

    def put(self, target: dict[str, Any]) -> None:
        """Put a release's files in place, compose.yaml last."""
        for name in sorted(target["files"], key=lambda one: one == COMPOSE):
            link = self.directory / f".{name}.back"
            link.unlink(missing_ok=True)
            os.link(self.place / str(target["number"]) / name, link)
            # A rename onto another link of the same file would leave both names.
            if (self.directory / name).exists() and link.samefile(self.directory / name):
                link.unlink()
            else:
                link.replace(self.directory / name)
        flush(self.directory)

    def prune(self, keep: int, kept_images: str) -> None:
        """Remove what is older than the newest releases, and images that only those had."""
        good = [one["number"] for one in self.all if one["result"] == "good"][-1:]
        stays = {one["number"] for one in self.all[-keep:]} | set(good)
        gone = [one for one in self.all if one["number"] not in stays]
        self.all = [one for one in self.all if one["number"] in stays]
        images = {image["id"] for one in self.all for image in one["images"].values()}
        if kept_images:
            note = Path(kept_images, str(self.directory).strip("/").replace("/", "-"))
            note.parent.mkdir(parents=True, exist_ok=True)
            replace(note, "".join(f"{one}\n" for one in sorted(images)).encode(), 0o644)
        for one in gone:
            shutil.rmtree(self.place / str(one["number"]))
            for image in one["images"].values():
                if image["id"] and image["id"] not in images:
                    with contextlib.suppress(ReleaseError):  # something else uses it
                        docker("image", "rm", image["reference"])


def end(history: History, given: dict[str, Any]) -> bool:
    """Record what came of the newest release; return whether that is new."""
    release = history.all[-1]
    changed: bool = release["result"] == "starting"
    if changed:
        release["result"] = f"failed: {given['failed']}" if given["failed"] else "good"
        release["pauses"] = pauses(given["project"], release["when"]) if given["project"] else {}
        history.write(release)
    if release["result"] == "good":
        history.prune(given["keep"], given["kept_images"] or "")
    return changed


def go_back(history: History, release: dict[str, Any], here: str, who: dict[str, str]) -> None:
    """Record that a release runs again, and put its files in place."""
    facts = {key: release[key] for key in ("files", "images", "state_schema", "volumes", "secrets")}
    root = release.get("back_to", release["number"])
    way = {"back_from": history.current(here), "back_to": root}
    history.begin(history.place / str(release["number"]), {**facts, **who, **way})
    history.put(release)


def act(history: History, given: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what is asked; return the module's answer."""
    action, release, changed, notes, current = given["action"], {}, False, [], 0
    who = {"when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "who": given["who"]}
    if action == "begin" and not check:
        facts = {**describe(history.directory), **who}
        release, changed = history.begin(history.directory, facts)
    elif action == "end" and history.all and not check:
        changed = end(history, given)
        release = history.all[-1]
    elif action in ("look", "back"):
        here = history.here()
        current = history.current(here)
        release = history.target(given["number"], here)
        notes = history.check(release)
        changed = action == "back" and release["configuration"] != here
        if changed and not check:
            go_back(history, release, here, who)
    return {"changed": changed, "release": release, "current": current, "notes": notes}


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "action": {
                "type": "str",
                "required": True,
                "choices": ["begin", "end", "look", "back"],
            },
            "who": {"type": "str", "default": ""},
            "project": {"type": "str", "default": ""},
            "number": {"type": "int", "default": 0},
            "failed": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 5},
            "kept_images": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        history = History(Path(module.params["directory"]))
        module.exit_json(**act(history, module.params, check=module.check_mode))
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
