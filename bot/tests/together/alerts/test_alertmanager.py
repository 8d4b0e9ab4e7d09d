"""The bot's alerts, through Debian's Alertmanager to a receiver: each news once."""

import json
import shutil
import socket
import subprocess
import time

import pytest
import yaml
from gridbase.clock import SystemClock

from .receivers import Receiver
from .test_delivery import Bot

PROGRAM = shutil.which("prometheus-alertmanager")
PATIENCE_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Manager:
    """Alertmanager on loopback; what it is told goes to a webhook."""

    def __init__(self, directory, hook: str) -> None:
        receivers = [{"name": "hook", "webhook_configs": [{"url": hook, "send_resolved": True}]}]
        route = {"receiver": "hook", "group_by": ["alert_key"], "group_wait": "1s"}
        config = {"route": route | {"group_interval": "2s"}, "receivers": receivers}
        (directory / "am.yml").write_text(yaml.safe_dump(config))
        self.base = f"http://127.0.0.1:{free_port()}"
        words = (
            f"--config.file={directory / 'am.yml'}",
            f"--storage.path={directory / 'am'}",
            f"--web.listen-address={self.base.removeprefix('http://')}",
            "--cluster.listen-address=",
        )
        with (directory / "am.log").open("wb") as log:
            self.process = subprocess.Popen([PROGRAM, *words], stdout=log, stderr=log)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


def wait_for(bot: Bot, condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        bot.sender.turn()
        time.sleep(0.3)


@pytest.mark.skipif(PROGRAM is None, reason="needs Debian's package prometheus-alertmanager")
def test_alertmanager_says_each_news_once(tmp_path):
    hook, discord = Receiver("/hook"), Receiver("/api/webhooks/1/x")
    manager = Manager(tmp_path, hook.url)
    try:
        bot = Bot(tmp_path, clock=SystemClock(), manager=manager, discord=discord)
        bot.fire('price 1 <b>& "x" is below the stop')
        wait_for(bot, lambda: hook.taken)
        bot.halt = None
        wait_for(bot, lambda: len(hook.taken) > 1)
        time.sleep(3)  # one more group interval: nothing follows
        told = [json.loads(body) for body in hook.taken]
        assert [one["status"] for one in told] == ["firing", "resolved"]
        assert all(len(one["alerts"]) == 1 for one in told)
        (alert,) = told[0]["alerts"]
        assert alert["labels"]["alertname"] == "KillSwitchFired"
        assert 'price 1 <b>& "x" is below' in alert["annotations"]["description"]
        assert discord.seen == []
    finally:
        manager.close()
        hook.close()
        discord.close()
