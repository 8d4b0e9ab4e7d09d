"""The account's keys are in their two files, and nowhere else where somebody could read them."""

import os
import urllib.request
from pathlib import Path

import pytest

DIRECTORY = "/opt/gridberry/bot/secrets"
NAMES = ("paper_api_key", "paper_api_secret")
PAGES = ("/", "/health", "/api/status", "/api/page", "/api/history", "/api/books")
# Writes the keys to the file $keys, a line each, and takes them into no argument.
PATTERNS = f"keys=$(mktemp /dev/shm/keys.XXXXXX); grep -h . {DIRECTORY}/* >$keys"


@pytest.fixture(scope="module")
def keys(pi):
    """The keys, as this host made them for its practice exchange."""
    found = [pi.file(f"{DIRECTORY}/{name}").content_string.strip() for name in NAMES]
    assert [len(key) for key in found] == [64, 64]
    return found


def test_no_file_of_the_host_has_them(pi):
    """Logs, journal, Docker's files, image layers, books, releases, swap and caches among them."""
    said = pi.check_output(
        f"{PATTERNS}; grep -rlF --file=$keys / --exclude-dir=proc --exclude-dir=sys"
        " --exclude-dir=dev 2>/dev/null; rm -f $keys"
    )
    assert sorted(said.split()) == [f"{DIRECTORY}/{name}" for name in NAMES]


def test_no_process_shows_them(pi):
    said = pi.check_output(
        f"{PATTERNS}; grep -alF --file=$keys /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
        " 2>/dev/null; rm -f $keys"
    )
    assert said == ""


def test_docker_does_not_tell_them(pi, keys):
    """Nor what it knows of containers, images, volumes and events, nor what they printed."""
    said = pi.check_output(
        "docker inspect $(docker ps --all --quiet) $(docker image ls --quiet)"
        " $(docker volume ls --quiet); docker events --since 24h --until 0s;"
        " for one in $(docker ps --all --quiet); do docker logs $one 2>&1; done"
    )
    assert "gridberry-bot" in said
    assert not [key for key in keys if key in said]


def test_no_run_of_ansible_prints_or_keeps_them(machine, keys):
    result = machine.playbook("--tags", "grid_bot", "--diff", "-vvv", "--check")
    assert result.returncode == 0, result.stdout[-2000:]
    assert not [key for key in keys if key in result.stdout + result.stderr]
    here = Path(os.environ.get("GRIDBERRY_STATE", ".gridberry"))
    for path in here.rglob("*"):
        if path.suffix in (".json", ".log") and path.is_file():
            text = path.read_bytes()
            assert not [key for key in keys if key.encode() in text], path


def test_the_page_does_not_show_them(machine, keys):
    for page in PAGES:
        with urllib.request.urlopen(machine.page + page, timeout=60) as answer:  # noqa: S310 - http, loopback
            text = answer.read().decode()
        assert text
        assert not [key for key in keys if key in text], page


def test_a_planted_key_would_be_found(pi):
    """The search is one that can fail."""
    pi.check_output(f"cat {DIRECTORY}/{NAMES[0]} >/var/tmp/planted")
    try:
        said = pi.check_output(
            f"{PATTERNS}; grep -rlF --file=$keys /var/tmp 2>/dev/null; rm -f $keys"
        )
    finally:
        pi.check_output("rm -f /var/tmp/planted")
    assert said.split() == ["/var/tmp/planted"]
