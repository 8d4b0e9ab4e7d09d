"""What the role ib_gateway must show, each on a machine of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ib_gateway import packages
from tests.ib_gateway.world import (
    API,
    BEHAVE,
    BOT,
    DISPLAY,
    GATEWAY,
    HEALTH,
    PASSWORD,
    PROGRAM,
    READY,
    SECRETS,
    USERNAME,
    VNC_PASSWORD,
    World,
)

KEPT = {"/etc/gridberry/ib_gateway/config.ini"}
PICTURES = "/var/lib/gridberry"
BLUE = b"\x20\x60\xa0"  # of the stand-in's window
STARTS = 6  # in an hour
OUTSIDER = "10.77.0.254"
THROUGH_SOCKET = """import socket
link = socket.socket(socket.AF_UNIX)
link.settimeout(10)
link.connect("/run/gridberry-gateway/api")
link.sendall(b"API\\0\\0\\0\\0\\x09v157..178")
print(link.recv(64)[4:].decode())
"""
LEFT = (
    "find / -xdev ( -name *gridberry* -o -name *ib_gateway* ) -not -path /proc/*"
    " -not -path /sys/* -not -path /usr/share/* -not -path /tmp/*"
)


class UnmetError(Exception):
    """What was not as it must be."""


def must(well: object, what: str, found: object = "") -> None:
    """Stop a scenario unless something holds."""
    if not well:
        raise UnmetError(f"{what}: {found}")


@contextmanager
def world(directory: Path, **settings: Any) -> Iterator[World]:
    """Give a machine, and switch it off whatever happens."""
    here = World(directory, **settings)
    try:
        yield here
    finally:
        here.close()


def processes(here: World, pattern: str) -> list[str]:
    """Return the processes of pi1 whose command line has a text."""
    return here["pi1"].ask("pgrep", "-f", pattern).split()


def java(here: World) -> str:
    """Return the process that stands in for Java."""
    return here["pi1"].run("pgrep", "-o", "-f", "jre/bin/java")


def no_secret(here: World, *, but: set[str]) -> None:
    """Search pi1 for the secrets: files, journal, arguments, environments, units."""
    pi = here["pi1"]
    words = "\n".join((*SECRETS, PASSWORD.encode().hex()))
    pi.run("sh", "-c", "umask 077; cat >/tmp/words", text=words)
    places = ("/etc", "/var", "/opt", "/root", "/home", "/usr/local", "/srv")
    found = pi.ask("grep", "-rlaF", "-f", "/tmp/words", *places)
    must(set(found.split("\n")) == but, "secrets in files", found)
    found = pi.ask("sh", "-c", "journalctl --no-pager -o json | grep -cF -f /tmp/words")
    must(found == "0", "secrets in the journal", found)
    for one in ("cmdline", "environ"):
        found = pi.ask("sh", "-c", f"grep -laF -f /tmp/words /proc/[0-9]*/{one} 2>/dev/null")
        must(not found, f"secrets in a {one}", found)
    shown = pi.run("sh", "-c", "systemctl show '*' | grep -cF -f /tmp/words || true")
    must(shown == "0", "secrets in units", shown)
    pi.run("rm", "/tmp/words")


def pixels(data: bytes) -> tuple[int, int, bytes]:
    """Read a PNG of this role: width, height, rows with their filter bytes."""
    must(data.startswith(b"\x89PNG\r\n\x1a\n"), "the picture is a PNG")
    width, height = struct.unpack_from(">II", data, 16)
    start = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, start - 4)
    return width, height, zlib.decompress(data[start + 4 : start + 4 + length])


def pictures(here: World) -> list[Path]:
    """Return the pictures of the window that pi1 keeps."""
    return sorted(here["pi1"].path(PICTURES).glob("ib-gateway-*.png"))


def in_order(here: World) -> None:
    """See that each part of pi1 began after what it stands on."""
    units = (DISPLAY, GATEWAY, READY, BOT)
    begun = [int(here.systemd("ActiveEnterTimestampMonotonic", one)) for one in units]
    must(0 not in begun and begun == sorted(begun), "the order of the parts", begun)


def answers(address: str, *enter: str) -> bool:
    """Tell whether the API's port lets somebody in."""
    ask = f"import socket; socket.create_connection(('{address}', 4002), 2)"
    done = subprocess.run([*enter, "/usr/bin/python3", "-c", ask], capture_output=True, check=False)
    return done.returncode == 0


