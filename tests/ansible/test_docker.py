"""The role docker: its filters, and its scripts run against fixture trees and a Docker of paper."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from roles.docker.filter_plugins import docker

FILES = Path(__file__).resolve().parents[2] / "roles/docker/files"
PACKAGES = ["docker.io", "docker-cli", "docker-compose", "docker-buildx"]
SETTINGS = {
    "data_root": "",
    "needs_mount": True,
    "packages": PACKAGES,
    "repository": "debian",
    "mirror": "",
}
INSTALLED = "".join(f"installed {name}\r\n" for name in PACKAGES)
HOST = "release trixie\r\narch arm64\r\nroot /var/lib/docker\r\nmount /\r\n"
ON_DRIVE = HOST.replace("mount /\r", "mount /mnt/data\r")
MOVES = SETTINGS | {"data_root": "/mnt/data/docker"}
RIGHT = {
    "data_root": "",
    "options": {},
    "pools": [{"base": "10.213.0.0/16", "size": 26}],
    "prune_days": 14,
    "keep_images": 1,
    "build_cache": "1GB",
}


def test_right_settings_have_no_problems():
    assert docker.docker_problems(RIGHT) == []
    assert docker.docker_problems(RIGHT | {"data_root": "/mnt/data/docker"}) == []
    assert docker.docker_problems(RIGHT | {"build_cache": "", "prune_days": "0"}) == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"data_root": "data"}, "docker_data_root is data; use an absolute path"),
        ({"data_root": "/mnt/data/"}, "docker_data_root is /mnt/data/; use an absolute path"),
        ({"data_root": "/a/../b"}, "docker_data_root is /a/../b; use an absolute path"),
        (
            {"data_root": "/"},
            "docker_data_root is /; use a directory of Docker's own such as /docker",
        ),
        ({"data_root": "/mnt"}, "docker_data_root is /mnt; use a directory of Docker's own"),
        ({"options": {"data-root": "/x"}}, "use docker_data_root"),
        (
            {"pools": [{"base": "10.213.0.1/16", "size": 26}]},
            "docker_address_pools, entry 1: base is 10.213.0.1/16 (10.213.0.1/16 has host bits",
        ),
        ({"pools": [{"base": "10.0.0.0/24", "size": 16}]}, "size is 16; use 24"),
        (
            {"pools": [{"base": "10.0.0.0/8", "size": 24}, {"base": "10.1.0.0/16", "size": 24}]},
            "entry 2: base is 10.1.0.0/16, which overlaps 10.0.0.0/8",
        ),
        ({"prune_days": -1}, "docker_prune_days is -1; use a number from 0"),
        ({"build_cache": "much"}, "docker_build_cache is much; use a size such as 1GB"),
    ],
)
def test_wrong_setting_is_one_line(setting, says):
    [line] = docker.docker_problems(RIGHT | setting)
    assert says in line


def test_installed_host_has_nothing_to_do():
    plan = docker.docker_plan(INSTALLED + HOST, SETTINGS)
    assert plan["complete"]
    assert plan["problems"] == plan["missing"] == plan["outdated"] == []
    assert (plan["root"], plan["move"]) == ("/var/lib/docker", "")
    assert plan["guard"] == {"root": "", "target": ""}


def test_interrupted_dpkg_is_work_for_apt():
    assert not docker.docker_plan(INSTALLED + "interrupted journal\n" + HOST, SETTINGS)["complete"]


def test_bookworm_borrows_from_trixie_and_trixie_does_not():
    look = HOST.replace("trixie", "bookworm") + "main http://mirror.lan/debian/\n"
    plan = docker.docker_plan(look, SETTINGS)
    assert plan["borrows"]
    assert plan["uris"] == {"main": "http://mirror.lan/debian/"}
    assert plan["missing"] == PACKAGES
    assert (
        docker.docker_plan(look, SETTINGS | {"mirror": "http://m/d"})["uris"]["main"]
        == "http://m/d"
    )
    assert not docker.docker_plan(look, SETTINGS | {"repository": "docker"})["borrows"]
    assert docker.docker_plan(HOST + "borrowed yes\n", SETTINGS)["leftover"]


def test_bookworm_without_a_source_for_trixie_is_refused():
    [line] = docker.docker_plan(HOST.replace("trixie", "bookworm"), SETTINGS)["problems"]
    assert "docker_debian_mirror" in line


def test_fresh_host_begins_where_it_shall_be():
    plan = docker.docker_plan(ON_DRIVE, MOVES)
    assert plan["problems"] == []
    assert (plan["root"], plan["move"]) == ("/mnt/data/docker", "")
    assert plan["guard"] == {"root": "/mnt/data/docker", "target": "/mnt/data/docker"}


def test_data_are_moved_and_until_then_docker_stays_where_it_is():
    plan = docker.docker_plan(ON_DRIVE + "here yes\nsize 900\nroom 3000\n", MOVES)
    assert plan["problems"] == []
    assert (plan["root"], plan["target"]) == ("/var/lib/docker", "/mnt/data/docker")
    assert plan["move"] == "copy"
    assert plan["guard"] == {"root": "", "target": "/mnt/data/docker"}


def test_books_that_a_reflashed_card_finds_on_the_drive_are_taken():
    plan = docker.docker_plan(ON_DRIVE + "there yes\n", MOVES)
    assert plan["problems"] == []
    assert (plan["root"], plan["move"]) == ("/mnt/data/docker", "")


def test_without_a_setting_nothing_is_moved():
    look = ON_DRIVE.replace("/var/lib/docker", "/mnt/data/docker") + "guard /mnt/data/docker\n"
    plan = docker.docker_plan(look, SETTINGS)
    assert plan["problems"] == []
    assert (plan["root"], plan["move"]) == ("/mnt/data/docker", "")
    assert plan["guard"]["root"] == "/mnt/data/docker"


@pytest.mark.parametrize(
    ("look", "root", "told"),
    [
        (HOST + "beside /mnt/data\r\nchosen \r\n", "auto", True),
        (HOST + "beside /mnt/data\r\n", "", True),
        (HOST + "beside /mnt/data\r\n", "/var/lib/docker", False),  # somebody decided that
        (HOST + "chosen \r\n", "auto", False),
        (HOST.replace("mount /", "mount /mnt/usb") + "beside /mnt/data\r\n", "", False),
        (ON_DRIVE + "chosen /mnt/data/docker\r\n", "auto", False),
    ],
)
def test_books_on_the_card_beside_a_drive_are_told(look, root, told):
    say = docker.docker_plan(look, SETTINGS | {"data_root": root, "needs_mount": False})["say"]
    assert ("docker_data_root: /mnt/data/docker moves them there" in say) is told
    assert bool(say) is told


@pytest.mark.parametrize(
    ("look", "settings", "says"),
    [
        (HOST, MOVES, "docker_data_root is /mnt/data/docker, where no drive is mounted"),
        (
            HOST.replace("/var/lib/docker", "/mnt/data/docker") + "guard /mnt/data/docker\n",
            SETTINGS,
            "Docker's data are in /mnt/data/docker, on a drive that is not mounted now",
        ),
        (
            ON_DRIVE + "here yes\nthere yes\nsize 1\nroom 9999\n",
            MOVES,
            "where another Docker's data are",
        ),
        (ON_DRIVE + "here yes\nsize 3000\nroom 3000\n", MOVES, "3000 MB free, and 3256 MB are"),
        (
            ON_DRIVE + "here yes\nsize 1\nroom 9999\n",
            SETTINGS | {"data_root": "/mnt/data"},
            "which is a mount point; use a directory on it such as /mnt/data/docker",
        ),
        (
            ON_DRIVE + "here yes\nsize 1\nroom 9999\n",
            SETTINGS | {"data_root": "/var/lib/docker/x"},
            "one must not be in the other",
        ),
        (ON_DRIVE + "copy /var/lib/docker\n", MOVES, "an unfinished copy of /var/lib/docker"),
    ],
)
def test_what_is_in_the_way_is_one_line(look, settings, says):
    [line] = docker.docker_plan(INSTALLED + look, settings)["problems"]
    assert says in line


# A Docker of paper: its data are in a directory, and its state is a file.
DOCKER = """#!/bin/sh
root=$(sed -n 's/.*"data-root": *"\\([^"]*\\)".*/\\1/p' "$ETC/docker/daemon.json")
case "$*" in
    *DockerRootDir*) echo "${root:-$DEFAULT_ROOT}" ;;
    *LiveRestoreEnabled*)
        grep -q '"live-restore": true' "$ETC/docker/daemon.json" && echo true && exit
        echo false ;;
