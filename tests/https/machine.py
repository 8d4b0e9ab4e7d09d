"""The role https_proxy on a whole machine of Debian trixie: twice, after other names, and undone.

sudo python -m tests.https.machine
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.database.world import World
from tests.trixie_machine import Machine, MachineMissingError, root_file_system

PLAY = [
    {
        "hosts": "database",
        "become": True,
        "gather_facts": False,
        "roles": [{"role": "https_proxy"}],
    }
]
# In the place of a bot: it says what it was told of the way.
PAGE = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.headers["X-Forwarded-Proto"] + " " + self.headers["Host"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Page).serve_forever()
"""
ASK = """
import ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/etc/gridberry/https/own.crt")
asked = urllib.request.Request(sys.argv[1], headers={"X-Forwarded-Proto": "http"})
print(urllib.request.urlopen(asked, context=trust, timeout=10).read().decode())
"""
SETTINGS = {"https_proxy_enabled": True, "https_proxy_names": ["pi1", "10.77.0.1"]}


def ask(machine: Machine, name: str) -> str:
    """Return what a program on the machine reads at an address, where it trusts the certificate."""
    return machine.ask("python3", "-c", ASK, f"https://{name}/")


def serve(machine: Machine) -> None:
    """Start what stands for a bot's page, and wait until it listens."""
    machine.run("systemd-run", "--unit=page", "python3", "-c", PAGE)
    machine.run("timeout", "60", "sh", "-c", "until ss -ltn | grep -q :8080; do sleep 0.1; done")


def check(world: World, play: str) -> None:
    """Run it.

    Args:
        world: With one machine.
        play: The path of a playbook with the role.

    Raises:
        AssertionError: It is not as it should be.
    """
    machine = world["pi1"]
    serve(machine)
    assert "would" not in world.well(play, "--check", "--diff")
    assert not machine.path("/etc/gridberry/https/own.crt").exists()
    before = machine.ask("systemctl", "is-active", "nginx")
    shown = world.well(play)
    assert machine.ask("systemctl", "is-active", "nginx") == before == "active"  # it was there
    assert "https://pi1:443" in shown
    print_of = machine.run(
        *("openssl", "x509", "-in", "/etc/gridberry/https/own.crt"),
        *("-noout", "-fingerprint", "-sha256"),
    )
    assert print_of in shown
    assert ask(machine, "10.77.0.1") == "https 10.77.0.1"
    assert world.changed(world.well(play)) == {"pi1": 0}
    status = machine.run("systemctl", "show", "gridberry-https", "-p", "MainPID", "--value")
    user = machine.run("ps", "-o", "user=", "-p", status)
    assert user != "root", user
    mode = machine.run("stat", "-c", "%a %U", "/etc/gridberry/https/own.key")
    assert mode == "600 root"
    # The key is in no argument and in no environment of the unit.
    assert "KEY" not in machine.ask("systemctl", "show", "gridberry-https")
    # What the role installed has no page of its own on port 80.
    machine.run(
        "sh", "-c", "mkdir -p /var/lib/gridberry && echo nginx >/var/lib/gridberry/packages"
    )
    assert world.changed(world.well(play)) == {"pi1": 1}
    assert machine.ask("systemctl", "is-active", "nginx") == "inactive"
    assert world.changed(world.well(play)) == {"pi1": 0}
    machine.run("rm", "/var/lib/gridberry/packages")
    other = {"https_proxy_names": ["10.77.0.1", "pi1.example"]}
    assert print_of not in world.well(play, **other)
    assert ask(machine, "10.77.0.1") == "https 10.77.0.1"
    machine.cut_power()
    machine.boot()
    serve(machine)
    assert ask(machine, "10.77.0.1") == "https 10.77.0.1"
    assert world.changed(world.well(play, **other)) == {"pi1": 0}
    world.well(play, https_proxy_state="absent", **other)
    assert machine.ask("systemctl", "is-active", "gridberry-https") == "inactive"
    assert list(machine.path("/etc/gridberry/https").glob("*")) == []
    gone = world.well(play, https_proxy_state="absent", **other)
    assert world.changed(gone) == {"pi1": 0}


def main() -> int:
    """Run it on a machine; returns 1 where there can be none."""
    try:
        root_file_system()
    except MachineMissingError as error:
        print(f"tests.https.machine: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="gridberry-https-") as directory:
        place = Path(directory)
        world = World(place, ("pi1",), **SETTINGS)
        play = place / "https.yml"
        play.write_text(json.dumps(PLAY))
        try:
            check(world, str(play))
        finally:
            world.close()
    print("1 machine: as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
