"""asyncio on the time of a simulated world, and connections to a Gateway without sockets.

The bot's client is the unmodified one. What it writes is a boundary at which the bot may die; what
has left it by then still arrives, in order, before the Gateway sees that the connection has ended.
"""

import asyncio

LATENCY_SECONDS = 0.01
LEAST_SECONDS = 1e-9
PLACE, CANCEL, TICK = b"3", b"4", b"1"


class _WorldSelector:
    """Nothing is selected: time goes on to what is due next."""

    def __init__(self, time):
        self._time = time

    def select(self, timeout):
        due = self._time._due
        rest = 1.0 if timeout is None else timeout
        if due:
            rest = min(rest, due[0][0] - self._time.seconds)
        if rest > 0 or (due and due[0][0] <= self._time.seconds):
            # A little more: a sum that is rounded down would stand still before what is due.
            self._time.sleep(max(0.0, rest) + LEAST_SECONDS)
        return []

    def close(self):
        pass


class WorldLoop(asyncio.BaseEventLoop):
    """Runs the bot's client; see the module's text."""

    def __init__(self, network):
        super().__init__()
        self._network = network
        self._selector = _WorldSelector(network.time)

    def time(self):
        return self._network.time.seconds

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    async def create_connection(self, factory, _host, _port):
        return await self._network.connect(self, factory())


class Link:
    """One connection: the bot's transport on one side, the Gateway's peer on the other."""

    def __init__(self, network, loop, protocol):
        self.network, self.loop, self.protocol = network, loop, protocol
        self.said = []  # by the Gateway, and has not left yet
        self.connection = network.gateway.accept(self)
        self.deaf = False  # the bot's side is gone
        self.over = False  # the Gateway's side is gone
        self.ends_at = float("inf")

    # The bot's side.

    def write(self, data):
        if self.deaf:
            return
        network = self.network
        kind = _kind(data)
        if kind == PLACE:
            network.leaving(data)
        network.cross("before request")
        network.under_way = lambda: self.arrive(data)
        if kind in {PLACE, CANCEL}:
            # From here on it may arrive though the bot is dead.
            network.cross("request under way")
        if network.faults.of_message():
            network.note("fault: connection broken")
            self.broken(network.faults.dice.random() < 0.5 and data)
            return
        network.time.after(LATENCY_SECONDS, lambda: self.arrive(data))

    def leave(self):
        """The bot hangs up, or hears that the Gateway did."""
        if not self.deaf:
            self.deaf = True
            self.loop.call_soon(self.protocol.connection_lost, None)
        self.end(LATENCY_SECONDS)

    def broken(self, data):
        """The connection breaks; what was written may have left before."""
        if data:
            self.network.time.after(LATENCY_SECONDS, lambda: self.arrive(data))
        self.leave()
        self.end(3 * LATENCY_SECONDS)

    # The Gateway's side.

    def arrive(self, data):
        if self.over or self.connection is None:
            return
        self.connection.feed(data)
        self.network.accepted()
        self.network.cross("exchange has acted")

    def send(self, data):
        """What is said at one moment arrives together."""
        if not self.said:
            self.network.time.after(LATENCY_SECONDS, self._sent)
        self.said.append(data)

    def _sent(self):
        said, self.said = self.said, []
        if not self.deaf:
            self.loop.call_soon(self.hear, said)

    def hear(self, said):
        if self.deaf:
            return
        self.protocol.data_received(b"".join(said))
        if any(_kind(data) != TICK for data in said):  # of a price nothing is remembered
            self.network.cross("after answer")

    def unread(self):
        return 0

    def close(self):
        """The Gateway hangs up; what it has said arrives before."""
        self.network.time.after(2 * LATENCY_SECONDS, self.leave)

    def end(self, seconds):
        """The Gateway sees the end so much later."""
        self.ends_at = self.network.time.seconds + seconds
        self.network.time.after(seconds, self._end)

    def _end(self):
        """What the bot has written before arrives before."""
        if not self.over and self.network.time.seconds >= self.ends_at - 1e-9:
            self.over = True
            if self.connection is not None:
                self.connection.lost()


class Transport:
    """The bot's side of a connection, as asyncio has it."""

    def __init__(self, link):
        self.write, self.close = link.write, link.leave

    def write_eof(self):
        pass


class Network:
    """All connections of one world to its Gateway."""

    def __init__(self, world):
        self.world, self.time = world, world.time
        self.note = world.note
        self.links = []
        self.down = False
        self.under_way = lambda: None

    @property
    def gateway(self):
        return self.world.gateway

    @property
    def faults(self):
        return self.world.faults

    def cross(self, kind):
        self.world.boundaries.cross(kind)

    def leaving(self, data):
        fields = data[4:].decode().split("\0")
        # Number, twelve fields of the contract, and two; then action ... reference.
        action, reference = fields[16], fields[26]
        self.world.check_leaving(reference, action.lower())

    def accepted(self):
        self.world.check_open_orders()

    async def connect(self, loop, protocol):
        if self.down:
            await asyncio.sleep(3600.0)
        await asyncio.sleep(LATENCY_SECONDS)
        link = Link(self, loop, protocol)
        if link.connection is None:
            raise ConnectionRefusedError(111, "Connection refused")
        self.links = [one for one in self.links if not one.over] + [link]
        return Transport(link), protocol

    def drop_all(self):
        """Connections break under a bot that lives."""
        for link in self.links:
            if not link.deaf:
                link.leave()

    def die(self):
        """The bot's process is gone: nothing reaches it; what it has written still arrives."""
        for link in self.links:
            if not link.deaf:
                link.deaf = True
                link.end(3 * LATENCY_SECONDS)

    def deliver_late(self, seconds):
        """What had left arrives so much later, and only then the end of its connection."""
        under_way = self.under_way
        for link in self.links:
            if not link.over:
                link.end(seconds + LATENCY_SECONDS)
        self.time.after(seconds, under_way)


def _kind(data):
    return data[4:].partition(b"\0")[0]
