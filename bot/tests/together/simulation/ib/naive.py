"""A client as the field has them: streams left open, a cycle each minute, and it reads slowly."""

from gridexchange.ib.messages import Fields
from gridexchange.ib.wire import pack

CYCLE_SECONDS = 60.0
LINES = 10  # more in each cycle
READS = 400  # bytes a second


class NaiveClient:
    """Connects to a practice Gateway, and lives on its time.

    Attributes:
        asked: snapshots.
        ended: snapshots whose end was told.
        closed: whether the Gateway hung up.
    """

    def __init__(self, gateway, time, client_id=55):
        self._time = time
        self._began = time.seconds
        self._sent = self.asked = self.ended = 0
        self.closed = False
        self._connection = gateway.accept(self)
        self._connection.feed(b"API\0" + (9).to_bytes(4, "big") + b"v157..178")
        self._say([71, 2, client_id, ""])
        self._cycle()

    def _say(self, fields: Fields):
        if not self.closed:
            self._connection.feed(pack(fields))

    def _cycle(self):
        self._time.after(CYCLE_SECONDS, self._cycle)
        stock = ("SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "")
        for number in range(2 * LINES):
            request = 1000 + self.asked + number
            self._time.after(
                number * 0.05,
                lambda request=request, snapshot=number % 2: self._say(
                    [1, 11, request, 0, *stock, 0, "", snapshot, 0, ""]
                ),
            )
        self.asked += LINES

    def send(self, data):
        self._sent += len(data)
        self.ended += data[4:7] == b"57\0"

    def unread(self):
        return max(0, self._sent - round(READS * (self._time.seconds - self._began)))

    def close(self):
        self.closed = True
