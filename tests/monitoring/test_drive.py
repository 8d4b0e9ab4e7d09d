"""What is stored moves to the drive: wherever it is cut off, one of both has all of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[2] / "roles/monitoring/files"
PROGRAM = FILES / "monitoring-drive.sh"
UNIT = "gridberry-victoria-metrics"
HERE = f"/var/lib/private/{UNIT}"
FILE = "/etc/systemd/system/var-lib-private-gridberry\\x2dvictoria\\x2dmetrics.mount"
# systemd's part: it mounts what the unit's file says, and remembers what runs.
SYSTEMCTL = """#!/bin/sh
name=$(eval echo \\$$#)
case "$1 $name" in
    is-active*) [ -e /run/stub/active ] ;;
    "start "*.mount)
        . /dev/null
        what=$(sed -n 's/^What=//p' "/etc/systemd/system/$name")
        where=$(sed -n 's/^Where=//p' "/etc/systemd/system/$name")
        mountpoint -q "$where" || mount --bind "$what" "$where" ;;
    "stop "*.mount) ! mountpoint -q %(here)s || umount %(here)s ;;
    "start "*.service) touch /run/stub/active ;;
    "stop "*.service) rm -f /run/stub/active ;;
esac
"""
# A command that kills who called it, before it has done anything, or after half of a copy.
CUT = """#!/bin/sh
count=$(($(cat /run/stub/count) + 1))
echo $count >/run/stub/count
if [ $count = "$(cat /run/stub/fatal)" ]; then
    [ %(name)s != cp ] || { /bin/mkdir -p "$3" && /bin/cp -a "$2/one" "$3/"; }
    kill -9 $PPID
    exit 1