esac
"""
# What it does at a start: its bot trades on, in the books of the place that it was told of.
SYSTEMCTL = """#!/bin/sh
root=$(sed -n 's/.*"data-root": *"\\([^"]*\\)".*/\\1/p' "$ETC/docker/daemon.json")
root=${root:-$DEFAULT_ROOT}
case "$*" in
    "is-active -q docker.service") [ -e "$RUN/docker" ] ;;
    "start docker.service")
        [ -e "$RUN/docker" ] && exit
        touch "$RUN/docker"
        mkdir -p "$root/volumes/bot" && echo trade >>"$root/volumes/bot/books" ;;
    "stop docker.socket docker.service")
        grep -q '"live-restore": true' "$ETC/docker/daemon.json" || rm -f "$RUN/docker" ;;
esac
"""
# Cuts the power before its Nth change: the script and what it would run are gone at once.
CUT = """#!/bin/sh
count=$(cat "$RUN/count"); echo $((count + 1)) >"$RUN/count"
if [ "$count" = "$CUT_AT" ]; then kill -9 "$PPID"; exit 1; fi
exec {program} "$@"
"""
CHANGES = ("rm", "mv", "cp", "sync", "mkdir", "chmod", "cmp")


class Host:
    """A host of paper with a Docker that holds books."""

    def __init__(self, path: Path):
        self.path = path
        self.old, self.new = path / "var/lib/docker", path / "mnt/data/docker"
        for name in ("bin", "run", "etc/docker", "mnt/data", "var/lib/dpkg/updates", "lists"):
            (path / name).mkdir(parents=True)
        (path / "etc/os-release").write_text("VERSION_CODENAME=trixie\n")
        (path / "mounts").write_text("")
        self.program("docker", DOCKER)
        self.program("systemctl", SYSTEMCTL)
        self.program("dpkg", "#!/bin/sh\necho arm64\n")
        # The drive is there: one cannot be mounted in a test.
        self.program("df", f"#!/bin/sh\necho\necho /dev/x 1 1 9999 1% {path}/mnt/data\n")
        self.daemon = path / "etc/docker/daemon.json"
        self.daemon.write_text(self.configuration(self.old))
        for name in ("containers/c1", "volumes/bot", "image/overlay2/imagedb/content/sha256"):
            (self.old / name).mkdir(parents=True)
        (self.old / "image/overlay2/imagedb/content/sha256/aa").write_text("{}")
        (self.old / "link").symlink_to("nowhere")
        os.mkfifo(self.old / "pipe")
        os.mkfifo(self.old / "volumes/pipe")  # a device is there, on a host
        (self.old / "hard").hardlink_to(self.old / "image/overlay2/imagedb/content/sha256/aa")
        self.boot()

    def program(self, name: str, text: str) -> None:
        (self.path / "bin" / name).write_text(text)
        (self.path / "bin" / name).chmod(0o755)

    def configuration(self, root: Path) -> str:
        return json.dumps({"live-restore": True, "data-root": str(root)}, indent=2) + "\n"

    def script(self, name: str, **more: str) -> subprocess.CompletedProcess:
        environment = {
            "PATH": f"{self.path / 'bin'}:{os.environ['PATH']}",
            "ETC": str(self.path / "etc"),
            "RUN": str(self.path / "run"),
            "MOUNTS": str(self.path / "mounts"),
            "DPKG": str(self.path / "var/lib/dpkg"),
            "LISTS": str(self.path / "lists"),
            "DEFAULT_ROOT": str(self.old),
            "WANTED": " ".join(PACKAGES),
        }
        words = ["sh", str(FILES / name)]
        return subprocess.run(
            words, check=False, env=environment | more, capture_output=True, text=True
        )

    def boot(self) -> None:
        """Start Docker as a boot does."""
        (self.path / "run/docker").unlink(missing_ok=True)
        self.script_text("systemctl start docker.service")

    def script_text(self, command: str) -> None:
        environment = {
            "PATH": f"{self.path / 'bin'}:{os.environ['PATH']}",
            "ETC": str(self.path / "etc"),
            "RUN": str(self.path / "run"),
            "DEFAULT_ROOT": str(self.old),
        }
        subprocess.run(["sh", "-c", command], check=True, env=environment)

    def plan(self) -> dict:
        look = self.script("look.sh", TARGET=str(self.new))
        assert look.returncode == 0, look.stderr
        return docker.docker_plan(look.stdout, SETTINGS | {"data_root": str(self.new)})

    def chosen(self) -> dict:
        """What is planned where the role may choose, with a drive that has been mounted."""
        storage = self.new.parent
        self.program(
            "mountpoint", f"#!/bin/sh\n[ $2 = {storage} ] && [ ! -e {self.path}/unmounted ]\n"
        )
        look = self.script("look.sh", TARGET="auto", STORAGE=str(storage))
        assert look.returncode == 0, look.stderr
        target = docker.lines_of(look.stdout)["chosen"][0] or str(self.old)
        on_card = target == str(self.old) and not (self.path / "unmounted").exists()
        assert (f"beside {storage}" in look.stdout.splitlines()) is on_card
        return docker.docker_plan(
            look.stdout, SETTINGS | {"data_root": "auto", "needs_mount": False}
        )

    def run(self, **more: str) -> subprocess.CompletedProcess | None:
        """Do what the role does: look, write daemon.json, restart where it changed, move."""
        plan = self.plan()
        assert plan["problems"] == []
        wanted = self.configuration(Path(plan["root"]))
        if self.daemon.read_text() != wanted:
            self.daemon.write_text(wanted)
            self.boot()
        if not plan["move"]:
            return None
        return self.script(
            "move.sh",
            FROM=plan["root"],
            TO=plan["target"],
            DAEMON=self.configuration(self.new).rstrip("\n"),
            GUARD="[Unit]",
            **more,
        )

    def books(self) -> int:
        """How often the bot has traded, in the books that Docker has now."""
        root = json.loads(self.daemon.read_text())["data-root"]
        return len(Path(root, "volumes/bot/books").read_text().splitlines())


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_move_brings_everything_and_keeps_what_was_there(host):
    result = host.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == f"kept {host.old}.gridberry-moved\n"
    assert host.books() == 2
    assert json.loads(host.daemon.read_text()) == {
        "live-restore": True,
        "data-root": str(host.new),
    }
    assert (host.new / "link").readlink() == Path("nowhere")
    assert (host.new / "pipe").is_fifo()
    assert (host.new / "hard").stat().st_nlink == 2
    assert not (host.new / ".gridberry-copy-of").exists()
    assert not host.old.exists()
    assert host.plan()["move"] == ""


def test_move_survives_a_power_cut_before_every_change(tmp_path):
    cuts = 0
    for cut in range(200):
        host = Host(tmp_path / str(cut))
        for name in CHANGES:
            # What a test writes need not reach the disk.
            program = "true" if name == "sync" else shutil.which(name)
            host.program(name, CUT.format(program=program))
        (host.path / "run/count").write_text("0\n")
        result = host.run(CUT_AT=str(cut))
        if result.returncode == 0:
            break
        cuts += 1
        for name in CHANGES:
            (host.path / "bin" / name).unlink()
        # The power is back: Docker starts by itself, and the bot trades on in all of its books.
        traded = host.books()
        host.boot()
        assert host.books() == traded + 1, cut
        # The next run ends what this one began, however often Docker starts on its way.
        again = host.run()
        assert again is None or again.returncode == 0, (cut, again.stdout, again.stderr)
        assert host.books() >= traded + 1, cut
        assert json.loads(host.daemon.read_text())["data-root"] == str(host.new)
        assert (host.new / "volumes/bot/books").read_text().count("trade") == host.books()
        assert not host.old.exists(), cut
        assert host.plan()["move"] == ""
    assert cuts > 15


def test_move_that_cannot_be_done_leaves_docker_where_it_was(host):
    host.program("cp", "#!/bin/sh\nexit 1\n")
    before = host.daemon.read_text()
    result = host.run()
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith(
        f"the copy to {host.new} failed; Docker's data"
    )
    assert host.daemon.read_text() == before
    assert (host.path / "run/docker").exists()
    assert not host.new.exists()


def test_move_notices_a_copy_that_is_not_equal(host):
    host.program(
        "cp", '#!/bin/sh\n/bin/cp "$@" && for to; do :; done; echo x >"$to/volumes/bot/books"\n'
    )
    result = host.run()
    assert result.returncode == 1
    assert "is not equal" in result.stdout
    assert json.loads(host.daemon.read_text())["data-root"] == str(host.old)


def test_containers_that_outlive_docker_are_not_copied(host):
    (host.path / "mounts").write_text(f"overlay {host.old}/overlay2/aa/merged overlay rw 0 0\n")
    host.program("sleep", "#!/bin/sh\n")
    result = host.run()
    assert result.returncode == 1
    assert "something still uses" in result.stdout
    assert (host.path / "run/docker").exists()


def test_look_tells_packages_release_and_what_is_too_old(host):
    status = "".join(
        f"Package: {name}\nStatus: install ok {state}\nVersion: {version}\nArchitecture: all\n\n"
        for name, state, version in (
            ("docker.io", "installed", "26.1.5"),
            ("docker-compose", "installed", "1.29.2-3"),
            ("docker-cli", "half-configured", "26.1.5"),
        )
    )
    (host.path / "var/lib/dpkg/status").write_text(status)
    (host.path / "var/lib/dpkg/updates/0001").write_text("")
    lines = host.script("look.sh").stdout.splitlines()
    assert {"installed docker.io", "outdated docker-compose", "interrupted journal"} <= set(lines)
    assert "installed docker-cli" not in lines
    assert {"release trixie", "arch arm64", f"root {host.old}"} <= set(lines)


def test_look_finds_where_bookworm_has_its_packages_from(host):
    (host.path / "etc/os-release").write_text("VERSION_CODENAME=bookworm\n")
    targets = "bookworm http://pi/debian/\nbookworm-updates http://d/debian/\nbookworm-security http://s/x/\n"
    host.program("apt-get", f"#!/bin/sh\nprintf '{targets}'\n")
    lines = host.script("look.sh").stdout.splitlines()
    assert "main http://d/debian/" in lines
    assert "security http://s/x/" in lines
    sources = host.path / "etc/apt/sources.list.d/gridberry-docker.sources"
    sources.parent.mkdir(parents=True)
    sources.write_text(
        "# main:\nTypes: deb\nURIs: http://a\n\n# security:\nTypes: deb\nURIs: http://b\n"
    )
    host.program("apt-get", "#!/bin/sh\nexit 1\n")
    lines = host.script("look.sh").stdout.splitlines()
    assert {"main http://a", "security http://b", "borrowed yes"} <= set(lines)


# Images of a Docker of paper: ID, days since it was built, days since it came here, names.
PRUNE_DOCKER = """#!/bin/sh
case "$*" in
    "container ls"*) echo c1 ;;
    "container inspect"*) echo sha256:run ;;
    "image ls"*) cut -d ' ' -f 3 "$STATE" ;;
    "image inspect"*) for id; do :; done; grep " $id" "$STATE" ;;
    *) echo "$*" >>"$CALLS" ;;
