#!/usr/bin/python
"""Ansible module: put files in place at once with what they are for in force, or take them away."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import shlex
import string
import subprocess
import tempfile
from dataclasses import astuple, dataclass, field
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.file_set_effects import EffectError, announce, effects_of, settle
from ansible.module_utils.whole_file import diff_of, replace

DOCUMENTATION = r"""
module: file_set
short_description: Puts files in place at once with what they are for in force, or takes them away
description:
  - Every module run costs seconds on a small machine. This one checks and writes all the files of
    a role in a single run. It validates all new contents before it writes the first one.
  - Each file is written to a temporary file beside it, flushed to the disk and renamed.
  - Then what the files are for is put in force, where a probe says that it is not yet. Check mode
    runs the probes alone.
options:
  state:
    description: C(present) writes what differs; C(absent) removes the files, or puts back the
      original where one was kept.
    type: str
    choices: [present, absent]
    default: present
  directories:
    description: Directories that must exist, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: Absolute path.}
      mode: {type: str, default: "0755", description: Octal mode.}
      owner: {type: str, default: root, description: User name or number.}
      group: {type: str, default: root, description: Group name or number.}
  files:
    description: The files. Each has exactly one of C(content), C(secret) and C(generate).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: Absolute path.}
      content: {type: str, description: What the file contains.}
      secret: {type: str, description: The same, never shown in output or diff.}
      generate: {type: int, description: Number of random letters and digits written once if the
        file is missing; an existing file's content stays.}
      mode: {type: str, default: "0644", description: Octal mode.}
      owner: {type: str, default: root, description: User name or number.}
      group: {type: str, default: root, description: Group name or number.}
      validate: {type: str, description: A command with C(%s) for the new content's path; it must
        exit with status 0.}
      keep_original: {type: bool, default: false, description: The file may have been there before.
        Keep what it was as C(PATH.gridberry-original), or note with C(PATH.gridberry-created) that
        it was not there. C(absent) goes back to that, and leaves a file with neither alone.}
  effects:
    description:
      - What must be in force, in this order, whatever C(state) is. A failure stops the rest.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is in words; errors and diffs name it.
        type: str
        required: true
      probe:
        description: Shell commands that only read. Status 0 says that it is in force; what they
          print says why it is not.
        type: str
        required: true
      apply:
        description: Shell commands that put it in force.
        type: str
        required: true
      on_change:
        description: Files of this set whose change makes it due whatever the probe says; C(*) for
          any of them.
        type: list
        elements: path
        default: []
      first:
        description: Whether it comes before the files are written.
        type: bool
        default: false
      tries:
        description: How often the probe is asked after C(apply), a second apart, before it counts
          as failed.
        type: int
        default: 1
author: [Gridberry]
"""

EXAMPLES = r"""
- name: Configure the daemon
  file_set:
    directories:
      - path: /etc/docker
    files:
      - path: /etc/docker/daemon.json
        content: "{}\n"
        validate: dockerd --validate --config-file %s
        keep_original: true
    effects:
      - name: Docker runs with daemon.json
        probe: systemctl is-active docker
        apply: systemctl restart docker
        on_change: [/etc/docker/daemon.json]
"""

RETURN = r"""
paths:
  description: What was changed, or would be in check mode.
  type: list
  elements: str
  returned: always
applied:
  description: The names of the effects that were not in force and were applied, or would be.
  type: list
  elements: str
  returned: always
notes:
  description: What could not be checked in check mode.
  type: list
  elements: str
  returned: always
"""

ORIGINAL_SUFFIX = ".gridberry-original"  # beside a file: what it was before the first change
CREATED_SUFFIX = ".gridberry-created"  # beside a file: it was not there before
ALPHABET = string.ascii_letters + string.digits


class FileSetError(Exception):
    """What stops the module, in one line for the user."""


@dataclass(frozen=True)
class Ownership:
    """Who owns a path and who may do what with it."""

    mode: int
    uid: int
    gid: int

    def describe(self) -> str:
        """Return mode, owner and group as a diff shows them."""
        return f"mode {self.mode:04o}, owner {self.uid}, group {self.gid}"


@dataclass
class Step:
    """One path and what has to happen to it."""

    path: Path
    kind: str  # a key of ACTIONS
    wanted: Ownership | None = None
    content: bytes | None = None
    keep_original: bool = False  # note beside it what it was before the first change
    validate: str | None = None
    diff: dict[str, str] = field(default_factory=dict)


def number_of(name: str, *, group: bool) -> int:
    """Return the number of a user or group given by name or number.

    Args:
        name: A name, or a number as text (it need not exist on the host).
        group: Whether it names a group.

    Raises:
        FileSetError: There is no such user or group.
    """
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid if group else pwd.getpwnam(name).pw_uid
    except KeyError:
        kind = "group" if group else "owner"
        raise FileSetError(f"{kind} is {name!r}, which the host does not have") from None


def wanted_ownership(entry: dict) -> Ownership:
    """Return an entry's mode, owner and group as numbers.

    Raises:
        FileSetError: The mode is not octal, or owner or group do not exist.
    """
    try:
        mode = int(entry["mode"], 8)
    except ValueError:
        raise FileSetError(
            f"{entry['path']}: mode is {entry['mode']!r}; use an octal number such as '0644'"
        ) from None
    return Ownership(
        mode,
        number_of(entry["owner"], group=False),
        number_of(entry["group"], group=True),
    )


def present_ownership(path: Path) -> Ownership | None:
    """Return what a path has, or None where there is nothing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Ownership(status.st_mode & 0o7777, status.st_uid, status.st_gid)


def present_content(path: Path) -> bytes | None:
    """Return a file's content, or None where there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def text_for_diff(content: bytes | None, *, secret: bool) -> str:
    """Return content as a diff may show it."""
    if content is None:
        return ""
    if secret:
        return "(secret)\n"
    return content.decode("utf-8", "replace")


def plan_directory(entry: dict) -> list[Step]:
    """Return the step that a directory needs, if any.

    Raises:
        FileSetError: Something else is in its place.
    """
    path = Path(entry["path"])
    wanted = wanted_ownership(entry)
    if path.exists() and not path.is_dir():
        raise FileSetError(f"{path} should be a directory and is a file; move it away")
    present = present_ownership(path)
    if present == wanted:
        return []
    before = f"{present.describe()}\n" if present else ""
    after = f"directory, {wanted.describe()}\n" if not present else f"{wanted.describe()}\n"
    return [Step(path, "directory", wanted=wanted, diff=diff_of(str(path), before, after))]


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a note beside a file."""
    return path.with_name(path.name + suffix)


def new_content(entry: dict, present: bytes | None) -> bytes:
    """Return what a file should contain.

    Raises:
        FileSetError: The entry does not say, or says it twice.
    """
    sources = [key for key in ("content", "secret", "generate") if entry[key] is not None]
    if len(sources) != 1:
        given = " and ".join(sources) or "nothing"
        raise FileSetError(
            f"{entry['path']}: {given} given; use exactly one of content, secret, generate"
        )
    if sources == ["generate"]:
        if present is not None:
            return present
        return "".join(secrets.choice(ALPHABET) for _ in range(entry["generate"])).encode()
    return str(entry[sources[0]]).encode()


def plan_file(entry: dict) -> list[Step]:
    """Return the step that a file needs, if any.

    Raises:
        FileSetError: The entry contradicts itself or the host.
    """
    path = Path(os.path.realpath(entry["path"]))
    if path.exists() and not path.is_file():
        # A unit that is masked is a link to /dev/null, which must stay what it is.
        kind = "a directory" if path.is_dir() else "no regular file"
        raise FileSetError(f"{entry['path']} should be a file and is {kind}; move it away")
    wanted, present = wanted_ownership(entry), present_ownership(path)
    before = present_content(path)
    after = new_content(entry, before)
    if before == after:
        if present is None or present == wanted:
            return []
        diff = diff_of(str(path), f"{present.describe()}\n", f"{wanted.describe()}\n")
        return [Step(path, "permissions", wanted=wanted, diff=diff)]
    secret = entry["content"] is None
    noted = any(beside(path, suffix).exists() for suffix in (ORIGINAL_SUFFIX, CREATED_SUFFIX))
    shown = "(secret, new)\n" if secret else text_for_diff(after, secret=False)
    return [
        Step(
            path,
            "write",
            wanted=wanted,
            content=after,
            keep_original=entry["keep_original"] and not noted,
            validate=entry["validate"],
            diff=diff_of(str(path), text_for_diff(before, secret=secret), shown),
        )
    ]


def plan_removal(entry: dict) -> list[Step]:
    """Return the step that takes a file away, or puts its original back."""
    path = Path(os.path.realpath(entry["path"]))
    if path.exists() and not path.is_file():
        return []  # never written by this module, such as what a masked unit leads to
    before = present_content(path)
    original = present_content(beside(path, ORIGINAL_SUFFIX))
    created = beside(path, CREATED_SUFFIX).exists()
    if before is None or (entry["keep_original"] and original is None and not created):
        return []
    secret = entry["content"] is None
    old, new = (text_for_diff(content, secret=secret) for content in (before, original))
    kind = "remove" if original is None else "restore"
    return [Step(path, kind, content=original, diff=diff_of(str(path), old, new))]


def run_validation(step: Step, *, check_mode: bool) -> str | None:
    """Run an entry's validation on the new content.

    Returns:
        A note where check mode cannot validate, because the program is not there yet.

    Raises:
        FileSetError: The content is not valid, or the program is missing.
    """
    if step.validate is None or step.content is None:
        return None
    with tempfile.NamedTemporaryFile(prefix="file_set.", suffix=step.path.suffix) as stream:
        stream.write(step.content)
        stream.flush()
        command = [word.replace("%s", stream.name) for word in shlex.split(step.validate)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            if check_mode:
                return f"{step.path} was not validated: the host does not have {command[0]} yet"
            raise FileSetError(
                f"{step.path}: {command[0]}, which validates it, is not installed; nothing changed"
            ) from None
    if result.returncode == 0:
        return None
    said = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()[-1]
    raise FileSetError(
        f"{step.path}: {command[0]} refuses the new content: {said}; nothing changed"
    )


def write(step: Step) -> None:
    """Write a file, after noting what was in its place."""
    if step.keep_original:
        present = present_ownership(step.path)
        suffix = CREATED_SUFFIX if present is None else ORIGINAL_SUFFIX
        content = present_content(step.path) or b""
        replace(beside(step.path, suffix), content, *astuple(present or step.wanted))
    replace(step.path, step.content, *astuple(step.wanted))


def restore(step: Step) -> None:
    """Put a file's original back."""
    kept = beside(step.path, ORIGINAL_SUFFIX)
    replace(step.path, step.content, *astuple(present_ownership(kept)))
    kept.unlink()


def remove(step: Step) -> None:
    """Remove a file and the note that it was not there before."""
    step.path.unlink()
    beside(step.path, CREATED_SUFFIX).unlink(missing_ok=True)


def set_permissions(step: Step) -> None:
    """Give a path its owner, group and mode."""
    os.chown(step.path, step.wanted.uid, step.wanted.gid)
    step.path.chmod(step.wanted.mode)


def make_directory(step: Step) -> None:
    """Make a directory, or correct its permissions."""
    step.path.mkdir(parents=True, exist_ok=True)
    set_permissions(step)


ACTIONS = {
    "directory": make_directory,
    "write": write,
    "permissions": set_permissions,
    "restore": restore,
    "remove": remove,
    "remove_directory": lambda step: step.path.rmdir(),
}


def empty_directories(directories: list[dict], removed: list[Step]) -> list[Step]:
    """Return steps that remove the directories which hold nothing but what is removed."""
    going = {step.path for step in removed if step.kind == "remove"}
    going |= {beside(path, CREATED_SUFFIX) for path in going}
    steps = []
    for entry in reversed(directories):
        path = Path(entry["path"])
        if path.is_dir() and all(child in going for child in path.iterdir()):
            going.add(path)
            diff = diff_of(str(path), "directory\n", "")
            steps.append(Step(path, "remove_directory", diff=diff))
    return steps


def plan(parameters: dict) -> list[Step]:
    """Return all that has to be done, without doing it.

    Raises:
        FileSetError: A parameter contradicts itself or the host.
    """
    if parameters["state"] == "present":
        steps = [step for entry in parameters["directories"] for step in plan_directory(entry)]
        return steps + [step for entry in parameters["files"] for step in plan_file(entry)]
    steps = [step for entry in parameters["files"] for step in plan_removal(entry)]
    return steps + empty_directories(parameters["directories"], steps)


def specification() -> dict:
    """Return the module's parameters as Ansible checks them."""
    shared = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
    }
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "directories": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {**shared, "mode": {"type": "str", "default": "0755"}},
        },
        "files": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                **shared,
                "mode": {"type": "str", "default": "0644"},
                "content": {"type": "str"},
                "secret": {"type": "str", "no_log": True},
                "generate": {"type": "int"},
                "validate": {"type": "str"},
                "keep_original": {"type": "bool", "default": False},
            },
        },
        "effects": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "name": {"type": "str", "required": True},
                "probe": {"type": "str", "required": True},
                "apply": {"type": "str", "required": True},
                "on_change": {"type": "list", "elements": "path", "default": []},
                "first": {"type": "bool", "default": False},
                "tries": {"type": "int", "default": 1},
            },
        },
    }


