"""The section `[sync]` of the settings: where copies go."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbase.secret_files import read_secret
from gridbase.settings import Read, WrongValueError, integer, known_names, read_each, text

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{2,62}", re.ASCII)
PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*/)*[A-Za-z0-9][A-Za-z0-9_-]*|", re.ASCII)
ENDPOINT = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True)
class SyncSettings:
    """Where copies go.

    Attributes:
        bucket: of S3.
        prefix: before each name; empty for none.
        endpoint: of a server other than AWS; empty for AWS.
        region: of the bucket.
        key_id_file: file with the access key's ID, mode 0600.
        secret_file: file with the secret key, mode 0600.
        kilobytes_per_second: bound of the upload; 0 for none.
    """

    bucket: str
    key_id_file: Path
    secret_file: Path
    prefix: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    kilobytes_per_second: int = 0

    def keys(self) -> tuple[str, str]:
        """ID and secret of the access key.

        Raises:
            UserError: a file is missing, or others can read it.
        """
        return (
            read_secret(self.key_id_file, "sync.key_id_file"),
            read_secret(self.secret_file, "sync.secret_file"),
        )


def matching(pattern: re.Pattern[str], needed: str) -> Read:
    """Read text that a pattern matches as a whole; `needed` says what is allowed."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise WrongValueError(f"needs {needed}")
        return value

    return read


READERS: dict[str, Read] = {
    "bucket": matching(BUCKET, "the name of a bucket"),
    "prefix": matching(PREFIX, "names with / between them, such as market/pi1"),
    "endpoint": matching(ENDPOINT, "https://HOST or http://HOST, maybe :PORT"),
    "region": text,
    "key_id_file": lambda value: Path(text(value)),
    "secret_file": lambda value: Path(text(value)),
    "kilobytes_per_second": integer(0, 1_000_000),
}


def read_sync(section: Any) -> SyncSettings:
    """Read the section `[sync]` of the settings.

    Args:
        section: what TOML has there.

    Raises:
        WrongValueError: something is missing, or a value is not allowed.
    """
    if not isinstance(section, dict):
        raise WrongValueError("sync: needs a section [sync] with bucket and keys")
    for name in section:
        if name not in READERS:
            raise WrongValueError(
                f"sync: unknown setting {name}; {known_names(name, list(READERS))}"
            )
    for name in ("bucket", "key_id_file", "secret_file"):
        if name not in section:
            raise WrongValueError(f"sync: {name} is missing")
    return SyncSettings(
        **read_each(READERS, section, lambda name, value: f"sync: {name} = {value!r}:")
    )