def outside(here: World) -> tuple[str, ...]:
    """Return how to run a command in the network beside pi1."""
    return ("nsenter", "-t", str(here.switch.process), "-n", "--")


def refusals(here: World) -> None:
    """See that what is wrong is one line, before anything has changed."""
    wrong = "0" * 64
    cases: list[tuple[str, dict[str, Any]]] = [
        ("ib_gateway_installer_sha256 is 000", {"ib_gateway_installer_sha256": wrong}),
        ("ib_gateway_ibc_sha256 is 000", {"ib_gateway_ibc_sha256": wrong}),
        ("which also needs ib_gateway_live_confirmation", {"ib_gateway_mode": "live"}),
    ]
    for text, settings in cases:
        done = here.play("ib_gateway", **settings)
        said = " ".join(done.stdout.split())
        must(done.returncode != 0 and text in said, f"it says {text!r}", done.stdout[-900:])
        must(here["pi1"].ask("ls", "/opt") == "", "nothing had changed")
    arm = packages.installer(here.directory, "arm")
    settings = {"ib_gateway_installer": str(arm.path), "ib_gateway_installer_sha256": arm.sha256}
    done = here.play("ib_gateway", **settings)
    must("use the build for x86_64" in done.stdout, "the ARM64 build on x86_64", done.stdout[-900:])


def set_up(directory: Path) -> str:
    """Refusals, check mode, converge, a second run, what is in force, secrets, undo."""
    with world(directory) as here:
        pi = here["pi1"]
        here.switch.do("ip", "address", "add", f"{OUTSIDER}/24", "dev", "br0")
        refusals(here)
        before = pi.run(*LEFT.split())
        expected = here.changed(here.well("ib_gateway", "--check", "--diff"))["pi1"]
        must(pi.run(*LEFT.split()) == before, "check mode changed something")
        must(not pi.ask("getent", "passwd", "gridberry-ib"), "check mode made a user")
        said = here.well("ib_gateway", "--diff", "-vvv")
        must("(secret, new)" in said, "no secret in the diff")
        must(here.changed(said)["pi1"] == expected, "check mode foresaw it", here.changed(said))
        here.until("ready")
        second = here.changed(here.well("ib_gateway"))["pi1"]
        must(second == 0, "the second run changed something", second)
        third = here.changed(here.well("ib_gateway", "--check"))["pi1"]
        must(third == 0, "check mode after it sees a change", third)
        in_force(here)
        no_secret(here, but=KEPT)
        options(here)
        undo(here, before)
    return "refused, foreseen, in force, no secret found, nothing left"


def through_socket(here: World, uid: int) -> bool:
    """Tell whether the API answers a user of the machine through the containers' socket."""
    who = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    said = here["pi1"].ask(*who, "python3", "-c", THROUGH_SOCKET)
    return said.startswith("178")


def in_force(here: World) -> None:
    """See what systemd, the kernel and the Gateway's files say."""
    pi = here["pi1"]
    in_order(here)
    limit = here.systemd("MemoryMax", GATEWAY)
    must(limit == str(512 << 20), "the memory limit", limit)
    kernel = pi.ask("cat", f"/sys/fs/cgroup/system.slice/{GATEWAY}/memory.max")
    must(kernel == limit or "No such file" in kernel, "the kernel's memory limit", kernel)
    for unit, most in ((GATEWAY, 5.0), (DISPLAY, 3.5), (READY, 4.5), (HEALTH, 4.5), (API, 4.5)):
        exposed = pi.ask("systemd-analyze", "security", unit).rsplit(": ", 1)[-1]
        must(float(exposed.split()[0]) < most, f"the sandbox of {unit}", exposed)
    users = pi.run("ps", "-o", "user:20=", "-p", java(here))
    must(users == "gridberry-ib", "its own user", users)
    modes = pi.run("stat", "-c", "%a %U", *sorted(KEPT))
    must(modes == "600 root", "who may read the secrets", modes)
    ini = pi.path(min(KEPT)).read_text()
    for line in (
        "AutoRestartTime=04:45 AM",
        "ColdRestartTime=14:00",
        "TradingMode=paper",
        "OverrideTwsApiPort=4002",
        "ReadOnlyApi=no",
        r"IbPassword=planted\\pass w\u00f6rd=0815",
    ):
        must(line in ini, f"{line} in config.ini")
    jts = pi.path("/var/lib/gridberry-ib/Jts/jts.ini").read_text()
    must("TrustedIPs=127.0.0.1\n" in jts, "trusted addresses", jts)
    owners = pi.run("find", "/opt/gridberry/ib_gateway", "-not", "-user", "root")
    must(not owners, "programs are root's", owners)
    must(answers("127.0.0.1", *pi.command()), "the API answers on loopback")
    must(not answers(pi.address, *outside(here)), "the API is closed from outside")
    must(through_socket(here, 10001), "a container's user reaches the API")
    must(not through_socket(here, 10002), "nobody else comes that way")
    must(not pi.ask("ss", "-Hltn", "sport = 5900"), "nobody shows its window")


