"""An account's API keys are in their two files: runs that say all, and keep all, have none."""

from pathlib import Path
from typing import Any

import pytest

from tests.ansible.test_releases import Host

# Words, and long ones: a log has digits enough to contain any few of them.
FIRST = {"grid_bot_api_key": "planted-key-marmalade", "grid_bot_api_secret": "planted-marmalade"}
SECOND = {"grid_bot_api_key": "planted-key-gooseberry", "grid_bot_api_secret": "planted-gooseberry"}
LIVE = {
    "grid_bot_mode": "live",
    "grid_bot_prices": "live",
    "grid_bot_live_confirmation": "I accept that this bot trades real money",
}


class Talker(Host):
    """A host whose runs are logged, with a cache of facts, and with all that is left of modules."""

    def environment(self) -> dict[str, str]:
        place = self.place / "ansible"
        return super().environment() | {
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(place / "facts"),
            "ANSIBLE_LOG_PATH": str(self.place / "log"),
            "ANSIBLE_LOCAL_TEMP": str(place / "local"),
            "ANSIBLE_REMOTE_TMP": str(place / "remote"),
            "ANSIBLE_RETRY_FILES_ENABLED": "true",
            "GRIDBERRY_STATE": str(self.place / "state"),
        }

    def holding(self, text: str) -> set[str]:
        """The files below the host's place that have a text, the inventory left out."""
        files = (path for path in self.place.rglob("*") if path.is_file() and path != self.file)
        found = (path for path in files if text.encode() in path.read_bytes())
        return {str(path.relative_to(self.place)) for path in found}


@pytest.fixture
def host(tmp_path: Path) -> Talker:
    made = Talker(tmp_path)
    for version in "ab":
        made.image(version)
    return made


def said(host: Talker, version: str, *words: str, **settings: Any) -> str:
    done = host.deploy(version, "--diff", "-vvv", *words, **LIVE, **settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return done.stdout + done.stderr


def test_keys_are_in_their_files_alone(host: Talker) -> None:
    files = {f"opt/bot/secrets/live_api_{name}" for name in ("key", "secret")}
    text = said(host, "a", **FIRST)
    assert "planted-" not in text
    assert host.holding("planted-") == files
    # Others are foreseen, then put in place; a release of its own is on the record.
    text = said(host, "b", "--check", **SECOND)
    assert "live_api_key" in text
    assert "planted-" not in text
    assert host.holding("gooseberry") == set()
    assert host.holding("planted-") == files
    text = said(host, "b", **SECOND)
    assert "planted-" not in text
    assert host.holding("planted-") == files
    assert host.holding("marmalade") == set()
    assert len(host.results()) == 2
    for name in files:
        assert oct((host.place / name).stat().st_mode)[-3:] == "600"
