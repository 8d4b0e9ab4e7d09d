"""The name of a provisioned machine: another one for whatever it would be made of otherwise."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fleet.demo import SOURCES
from tests import provisioned
from virtual_pi.image import Image

needs_apt = pytest.mark.skipif(
    not Path(provisioned.APT_HELPER).exists(), reason=f"{provisioned.APT_HELPER} is Debian's"
)
needs_ext4 = pytest.mark.skipif(shutil.which("mke2fs") is None, reason="needs mke2fs and debugfs")
SUITES = ("trixie", "trixie-updates")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def image_with(place: Path, sources: str) -> Image:
    """A virtual Pi's image, as far as what it says of Debian's archive."""
    (place / "root/etc/apt").mkdir(parents=True)
    (place / "root/etc/apt/sources.list").write_text(sources)
    image = Image(place)
    subprocess.run(["mke2fs", "-q", "-d", place / "root", image.root, "1M"], check=True)
    return image


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    """An archive of Debian, as far as its lists of packages go."""
    place = tmp_path / "archive"
    for suite in SUITES:
        (place / "dists" / suite).mkdir(parents=True)
        (place / "dists" / suite / "InRelease").write_text("as it was")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (place / "address").write_text(f"http://127.0.0.1:{server.server_port}/")
        yield place
        server.shutdown()


@pytest.fixture
def image(archive: Path, tmp_path: Path) -> Image:
    """The image that asks this archive."""
    address = (archive / "address").read_text()
    lines = [f"deb {address} {suite} main\n" for suite in SUITES]
    return image_with(tmp_path / "image", "".join(["# Debian\n", *lines]))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout"
    for source in (*SOURCES, *provisioned.MACHINE):
        (place / source).parent.mkdir(parents=True, exist_ok=True)
        (place / source).write_text("as it was")
    return place


@needs_apt
@needs_ext4
def test_packages_of_the_archive_and_of_each_suite_count(archive: Path, image: Image) -> None:
    before = provisioned.packages_now(image)
    assert before is not None
    assert provisioned.packages_now(image) == before
    (archive / "dists/trixie-updates/InRelease").write_text("newer")
    assert provisioned.packages_now(image) not in {before, None}


@needs_apt
@needs_ext4
def test_an_archive_that_does_not_answer_leaves_it_without_a_name(
    archive: Path, image: Image, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioned, "ensure_image", lambda _: image)
    assert provisioned.snapshot(checkout, "") is not None
    (archive / "dists/trixie-updates/InRelease").unlink()
    assert provisioned.snapshot(checkout, "") is None


@needs_ext4
def test_an_image_that_names_no_archive_leaves_it_without_a_name(tmp_path: Path) -> None:
    assert provisioned.packages_now(image_with(tmp_path / "image", "# none\n")) is None


@pytest.mark.parametrize("source", [*SOURCES, *provisioned.MACHINE])
def test_each_source_counts_and_tests_do_not(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(provisioned, "ensure_image", Image)
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
    monkeypatch.setattr(provisioned, "ensure_image", Image)
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
