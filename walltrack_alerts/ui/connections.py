"""Limits on slow connections: requests that never end must not use up the file descriptors of this process."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEADER_SECONDS = 10.0
"""Until the headers of a request are here; browsers send them at once, and proxies wait for them."""
MAX_WAITING = 200
"""Connections without a request; of more the one that has waited longest is closed."""


class PatientProtocol(H11Protocol):
    """uvicorn's protocol with a time limit for headers, which uvicorn does not have."""

    waiting: ClassVar[dict[PatientProtocol, asyncio.TimerHandle]]
    """Connections without a request, the longest first, of one server."""

    @classmethod
    def of_one_server(cls) -> type[PatientProtocol]:
        """A class for each: servers run in threads of their own."""
        return type(cls.__name__, (cls,), {"waiting": {}})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Restart or stop the timer; a partial request does not extend it."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def _look(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        is_asking = cycle is not None and not cycle.response_complete
        is_gone = self not in self.connections  # it became a WebSocket, or was closed
        if is_asking or is_gone:
            self._stop()
        elif self not in self.waiting:
            self._wait()

    def _wait(self) -> None:
        self.waiting[self] = self.loop.call_later(HEADER_SECONDS, self.give_up)
        while len(self.waiting) > MAX_WAITING:
            next(iter(self.waiting)).give_up()

    def _stop(self) -> None:
        if timer := self.waiting.pop(self, None):
            timer.cancel()

    def give_up(self) -> None:
        """Close the connection without a response."""
        self._stop()
        self.transport.abort()
