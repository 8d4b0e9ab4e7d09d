"""A small fleet on this computer: the role's own files and commands, Debian trixie's programs.

Ports and directories are others, and all times are shorter by one factor. Bots answer what the
tests give them; sensors, drives and clock are fixtures that the role's own health program reads.
Discord is a server on loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.monitoring import tools
from benchmarks.monitoring.render import render

ROLE = Path(__file__).resolve().parents[2] / "roles/monitoring/files"
SERVER, CHECKER = "pi1", "pi2"
FLEET = (SERVER, CHECKER)
# A command runs in a mount namespace of its own, after a shell has mounted there; needs root.
NAMESPACE = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
WRITE_TOKEN = "-".join(("write", "4711"))
# How much shorter each time is. Below that, what these programs wait for by themselves would count.
FACTOR = 30
DURATION = re.compile(r"(?<![\w.-])(\d+)(ms|s|m|h|d)(?![\w.])")
MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
BOT_METRICS = """gridbot_build_info{version="0.1.0",mode="paper",exchange="binance"} 1
gridbot_healthy %(healthy)d
gridbot_circuit_breaker_state{state="open"} %(open)d
gridbot_circuit_breaker_state{state="closed"} %(closed)d
gridbot_grid_waiting{symbol="BTC/USDT",cause="exchange"} %(exchange)d
gridbot_grid_waiting{symbol="BTC/USDT",cause="books_unequal"} %(unequal)d
gridbot_kill_switch_fired{symbol="BTC/USDT",rule="stop.loss_price"} %(killed)d
gridbot_range_position_ratio{symbol="BTC/USDT"} 0.5
gridbot_grid_profit{symbol="BTC/USDT",coin="USDT"} 12.5
gridbot_fills_total{symbol="BTC/USDT",side="buy"} 7
"""
WELL = {"healthy": 1, "open": 0, "closed": 1, "exchange": 0, "unequal": 0, "killed": 0}


def shorter(text: str) -> str:
    """Return a configuration with each of its times divided by the factor."""

    def divided(found: re.Match[str]) -> str:
        milliseconds = int(found[1]) * MILLISECONDS[found[2]] // FACTOR
        return f"{max(milliseconds, 1)}ms" if int(found[1]) else "0s"

    return DURATION.sub(divided, text)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not wait is no error of this program's."""


