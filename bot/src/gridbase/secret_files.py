"""Reads secrets from files that nobody else can read. Their content is never printed or logged."""

import stat
from pathlib import Path

from gridbase.errors import UserError
from gridbase.redaction import remember


def read_secret(path: Path, setting: str) -> str:
    """The one line of text in a secret file.

    Args:
        path: the file.
        setting: name of the setting that holds the path, for the error.

    Raises:
        UserError: the file is missing, empty, not one line, or others may read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise UserError(
                    f"{setting} = {path} has mode {mode:04o}, so that others can read it; "
                    "set its mode to 0600"
                )
            content = file.read(65536)
    except OSError as error:
        raise UserError(f"{setting} = {path}: {error.strerror}") from error
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    one_line = "\n" not in text or "PRIVATE KEY" in text
    if not text or not one_line or not text.replace("\n", "").isprintable():
        raise UserError(f"{setting} = {path} needs one line with the key and nothing else")
    remember(text, setting.removesuffix("_file"))
    return text
