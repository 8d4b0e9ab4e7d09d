"""Copies files that count to S3: each once, read back before it counts as copied, manifest last.

A name is written only where there is none (`If-None-Match`), so that no copy replaces another. A
copy that a killed run has left is read back and compared like any other. Names tell their content:
one that is there and differs is an error, and nothing of it is removed here.
"""

import hashlib
import html
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import obstore
from gridbase.errors import ExitCode, UserError
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import S3Store

from recorder.files.catalog import Catalog, Entry
from recorder.files.layout import MANIFEST, READY
from recorder.sync_settings import SyncSettings

LOG = logging.getLogger("recorder")
CHUNK = 256 * 1024
PART = 8 * 1024 * 1024  # files above this are sent in parts
TIMEOUT = "30s"


@dataclass
class Report:
    """What a run did, or would do.

    Attributes:
        copied: names of files that were copied.
        there: files whose equal copy was there already.
        bytes: of the files copied.
    """

    copied: list[str] = field(default_factory=list)
    there: int = 0
    bytes: int = 0


def open_bucket(settings: SyncSettings) -> S3Store:
    """The bucket.

    Raises:
        UserError: a key cannot be read, or the bucket cannot be used.
    """
    key_id, secret = settings.keys()
    with _told():
        return S3Store(
            settings.bucket,
            prefix=settings.prefix or None,
            endpoint=settings.endpoint or None,
            region=settings.region,
            access_key_id=key_id,
            secret_access_key=secret,
            virtual_hosted_style_request=not settings.endpoint,
            client_options={
                "allow_http": settings.endpoint.startswith("http://"),
                "timeout": TIMEOUT,
            },
            retry_config={"max_retries": 3},
        )


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong there, in one line."""
    try:
        yield
    except BaseError as error:
        text = str(error)
        # S3 says why in XML; what is before it names the request alone.
        said = re.search(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", text, re.DOTALL)
        reason = ": ".join(said.groups()) if said else text.partition("\n")[0]
        reason = " ".join(html.unescape(reason).split())[:300]
        raise UserError(f"the bucket cannot be used: {reason}", ExitCode.EXCHANGE) from error


def sync(
    catalog: Catalog,
    bucket: S3Store,
    *,
    kilobytes_per_second: int = 0,
    before: str = "9999-12-31",
    dry_run: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Report:
    """Copy what has not been copied; repeatable after it was stopped anywhere.

    Args:
        catalog: of the data directory.
        bucket: where to.
        kilobytes_per_second: bound of the upload; 0 for none.
        before: days before this one (such as 2026-01-31) are copied; files of others may yet be
            replaced by one of the day.
        dry_run: say what would be copied, and copy nothing.
        told: each name, before it is copied.

    Raises:
        UserError: the bucket cannot be used, or has something else under a file's name.
    """
    report = Report()
    with _told():
        for entry in catalog.unsynced():
            if entry.date >= before:
                continue
            if not (catalog.directory / READY / entry.path).exists():
                LOG.info("%s: removed meanwhile, to keep within the disk's budget", entry.path)
                continue
            told(entry.path)
            if not dry_run:
                new = _copy(catalog, bucket, entry, kilobytes_per_second)
                report.there += not new
                if not new:
                    continue
            report.copied.append(entry.path)
            report.bytes += entry.bytes
        if not dry_run:
            _copy_manifests(catalog, bucket, before)
    return report


def _copy(catalog: Catalog, bucket: S3Store, entry: Entry, kilobytes_per_second: int) -> bool:
    """Copy a file, or find its copy there; whether it was new."""
    path = catalog.directory / READY / entry.path
    new = False
    if _remote_digest(bucket, entry.path) is None:
        try:
            # In one request up to 8 MB, else in parts: either way it is there whole or not at all.
            obstore.put(
                bucket,
                entry.path,
                _chunks(path, kilobytes_per_second),
                mode="create",
                chunk_size=PART,
            )
            new = True
        except (AlreadyExistsError, PreconditionError):
            LOG.info("%s: another one has copied it", entry.path)
    if _remote_digest(bucket, entry.path) != entry.sha256:
        raise UserError(
            f"{entry.path}: the copy in the bucket is not equal to the file; neither is touched",
            ExitCode.DIFFERS,
        )
    catalog.mark_synced(entry.path)
    return new


def _remote_digest(bucket: S3Store, name: str) -> str | None:
    """SHA-256 of a copy, by reading it; None where there is none."""
    digest = hashlib.sha256()
    try:
        for chunk in obstore.get(bucket, name).stream(min_chunk_size=CHUNK):
            digest.update(chunk)
    except (NotFoundError, FileNotFoundError):
        return None
    return digest.hexdigest()


def _chunks(path: Path, kilobytes_per_second: int) -> Iterator[bytes]:
    """A file's content, no faster than allowed."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
            if kilobytes_per_second:
                time.sleep(len(chunk) / 1000 / kilobytes_per_second)


def _copy_manifests(catalog: Catalog, bucket: S3Store, before: str) -> None:
    """Write the manifests that differ from those in the bucket."""
    catalog.write_manifests()
    for path in sorted((catalog.directory / READY / MANIFEST).glob("*.json")):
        if path.stem >= before:
            continue
        name = f"{MANIFEST}/{path.name}"
        content = path.read_bytes()
        if _remote_digest(bucket, name) != hashlib.sha256(content).hexdigest():
            obstore.put(bucket, name, content)
