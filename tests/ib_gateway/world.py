"""A machine of Debian trixie with IB Gateway's stand-in, put there by the real playbook."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.database.world import World as Machines
from tests.ib_gateway import packages

USERNAME, PASSWORD, VNC_PASSWORD = "planted-user-4711", "planted\\pass wörd=0815", "pl4nted!"
SECRETS = (USERNAME, PASSWORD, "planted\\\\pass", VNC_PASSWORD)
PROGRAM = ("/usr/bin/python3", "-IB", "/usr/local/lib/gridberry/ib_gateway")
DISPLAY, GATEWAY, READY, HEALTH, API = (
    f"gridberry-ib-{name}.service" for name in ("display", "gateway", "ready", "health", "api")
)
BOT = "practice-bot.service"
# It trades only where the API answers at its first moment.
BOT_UNIT = f"""[Service]
ExecStart=/bin/sh -c '{" ".join(PROGRAM)} wait 0 && exec sleep infinity'
"""
BEHAVE = "/var/lib/gridberry-ib/Jts/behave"


class World(Machines):
    """One machine, an inventory of it, and what a user has downloaded."""

    def __init__(self, directory: Path, names: tuple[str, ...] = ("pi1",), **settings: Any) -> None:
        super().__init__(directory, names)
        self.installer, self.ibc = packages.installer(directory), packages.ibc(directory)
        self.settings = {
            "ib_gateway_installer": str(self.installer.path),
            "ib_gateway_installer_sha256": self.installer.sha256,
            "ib_gateway_ibc": str(self.ibc.path),
            "ib_gateway_ibc_sha256": self.ibc.sha256,
            "ib_gateway_username": USERNAME,
            "ib_gateway_password": PASSWORD,
            "ib_gateway_bot_units": [BOT],
            "ib_gateway_start_seconds": 60,
            "ib_gateway_heap_mb": 256,
            "ib_gateway_memory_mb": 512,
        } | settings
        for one in self.machines.values():
            one.run("sh", "-c", f"cat >/etc/systemd/system/{BOT}", text=BOT_UNIT)

    def inventory(self) -> Path:
        """Write the inventory for the machines as they run now."""
        path = super().inventory()
        hosts = yaml.safe_load(path.read_text())["database"]
        path.write_text(yaml.safe_dump({"trading": hosts}))
        return path

    def well(self, name: str, *words: str, **variables: Any) -> str:
        """Run a playbook that must succeed; returns what it printed."""
        done = self.play(name, *words, **variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert not [one for one in SECRETS if one in done.stdout + done.stderr]
        return done.stdout

    def systemd(self, name: str, unit: str) -> str:
        """Return one of systemd's properties of a unit of pi1."""
        return self["pi1"].run("systemctl", "show", "-P", name, unit)

    def look(self) -> dict[str, str]:
        """Have the state of pi1 looked at; returns what is said of it."""
        self["pi1"].run("systemctl", "start", HEALTH)
        said: dict[str, str] = json.loads(
            self["pi1"].run("cat", "/var/lib/gridberry/ib_gateway.json")
        )
        return said

    def until(self, wanted: str, seconds: float = 90.0) -> dict[str, str]:
        """Look until a state is there, and return what is said of it."""
        end = time.monotonic() + seconds
        while (said := self.look())["state"] != wanted:
            assert time.monotonic() < end, f"not {wanted!r}: {said}"
            time.sleep(1)
        return said

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 90.0) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"never: {what}"
            time.sleep(0.5)

    def behave(self, name: str, text: str = "yes") -> None:
        """Tell the stand-in what to do; an empty text: that no more."""
        where = f"{BEHAVE}/{name}"
        action = f"mkdir -p {BEHAVE} && cat >{where}" if text else f"rm -f {where}"
        self["pi1"].run("sh", "-c", f"{action} && chmod -R a+rX {BEHAVE}", text=text)
