"""JSON documents by their tags: all of one, or what is new in it since a state that was seen."""

import hashlib
import json
import threading
import zlib
from typing import Any

from gridbase.http import Channel

from gridbot.service.deltas import Path, changes

# States of a document from which a page that has seen one may be told the changes alone.
VERSIONS = 8
# Passes with every second: alone, it is nothing new.
_PASSING = ("uptime_seconds",)


def to_json(document: Any) -> bytes:
    """A document as it goes over the wire."""
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def tag_of(document: dict[str, Any]) -> str:
    """What is another one for another document, but not as time passes."""
    lasting = {key: part for key, part in document.items() if key not in _PASSING}
    return f'W/"{hashlib.sha256(to_json(lasting)).hexdigest()[:16]}"'


class Versions:
    """The latest states of one document, compressed, by their tags.

    Args:
        channel: told of each change as it is seen first, in one chain: whoever has a state finds
            the event that leads on from it. None: nobody listens.

    Attributes:
        sent_bytes: of all events, each counted once.
    """

    def __init__(self, channel: Channel | None = None) -> None:
        self._channel = channel
        self._kept: dict[str, bytes] = {}
        self._latest = ""
        self.sent_bytes = 0
        self._lock = threading.Lock()  # the page has several threads

    def see(self, document: dict[str, Any]) -> str:
        """Take a document as the latest state, and tell who listens what is new.

        Args:
            document: as of now.

        Returns:
            Its tag.
        """
        tag = tag_of(document)
        with self._lock:
            if tag == self._latest:
                return tag
            if self._channel is not None and self._channel.clients:
                self._tell(self._channel, tag, document)
            self._kept.pop(tag, None)
            self._kept[tag] = zlib.compress(to_json(document))
            self._latest = tag
            for old in list(self._kept)[:-VERSIONS]:
                del self._kept[old]
        return tag

    def _tell(self, channel: Channel, tag: str, document: dict[str, Any]) -> None:
        new = self._since(self._latest, document)
        if new is None:
            return  # the first state that anybody sees
        event = to_json({"from": self._latest, "to": tag, "changes": new})
        channel.publish(b"event: changes\ndata: " + event + b"\n")
        self.sent_bytes += len(event)

    def news(self, document: dict[str, Any]) -> list[tuple[Path, Any]]:
        """What a document would tell those who listen; it is not told yet."""
        with self._lock:
            if tag_of(document) == self._latest:
                return []
            return self._since(self._latest, document) or [([], document)]

    def since(self, seen: str, document: dict[str, Any]) -> list[tuple[Path, Any]] | None:
        """What is new in a document since a state; None where that is not known any more.

        Args:
            seen: tag of the state that the other side has; empty for none.
            document: as of now.
        """
        with self._lock:
            return self._since(seen, document)

    def _since(self, seen: str, document: dict[str, Any]) -> list[tuple[Path, Any]] | None:
        before = self._kept.get(seen)
        if before is None:
            return None
        return changes(json.loads(zlib.decompress(before)), json.loads(to_json(document)))
