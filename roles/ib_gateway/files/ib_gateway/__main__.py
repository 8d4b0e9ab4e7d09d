"""IB Gateway on this host.

ib_gateway status
ib_gateway wait SECONDS | look
ib_gateway cookie | prepare
ib_gateway install gateway|ibc FILE SHA256 DIRECTORY | memory DIRECTORY MEGABYTES | only NAME...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import display
import install
import states
from handshake import Answer, AwayError, SilentError, handshake

SETTINGS = Path("/etc/gridberry/ib_gateway/settings.json")
STATE = Path("/var/lib/gridberry/ib_gateway.json")
METRICS = Path("/var/lib/gridberry/metrics/gridberry_ib_gateway.prom")
SCREEN = Path("/run/gridberry-ib/Xvfb_screen0")
UNIT = "gridberry-ib-gateway.service"
READY_UNIT = "gridberry-ib-ready.service"
TRIES, TRY_SECONDS, BETWEEN = 3, 10.0, 2.0
TELL_SECONDS = 15
HUNG_SECONDS = 120
OLD_STARTS = 3  # so many times what a start may take
UNWATCHED_SECONDS = 300


def say(text: str) -> None:
    """Print a line for the journal."""
    print(text, flush=True)


def told() -> states.Settings:
    """Read the settings."""
    return states.Settings(**json.loads(SETTINGS.read_text()))


def whole(path: Path, text: str) -> None:
    """Write a file so that it is the old or the new one at any moment."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="latin-1") as file:  # jts.ini comes back as it was
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.chmod(0o644)
    part.replace(path)


def ask(settings: states.Settings) -> tuple[str, str]:
    """Open the API; returns what came of it, and that in words."""
    try:
        answer: Answer = handshake(settings.port, TRY_SECONDS)
    except AwayError as error:
        return "away", str(error)
    except SilentError as error:
        return "silent", str(error)
    misfit = answer.misfit(settings.mode, settings.account)
    if misfit:
        return "misfit", misfit
    if not answer.linked:
        return "offline", "the API answers, and has lost its connection to Interactive Brokers"
    return "ready", f"the API answers, version {answer.version}, {settings.mode} account"


def asked(*command: str) -> str:
    """Run a program that reads; returns what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def see(settings: states.Settings) -> states.Seen:
    """Look at the unit, at the API and, where that is silent, at what IBC has printed."""
    names = "ActiveState,ExecMainStatus,ActiveEnterTimestampMonotonic,InvocationID"
    unit = dict(
        line.split("=", 1) for line in asked("systemctl", "show", "-p", names, UNIT).split()
    )
    status, active = int(unit["ExecMainStatus"]), unit["ActiveState"] == "active"
    entered = int(unit["ActiveEnterTimestampMonotonic"]) / 1e6
    age = time.clock_gettime(time.CLOCK_MONOTONIC) - entered if active else 0.0
    answer, detail, person = "away", "it starts", ""
    for left in range(TRIES if active else 0, 0, -1):
        answer, detail = ask(settings)
        if answer in ("ready", "misfit") or left == 1:
            break
        time.sleep(BETWEEN)
    if active and answer not in ("ready", "misfit"):
        invocation = f"_SYSTEMD_INVOCATION_ID={unit['InvocationID']}"
        said = asked("journalctl", "-q", "-o", "cat", "--no-pager", "-n", "1000", invocation)
        person = states.person_wanted(said.splitlines())
    now = datetime.now(UTC)
    return states.Seen(now, unit["ActiveState"], status, age, answer, detail, person)


def earlier() -> dict[str, str]:
    """Return what was said at the last look; nothing after a boot."""
    try:
        said: dict[str, str] = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}
    return said if said.get("boot") == boot() else {}


def boot() -> str:
    """Return which boot this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def take_picture(settings: states.Settings, now: datetime) -> None:
    """Keep a picture of what the Gateway shows."""
    try:
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        say(f"picture: {display.keep_picture(SCREEN, STATE.parent, stamp, settings.pictures)}")
    except (OSError, display.PictureError) as error:
        say(f"no picture: {error}")


def act(state: str, settings: states.Settings, before: dict[str, str], seen: states.Seen) -> None:
    """Do what a state asks for."""
    changed = state != before.get("state")
    if changed and state in (states.HUNG, states.PERSON):
        take_picture(settings, seen.now)
    if state == states.READY:
        # Ready later than its unit has waited: the units that trade through it start now.
        subprocess.run(["systemctl", "start", "--no-block", READY_UNIT], check=False)
    # A login of a person who is not there would not come back: those are left to be looked at.
    # One that hangs at each start, as in a night when nobody can log in, would use up its starts.
    old = seen.age >= OLD_STARTS * settings.start_seconds
    if state == states.HUNG and not changed and not settings.second_factor and old:
        since = datetime.fromisoformat(before["since"])
        if (seen.now - since).total_seconds() >= HUNG_SECONDS:
            say("it is restarted, as nobody has to confirm the login")
            subprocess.run(["systemctl", "restart", "--no-block", UNIT], check=False)


