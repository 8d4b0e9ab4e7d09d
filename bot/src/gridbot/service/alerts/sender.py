"""Raises and delivers alerts, from a thread of its own: trading never waits for it.

It reads the document that the page reads, and nothing else of the bot. News goes to Alertmanager;
where that has not acknowledged it within 30 seconds, or there is none, it goes directly to the
first receiver that takes it. What was said directly is not said by Alertmanager as well.

What there is to say is in a file beside the books before it is sent, and that it was said right
after: a bot that is killed in between says it once more, under the same key.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gridbase.clock import Clock
from gridbase.errors import UserError

from gridbot.service.alerts.channels import Channel, UndeliveredError
from gridbot.service.alerts.conditions import sight_of
from gridbot.service.alerts.ledger import ALERTMANAGER, DIRECT, FIRED, Alert, Ledger
from gridbot.service.alerts.queue_file import read_queue, write_queue

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
PATIENCE_MS = 30_000  # with Alertmanager
REPEAT_MS = 60_000  # Alertmanager is told so often what lasts


class AlertSender:
    """Alerts of one bot.

    Args:
        status: gives the document behind `/api/status`.
        ledger: of this bot; what the file holds is taken up.
        file: where what there is to say survives.
        clock: time; its stop ends the thread.
        alertmanager: the way to it; None where there is none.
        direct: the ways past it, in the order in which they are tried.
    """

    def __init__(
        self,
        status: Callable[[], dict[str, Any]],
        ledger: Ledger,
        file: Path,
        clock: Clock,
        *,
        alertmanager: Channel | None,
        direct: Sequence[Channel],
    ) -> None:
        self._status = status
        self._ledger = ledger
        self._file = file
        self._clock = clock
        self._alertmanager = alertmanager
        self._direct = direct
        self._troubles: dict[str, str] = {}
        self._dropped = 0
        document = read_queue(file)
        if document is not None:
            try:
                ledger.load(document)
            except ValueError as error:
                log.warning("alerts of before are forgotten: %s: %s", file, error)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="alerts", daemon=True).start()

    def _run(self) -> None:
        while not self._clock.stopping:
            try:
                self.turn()
            except Exception:  # an alert that cannot be sent must not silence the others
                log.exception("alerts: an unexpected error")
            self._clock.sleep(LOOK_SECONDS)

    def turn(self) -> None:
        """Look once, and deliver what is due."""
        now_ms = self._clock.now_ms()
        if self._ledger.observe(sight_of(self._status()), now_ms):
            self._keep()
        if self._ledger.dropped != self._dropped:
            self._dropped = self._ledger.dropped
            log.error("alerts: %d were dropped, as nobody takes them", self._dropped)
        for alert in list(self._ledger.alerts):
            if self._deliver(alert):
                self._keep()
        if self._ledger.forget_told():
            self._keep()

    def _deliver(self, alert: Alert) -> bool:
        """Say what is due of one alert; whether something was said that is to be kept."""
        now_ms, news = self._clock.now_ms(), alert.news
        if not news:
            self._repeat(alert, now_ms)
            return False
        for channel in self._ways(alert, now_ms):
            if self._sent(channel, alert, news):
                manager = channel is self._alertmanager
                alert.sent_ms = now_ms
                alert.delivered(news, ALERTMANAGER if manager else DIRECT, self._clock.now_ms())
                return True
        return False

    def _ways(self, alert: Alert, now_ms: int) -> Sequence[Channel]:
        """Who may be told of an alert now, in this order."""
        if self._alertmanager is None or alert.via == DIRECT:
            return self._direct
        patient = now_ms - alert.news_ms < PATIENCE_MS
        return [*(() if patient else self._direct), self._alertmanager]

    def _repeat(self, alert: Alert, now_ms: int) -> None:
        """Tell Alertmanager again what lasts; it forgets it otherwise."""
        manager = self._alertmanager
        due = alert.via == ALERTMANAGER and now_ms - alert.sent_ms >= REPEAT_MS
        if manager is not None and due and self._sent(manager, alert, FIRED):
            alert.sent_ms = now_ms

    def _sent(self, channel: Channel, alert: Alert, news: str) -> bool:
        if not channel.ready:
            return False
        try:
            channel.send(alert, news)
        except UndeliveredError as error:
            if self._troubles.get(channel.name) != str(error):
                log.warning("alerts: %s does not take %s: %s", channel.name, alert.key, error)
            self._troubles[channel.name] = str(error)
            return False
        if self._troubles.pop(channel.name, ""):
            log.info("alerts: %s takes them again", channel.name)
        log.info("alerts: %s was told that %s has %s", channel.name, alert.key, news)
        return True

    def _keep(self) -> None:
        try:
            write_queue(self._file, json.dumps(self._ledger.document()))
        except UserError as error:
            if self._troubles.get("file") != str(error):
                log.warning("alerts: a restart would forget them: %s", error)
            self._troubles["file"] = str(error)
        else:
            self._troubles.pop("file", None)
