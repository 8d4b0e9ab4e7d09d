"""A rollout over simulated hosts, for `benchmarks.fleet_size`: real modules, a shell for Docker.

    python -m benchmarks.fleet_rollout INVENTORY     rolls out; its images are on the hosts already
    python -m benchmarks.fleet_rollout --serve       is the page of every bot

A look is `playbooks/look.yml`. A deployment is what role grid_bot does once its image is there:
compare, write files, compose, record the release. Not in it: preflight, which has its own line in
the table of `fleet_size`, the check of settings, and sending the image.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fleet.ansible import Ansible
from fleet.rollout_judge import PASSED, Needs
from fleet.rollout_verb import Task, roll_out

ADDRESS, PORT = "127.77.0.1", 8080  # of every bot
IMAGE, IDENTITY = "gridbot:a", "sha256:a"
# Docker with compose: a container is a note, which `up` writes. A host's project names it.
DOCKER = """#!/bin/sh
notes={notes}
hash() {{ cat compose.yaml bot.toml exchange.toml | sha256sum | cut -c 1-64; }}
[ "$1" != --host ] || shift 2
for word; do
    [ "$last" != --project-directory ] || cd "$word" || exit
    last=$word
done
project=$(pwd | sed 's:.*/:gridberry-:')
case "$*" in
    "container inspect"*)
        [ -e "$notes/${{last%-bot}}" ] || exit 1
        echo '[{{"Image": "{identity}", "RestartCount": 0, "Mounts": [], "State": {{"Status":
            "running", "Pid": 0, "StartedAt": "2026-01-01T00:00:00.0Z", "Health": {{"Status":
            "healthy"}}}}, "NetworkSettings": {{"Networks": {{"own": {{"IPAddress":
            "{address}"}}}}}}}}]' ;;
    exec*) echo '{{"equal": true}}' ;;
    "image ls"*) echo '{image} {identity}' ;;
    "image inspect"*Size*) echo 1 ;;
    "image inspect"*.Id*) echo '{identity} 6' ;;
    "image inspect"* | inspect*state-schema*) echo '6 6' ;;
    inspect*config-hash*) shift 3
        for name; do
            echo "${{name##*-}} $(cat "$notes/${{name%-*}}") running healthy {identity}"
        done ;;
    inspect*RestartCount*) echo 'running, healthy, restarted 0 times' ;;
    ps*) name=$(echo "$*" | sed 's/.*project=//; s/ .*//')
        [ ! -e "$notes/$name" ] || printf '%s-bot\\n%s-exchange\\n' "$name" "$name" ;;
    "compose config --hash"*) echo "bot $(hash)"; echo "exchange $(hash)" ;;
    compose*config*) echo '{{"name": "x", "services": {{"bot": {{"image": "{image}"}},
        "exchange": {{"image": "{image}"}}}}}}' ;;
    "compose version"*) echo '{{"version": "2.30.0"}}' ;;
    compose*images*) echo '[]' ;;
    compose*up*) hash >"$notes/$project" ;;
    version*) echo '{{"Client": {{}}, "Server": {{"ApiVersion": "1.50"}}}}' ;;
esac
"""
DEPLOY = """
- hosts: trading
  gather_facts: false
  tasks:
    - import_role: {name: grid_bot, tasks_from: compare.yml}
    - import_role: {name: grid_bot, tasks_from: configure.yml}
    - import_role: {name: compose_service, tasks_from: run.yml}
      vars:
        compose_service_project: "{{ grid_bot_project }}"
        compose_service_directory: "{{ grid_bot_directory }}"
"""


def docker(notes: Path) -> str:
    """Return the program that stands in for Docker on all hosts.

    Args:
        notes: A directory for what it knows.
    """
    return DOCKER.format(notes=notes, image=IMAGE, identity=IDENTITY, address=ADDRESS)


def variables(place: Path) -> dict[str, object]:
    """Return what a host needs to be deployed to, whoever runs this."""
    return {
        "grid_bot_project": "gridberry-{{ inventory_hostname }}",
        "__grid_bot_uid": str(os.getuid()),
        "__compose_service_kept_images": f"{place}/{{{{ inventory_hostname }}}}/kept",
        "__container_image_references": {"gridbot": IMAGE, "gridexchange": IMAGE},
    }


class Page(http.server.BaseHTTPRequestHandler):
    """What a bot answers that trades."""

    def do_GET(self) -> None:
        """Answer."""
        answers = {"acknowledged": 9, "refused": 0, "unanswered": 0, "doubled": 0}
        grid = {"symbol": "BTC/USDT", "state": "trading", "unsettled": 0}
        grid["answers"] = answers | {"milliseconds": 80}
        connection = {"circuit": {"state": "closed"}, "account_stream": True, "reconnects": 0}
        status = {"state": "trading", "grids": [grid], "connection": connection}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(status).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Site(Ansible):
    """Ansible, whose site is a deployment without an image to build."""

    def _of_playbook(self, name: str, words: Sequence[str]) -> list[str]:
        found = super()._of_playbook(name, words)
        if name != "site":
            return found
        file = self.path.with_name("deploy.yml")
        file.write_text(DEPLOY)
        rest = [one for one in found[3:] if one not in ("--tags", "grid_bot")]
        return [*found[:2], os.fspath(file), *rest]


def main() -> int:
    """Roll out, or be the page; returns the exit status."""
    if sys.argv[1:] == ["--serve"]:
        http.server.ThreadingHTTPServer((ADDRESS, PORT), Page).serve_forever()
    site = Site(sys.argv[-1], "", None)
    verdict = roll_out(site, Task([], Needs(0, 0), 0, []), how="begin", sleep=lambda _: None)
    return int(verdict != PASSED)


if __name__ == "__main__":
    sys.exit(main())