def carry_out(
    steps: list[Step], entries: list[dict], *, check_mode: bool
) -> tuple[list[str], list[dict]]:
    """Write the files and put in force what they are for.

    Args:
        steps: What has to be done to files, validated.
        entries: The parameter C(effects).
        check_mode: Only tell what would be done.

    Returns:
        The names of the effects that were due, and all diffs.

    Raises:
        EffectError: An effect cannot be put in force.
    """
    effects = effects_of(entries)
    changed = {str(step.path) for step in steps}
    if not check_mode:
        announce(effects, changed)
    before, diffs = settle(
        [effect for effect in effects if effect.first], changed, check_mode=check_mode
    )
    if not check_mode:
        for step in steps:
            ACTIONS[step.kind](step)
    after, more = settle(
        [effect for effect in effects if not effect.first], changed, check_mode=check_mode
    )
    return before + after, diffs + [step.diff for step in steps] + more


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(argument_spec=specification(), supports_check_mode=True)
    notes = []
    try:
        steps = plan(module.params)
        for step in steps:
            note = run_validation(step, check_mode=module.check_mode)
            if note:
                notes.append(note)
        applied, diffs = carry_out(steps, module.params["effects"], check_mode=module.check_mode)
    except (FileSetError, EffectError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(
        changed=bool(steps or applied),
        paths=[str(step.path) for step in steps],
        applied=applied,
        notes=notes,
        diff=diffs,
    )


if __name__ == "__main__":
    main()
