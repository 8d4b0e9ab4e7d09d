"""What role grid_bot makes of the answers when it asks whether a bot would go on with its grids."""

import os
import subprocess
from pathlib import Path

import pytest

COMPARE = Path(__file__).resolve().parents[2] / "roles/grid_bot/files/compare.sh"
# Answers as the file beside it says; each `docker run` takes one line of `runs`.
DOCKER = """\
#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
    "volume ls") cat "$here/volumes" ;;
    "image inspect") [ -e "$here/image" ] ;;
    "inspect --format") [ -e "$here/running" ] && cat "$here/running" ;;
    run*)
        echo run >>"$here/asked"
        read -r status text <"$here/runs"
        sed -i 1d "$here/runs"
        echo "gridbot check: $text" >&2
        exit "$status"
        ;;
esac
"""


@pytest.fixture
def docker(tmp_path):
    """A stand-in for Docker on which a bot has traded; `compare` asks it."""
    program = tmp_path / "docker"
    program.write_text(DOCKER)
    program.chmod(0o755)
    sleep = tmp_path / "sleep"
    sleep.write_text("#!/bin/sh\n")
    sleep.chmod(0o755)
    (tmp_path / "volumes").write_text("gridbot\n")
    (tmp_path / "image").touch()
    return tmp_path


def compare(docker: Path, *runs: str) -> str:
    """What the script prints where `docker run` ends as told, one after the other."""
    (docker / "runs").write_text("".join(f"{line}\n" for line in runs))
    script = f"DIRECTORY={docker} VOLUME=gridbot IMAGE=bot:new TOML=changed\n" + COMPARE.read_text(
        encoding="utf-8"
    ).replace("/run/", f"{docker}/")
    environment = os.environ | {"PATH": f"{docker}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_grid_that_goes_on(docker):
    assert compare(docker, "0 fine") == ""


def test_a_grid_that_would_not(docker):
    assert compare(docker, "1 grid.lower differs") == "refused: grid.lower differs"


def test_an_image_of_another_processor_is_said_at_once(docker):
    said = compare(docker, "1 exec /usr/local/bin/gridbot: exec format error")
    assert said.startswith("refused: its image has programs of another processor")


def test_a_busy_answer_is_asked_again(docker):
    assert compare(docker, "125 daemon is busy", "4 database is locked", "1 no") == "refused: no"


def test_no_answer_is_never_a_yes(docker):
    said = compare(docker, *["125 daemon is busy"] * 3)
    assert said == "unknown: the comparison ended with status 125: daemon is busy"
    assert (docker / "asked").read_text().count("run") == 3


def test_docker_that_does_not_answer(docker):
    (docker / "docker").write_text("#!/bin/sh\necho cannot connect >&2\nexit 1\n")
    assert compare(docker) == "unknown: docker volume ls: cannot connect"


def test_books_that_the_new_bot_migrates_are_compared_by_the_one_that_runs(docker):
    older = "4 state was written by an older gridbot (schema 1)"
    assert compare(docker, older) == f"not compared: {older[2:]}"  # none runs
    (docker / "running").write_text("bot:old\n")
    assert compare(docker, older, "1 bot_name differs") == "refused: bot_name differs"
    assert compare(docker, older, "0 fine") == ""
    assert compare(docker, older, older) == (
        f"not compared: the image that runs cannot: {older[2:]}"
    )
    assert compare(docker, older, "2 grid.new is unknown") == (
        "not compared: the image that runs cannot: grid.new is unknown"
    )


def test_no_books_or_the_same_settings(docker):
    (docker / "bot.toml").write_text("changed")
    (docker / "compose.yaml").write_text("    image: bot:new\n")
    assert compare(docker) == ""
    (docker / "compose.yaml").write_text("    image: bot:old\n")
    assert compare(docker, "1 no") == "refused: no"  # another image asks, too
    (docker / "bot.toml").unlink()
    (docker / "volumes").write_text("")
    assert compare(docker) == ""


def test_before_the_image_is_here(docker):
    (docker / "image").unlink()
    assert compare(docker) == "not compared: the image is not here yet, and no bot runs"
    (docker / "running").write_text("bot:old\n")
    assert compare(docker, "2 unrecognized arguments: --state") == (
        "not compared: the image that runs cannot: unrecognized arguments: --state"
    )