class Http:
    """A server on loopback, in threads."""

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = _Server(("127.0.0.1", port), handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class Discord:
    """Takes messages, and keeps them with the time at which they came."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, str]] = []
        kept = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                embeds = body.get("embeds") or [{}]
                text = body.get("content") or ""
                text += f"{embeds[0].get('title', '')}\n{embeds[0].get('description', '')}"
                kept.append((time.monotonic(), text.strip()))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = Http(0, Handler)
        self.url = f"http://127.0.0.1:{self._http.port}/webhook"


@dataclass
class Pi:
    """One Pi: its programs, and what its sensors say.

    Attributes:
        name: Of the host.
        place: Its directory.
        ports: By the number that the role has.
        bot: What its bot tells.
    """

    name: str
    place: Path
    ports: dict[str, int]
    bot: dict[str, int] = field(default_factory=lambda: dict(WELL))
    answers: Http | None = None
    scrapes: int = 0  # of its bot

    def fixture(self, name: str, text: str) -> Path:
        """Write a file below the Pi's directory."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def command(self, name: str, text: str) -> None:
        """Make a program that prints a text."""
        self.fixture(f"bin/{name}", f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n").chmod(0o755)

    def temperature(self, degrees: int) -> None:
        """Set the temperature (degrees Celsius)."""
        self.fixture("sys/class/thermal/thermal_zone0/temp", f"{degrees}000\n")

    def supply(self, *, low: bool) -> None:
        """Set whether the voltage is too low."""
        self.fixture("sys/class/hwmon/hwmon1/in0_lcrit_alarm", f"{int(low)}\n")

    def clock(self, offset: float) -> None:
        """Set by how many seconds the clock is slow."""
        self.command("chronyc", f"A,b,2,1,{offset},0,0,0,0,0,0.001,0.001,64,Normal")

    def backup(self, hours: float) -> None:
        """Set how old the last good backup is."""
        at = int(time.time() - hours * 3600)
        self.fixture("state/backup.json", json.dumps({"time": at, "last_good": at, "ok": True}))

    def incident(self, kind: str | None) -> None:
        """Set what the role logs has recorded just now."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = {"time": now, "boot": "b", "kind": kind, "device": "nvme0", "count": 1}
        self.fixture("state/incidents.jsonl", json.dumps(record) + "\n" if kind else "")

    def look(self) -> None:
        """Run the role's health program once."""
        environment = {
            "PATH": f"{self.place}/bin:/usr/bin:/bin",
            "SYS": str(self.place / "sys"),
            "DEV": str(self.place / "dev"),
            "ETC": str(self.place / "etc"),
            "STATE": str(self.place / "state"),
            "RESULT": str(self.place / "metrics/health.prom"),
            "REBOOT_REASON": str(self.place / "reboot-reason.sh"),
        }
        subprocess.run(
            ["/usr/bin/python3", "-IS", str(ROLE / "health.py")], env=environment, check=True
        )

    def answer(self) -> None:
        """Let the bot answer."""
        told, pi = self.bot, self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pi.scrapes += 1
                body = (BOT_METRICS % told).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.answers = Http(self.ports["8080"], Handler)

    def kill_bot(self) -> None:
        """Let the bot be gone."""
        if self.answers:
            self.answers.close()
        self.answers = None


class World:
    """The fleet; `pi1` is its monitoring server, `pi2` watches that."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.discord = Discord()
        self.running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self.server_ports = {
            number: free_port() for number in ("8426", "8427", "8428", "8880", "9093")
        }
        settings = {
            "monitoring_enabled": True, "monitoring_server": SERVER, "monitoring_checker": CHECKER,
            "monitoring_discord_url": self.discord.url, "monitoring_address": "127.0.0.1",
        }  # fmt: skip
        self.files = render(list(FLEET), settings)
        self.pis = {name: self._pi(name) for name in FLEET}
        self._certificate()
        for pi in self.pis.values():
            self._write(pi)

    def _pi(self, name: str) -> Pi:
        ports = {number: free_port() for number in ("9100", "8429", "8080")} | self.server_ports
        pi = Pi(name, self.place / name, ports)
        for directory in ("metrics", "run", "lib"):
            (pi.place / directory).mkdir(parents=True, exist_ok=True)
        pi.fixture("reboot-reason.sh", "true\n")
        pi.fixture("etc/backup/settings.json", "{}")
        pi.command("docker", '{"Names":"gridberry-bot","State":"running","Status":"Up","ID":"1"}')
        pi.temperature(50)
        pi.supply(low=False)
        pi.clock(0.001)
        pi.backup(1)
        pi.incident(None)
        return pi

    def _certificate(self) -> None:
        place = self.pis[SERVER].place / "etc/monitoring"
        place.mkdir(parents=True)
        unit = "CN=gridberry-monitoring"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/{unit}",
             "-addext", "subjectAltName=DNS:gridberry-monitoring", "-keyout",
             str(place / "server.key"), "-out", str(place / "server.crt")],
            check=True, capture_output=True,
        )  # fmt: skip
        (place / "write.token").write_text(WRITE_TOKEN)
        (place / "read.token").write_text("read-4711")

    def placed(self, pi: Pi, text: str) -> str:
        """Return a text of the role with this world's directories and ports."""
        for number, port in pi.ports.items():
            text = re.sub(rf"(?<=:){number}\b", str(port), text)
        found = {
            "/etc/gridberry/monitoring": f"{pi.place}/etc/monitoring",
            "/run/credentials/gridberry-alertmanager.service/secret_":
                f"{pi.place}/etc/monitoring/secrets/",
            "/run/credentials/gridberry-vmagent.service": f"{pi.place}/etc/monitoring",
            "/var/lib/gridberry/metrics": f"{pi.place}/metrics",
            "/var/lib": f"{pi.place}/lib",
            "/usr/local/lib/gridberry": f"{pi.place}/bin",
            "/usr/bin/": f"{tools.place()}/usr/bin/",
            "%t/gridberry-vmauth": f"{pi.place}/run",
            "%d": f"{pi.place}/etc/monitoring",
        }  # fmt: skip
        for old, new in found.items():
            text = text.replace(old, new)
        return text

    def _write(self, pi: Pi) -> None:
        server = self.pis[SERVER].place / "etc/monitoring"
        for path, told in self.files[pi.name].items():
            if path.startswith("/etc/gridberry/monitoring") and "generate" not in told:
                text = told.get("content", told.get("secret", ""))
                rules_or_config = path.endswith(".yml")
                text = self.placed(pi, shorter(text) if rules_or_config else text)
                pi.fixture("etc/" + path.removeprefix("/etc/gridberry/"), text)
            elif path.endswith(("fleet.prom", "monitoring-auth.sh")):
                where = "metrics" if path.endswith("prom") else "bin"
                pi.fixture(f"{where}/{Path(path).name}", told["content"]).chmod(0o755)
        etc = pi.place / "etc/monitoring"
        shutil.copy(server / "server.crt", etc / "ca.crt")
        (etc / "write.token").write_text(WRITE_TOKEN)
        (etc / f"metrics.{pi.name}.token").write_text("")
        if pi.name == CHECKER:
            messages = self.placed(pi, (etc / "secrets/watch.json").read_text())
            (etc / "messages.json").write_text(messages)
            shutil.copy(server / "read.token", etc / "read.token")

    def start(self, pi: Pi, unit: str, *, inside: tuple[str, ...] = ()) -> None:
        """Start what a unit of the role starts.

        Args:
            pi: The host.
            unit: Its name without `gridberry-` and `.service`.
            inside: A command that runs it.
        """
        text = self.files[pi.name][f"/etc/systemd/system/gridberry-{unit}.service"]["content"]
        found = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
        assert found  # noqa: S101 -- the template has it
        line = self.placed(pi, found[1])
        words = [shorter(word) for word in shlex.split(line)]
        # What these wait for by themselves, as short as the rest.
        words += {
            "victoria-metrics": ["-search.latencyOffset=1ms", "-inmemoryDataFlushInterval=1s"],
            "vmalert": [
                f"-rule.evalDelay={30_000 // FACTOR}ms",
                f"-datasource.queryStep={300_000 // FACTOR}ms",
            ],
            # This computer's own disks are not the fleet's.
            "node-exporter": [f"--collector.filesystem.mount-points-include=^{self.place}/disk$"],
            "vmagent": ["-remoteWrite.flushInterval=100ms", "-loggerLevel=ERROR"],
        }.get(unit, [])
        environment = os.environ | {
            "CREDENTIALS_DIRECTORY": str(pi.place / "etc/monitoring"),
            "RUNTIME_DIRECTORY": str(pi.place / "run"),
        }
        if unit == "vmauth":
            script = pi.fixture("bin/auth.sh", self.placed(pi, self._auth(pi)))
            subprocess.run(["sh", str(script)], env=environment, check=True)
        with (pi.place / f"{unit}.log").open("ab") as log:
            self.running[pi.name, unit] = subprocess.Popen(
                [*inside, *words], stdout=log, stderr=log, env=environment
            )

    def _auth(self, pi: Pi) -> str:
        return self.files[pi.name]["/usr/local/lib/gridberry/monitoring-auth.sh"]["content"]

    def stop(self, pi: Pi, unit: str, number: int = signal.SIGTERM) -> None:
        """End a program of a host, by its own process number."""
        process = self.running.pop((pi.name, unit), None)
        if process:
            process.send_signal(number)
            process.wait(timeout=30)

    def start_server(self) -> None:
        """Start what keeps and alerts."""
        # Alertmanager's own templates have one place in Debian: in its namespace they are there.
        share = f'mount --bind {tools.place()}/usr/share /usr/share && exec "$0" "$@"'
        inside = {"alertmanager": (*NAMESPACE, share)}
        for unit in ("victoria-metrics", "vmauth", "alertmanager", "vmalert"):
            self.start(self.pis[SERVER], unit, inside=inside.get(unit, ()))

    def stop_server(self, number: int = signal.SIGKILL) -> None:
        """The monitoring Pi's programs are gone."""
        for unit in ("vmalert", "alertmanager", "vmauth", "victoria-metrics"):
            self.stop(self.pis[SERVER], unit, number)

    def start_pi(self, pi: Pi, *, inside: tuple[str, ...] = ()) -> None:
        """Start what measures and sends, and its bot."""
        pi.answer()
        pi.look()
        self.start(pi, "node-exporter", inside=inside)
        self.start(pi, "vmagent")

    def unplug(self, pi: Pi) -> None:
        """A Pi loses its power."""
        pi.kill_bot()
        for unit in ("vmagent", "node-exporter"):
            self.stop(pi, unit, signal.SIGKILL)

    def watch(self) -> None:
        """Let the checker look once."""
        pi = self.pis[CHECKER]
        environment = {
            "PATH": "/usr/bin:/bin",
            "CREDENTIALS_DIRECTORY": str(pi.place / "etc/monitoring"),
            "STATE_DIRECTORY": str(pi.place / "lib"),
            "SILENT_SECONDS": str(300 / FACTOR),
        }
        subprocess.run(
            ["/usr/bin/python3", "-IS", str(ROLE / "messages.py"), "watch"],
            env=environment, check=False, capture_output=True,
        )  # fmt: skip

    def close(self) -> None:
        """End everything that was started here."""
        for pi in self.pis.values():
            pi.kill_bot()
        for process in self.running.values():
            process.kill()
            process.wait()
        self.running.clear()


@contextlib.contextmanager
def fleet(place: Path) -> Iterator[World]:
    """A world whose programs end with the block."""
    with closing(World(place)) as world:
        yield world


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def ask(world: World, number: str, path: str, **query: str) -> Any:
    """Return the JSON that one of the server's programs answers.

    Args:
        world: The fleet.
        number: The port that the role has.
        path: What is asked.
        query: Its arguments.

    Raises:
        OSError: It does not answer.
    """
    port = world.server_ports[number]
    url = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def series(world: World, expression: str) -> list[dict[str, Any]]:
    """Return what an expression gives now."""
    found: list[dict[str, Any]] = ask(world, "8428", "/api/v1/query", query=expression)["data"][
        "result"
    ]
    return found


def firing(world: World) -> list[str]:
    """Return the alerts that fire or are about to, but for the one that always does."""
    alerts = ask(world, "8880", "/api/v1/alerts")["data"]["alerts"]
    names = {one["name"] for one in alerts if one["state"] != "inactive"}
    return sorted(names - {"Watchdog"})
