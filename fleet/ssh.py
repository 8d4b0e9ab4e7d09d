"""OpenSSH for a host of an inventory: a shell, a command, a tunnel to the bot's page."""

from __future__ import annotations

import shlex
import subprocess
import time
import webbrowser
from collections.abc import Mapping, Sequence
from typing import Any

from gridbase.errors import UserError

from fleet.try_out import PATIENCE_SECONDS, POLL_SECONDS, ask, free_port

PAGE_PORT = 8080
ANY_ADDRESS = {"0.0.0.0", ""}  # noqa: S104 - what the page may be bound to over there


def ssh_command(name: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the command that logs in as Ansible does.

    Args:
        name: The host's, in the inventory.
        variables: The host's.

    Raises:
        UserError: A variable is a template, which only Ansible can fill in.
    """
    command = ["ssh"]
    for option, key in (("-p", "ansible_port"), ("-i", "ansible_ssh_private_key_file")):
        command += [option, _plain(name, variables, key)] if variables.get(key) else []
    for key in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        command += shlex.split(_plain(name, variables, key))
    host = _plain(name, variables, "ansible_host") or name
    user = _plain(name, variables, "ansible_user")
    return [*command, f"{user}@{host}" if user else host]


def _plain(name: str, variables: Mapping[str, Any], key: str) -> str:
    value = str(variables.get(key, ""))
    if "{{" in value:
        raise UserError(f"{key} of {name} is the template {value}; here it must be a plain value")
    return value


def open_page(name: str, variables: Mapping[str, Any], command: Sequence[str]) -> int:
    """Open the bot's page in a browser, through a tunnel that lasts until Ctrl-C.

    Args:
        name: The host's, in the inventory.
        variables: The host's.
        command: What `ssh_command` returns for it.

    Returns:
        The exit status.
    """
    address = _plain(name, variables, "grid_bot_page_address")
    address = "127.0.0.1" if address in ANY_ADDRESS else address
    page = _plain(name, variables, "grid_bot_page_port") or str(PAGE_PORT)
    port = free_port(PAGE_PORT)
    forward = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:{address}:{page}"]
    words = [*command[:-1], *forward, command[-1]]
    print(f"$ {shlex.join(words)}", flush=True)
    with subprocess.Popen(words) as tunnel:
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while ask(port, "/health", any_status=True) is None:
                if tunnel.poll() is not None:
                    return 1  # ssh has said why
                if time.monotonic() > end:
                    print(f"gridberry: no page on {name} at {address}:{page}", flush=True)
                    return 1
                time.sleep(POLL_SECONDS)
            url = f"http://127.0.0.1:{port}/"
            print(f"The page of the bot on {name}: {url} (Ctrl-C ends the tunnel)", flush=True)
            webbrowser.open(url)
            return int(tunnel.wait() != 0)
        except KeyboardInterrupt:
            return 0
        finally:
            tunnel.terminate()
