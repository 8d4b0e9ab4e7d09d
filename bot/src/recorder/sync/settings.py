"""The section `[sync]` of the settings: where copies go."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
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


def _matching(pattern: re.Pattern[str], needed: str) -> Read:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise WrongValueError(f"needs {needed}")
        return value

    return read


READERS: dict[str, Read] = {
    "bucket": _matching(BUCKET, "the name of a bucket"),
    "prefix": _matching(PREFIX, "names with / between them, such as market/pi1"),
    "endpoint": _matching(ENDPOINT, "https://HOST or http://HOST, maybe :PORT"),
    "region": text,
    "key_id_file": lambda value: Path(text(value)),
    "secret_file": lambda value: Path(text(value)),
    "kilobytes_per_second": integer(0, 1_000_000),
}


def load_sync(path: Path) -> SyncSettings:
    """Read the section `[sync]` of the settings.

    Args:
        path: the TOML file.

    Raises:
        UserError: it is missing, or a value is not allowed.
    """
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("sync")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no TOML: {error}") from error
    if not isinstance(section, dict):
        raise UserError(f"{path}: needs a section [sync] with bucket, key_id_file and secret_file")
    for name in section:
        if name not in READERS:
            hint = known_names(name, list(READERS))
            raise UserError(f"{path}: sync: unknown setting {name}; {hint}")
    for name in ("bucket", "key_id_file", "secret_file"):
        if name not in section:
            raise UserError(f"{path}: sync: {name} is missing")
    try:
        values = read_each(READERS, section, lambda name, value: f"sync: {name} = {value!r}:")
    except WrongValueError as error:
        raise UserError(f"{path}: {error}") from error
    return SyncSettings(**values)
