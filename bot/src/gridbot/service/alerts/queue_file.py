"""The file in which alerts survive a restart: whole, or as it was before."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from gridbase.atomic_file import WholeFile

log = logging.getLogger(__name__)

NAME = "alerts.json"
_MOST_BYTES = 1_000_000


def read_queue(file: Path) -> Any:
    """What was written last; None where nothing was, or it cannot be read."""
    try:
        with file.open("rb") as opened:
            return json.loads(opened.read(_MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("alerts of before are forgotten: %s: %s", file, error)
        return None


def write_queue(file: Path, text: str) -> None:
    """Write it; a power cut leaves the one before.

    Raises:
        UserError: it cannot be written.
    """
    with WholeFile(file, "alerts:") as whole:
        os.fchmod(whole.file.fileno(), 0o600)
        whole.file.write(text)
