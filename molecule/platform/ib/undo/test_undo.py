"""The roles are undone, and leave nothing. Runs last."""

import json

ABSENT = {
    "ib_gateway_state": "absent",
    "grid_bot_state": "absent",
    "grid_bot_purge": True,
    "watcher_state": "absent",
    "watcher_purge": True,
}
PLACES = """
/etc/systemd/system/gridberry-ib-* /etc/gridberry/ib_gateway /var/lib/gridberry-ib
/opt/gridberry/ib_gateway /usr/local/lib/gridberry/ib_gateway /opt/gridberry/watcher
/mnt/data/watcher /run/gridberry-gateway
"""


def test_undo_leaves_nothing(pi, machine):
    words = ("--tags", "ib_gateway,grid_bot,watcher", "-e", json.dumps(ABSENT))
    done = machine.playbook(*words)
    assert done.returncode == 0, done.stdout[-3000:]
    assert pi.run("ls -d " + " ".join(PLACES.split())).stdout == ""
    assert not pi.user("gridberry-ib").exists
    assert "gridberry_ib" not in pi.check_output("nft list tables")
    assert pi.run("pgrep -f '[X]vfb|gridexchang[e]|ibcstar[t]'").rc == 1
    assert pi.check_output("docker ps --all --quiet") == ""
    assert pi.check_output("systemctl --failed --no-legend --plain") == ""
    again = machine.playbook(*words)
    assert "changed=0" in again.stdout, again.stdout[-3000:]
