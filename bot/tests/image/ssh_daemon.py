"""A remote machine's Docker daemon as a local socket, over SSH and sudo.

The Docker SDK's own `ssh://` needs a login user in the group `docker`, which is root by another
name; the Pis' users are not in it.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path
from typing import Self


class SshDaemon:
    """Serves a Unix socket; each connection becomes one `docker system dial-stdio` over there."""

    def __init__(self, ssh: list[str], path: Path) -> None:
        self.url = f"unix://{path}"
        self._ssh = [*ssh, "sudo", "-n", "docker", "system", "dial-stdio"]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with (
            connection,
            subprocess.Popen(self._ssh, stdin=connection, stdout=connection) as dialled,
        ):
            dialled.wait()
