"""Two virtual Pis that begin with a snapshot of a third: each has its own identity, and the rest.

    python -m tests.branches

A part of `./gridberry test --full`. Its machines are in GRIDBERRY_STATE, and gone afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from virtual_pi import lifecycle
from virtual_pi.image import ensure_image
from virtual_pi.machines import CreateOptions, Machine, create_machine, ssh_command
from virtual_pi.paths import state_directory
from virtual_pi.snapshot import take

LEAVE = """
sudo sh -c 'echo card >/root/kept; mkfs.ext4 -q /dev/nvme0n1
mount /dev/nvme0n1 /mnt; echo drive >/mnt/kept; umount /mnt'
"""
# What a branch has of the snapshot, then what is to be its own.
FIND = """
sudo cat /root/kept; sudo mount /dev/nvme0n1 /mnt; cat /mnt/kept; systemctl is-system-running --wait
systemctl list-unit-files --state=enabled --no-legend | sha256sum
hostname; cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub
"""
SAME = 4


def ask(machine: Machine, script: str) -> list[str]:
    """Return the lines that a script prints on a machine, which has to end well.

    Args:
        machine: The machine.
        script: For its shell.
    """
    command = [*ssh_command(machine, "-o", "BatchMode=yes"), "sh", "-s"]
    done = subprocess.run(command, input=script, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def main() -> int:
    """Make them, look at them and say how they are; return 1 where one is not as it should be."""
    state = state_directory()
    machines: list[Machine] = []
    with TemporaryDirectory(dir=state) as directory:
        try:
            options = CreateOptions()
            original = create_machine(state, "pi1", ensure_image(options.release), options)
            machines.append(original)
            lifecycle.start(original)
            lifecycle.wait_for_ssh(machines)
            ask(original, LEAVE)
            found = [ask(original, FIND)]
            lifecycle.press_power_button(machines)
            image = take(original, Path(directory) / "kept").image
            for name in ("pi2", "pi3"):
                machines.append(create_machine(state, name, image, options))
                lifecycle.start(machines[-1])
            lifecycle.wait_for_ssh(machines[1:])
            found += [ask(machine, FIND) for machine in machines[1:]]
        finally:
            for machine in machines:
                lifecycle.remove(machine)
    for lines in found:
        print("\n".join(lines))
    well = ["card", "drive", "running", found[0][SAME - 1]]
    same = all(lines[:SAME] == well for lines in found)
    own = [list(column) for column in zip(*(lines[SAME:] for lines in found), strict=True)]
    named = own[0] == [machine.name for machine in machines]
    apart = all(len(set(column)) == len(machines) for column in own)
    well_done = same and named and apart
    print(f"2 branches of a snapshot: {'all' if same else 'NOT all'} that it had, ", end="")
    print(f"name, machine ID and host key {'their own' if named and apart else 'NOT their own'}")
    return int(not well_done)


if __name__ == "__main__":
    sys.exit(main())
