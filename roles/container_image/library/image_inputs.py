#!/usr/bin/python
"""Ansible module, run on the controller: what goes into an image, as one hash."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: image_inputs
short_description: Hashes what a container image is built from
description:
  - Reads of the build context what C(.dockerignore) lets through and the target's stages take,
    and returns one hash of that and of everything else that decides what the image becomes.
options:
  context: {type: path, required: true, description: Directory with the Dockerfile.}
  target:
    type: str
    default: ""
    description: The Dockerfile's stage. Its own lock file replaces those that its stages copy.
  part:
    type: str
    default: ""
    description: Another stage, whose program is in the image as well; hashed apart.
  more: {type: dict, default: {}, description: What else decides, such as the architecture.}
  limit: {type: int, default: 2000000, description: Bytes that the context may have.}
author: [Gridberry]
"""

EXAMPLES = r"""
- name: Hash the image's inputs
  image_inputs:
    context: bot
    more: {arch: arm64}
  delegate_to: localhost
"""

RETURN = r"""
hash: {description: The first 16 hexadecimal digits of the hash., type: str, returned: success}
part_hash: {description: The same of the part; empty without one., type: str, returned: success}
lock_hash: {description: The same of the lock files alone., type: str, returned: success}
locks: {description: The lock files., type: list, elements: str, returned: success}
files: {description: The context's files., type: list, elements: str, returned: success}
bytes: {description: The context's size., type: int, returned: success}
"""

ALWAYS = ("Dockerfile", ".dockerignore")
DIGITS = 16


class ContextError(Exception):
    """What is wrong with the context, in one line for the user."""


def parse_ignore(text: str) -> list[tuple[bool, str]]:
    """Return the rules of a .dockerignore: whether each lets in, and its pattern."""
    rules = []
    for raw in text.splitlines():
        line = raw.strip()
        if line and not line.startswith("#"):
            rules.append((line.startswith("!"), line.lstrip("!").strip("/")))
    return rules


def matches(path: str, pattern: str) -> bool:
    """Tell whether a pattern names a file or one of the directories that it is in."""
    parts = path.split("/")
    ends = range(1, len(parts) + 1)
    if pattern.startswith("**/"):
        wanted = pattern.removeprefix("**/")
        return any(
            fnmatch.fnmatchcase("/".join(parts[start:end]), wanted)
            for end in ends
            for start in range(end)
        )
    # Docker's asterisk stops at a slash, fnmatch's does not: compare part by part.
    wanted_parts = pattern.split("/")
    return len(wanted_parts) <= len(parts) and all(
        fnmatch.fnmatchcase(part, wanted) for part, wanted in zip(parts, wanted_parts, strict=False)
    )


def let_in(path: str, rules: list[tuple[bool, str]]) -> bool:
    """Tell whether a file is part of the context; the last rule that matches decides."""
    decision = True
    for lets_in, pattern in rules:
        if matches(path, pattern):
            decision = lets_in
    return decision


def taken(dockerfile: str, target: str) -> set[str] | None:
    """Return what a target's stages copy or mount of the context; None where nothing says so.

    Args:
        dockerfile: Its text.
        target: The stage; empty for the last one.
    """
    stages: dict[str, set[str]] = {}
    uses: dict[str, set[str]] = {}
    name = ""
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        words = line.split()
        kind = words[0] if words else ""
        others = set(re.findall(r"(?<=from=)[\w-]+", line))
        if kind == "FROM":
            plain = [word for word in words[1:] if not word.startswith("--")]
            name = plain[2] if len(plain) > 2 else str(len(stages))
            stages[name], uses[name] = set(), {plain[0]}
        elif kind == "COPY" and not others:
            paths = [word for word in words[1:] if not word.startswith("--")]
            stages[name] |= {path.strip("./") for path in paths[:-1]}
        elif kind == "RUN":
            for mount in (
                word for word in words if word.startswith("--mount") and "from=" not in word
            ):
                stages[name] |= set(re.findall(r"(?<=source=)[^,]+", mount))
        if name:
            uses[name] |= others
    if not any(stages.values()):
        return None
    needed, waiting = set(), {target or name}
    while waiting:
        each = waiting.pop()
        needed.add(each)
        waiting |= uses.get(each, set()) - needed
    return set().union(*(stages.get(each, set()) for each in needed))


def context_files(context: Path, target: str | None = None) -> list[Path]:
    """Return the files of a build context, sorted.

    Args:
        context: The directory.
        target: Only what this stage is built of, the last one where it is empty; None for all.

    Raises:
        ContextError: There is no Dockerfile.
    """
    if not (context / "Dockerfile").is_file():
        raise ContextError(f"{context} has no Dockerfile; name a directory that has one")
    wanted = None
    if target is not None:
        wanted = taken((context / "Dockerfile").read_text(encoding="utf-8"), target)
    ignore = context / ".dockerignore"
    rules = parse_ignore(ignore.read_text(encoding="utf-8")) if ignore.is_file() else []
    found = []
    for path in sorted(context.rglob("*")):
        name = path.relative_to(context).as_posix()
        counts = wanted is None or any(
            each in ("", name) or name.startswith(f"{each}/") for each in wanted
        )
        if path.is_file() and (name in ALWAYS or (counts and let_in(name, rules))):
            found.append(path)
    return found


def digest(context: Path, files: list[Path], more: dict) -> str:
    """Return the hash of files, with names and modes that matter, and of other inputs."""
    total = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for path in files:
        name = path.relative_to(context).as_posix()
        executable = bool(path.stat().st_mode & 0o100)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{name}\0{executable}\0{content}\n".encode())
    return total.hexdigest()[:DIGITS]


def lock_files(context: Path, target: str) -> list[Path]:
    """Return a target's lock files: the build's, and its own, or those that its stages copy."""
    names = [f"{target}.lock"]
    if not (context / names[0]).is_file():
        copied = taken((context / "Dockerfile").read_text(encoding="utf-8"), target) or set()
        names = sorted(name for name in copied if name.endswith(".lock")) or ["requirements.lock"]
    return [path for path in map(context.joinpath, ["build.lock", *names]) if path.is_file()]


def hash_of(context: Path, target: str, more: dict) -> str:
    """Return the hash of what a target is built from."""
    locks = digest(context, lock_files(context, target), {})
    more = {**more, "target": target, "locks": locks}
    return digest(context, context_files(context, target), more)


def run(parameters: dict) -> dict:
    """Return what the module reports.

    Raises:
        ContextError: The context is not one, or too large.
    """
    context = Path(parameters["context"]).resolve()
    target, part = parameters["target"], parameters["part"]
    files = context_files(context, target)
    size = sum(path.stat().st_size for path in files)
    if size > parameters["limit"]:
        raise ContextError(
            f"{context} has {size} bytes of build context, more than {parameters['limit']};"
            " .dockerignore lets too much in"
        )
    locks = lock_files(context, target)
    return {
        "changed": False,
        "hash": hash_of(context, target, parameters["more"]),
        "part_hash": hash_of(context, part, parameters["more"]) if part else "",
        "lock_hash": digest(context, locks, {}),
        "locks": [path.name for path in locks],
        "files": [path.relative_to(context).as_posix() for path in files],
        "bytes": size,
    }


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "context": {"type": "path", "required": True},
            "more": {"type": "dict", "default": {}},
            "limit": {"type": "int", "default": 2_000_000},
            "target": {"type": "str", "default": ""},
            "part": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params))
    except ContextError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
