"""A second program beside the bot on one simulated time: its asyncio loop is a guest of that time.

The bot's loop lets time pass where the bot waits. Whatever is due in the guest's loop then runs
inside of that wait, as it would in another process.
"""

import asyncio


class _NothingToSelect:
    def select(self, _timeout):
        return []

    def close(self):
        pass


class GuestLoop(asyncio.BaseEventLoop):
    """Runs tasks whenever the world's time has come; see the module's text."""

    def __init__(self, network):
        super().__init__()
        self._network, self._world_time = network, network.time
        self._selector = _NothingToSelect()
        self._runs = False
        self._wakes_at = float("inf")

    def time(self):
        return self._world_time.seconds

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    async def create_connection(self, factory, _host, _port):
        return await self._network.connect(self, factory())

    def call_soon(self, callback, *args, context=None):
        handle = super().call_soon(callback, *args, context=context)
        self._wake(self._world_time.seconds)
        return handle

    def call_at(self, when, callback, *args, context=None):
        handle = super().call_at(when, callback, *args, context=context)
        self._wake(when)
        return handle

    def _wake(self, at):
        if not self._runs and at < self._wakes_at:
            self._wakes_at = at
            self._world_time.after(max(0.0, at - self._world_time.seconds), self._run)

    def _run(self):
        """Everything that is due now."""
        if self._runs:
            return
        host = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        asyncio._set_running_loop(self)
        self._runs, self._wakes_at = True, float("inf")
        try:
            self._run_once()
            while self._ready:
                self._run_once()
        finally:
            self._runs = False
            asyncio._set_running_loop(host)
        if self._scheduled:
            self._wake(self._scheduled[0]._when)
