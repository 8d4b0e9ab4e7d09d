"""An image built without Docker: what its Dockerfile says, in the form that Docker loads."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from virtual_pi import container_build
from virtual_pi.container_build import Builder, BuildError, steps
from virtual_pi.errors import VirtualPiError

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = """\
# A comment.
ARG BASE_IMAGE=debian
FROM scratch AS wheels
FROM scratch AS one
WORKDIR /srv
COPY data here/
COPY data/a.txt lists/
COPY --chmod=0755 <<'TEXT' /bin/run
#!/bin/sh
exec "$@"
TEXT
FROM one AS parent
ENV A=1 \\
    B="two words"
ENTRYPOINT ["run"]
CMD ["first"]
FROM parent AS second
COPY --from=one /srv/here/a.txt /second.txt
USER 10001:10001
EXPOSE 8080
LABEL state=5 oldest="4"
HEALTHCHECK --interval=30s --start-period=2m --retries=3 \\
    CMD ["run", "health"]
ENTRYPOINT ["other"]
"""
FILES = ("data/a.txt", "data/deep/b.txt")


def context(directory: Path, dockerfile: str = DOCKERFILE) -> Path:
    """Write a build context."""
    (directory / "data/deep").mkdir(parents=True)
    (directory / "data/a.txt").write_text("a")
    (directory / "data/deep/b.txt").write_text("b")
    (directory / "data/secret.txt").write_text("not of the context")
    (directory / "Dockerfile").write_text(dockerfile)
    return directory


def image(directory: Path, *options: str, dockerfile: str = DOCKERFILE) -> tuple[list[str], Path]:
    """Build by the command line; return the IDs and the directory with what the archive has."""
    out = directory / "images/x.image"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "virtual_pi.container_build"),
            *(str(context(directory / "context", dockerfile)), str(out), "name:tag", "arm64"),
            *options,
        ],
        input="\n".join(FILES), check=True, capture_output=True, text=True,
        cwd=ROOT,
    )  # fmt: skip
    (directory / "layout").mkdir()
    unpack = "{ zstd -qdc $1 2>/dev/null || gzip -dc $1; } | tar -xf - -C $2"
    subprocess.run(["sh", "-c", unpack, "sh", out, directory / "layout"], check=True)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return done.stdout.split(), directory / "layout"


def layers(layout: Path) -> tuple[dict[str, Any], list[dict[str, tarfile.TarInfo]]]:
    """Return the configuration and what each layer holds."""
    [known] = json.loads((layout / "manifest.json").read_text())
    assert known["RepoTags"] == ["name:tag"]
    found = []
    for name in known["Layers"]:
        with tarfile.open(layout / name) as archive:
            found.append({member.name: member for member in archive})
    return json.loads((layout / known["Config"]).read_text()), found


def test_every_blob_has_its_digest_and_the_ids_are_configuration_and_manifest(
    tmp_path: Path,
) -> None:
    identities, layout = image(tmp_path)
    blobs = {path.name: path for path in (layout / "blobs/sha256").iterdir()}
    for name, path in blobs.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    [known] = json.loads((layout / "manifest.json").read_text())
    [described] = json.loads((layout / "index.json").read_text())["manifests"]
    assert identities == [f"sha256:{Path(known['Config']).name}", described["digest"]]
    manifest = json.loads(blobs[described["digest"].removeprefix("sha256:")].read_text())
    config, _ = layers(layout)
    assert [one["digest"] for one in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert manifest["config"]["digest"] == identities[0]


def test_configuration_is_that_of_the_stage_and_those_it_is_from(tmp_path: Path) -> None:
    _, layout = image(tmp_path)
    config, _ = layers(layout)
    assert (config["architecture"], config["os"]) == ("arm64", "linux")
    assert config["config"] == {
        "WorkingDir": "/srv",
        "Env": ["A=1", "B=two words"],
        "User": "10001:10001",
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"state": "5", "oldest": "4"},
        "Healthcheck": {
            "Test": ["CMD", "run", "health"],
            "Interval": 30 * 10**9,
            "StartPeriod": 120 * 10**9,
            "Retries": 3,
        },
        "Entrypoint": ["other"],
    }


def test_layers_hold_what_was_copied_and_the_directories_above(tmp_path: Path) -> None:
    _, layout = image(tmp_path)
    config, found = layers(layout)
    assert [one["created_by"] for one in config["history"]] == [
        "COPY data here/",
        "COPY data/a.txt lists/",
        "COPY /bin/run",
        "COPY /srv/here/a.txt /second.txt",
    ]
    assert [sorted(layer) for layer in found] == [
        ["srv", "srv/here", "srv/here/a.txt", "srv/here/deep", "srv/here/deep/b.txt"],
        ["srv", "srv/lists", "srv/lists/a.txt"],
        ["bin", "bin/run"],
        ["second.txt"],
    ]
    run = found[2]["bin/run"]
    assert (run.mode, run.uid, run.uname) == (0o755, os.geteuid(), "")


def test_another_target_is_an_image_of_its_own(tmp_path: Path) -> None:
    _, layout = image(tmp_path, "--target=parent")
    config, found = layers(layout)
    assert config["config"]["Cmd"] == ["first"]
    assert len(found) == 3


def test_a_named_context_is_taken_for_the_stage_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/w.whl").write_text("w")
    text = "FROM scratch AS wheels\nFROM scratch\nCOPY --from=wheels / /all/\n"
    _, layout = image(tmp_path, f"--build-context=wheels={tmp_path}/given", dockerfile=text)
    assert sorted(layers(layout)[1][0]) == ["all", "all/w.whl"]


@pytest.mark.parametrize(
    ("dockerfile", "says"),
    [
        ("FROM scratch\nVOLUME /x\n", "VOLUME is not known here"),
        ("FROM scratch\nCMD run me\n", "a command is 'run me': use a JSON list"),
        ("FROM scratch\nRUN --mount=type=cache,target=/x true\n", "type=cache,target=/x is not"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, dockerfile: str, says: str) -> None:
    with pytest.raises(BuildError, match=says):
        Builder(dockerfile, tmp_path, "arm64", {}).stage("0")


def test_a_stage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no stage 'x'; wheels, one, parent, second are there"):
        Builder(DOCKERFILE, tmp_path, "arm64", {}).stage("x")


def test_every_instruction_of_the_bots_dockerfile_is_known() -> None:
    names = {step.name for step in steps((ROOT / "bot/Dockerfile").read_text())} - {"FROM"}
    assert [name for name in sorted(names) if not hasattr(Builder, f"do_{name.lower()}")] == []


def test_a_command_runs_in_the_tree_with_what_is_mounted(tmp_path: Path) -> None:
    try:
        container_build.require("arm64")
    except VirtualPiError as error:
        pytest.skip(str(error))
    base = tmp_path / "base"
    for program in ("/bin/sh", "/usr/bin/env", "/bin/cat"):
        told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True)
        for name in (program, *re.findall(r"(?<=\s)/\S+", told.stdout)):
            (base / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, base / name.lstrip("/"))
    subprocess.run(["tar", "-C", base, "-cf", tmp_path / "base.tar", "."], check=True)
    text = (
        "FROM --platform=$BUILDPLATFORM base AS made\nARG TARGETARCH\n"
        "RUN --mount=type=bind,source=data,target=/in <<'END'\n"
        'cat /in/a.txt >/made; echo "$TARGETARCH" >>/made\nEND\n'
        "FROM scratch\nCOPY --from=made /made /made\n"
    )
    builder = Builder(
        text, tmp_path / "work", "arm64", dict.fromkeys(("amd64", "arm64"), tmp_path / "base.tar")
    )
    (tmp_path / "work").mkdir()
    builder.contexts = {"": context(tmp_path / "context")}
    tree = builder.stage(builder.last).tree
    assert (tree / "made").read_text() == "aarm64\n"
    assert not (tmp_path / "work/made/in").exists()