esac
"""


def prune(tmp_path: Path, images: list[tuple[str, int, int, str]], days: int = 14, keep: int = 1):
    """Run the script; what it asked Docker to do."""

    def moment(age: int, form: str) -> str:
        return time.strftime(form, time.gmtime(time.time() - age * 86400))

    (tmp_path / "images").write_text(
        "".join(
            f"{moment(built, '%Y-%m-%dT%H:%M:%S.123456789Z')} "
            f'"{moment(here, "%Y-%m-%dT%H:%M:%S.5Z") if here >= 0 else "0001-01-01T00:00:00Z"}" '
            f"{identity} {names}".rstrip()
            + "\n"
            for identity, built, here, names in images
        )
    )
    (tmp_path / "docker").write_text(PRUNE_DOCKER)
    (tmp_path / "docker").chmod(0o755)
    calls = tmp_path / "calls"
    calls.unlink(missing_ok=True)
    result = subprocess.run(
        ["sh", FILES / "prune.sh", str(days), str(keep), tmp_path / "noted"],
        check=False,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "STATE": str(tmp_path / "images"),
            "CALLS": str(calls),
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return calls.read_text().splitlines()


CACHE = "builder prune --all --force --filter until=336h"


def test_prune_keeps_what_runs_and_the_image_to_go_back_to(tmp_path):
    images = [
        ("sha256:run", 90, 90, "gridbot:c-arm64"),
        ("sha256:back", 100, 100, "gridbot:b-arm64"),
        ("sha256:old", 110, 110, "gridbot:a-arm64"),
        ("sha256:base", 120, 120, "gridberry-base:x gridberry-base:y"),
        ("sha256:none", 15, -1, ""),
        ("sha256:young", 3, 3, "debian:trixie"),
        ("sha256:loaded", 400, 1, "debian:bookworm"),
    ]
    assert prune(tmp_path, images) == [
        "image rm sha256:none",
        "image rm gridbot:a-arm64",
        "image rm gridberry-base:x gridberry-base:y",
        CACHE,
    ]
    assert prune(tmp_path, images, keep=0)[1] == "image rm gridbot:b-arm64"
    assert prune(tmp_path, images[:2]) == [CACHE]


def test_prune_keeps_the_images_of_recorded_releases(tmp_path):
    (tmp_path / "noted").mkdir()
    (tmp_path / "noted/opt-gridberry-bot").write_text("sha256:b\nsha256:a\n")
    images = [(f"sha256:{name}", 100, 100, f"gridbot:{name}-arm64") for name in "abc"]
    assert prune(tmp_path, images, keep=0) == ["image rm gridbot:c-arm64", CACHE]


# Containers of a Docker of paper, as its inspection prints them; one of them does not start.
START_DOCKER = """#!/bin/sh
case "$*" in
    info*) echo "$LIVE" ;;
    "container ls"*) sed 's/.*/id/' "$STATE" ;;
    "container inspect"*) cat "$STATE" ;;
    *) echo "$*" >>"$CALLS"
       case "$3" in
           broken) echo "listen tcp4: address already in use" >&2; exit 1 ;;
           left) echo "endpoint with name left already exists in network x" >&2; exit 1 ;;
           reserved) echo "Bind for 0.0.0.0:8080 failed: port is already allocated" >&2; exit 1 ;;
       esac ;;
