"""What the shell of role packages tells about dpkg's database."""

import shutil
import subprocess
from pathlib import Path

import pytest

LOOK = Path(__file__).resolve().parents[2] / "roles/packages/files/look.sh"
STATUS = """\
Package: chrony
Status: install ok installed
Version: 1
Architecture: all
Maintainer: nobody
Description: here

Package: nftables
Status: install ok half-configured
Version: 1
Architecture: all
Maintainer: nobody
Description: half here
"""

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-query"), reason="dpkg is not here")


@pytest.fixture
def look(tmp_path):
    """Run the script on a database; returns its lines."""
    (tmp_path / "dpkg/updates").mkdir(parents=True)
    (tmp_path / "dpkg/info").mkdir()
    (tmp_path / "dpkg/info/format").write_text("1\n")
    (tmp_path / "dpkg/status").write_text(STATUS)
    (tmp_path / "lists").mkdir()

    def run(*packages: str) -> list[str]:
        roots = {"DPKG": "dpkg", "NOTES": "notes", "LISTS": "lists"}
        done = subprocess.run(
            ["sh", LOOK, *packages],
            env={"PATH": "/usr/bin:/bin"} | {name: tmp_path / path for name, path in roots.items()},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.splitlines()

    run.root = tmp_path
    return run


def test_all_there(look):
    assert look("chrony") == ["installed chrony"]


def test_missing_with_and_without_lists(look):
    lines = ["missing chrony-x", "interrupted nftables"]
    assert look("chrony-x") == lines
    (look.root / "lists/mirror_main_Packages").touch()
    assert look("chrony-x") == [*lines, "lists yes"]


def test_half_configured_is_not_installed(look):
    assert look("nftables") == ["missing nftables", "interrupted nftables"]


def test_a_power_cut_left_dpkg_in_the_middle(look):
    (look.root / "dpkg/updates/0001").write_text(STATUS.split("\n\n", maxsplit=1)[0] + "\n")
    assert "interrupted journal" in look("chrony")


def test_notes_are_told_once(look):
    (look.root / "notes").write_text("chrony\nchrony\n")
    assert look("chrony") == ["installed chrony", "noted chrony"]


FINISH = LOOK.with_name("finish.sh")
# Refused as often as `held` says, then done.
DPKG_STAND_IN = """\
#!/bin/sh
here=$(dirname "$0")
held=$(cat "$here/held")
if [ "$held" -gt 0 ]; then
    echo $((held - 1)) >"$here/held"
    echo "dpkg: error: dpkg frontend lock was locked by another process with pid 7" >&2
    [ "$held" -gt 1 ] || [ ! -e "$here/ends" ] || rm -f "$here/../dpkg/updates/0001"
    exit 2
fi
rm -f "$here/../dpkg/updates/0001"
"""


@pytest.fixture
def finish(look):
    """Run the script after a cut; returns its status and what it printed."""
    root = look.root
    (root / "dpkg/status").write_text(STATUS.split("\n\n", maxsplit=1)[0] + "\n")
    (root / "dpkg/updates/0001").write_text("")
    (root / "bin").mkdir()
    for name, text in {
        "dpkg": DPKG_STAND_IN,
        "apt-get": "#!/bin/sh\n",
        "sleep": "#!/bin/sh\n",
    }.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)

    def run(held: int, seconds: int = 60) -> tuple[int, str]:
        (root / "bin/held").write_text(f"{held}\n")
        done = subprocess.run(
            ["sh", FINISH],
            env={
                "PATH": f"{root}/bin:/usr/bin:/bin",
                "DPKG": root / "dpkg",
                "SECONDS_LEFT": str(seconds),
            },
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout.strip()

    run.root = root
    return run


def test_what_was_cut_is_finished(finish):
    assert finish(held=0) == (0, "finished")


def test_a_dpkg_at_work_is_given_its_time(finish):
    assert finish(held=3) == (0, "finished")


def test_one_that_ends_well_leaves_nothing_to_finish(finish):
    (finish.root / "bin/ends").touch()
    assert finish(held=2) == (0, "")


def test_one_that_never_ends_is_said(finish):
    status, said = finish(held=99, seconds=20)
    assert status == 1
    assert said.endswith("dpkg's lock for too long (packages_lock_timeout)")
