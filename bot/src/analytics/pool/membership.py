"""Who belongs to a pool: those that have its certificate and its key."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

from gridbase.errors import ExitCode, UserError

CERTIFICATE, KEY = "pool.crt", "pool.key"
_ADDRESS = re.compile(r"tls://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")


def security(directory: Path) -> Any:
    """What Dask needs to let nobody in but members.

    Args:
        directory: has ``pool.crt``, which is its own authority, and ``pool.key``.

    Returns:
        A `distributed.Security` that refuses connections without mutual TLS.

    Raises:
        UserError: a file is missing or no certificate, or others may read the key.
    """
    certificate, key = directory / CERTIFICATE, directory / KEY
    for path in (certificate, key):
        if not path.is_file():
            raise UserError(f"--tls {directory}: {path.name} is missing", ExitCode.STATE)
    if key.stat().st_mode & 0o077:
        raise UserError(f"--tls {directory}: {KEY} can be read by others; use mode 0600")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"--tls {directory}: no certificate with its key: {error}") from error

    from distributed import Security

    roles = ("client", "scheduler", "worker")
    return Security(  # type: ignore[no-untyped-call]  # Dask has no types there
        require_encryption=True,
        tls_ca_file=str(certificate),
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        **{f"tls_{role}_cert": str(certificate) for role in roles},
        **{f"tls_{role}_key": str(key) for role in roles},
    )


def address(option: str, text: str) -> str:
    """An address that speaks TLS.

    Args:
        option: names it in an error.
        text: such as ``tls://192.168.1.10:8786``.

    Raises:
        UserError: it is another kind of address.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 <= int(match[2]) <= 65_535:
        raise UserError(
            f"{option} = {text[:80]} needs tls://HOST:PORT; without TLS anybody could have the pool"
            " run any code"
        )
    return text