esac
"""
START_SYSTEMCTL = '#!/bin/sh\necho "systemctl $*" >>"$CALLS"\n'


def start(tmp_path: Path, *containers: str, live: bool = True) -> tuple[int, str, str]:
    """Run the script; its status, what it said, and what it asked Docker and systemd to do."""
    (tmp_path / "containers").write_text("".join(f"{line}\n" for line in containers))
    for name, script in (("docker", START_DOCKER), ("systemctl", START_SYSTEMCTL)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.write_text("")
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "STATE": str(tmp_path / "containers"),
        "CALLS": str(calls),
        "LIVE": str(live).lower(),
        "RUN": str(tmp_path),
    }
    done = subprocess.run(
        ["sh", FILES / "start.sh"], check=False, env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.returncode, done.stdout, calls.read_text()


def test_start_takes_what_docker_has_given_up_and_nothing_that_a_person_stopped(tmp_path):
    taken = r'"port is taken:\n bind"'
    status, said, asked = start(
        tmp_path,
        'unless-stopped 0 /stopped ""',
        'always 143 /stopped-too ""',
        'no 1 /once "its command was not found"',
        "on-failure 128 /few " + taken,
        "unless-stopped 128 /bot " + taken,
        'always 255 /lost ""',
    )
    assert (status, asked) == (0, "container start bot\ncontainer start lost\n")
    assert said.count("<3>") == 2
    assert "<3>bot did not start (code 128, " + taken in said


def test_start_goes_on_after_one_that_fails_again_and_says_so_by_its_status(tmp_path):
    status, said, asked = start(tmp_path, 'always 127 /broken "x"', 'always 128 /bot "y"')
    assert (status, asked) == (1, "container start broken\ncontainer start bot\n")
    assert "<3>listen tcp4: address already in use\n" in said


@pytest.mark.parametrize("name", ["left", "reserved"])
def test_start_restarts_a_docker_that_has_parts_of_what_is_gone_once(tmp_path, name):
    containers = (f'always 255 /{name} "e"', 'always 128 /bot "y"')
    started = f"container start {name}\ncontainer start bot\n"
    assert start(tmp_path, *containers, live=False)[::2] == (1, started)
    restart = "systemctl restart --no-block docker.service\n"
    assert start(tmp_path, *containers)[::2] == (0, started + restart)
    assert start(tmp_path, *containers)[::2] == (1, started)


def test_start_has_nothing_to_say_where_all_run(tmp_path):
    assert start(tmp_path) == (0, "", "")


OLDER_SYSTEMCTL = """#!/bin/sh
case "$*" in
    *docker-start.timer*) exit 1 ;;
    cat*) ;;
    *) echo "$*" ;;
