"""Passwords and tokens are in the files that need them, and nowhere else."""

import re

# In host_vars each secret is called planted-...-4711; not one that this line would find.
PLANTED = "planted-[a-z-]*-471[1]"
FILES = {
    "/etc/gridberry/database/pgpass",
    "/etc/gridberry/monitoring/secrets/discord.url",
    "/etc/gridberry/monitoring/secrets/messages.json",
    "/etc/pgbackrest/pgbackrest.conf",
    "/opt/gridberry/bot-hub/secrets/owner",
    "/opt/gridberry/bot-hub/secrets/reader",
    "/opt/gridberry/bot-hub/secrets/writer",
}


def test_no_file_of_the_host_has_them(pi):
    """Logs, journal, Docker's files, the database's, backups and releases among them."""
    said = pi.check_output(
        f"grep -rlaE '{PLANTED}' / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev"
        " --exclude-dir=credentials 2>/dev/null; true"
    )
    assert set(said.split()) == FILES
    for name in FILES:
        assert pi.file(name).mode == 0o600, name


def test_no_process_shows_them(pi):
    said = pi.check_output(
        f"grep -alE '{PLANTED}' /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; true"
    )
    assert said == ""


def test_docker_and_journal_do_not_tell_them(pi):
    said = pi.check_output(
        "docker inspect $(docker ps --all --quiet) $(docker image ls --quiet)"
        " $(docker volume ls --quiet); docker events --since 24h --until 0s;"
        " for one in $(docker ps --all --quiet); do docker logs $one 2>&1; done;"
        " journalctl --no-pager"
    )
    assert "gridberry-hub-serve" in said
    # The journal has what the tests above ran.
    assert re.findall(PLANTED, said) == []