def options(here: World) -> None:
    """See that settings change what they say, and go back."""
    pi = here["pi1"]
    changed = {
        "ib_gateway_trusted_addresses": [OUTSIDER],
        "ib_gateway_vnc": True,
        "ib_gateway_vnc_password": VNC_PASSWORD,
        "ib_gateway_read_only": True,
    }
    here.well("ib_gateway", "--diff", **changed)
    here.until("ready")
    must(here.changed(here.well("ib_gateway", **changed))["pi1"] == 0, "a second run with VNC")
    must(answers(pi.address, *outside(here)), "a trusted address is let in")
    here.wait("VNC", lambda: bool(pi.ask("ss", "-Hltn", "sport = 5900")))
    shown = pi.run("sh", "-c", "ss -Hltn 'sport = 5900' | awk '{print $4}'").split()
    must(shown == ["127.0.0.1:5900"], "VNC is on loopback alone", shown)
    must(processes(here, "gridexchange.ib.*--read-only"), "the API takes no orders")
    no_secret(here, but=KEPT | {"/etc/gridberry/ib_gateway/vnc.password"})
    newer = packages.installer(here.directory, note="newer")
    here.settings["ib_gateway_installer_sha256"] = newer.sha256
    here.well("ib_gateway")
    here.until("ready")
    must(not pi.ask("ss", "-Hltn", "sport = 5900"), "VNC is off again")
    kept = pi.run("ls", "/opt/gridberry/ib_gateway/ibgateway").split()
    must(kept == [newer.sha256[:12]], "one version is kept", kept)
    must(not answers(pi.address, *outside(here)), "nobody is trusted any more")


def undo(here: World, before: str) -> None:
    """Take it away, and see that nothing is left."""
    pi = here["pi1"]
    here.well("ib_gateway", "--check", ib_gateway_state="absent")
    must(processes(here, "jre/bin/java"), "check mode stopped it")
    here.well("ib_gateway", "--diff", ib_gateway_state="absent")
    left = pi.run(*LEFT.split())
    must(left == before, "what is left", set(left.split()) ^ set(before.split()))
    must(not pi.ask("getent", "passwd", "gridberry-ib"), "its user is left")
    must(not processes(here, "Xvfb|gridexchange|ibcstart"), "something runs")
    must("gridberry_ib" not in pi.ask("nft", "list", "tables"), "its firewall is left")
    second = here.changed(here.well("ib_gateway", ib_gateway_state="absent"))["pi1"]
    must(second == 0, "a second undo changed something", second)


