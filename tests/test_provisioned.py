"""The name of a provisioned machine: another one for whatever it would be made of otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fleet.demo import SOURCES
from tests import provisioned

APT = Path("/usr/lib/apt/apt-helper")
needs_apt = pytest.mark.skipif(not APT.exists(), reason=f"{APT} is Debian's")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive of Debian, as far as its lists of packages go."""
    place = tmp_path / "archive"
    for suite in ("trixie", "trixie-updates"):
        (place / "dists" / suite).mkdir(parents=True)
        (place / "dists" / suite / "InRelease").write_text("as it was")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GRIDBERRY_DEBIAN_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.delenv("GRIDBERRY_DEBIAN_SECURITY_MIRROR", raising=False)
        yield place
        server.shutdown()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout"
    for source in (*SOURCES, *provisioned.MACHINE):
        (place / source).parent.mkdir(parents=True, exist_ok=True)
        (place / source).write_text("as it was")
    return place


@needs_apt
def test_packages_of_the_archive_and_of_each_suite_count(archive: Path) -> None:
    before = provisioned.packages_now("trixie")
    assert before is not None
    assert provisioned.packages_now("trixie") == before
    (archive / "dists/trixie-updates/InRelease").write_text("newer")
    assert provisioned.packages_now("trixie") not in {before, None}


@needs_apt
def test_an_archive_that_does_not_answer_leaves_it_without_a_name(
    archive: Path, checkout: Path
) -> None:
    assert provisioned.snapshot(checkout, "") is not None
    (archive / "dists/trixie-updates/InRelease").unlink()
    assert provisioned.snapshot(checkout, "") is None


def test_all_three_suites_of_debian_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDBERRY_DEBIAN_MIRROR", raising=False)
    assert provisioned.archives("trixie") == [
        "http://deb.debian.org/debian/dists/trixie/InRelease",
        "http://deb.debian.org/debian/dists/trixie-updates/InRelease",
        "http://deb.debian.org/debian-security/dists/trixie-security/InRelease",
    ]


@pytest.mark.parametrize("source", [*SOURCES, *provisioned.MACHINE])
def test_each_source_counts_and_tests_do_not(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(provisioned, "packages_now", lambda _: "these")
    before = provisioned.snapshot(checkout, "")
    (checkout / source).write_text("otherwise")
    otherwise = provisioned.snapshot(checkout, "")
    assert before != otherwise
    (checkout / source).unlink()
    (checkout / source / "tests").mkdir(parents=True)
    without = provisioned.snapshot(checkout, "")
    (checkout / source / "tests" / "test_it.py").touch()
    assert provisioned.snapshot(checkout, "") == without


def test_candles_and_packages_count(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioned, "packages_now", lambda _: "these")
    candles = tmp_path / "candles.csv"
    candles.write_text("1")
    names = {provisioned.snapshot(checkout, ""), provisioned.snapshot(checkout, str(candles))}
    candles.write_text("2")
    names.add(provisioned.snapshot(checkout, str(candles)))
    # Wherever the file lies.
    moved = shutil.move(candles, tmp_path / "checkout")
    assert provisioned.snapshot(checkout, str(moved)) in names
    monkeypatch.setattr(provisioned, "packages_now", lambda _: "newer")
    names.add(provisioned.snapshot(checkout, ""))
    assert len(names) == 4
