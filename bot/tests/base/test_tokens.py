"""Tokens: shown once, kept as a hash, found again, gone when they are revoked."""

import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from gridbase.errors import UserError
from gridbase.tokens import (
    ACT,
    MOST_TOKENS,
    READ,
    TokenFile,
    changing,
    created,
    load,
    matching,
    revoked,
    save,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.json"


def make(path, name, scope=READ):
    with changing(path) as tokens:
        more, secret = created(tokens, name, scope, 1_700_000_000_000)
        save(path, more)
    return secret


def test_the_file_has_no_token_and_is_for_its_owner_alone(path):
    before = os.umask(0)
    try:
        secret = make(path, "phone", ACT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in path.read_text()
    assert secret.removeprefix("gridberry_") not in path.read_text()
    assert len(secret.removeprefix("gridberry_")) == 43  # 32 bytes
    assert list(path.parent.iterdir()) == [path]


def test_a_token_is_found_by_its_text_alone(path):
    phone, laptop = make(path, "phone", ACT), make(path, "laptop")
    tokens = load(path)
    assert matching(tokens, phone).name == "phone"
    assert matching(tokens, laptop).name == "laptop"
    for wrong in ("", phone[:-1], phone + "x", tokens[0].digest, "ä"):
        assert matching(tokens, wrong) is None


def test_acting_includes_reading_and_not_the_other_way(path):
    make(path, "phone", ACT)
    make(path, "laptop", READ)
    phone, laptop = load(path)
    assert phone.allows(READ)
    assert phone.allows(ACT)
    assert laptop.allows(READ)
    assert not laptop.allows(ACT)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\n", "x" * 33, "ä"])
def test_a_name_that_would_not_do_in_a_log_is_refused(name):
    with pytest.raises(UserError, match="NAME = "):
        created((), name, READ, 0)


def test_a_name_is_there_once_and_tokens_are_bounded(path):
    make(path, "phone")
    with pytest.raises(UserError, match="phone is taken"):
        make(path, "phone")
    tokens = ()
    for number in range(MOST_TOKENS):
        tokens, _ = created(tokens, f"n{number}", READ, 0)
    with pytest.raises(UserError, match="at most 100"):
        created(tokens, "more", READ, 0)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(path, mode):
    make(path, "phone")
    path.chmod(mode)
    with pytest.raises(UserError, match="set its mode to 0600"):
        load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"tokens": [{}]}', b"\xff", b'{"tokens": [1]}']
    + [
        json.dumps(
            {"tokens": [{"name": "a", "scopes": scopes, "created_ms": 1, "sha256": digest}]}
        ).encode()
        for scopes, digest in ((["root"], "0" * 64), (["read"], "0" * 63), (["read"], ""))
    ],
)
def test_a_damaged_file_is_one_line_and_no_token(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UserError, match="is damaged"):
        load(path)


def test_a_server_hears_of_what_is_created_and_revoked(path):
    file = TokenFile(path)
    assert file.find("x") is None
    phone = make(path, "phone")
    assert file.find(phone).name == "phone"
    laptop = make(path, "laptop")
    assert file.find(laptop).name == "laptop"
    with changing(path) as tokens:
        save(path, revoked(tokens, "phone"))
    assert file.find(phone) is None
    assert file.find(laptop).name == "laptop"
    path.chmod(0o644)
    with pytest.raises(UserError):
        file.find(laptop)
    path.unlink()
    assert file.find(laptop) is None


def test_what_is_revoked_stays_so_beside_others_who_create(path):
    """Without the lock, one of them writes back what the other has removed."""
    for number in range(8):
        make(path, f"old{number}")

    def revoke(number):
        with changing(path) as tokens:
            save(path, revoked(tokens, f"old{number}"))

    threads = [threading.Thread(target=revoke, args=(number,)) for number in range(8)]
    threads += [threading.Thread(target=make, args=(path, f"new{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.name for one in load(path)) == [f"new{number}" for number in range(8)]


def test_the_command_shows_a_token_once(path):
    def gridbot(*words):
        command = [sys.executable, "-m", "gridbot", "tokens", *words, "--file", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = gridbot("create", "phone", "--scope", "act")
    assert done.returncode == 0, done.stderr
    assert TokenFile(path).find(done.stdout.strip()).name == "phone"
    done = gridbot("list")
    assert done.stdout.startswith("phone ")
    assert "read,act" in done.stdout
    assert json.loads(gridbot("list", "--json").stdout)[0]["scopes"] == ["read", "act"]
    assert gridbot("create", "phone", "--scope", "read").returncode == 2
    assert gridbot("revoke", "phone").returncode == 0
    done = gridbot("revoke", "phone")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert load(path) == ()
    done = gridbot("create", "phone")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