fi
exec /bin/%(name)s "$@"
"""
COMMANDS = ("cp", "diff", "mv", "sync", "rm", "mkdir")
SETUP = f"""
set -eu
mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mount -t tmpfs none /etc/systemd
mount -t tmpfs none /mnt && mkdir -p /run/stub /mnt/data /etc/systemd/system
[ -z "${{DRIVE:-}}" ] || mount -t tmpfs -o size=2g none /mnt/data
mkdir -p -m 0700 {HERE}/part
echo first >{HERE}/one && echo second >{HERE}/part/two && touch /run/stub/active
echo 0 >/run/stub/count && echo ${{FATAL:-0}} >/run/stub/fatal
do_it() {{ sh -c "set -- $1 {UNIT} /mnt/data
$(cat "$PROGRAM")"; }}
refused() {{ if "$@"; then echo "done: $*"; exit 1; fi; }}
whole() {{ [ "$(cat {HERE}/one {HERE}/part/two)" = "$(printf 'first\\nsecond')" ]; }}
export PATH=$STUBS:$PATH
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for mounts of its own")


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """Commands before those of the system."""
    texts = {name: CUT % {"name": name} for name in COMMANDS}
    texts["systemctl"] = SYSTEMCTL % {"here": HERE}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(stubs: Path, script: str, **settings: str) -> str:
    """Run a script among mounts that nobody else sees; what it prints."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", SETUP + script],
        env={**os.environ, "STUBS": str(stubs), "PROGRAM": str(PROGRAM), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_without_a_drive_nothing_is_to_do(stubs):
    run(stubs, "do_it there\nwhole")


def test_it_moves_once_and_comes_back(stubs):
    script = f"""
    refused do_it there
    do_it move
    do_it there
    whole
    [ -e /run/stub/active ]
    [ "$(cat /mnt/data/monitoring/{UNIT}/one)" = first ]
    mountpoint -q {HERE}
    echo third >{HERE}/three
    [ -e /mnt/data/monitoring/{UNIT}/three ]
    # Switched off: it stays on the drive. Switched on again: it is as it was.
    refused do_it left
    do_it leave
    do_it left
    [ -z "$(ls {HERE})" ]
    do_it move
    whole
    [ "$(cat {HERE}/three)" = third ]
    # The drive is gone after a boot: told, and nothing begins anew.
    umount {HERE}
    umount /mnt/data
    refused do_it there
    """
    out = run(stubs, script, DRIVE="yes")
    assert "is not mounted; is its drive there?" in out


def test_what_the_card_has_from_later_hides_nothing_of_the_drive(stubs):
    script = f"""
    do_it move
    do_it leave
    echo later >{HERE}/one
    do_it move
    [ "$(cat {HERE}/one)" = later ]
    cat /mnt/data/monitoring/{UNIT}.*/one
    """
    assert run(stubs, script, DRIVE="yes") == "first\n"


def test_a_drive_that_is_too_small_or_fails_leaves_it_on_the_card(stubs):
    script = f"""
    mount -o remount,size=4m /mnt/data
    refused do_it move
    whole
    [ -e /run/stub/active ]
    [ ! -e '{FILE}' ]
    mount -o remount,size=2g /mnt/data
    printf '#!/bin/sh\nmkdir -p "$3"; echo no space >&2; exit 1' >/run/cp
    chmod +x /run/cp
    mkdir /run/first && mv /run/cp /run/first/ && PATH=/run/first:$PATH
    refused do_it move
    whole
    [ -e /run/stub/active ]
    [ ! -e '{FILE}' ]
    [ -z "$(ls /mnt/data/monitoring)" ]
    """
    out = run(stubs, script, DRIVE="yes")
    assert "/mnt/data has 4 MB free; what is measured needs 0, and 1024 stay free" in out


def test_what_is_mounted_while_its_program_runs_without_it(stubs):
    """The drive of vmagent was gone when it started, and is back."""
    script = f"""
    do_it move
    umount {HERE}
    echo later >{HERE}/on-the-card
    refused do_it there
    sed -i '2i echo "$*" >>/run/stub/said' $STUBS/systemctl
    do_it move
    whole
    [ -e /run/stub/active ]
    grep -n 'stop {UNIT}.service' /run/stub/said
    grep -n 'start .*mount' /run/stub/said
    grep -n 'start {UNIT}.service' /run/stub/said
    """
    said = run(stubs, script, DRIVE="yes").split()
    lines = [int(line.split(":")[0]) for line in said if ":" in line]
    assert lines == sorted(lines)


def test_a_drive_that_takes_nothing_keeps_vmagent_from_nothing(stubs):
    script = f"""
    here=/var/lib/private/gridberry-vmagent
    mkdir -p $here /mnt/data/buffer && sh {FILES}/monitoring-buffer.sh
    mount --bind /mnt/data/buffer $here
    sh {FILES}/monitoring-buffer.sh
    mountpoint -q $here
    [ -z "$(ls $here)" ]
    mount -o remount,ro /mnt/data
    sh {FILES}/monitoring-buffer.sh
    ! mountpoint -q $here
    touch $here/written
    """
    said = run(stubs, script, DRIVE="yes")
    assert said.count("its drive takes nothing; what cannot be sent is kept on the card") == 1


def test_wherever_it_is_cut_off_all_of_it_is_there(stubs):
    script = f"""
    do_it move >/dev/null 2>&1 && {{ [ $FATAL -gt $(cat /run/stub/count) ]; echo whole; exit; }}
    echo 0 >/run/stub/fatal
    # After the power is back: systemd mounts what the unit's file says, and starts the program.
    ! mountpoint -q {HERE} || umount {HERE}
    if [ -e '{FILE}' ]; then mkdir -p {HERE} && systemctl start '{Path(FILE).name}'; fi
    whole
    do_it there || do_it move
    do_it there
    whole
    mountpoint -q {HERE}
    echo cut
    """
    said = []
    while not said or said[-1] == "cut":
        said.append(
            run(stubs, script, DRIVE="yes", FATAL=str(len(said) + 1)).strip().split("\n")[-1]
        )
    assert said[-1] == "whole"
    assert len(said) > 12