esac
"""


def test_undo_of_a_host_that_never_had_one_of_the_timers_disables_the_other(tmp_path):
    roles_own = yaml.safe_load((FILES.parent / "vars/main.yml").read_text())
    script = roles_own["__docker_timer_apply"]["off"].replace("TIMER", roles_own["__docker_timers"])
    (tmp_path / "systemctl").write_text(OLDER_SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", script], env=path, check=True, capture_output=True, text=True
    )
    assert done.stdout == "disable -q --now gridberry-docker-prune.timer\n"


def test_prune_of_a_docker_that_does_not_answer_removes_nothing(tmp_path):
    (tmp_path / "docker").write_text('#!/bin/sh\necho "$*" >>"$CALLS"; exit 1\n')
    (tmp_path / "docker").chmod(0o755)
    result = subprocess.run(
        ["sh", FILES / "prune.sh", "14", "1"],
        check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")},
        capture_output=True,
    )
    assert result.returncode != 0
    assert not re.search("rm|prune", (tmp_path / "calls").read_text())


class TestChoosing:
    def test_a_drive_is_taken_where_docker_holds_nothing(self, host):
        shutil.rmtree(host.old)
        plan = host.chosen()
        assert (plan["target"], plan["move"], plan["problems"]) == (str(host.new), "", [])

    def test_nothing_is_moved_unasked(self, host):
        plan = host.chosen()
        assert (plan["target"], plan["move"]) == (str(host.old), "")

    def test_what_is_on_the_drive_stays_there(self, host):
        shutil.move(host.old, host.new)
        host.daemon.write_text(host.configuration(host.new))
        assert host.chosen()["target"] == str(host.new)

    def test_a_usb_stick_only_if_the_inventory_names_it(self, host):
        shutil.rmtree(host.old)
        host.program("findmnt", "#!/bin/sh\necho /dev/sda1\n")
        host.program("lsblk", "#!/bin/sh\nprintf 'part  1\\ndisk usb 1\\n'\n")
        storage = str(host.new.parent)
        host.program("mountpoint", f"#!/bin/sh\n[ $2 = {storage} ]\n")
        for named, said in (("auto", "chosen "), ("/dev/sda", f"chosen {host.new}")):
            look = host.script("look.sh", TARGET="auto", STORAGE=storage, DRIVE=named)
            assert said in look.stdout.splitlines()
            assert "beside" not in look.stdout
        host.program("lsblk", "#!/bin/sh\nprintf 'part  0\\ndisk usb 0\\n'\n")
        look = host.script("look.sh", TARGET="auto", STORAGE=storage, DRIVE="auto")
        assert f"chosen {host.new}" in look.stdout.splitlines()

    def test_without_a_drive(self, host):
        (host.path / "unmounted").touch()
        shutil.rmtree(host.old)
        assert host.chosen()["target"] == str(host.old)

    def test_a_drive_that_is_missing_now_is_no_reason_to_begin_anew(self):
        look = HOST.replace("root /var/lib/docker", "root /mnt/data/docker")
        look += "guard /mnt/data/docker\r\nchosen \r\n"
        plan = docker.docker_plan(look, SETTINGS | {"data_root": "auto"})
        assert "on a drive that is not mounted now" in plan["problems"][0]
