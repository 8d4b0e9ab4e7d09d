"""The section `[sync]` of the settings: where copies go."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gridbase.secret_files import read_secret
from gridbase.settings import (
    WrongValueError,
    any_path,
    integer,
    matching,
    read_table,
    text,
)

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{2,62}", re.ASCII)
PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*/)*[A-Za-z0-9][A-Za-z0-9_-]*|", re.ASCII)
ENDPOINT = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
_prefix = matching(PREFIX, "names with / between them, such as market/pi1")
_endpoint = matching(ENDPOINT, "https://HOST or http://HOST, maybe :PORT")


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

    bucket: Annotated[str, matching(BUCKET, "the name of a bucket")]
    key_id_file: Annotated[Path, any_path]
    secret_file: Annotated[Path, any_path]
    prefix: Annotated[str, _prefix] = ""
    endpoint: Annotated[str, _endpoint] = ""
    region: Annotated[str, text] = "us-east-1"
    kilobytes_per_second: Annotated[int, integer(0, 1_000_000)] = 0

    def keys(self) -> tuple[str, str]:
        """ID and secret of the access key.

        Raises:
            UserError: a file is missing, or others can read it.
        """
        return (
            read_secret(self.key_id_file, "sync.key_id_file"),
            read_secret(self.secret_file, "sync.secret_file"),
        )


def read_sync(section: Any) -> SyncSettings:
    """Read the section `[sync]` of the settings.

    Args:
        section: what TOML has there.

    Raises:
        WrongValueError: something is missing, or a value is not allowed.
    """
    if not isinstance(section, dict):
        raise WrongValueError("sync: needs a section [sync] with bucket and keys")
    return read_table(SyncSettings, section, "sync: ")
