"""One client of the practice Gateway: its handshake, what it is sent, what it follows. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gridexchange.ib.messages import Fields
from gridexchange.ib.options import Quoted
from gridexchange.ib.wire import Frames, WireError, pack

# What a client may leave unread before it is disconnected (bytes).
UNREAD_BYTES = 256 * 1024


class Peer(Protocol):
    """The way back to a client."""

    def send(self, data: bytes) -> None:
        """Send bytes."""

    def unread(self) -> int:
        """Bytes that were sent and that the client has not taken yet."""

    def close(self) -> None:
        """Hang up."""


@dataclass
class Connection:
    """A client.

    Attributes:
        peer: the way back.
        handle: takes each message after the handshake.
        hung_up: told when the Gateway hangs up.
        client_id: None before the client has said it.
        lines: streams by request, that nobody has canceled, and what they are of.
        snapshots: requests for a snapshot without an end.
        history: historical requests without an answer.
        dead: nothing is said to it any more.
    """

    peer: Peer
    handle: Callable[["Connection", list[str]], None]
    hung_up: Callable[["Connection", str], None]
    client_id: int | None = None
    lines: dict[int, Quoted] = field(default_factory=dict)
    snapshots: set[int] = field(default_factory=set)
    history: set[int] = field(default_factory=set)
    dead: bool = False
    frames: Frames = field(default_factory=Frames)
    greeting: Callable[[], str] = str

    @property
    def open_lines(self) -> int:
        """Streams and snapshots under way."""
        return len(self.lines) + len(self.snapshots)

    @property
    def version(self) -> int:
        """What both speak."""
        return self.frames.version or 0

    def feed(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.dead:
            return
        began = self.frames.version is not None
        try:
            messages = self.frames.feed(data)
            if not began and messages:
                messages.pop(0)
                self.send([self.version, self.greeting()])
            for message in messages:
                if not self.dead:
                    self.handle(self, message)
        except WireError as error:
            self.hang_up(str(error))

    def send(self, fields: Fields) -> None:
        """Say something, unless the client has left too much unread."""
        if self.dead:
            return
        if self.peer.unread() > UNREAD_BYTES:
            self.hang_up("buffer overflow: the client does not read what it has asked for")
            return
        self.peer.send(pack(fields))

    def hang_up(self, reason: str) -> None:
        """Close the connection."""
        if not self.dead:
            self.dead = True
            self.hung_up(self, reason)
            self.peer.close()

    def lost(self) -> None:
        """The client is gone."""
        if not self.dead:
            self.dead = True
            self.hung_up(self, "")
