"""The role is undone, and leaves nothing. Runs last."""

PLACES = "/etc/systemd/system/gridberry-recorder* /opt/gridberry/recorder /mnt/data/recorder"


def test_undo_leaves_nothing(pi, machine):
    absent = ("-e", "recorder_state=absent", "-e", "recorder_purge=true")
    done = machine.play("recorder", "--tags", "recorder", *absent)
    assert done.returncode == 0, done.stdout[-3000:]
    assert pi.run(f"ls -d {PLACES}").stdout == ""
    assert pi.check_output("docker ps --all --quiet") == ""
    assert "recorder" not in pi.check_output("docker network ls --format '{{.Name}}'")
    assert pi.check_output("systemctl --failed --no-legend --plain") == ""
    again = machine.play("recorder", "--tags", "recorder", *absent)
    assert "changed=0" in again.stdout, again.stdout[-3000:]
