"""The vault's password in a file that age has encrypted, with the real age and the real vault."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "fleet" / "vault-password-age"

pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="age is not here")


@pytest.fixture
def home(tmp_path):
    """A home directory with an identity, and a password encrypted for it."""
    identity = tmp_path / "identity"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    recipient = subprocess.run(
        ["age-keygen", "-y", identity], check=True, capture_output=True, text=True
    ).stdout.strip()
    encrypt = ["age", "--encrypt", "-r", recipient, "-o", tmp_path / ".gridberry-vault.age"]
    subprocess.run(encrypt, input=b"the password\n", check=True)
    return tmp_path


def vault(home, *words, **settings):
    """Run ansible-vault, with the script as its password file."""
    environment = os.environ | {"HOME": os.fspath(home)}
    environment |= {"GRIDBERRY_VAULT_IDENTITY": os.fspath(home / "identity")} | settings
    command = [sys.executable, "-m", "ansible", "vault", *words, f"--vault-password-file={SCRIPT}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_vault_opens(home):
    file = home / "vault.yml"
    file.write_text("grid_bot_api_key: planted\n")
    assert vault(home, "encrypt", os.fspath(file)).returncode == 0
    assert "planted" not in file.read_text()
    assert b"the password" not in (home / ".gridberry-vault.age").read_bytes()
    said = vault(home, "view", os.fspath(file))
    assert said.stdout == "grid_bot_api_key: planted\n", said.stderr
    # It is that password, and no other.
    plain = home / "plain"
    plain.write_text("the password\n")
    command = [sys.executable, "-m", "ansible", "vault", "view", os.fspath(file)]
    command += [f"--vault-password-file={plain}"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"GRIDBERRY_VAULT_AGE": "/no/such.age"}, "GRIDBERRY_VAULT_AGE is /no/such.age, which"),
        ({"GRIDBERRY_VAULT_IDENTITY": "/no/such"}, "GRIDBERRY_VAULT_IDENTITY is /no/such, which"),
    ],
)
def test_what_is_missing_is_one_line(home, settings, said):
    environment = os.environ | {"HOME": os.fspath(home)} | settings
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
