"""How many clients are connected, and how long the server waits for one that is slow, silent or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: With one more, the connection that has waited longest for its client is closed. A browser opens six.
MAX_CONNECTIONS = 64
#: Seconds in which a client must have sent a request, after it has connected, or have taken an answer.
PATIENCE = 30.0
#: The same when the server is about to end.
LAST_PATIENCE = 1.0


class Connection(H11Protocol):
    """A connection that is closed when it has waited `PATIENCE` for its client; computing does not count.

    To uvicorn alone, a client that connects and sends half a request, or takes no answer, is there for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience, self._since = PATIENCE, self.loop.time()
        self._timer = self.loop.call_later(PATIENCE, self._look_after)
        _make_room(connection for connection in self.connections if isinstance(connection, Connection))

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Lets an image that is being looked at be answered, and closes the other connections soon."""
        self._timer.cancel()
        self._patience, self._since = LAST_PATIENCE, self.loop.time()
        super().shutdown()
        self._look_after()

    def waits_for_client(self) -> bool:
        """Whether the next step is the client's: to send the rest of a request, or to take an answer."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body or self.transport.get_write_buffer_size() > 0

    def waiting_since(self) -> float:
        """Seconds on the clock of the event loop."""
        return self._since

    def _look_after(self) -> None:
        now = self.loop.time()
        if not self.waits_for_client():
            self._since = now
        left = self._since + self._patience - now
        if left <= 0:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(left, self._look_after)


def _make_room(connections: Iterable[Connection]) -> None:
    open_now = [connection for connection in connections if not connection.transport.is_closing()]
    waiting = [connection for connection in open_now if connection.waits_for_client()]
    if len(open_now) > MAX_CONNECTIONS:
        min(waiting, key=Connection.waiting_since).transport.abort()
