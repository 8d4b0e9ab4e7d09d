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
