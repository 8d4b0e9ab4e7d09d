"""Which alerts there are, what has been said of each, and to whom. Pure; survives as JSON.

An alert is raised once a condition has held for its kind's time, and is over once that has been
gone for its time. Each of the two is news, which is delivered once: by Alertmanager, or directly.
"""

from dataclasses import asdict, dataclass
from typing import Any

from gridbot.service.alerts.conditions import Name, Sight
from gridbot.service.alerts.kinds import KINDS, Kind

MOST = 100  # alerts that are kept
FIRED, RESOLVED = "fired", "resolved"
ALERTMANAGER, DIRECT = "alertmanager", "direct"


@dataclass
class Alert:
    """One alert.

    Attributes:
        key: the same on every way, so that it is known again.
        name: of its kind.
        symbol: unified name; empty for the whole bot.
        text: one line about it, in which others may have a word.
        started_ms: since when (Unix milliseconds).
        ended_ms: until when; None while it lasts.
        said: the news that was delivered; empty where none was.
        via: how; empty where none was.
        news_ms: since when the latest news waits.
        sent_ms: when Alertmanager took it last.
    """

    key: str
    name: str
    symbol: str
    text: str
    started_ms: int
    news_ms: int
    ended_ms: int | None = None
    said: str = ""
    via: str = ""
    sent_ms: int = 0

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return KINDS[self.name]

    @property
    def news(self) -> str:
        """What is to be delivered next; empty where nothing is."""
        if not self.said:
            return FIRED
        return RESOLVED if self.ended_ms is not None and self.said == FIRED else ""

    def delivered(self, news: str, via: str, now_ms: int) -> None:
        """Note that news has arrived."""
        self.said, self.via, self.news_ms = news, via, now_ms


class Ledger:
    """All alerts of one bot.

    Args:
        bot: its name; the keys begin with it.
    """

    def __init__(self, bot: str) -> None:
        self.alerts: list[Alert] = []
        self.dropped = 0
        self._bot = bot
        self._held: dict[Name, int] = {}  # since when what is no alert yet
        self._gone: dict[Name, int] = {}  # since when what is not over yet

    def observe(self, sight: Sight, now_ms: int) -> bool:
        """Take what holds now.

        Args:
            sight: as the status has it.
            now_ms: Unix milliseconds.

        Returns:
            Whether an alert has begun or ended.
        """
        open_ = {(one.name, one.symbol): one for one in self.alerts if one.ended_ms is None}
        changed = False
        for name, condition in sight.holds.items():
            self._gone.pop(name, None)
            since = self._held.setdefault(name, now_ms)
            if name not in open_ and now_ms - since >= max(
                KINDS[name[0]].waits_ms, condition.waits_ms
            ):
                started = since if condition.at_ms is None else condition.at_ms
                self._raise(name, condition.text, started, now_ms)
                changed = True
        for name in set(self._held) - set(sight.holds) - sight.undecided:
            del self._held[name]
        for name, alert in open_.items():
            if name in sight.holds or name in sight.undecided:
                continue
            since = self._gone.setdefault(name, now_ms)
            if now_ms - since >= alert.kind.clears_ms:
                del self._gone[name]
                alert.ended_ms = since
                if alert.said == FIRED:
                    alert.news_ms = now_ms
                changed = True
        return changed

    def _raise(self, name: Name, text: str, started_ms: int, now_ms: int) -> None:
        kind, symbol = name
        key = "-".join(filter(None, (self._bot, symbol.replace("/", ""), kind, str(started_ms))))
        self.alerts.append(Alert(key, kind, symbol, text, started_ms, news_ms=now_ms))
        if len(self.alerts) > MOST:
            oldest = next((one for one in self.alerts if one.ended_ms is not None), self.alerts[0])
            self.alerts.remove(oldest)
            self.dropped += 1

    def forget_told(self) -> bool:
        """Drop what is over and was said; whether there was any."""
        left = [one for one in self.alerts if one.said != RESOLVED]
        changed = len(left) != len(self.alerts)
        self.alerts = left
        return changed

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"version": 1, "alerts": [asdict(one) for one in self.alerts]}

    def load(self, document: Any) -> None:
        """Take up what `document` gave.

        Raises:
            ValueError: it is none.
        """
        try:
            if document["version"] != 1:
                raise ValueError(f"version {document['version']} is not known")
            alerts = [Alert(**one) for one in document["alerts"]]
        except (LookupError, TypeError) as error:
            raise ValueError("it is no list of alerts") from error
        self.alerts = [one for one in alerts if one.name in KINDS][-MOST:]