def kills(directory: Path) -> str:
    """Kill each part, fill the memory, cut the power: it comes back, in order."""
    with world(directory, ib_gateway_second_factor=False) as here:
        pi = here["pi1"]
        here.well("ib_gateway")
        here.until("ready")
        bot = here.systemd("MainPID", BOT)
        for part in ("jre/bin/java", "Xvfb :97", "ibcstart.sh", "gridexchange.ib"):
            old = here.systemd("InvocationID", GATEWAY)
            pi.run("pkill", "-KILL", "-o", "-f", part)
            here.wait(
                f"a new Gateway after a kill of {part}",
                lambda old=old: here.systemd("InvocationID", GATEWAY) != old,
            )
            here.until("ready")
            pi.run("systemctl", "reset-failed", GATEWAY)  # the next kill is another day
        must(here.systemd("MainPID", BOT) == bot, "the bot ran on")
        out_of_memory(here)
        pi.cut_power()
        pi.boot()
        here.until("ready")
        here.wait("the bot after a boot", lambda: here.systemd("ActiveState", BOT) == "active")
        in_order(here)
        pi.run("systemctl", "reset-failed", GATEWAY)
        pi.run("systemctl", "stop", "gridberry-ib-health.timer")

        def ended() -> bool:
            return here.systemd("ActiveState", GATEWAY) == "failed"

        for _ in range(STARTS + 1):
            here.wait("a Gateway to kill", lambda: ended() or bool(processes(here, "bin/java")))
            if not ended():
                pi.run("pkill", "-KILL", "-f", "jre/bin/java")
                here.wait("its end", lambda: not processes(here, "jre/bin/java"))
        here.wait("an end of it", ended)
        said = here.until("stopped")
        must("too often" in said["why"], "why it stopped", said)
    return "killed 4 parts, out of memory, a power cut: back each time; 6 ends in an hour: stopped"


@contextmanager
def limited(here: World) -> Iterator[None]:
    """Bound the Gateway's memory as its unit says, also where systemd has no controller for that.

    A kernel that has given the controller to cgroup v1, as in many containers, cannot give it to
    the machine's systemd.
    """
    old = Path("/sys/fs/cgroup/memory")
    if not old.is_dir():
        yield
        return
    group = old / f"gridberry-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(here.systemd("MemoryMax", GATEWAY))
        for one in here["pi1"].kernel_group().glob(f"**/{GATEWAY}/cgroup.procs"):
            for process in one.read_text().split():
                (group / "cgroup.procs").write_text(process)
        yield
    finally:
        here.wait("an empty group", lambda: _emptied(group))


def _emptied(group: Path) -> bool:
    """Move what is in a control group to the one above, and remove it; tells whether it is gone."""
    with contextlib.suppress(OSError):  # one that has just ended, or just begun
        for process in (group / "cgroup.procs").read_text().split():
            (group.parent / "cgroup.procs").write_text(process)
        group.rmdir()
    return not group.exists()


def out_of_memory(here: World) -> None:
    """Have Java take memory without an end: the kernel ends it at its limit, and it comes back."""
    old = here.systemd("InvocationID", GATEWAY)
    with limited(here):
        here.behave("eat")
        here.wait("an end at the memory limit", lambda: not processes(here, "jre/bin/java"))
    here.behave("eat", "")
    here.wait("a new Gateway", lambda: here.systemd("InvocationID", GATEWAY) != old)
    here.until("ready")


def hangs(directory: Path) -> str:
    """A Gateway that hangs: seen, pictured, and restarted where no person is needed."""
    with world(directory, ib_gateway_pictures=2, ib_gateway_start_seconds=30) as here:
        pi = here["pi1"]
        here.well("ib_gateway")
        said = here.until("ready")
        must(not pictures(here), "no picture of a Gateway that is well")
        pi.run("systemctl", "stop", "gridberry-ib-health.timer")
        for count in (1, 2, 3):
            stuck = pi.run("pgrep", "-o", "-f", "gridexchange.ib").split()
            pi.run("kill", "-STOP", *stuck)
            said = here.until("hung", 150)
            must("does not answer" in said["why"], "why it hangs", said)
            must(here.look()["since"] == said["since"], "since when it hangs")
            must(len(pictures(here)) == min(count, 2), "pictures are bounded", pictures(here))
            pi.run("kill", "-CONT", *stuck)
            here.until("ready")
        width, height, rows = pixels(pictures(here)[-1].read_bytes())
        must((width, height) == (1024, 768), "the screen's size", (width, height))
        inside = rows[(40 + 100) * (3 * width + 1) + 1 + 3 * (50 + 100) :][:3]
        must(inside == BLUE, "the window is in the picture", inside)
        must(pi.run("stat", "-c", "%a", f"{PICTURES}/{pictures(here)[0].name}") == "600", "mode")
        old = here.systemd("InvocationID", GATEWAY)
        here.well("ib_gateway", ib_gateway_second_factor=False, ib_gateway_pictures=2)
        pi.run("systemctl", "stop", "gridberry-ib-health.timer")
        pi.run("pkill", "-STOP", "-f", "gridexchange.ib")
        here.until("hung", 150)
        state = pi.path("/var/lib/gridberry/ib_gateway.json")
        earlier = json.loads(state.read_text())
        long_ago = earlier | {"since": re.sub("^....", "2020", earlier["since"])}
        state.write_text(json.dumps(long_ago))
        here.look()
        here.wait("a restart", lambda: here.systemd("InvocationID", GATEWAY) != old)
        here.until("ready")
    return "hung 4 times: seen each time, 2 pictures kept, restarted where nobody has to log in"


