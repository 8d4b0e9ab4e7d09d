"""An SSH server on 127.0.0.1 that runs commands on this machine and forwards ports, for one key."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path
from typing import Self

import paramiko

PATIENCE_SECONDS = 60


class _Session(paramiko.ServerInterface):
    """What one connection may do."""

    def __init__(self, key: paramiko.PKey, commands: list[str]) -> None:
        self._key = key
        self._commands = commands
        self.targets: dict[int, tuple[str, int]] = {}

    def get_allowed_auths(self, _user: str) -> str:
        return "publickey"

    def check_auth_publickey(self, _user: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if key == self._key else paramiko.AUTH_FAILED

    def check_channel_request(self, _kind: str, _channel: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_pty_request(self, *_: object) -> bool:
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._commands.append(command.decode())
        threading.Thread(target=_execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(
        self, chanid: int, _origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self.targets[chanid] = destination
        return paramiko.OPEN_SUCCEEDED


def _execute(channel: paramiko.Channel, command: str) -> None:
    done = subprocess.run(["sh", "-c", command], check=False, capture_output=True)
    channel.sendall(done.stdout)
    channel.sendall_stderr(done.stderr)
    channel.send_exit_status(done.returncode)
    channel.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


class SshServer:
    """Serves until its block ends.

    Args:
        directory: Where the keys and `known_hosts` are written.
    """

    def __init__(self, directory: Path) -> None:
        self._host_key = paramiko.ECDSAKey.generate()
        self._user_key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.commands: list[str] = []
        self._user_key.write_private_key_file(str(directory / "key"))
        known = f"[127.0.0.1]:{self.port} {self._host_key.get_name()} {self._host_key.get_base64()}"
        (directory / "known_hosts").write_text(known + "\n")
        self.variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "trader",
            "ansible_ssh_private_key_file": str(directory / "key"),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile='{directory}/known_hosts'",
        }

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
        transport = paramiko.Transport(connection)
        transport.add_server_key(self._host_key)
        session = _Session(self._user_key, self.commands)
        transport.start_server(server=session)
        while transport.is_active():
            channel = transport.accept(1)
            if channel is not None and channel.chanid in session.targets:
                target = socket.create_connection(session.targets[channel.chanid])
                for pair in ((channel, target), (target, channel)):
                    threading.Thread(target=_copy, args=pair, daemon=True).start()