def look() -> int:
    """Write the state for people and for the metrics; returns 0."""
    settings, before = told(), earlier()
    seen = see(settings)
    state, why = states.judge(seen, settings)
    stamp, notice = seen.now.isoformat(timespec="seconds"), states.notice(seen.now, settings)
    since = before["since"] if state == before.get("state") else stamp
    said = {"state": state, "why": why, "since": since, "looked": stamp}
    if settings.second_factor:
        when = states.next_sunday(seen.now, settings.sunday)
        said |= {"next_second_factor": when.isoformat(timespec="seconds"), "notice": notice}
    if state != before.get("state") or notice != before.get("notice", ""):
        say("; ".join(one for one in (f"{state}: {why}", notice) if one))
    whole(STATE, json.dumps(said | {"boot": boot()}, indent=1) + "\n")
    if METRICS.parent.is_dir():
        whole(METRICS, states.metrics(state, seen.now, settings))
    act(state, settings, before, seen)
    return 0


def wait(seconds: str) -> int:
    """Wait until the API answers, and say how it goes; returns 1 if it does not, 2 for a misfit."""
    settings, began = told(), time.monotonic()
    until, tell = began + float(seconds), began + TELL_SECONDS
    while True:
        answer, detail = ask(settings)
        passed = time.monotonic() - began
        if answer == "ready":
            say(f"ready after {passed:.0f} s: {detail}")
            for unit in settings.bot_units:
                subprocess.run(["systemctl", "start", "--no-block", unit], check=False)
            return 0
        if answer == "misfit":
            print(f"refused: {detail}", file=sys.stderr)
            return 2
        now = time.monotonic()
        if now >= until:
            print(f"not ready after {passed:.0f} s: {detail}", file=sys.stderr)
            return 1
        if now >= tell:
            say(f"not ready after {passed:.0f} s: {detail}")
            tell += TELL_SECONDS
        time.sleep(BETWEEN)


def status() -> int:
    """Print the state as it was at the last look; returns 0 if it was ready then, otherwise 1."""
    said = earlier()
    looked = datetime.fromisoformat(said["looked"]) if said else None
    if looked is None or (datetime.now(UTC) - looked).total_seconds() > UNWATCHED_SECONDS:
        say(f"unknown: nobody has looked since {looked or 'the boot'}")
        return 1
    say(f"{said['state']} since {said['since']}: {said['why']}")
    if said.get("notice"):
        say(said["notice"])
    return int(said["state"] != states.READY)


def cookie() -> int:
    """Make the display's authority file; returns 0."""
    path = Path(os.environ["RUNTIME_DIRECTORY"]) / "authority"
    path.write_bytes(display.authority())
    return 0


def with_keys(text: str, wanted: dict[str, dict[str, str]]) -> str:
    """Return a file of sections with these keys, and all its other lines as they were."""
    lines: dict[str, list[str]] = {"": []}
    section = ""
    for line in text.splitlines():
        if line.startswith("[") and line.rstrip().endswith("]"):
            section = line.strip()[1:-1]
            lines.setdefault(section, [])
        elif line.split("=", 1)[0] not in wanted.get(section, {}):
            lines[section].append(line)
    for name, keys in wanted.items():
        lines[name] = [f"{key}={value}" for key, value in keys.items()] + lines.get(name, [])
    parts = [*lines.pop("")]
    for name, own in lines.items():
        parts += [f"[{name}]", *own]
    return "\n".join(parts) + "\n"


def prepare(trusted: str) -> int:
    """Set what must be so in the Gateway's own settings; returns 0.

    Args:
        trusted: Addresses whose clients are let in, with commas.
    """
    path = Path(os.environ["STATE_DIRECTORY"]) / "Jts/jts.ini"
    path.parent.mkdir(exist_ok=True)
    wanted = {
        "IBGateway": {"TrustedIPs": trusted, "ApiOnly": "true", "WriteDebug": "false"},
        "Logon": {
            "Locale": "en",
            "TimeZone": "Etc/UTC",
            "displayedproxymsg": "1",
            "UseSSL": "true",
            "s3store": "true",
        },
        "Communication": {},
    }
    text = path.read_text(encoding="latin-1") if path.exists() else ""
    whole(path, with_keys(text, wanted))
    return 0


def put(what: str, file: str, checksum: str, directory: str) -> int:
    """Install the Gateway or IBC; returns 0."""
    {"gateway": install.gateway, "ibc": install.ibc}[what](Path(file), checksum, Path(directory))
    return 0


def main(words: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    os.umask(0o077 if words[:1] in (["cookie"], ["prepare"]) else 0o022)
    verbs: dict[str, Callable[..., int | None]] = {
        "status": status,
        "wait": wait,
        "look": look,
        "cookie": cookie,
        "prepare": prepare,
        "install": put,
        "only": install.only,
        "memory": lambda place, megabytes: install.memory(Path(place), int(megabytes)),
    }
    if not words or words[0] not in verbs:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return verbs[words[0]](*words[1:]) or 0
    except (install.InstallError, OSError) as error:
        print(f"ib_gateway: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