def persons(directory: Path) -> str:
    """Second factor, a login that is refused, the wrong account, the night's restart, metrics."""
    with world(directory) as here:
        pi = here["pi1"]
        pi.run("mkdir", "-p", "/var/lib/gridberry/metrics")
        here.well("ib_gateway")
        here.until("ready")
        night(here)
        here.behave("wait")
        pi.run("systemctl", "restart", "--no-block", GATEWAY)
        said = here.until("needs a person")
        must("IBKR Mobile" in said["why"], "what the person has to do", said)
        measured = pi.path("/var/lib/gridberry/metrics/gridberry_ib_gateway.prom").read_text()
        must('state="needs a person"} 1' in measured, "the state is measured", measured)
        must('state="ready"} 0' in measured, "it is not healthy", measured)
        must(here.systemd("ActiveState", READY) != "active", "nothing is told that it is ready")
        here.behave("wait", "")
        here.until("ready")
        here.wait("ready again", lambda: here.systemd("ActiveState", READY) == "active")
        here.behave("second-factor")
        pi.run("systemctl", "restart", "--no-block", GATEWAY)
        here.wait("its end", lambda: here.systemd("ExecMainStatus", GATEWAY) == "87")
        said = here.until("needs a person")
        must("systemctl restart" in said["why"], "how to go on", said)
        must(here.systemd("NRestarts", GATEWAY) == "0", "nobody's phone rings again and again")
        here.behave("second-factor", "")
        here.behave("account", "U7654321")
        pi.run("systemctl", "restart", "--no-block", GATEWAY)
        here.wait("an account", lambda: "live account" in here.look()["why"])
        must(here.look()["state"] == "needs a person", "a live account is not ready")
        here.wait("refused", lambda: here.systemd("ActiveState", READY) == "failed")
        shown = pi.ask("journalctl", "-o", "cat", "-u", READY)
        must(
            "refused: U7... is a live account, and ib_gateway_mode is paper" in shown, "why", shown
        )
        must(pi.ask(*PROGRAM, "status").startswith("needs a person since"), "what a person reads")
    return "second factor, refusal and night told apart; a live account on the paper port refused"


def night(here: World) -> None:
    """The restart that IBC makes at its time: another state, the same unit."""
    pi = here["pi1"]
    unit = here.systemd("InvocationID", GATEWAY)
    now = pi.run("date", "-u", "+%H:%M")
    settings = pi.path("/etc/gridberry/ib_gateway/settings.json")
    told = json.loads(settings.read_text())
    settings.write_text(json.dumps(told | {"restart": now, "start_seconds": 1}))
    here.behave("slow")  # so that there is time to look
    pi.run("touch", f"{BEHAVE}/../autorestart")
    pi.run("chown", "gridberry-ib:", f"{BEHAVE}/../autorestart")
    old = java(here)
    pi.run("pkill", "-TERM", "-f", "gridexchange.ib")
    said = here.until("restarting", 30)
    here.wait("a new Java", lambda: processes(here, "jre/bin/java") not in ([], [old]))
    here.behave("slow", "")
    here.until("ready")
    must(here.systemd("InvocationID", GATEWAY) == unit, "the unit ran on", said)
    settings.write_text(json.dumps(told))


SCENARIOS = {"set-up": set_up, "kills": kills, "hangs": hangs, "persons": persons}
__all__ = ["SCENARIOS", "USERNAME"]
