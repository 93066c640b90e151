"""Concurrent requests for the same answer share one read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary


class SingleFlight:
    """Every caller gets the result of a read that began after the call, with as few reads as possible.

    Callers that arrive during a read wait for it to end; then one of them reads for all. The read runs within that caller's
    request, so nothing is left behind when the request ends.
    """

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._coming: dict[str, asyncio.Future[str]] = {}

    async def get(self, asked: str, read: Callable[[], Awaitable[str]]) -> str:
        """The answer to a request, from `read` or from the read of another caller."""
        while coming := self._coming.get(asked):
            await asyncio.wait([coming])
            if not coming.cancelled():
                return coming.result()
        coming = self._coming[asked] = asyncio.get_running_loop().create_future()
        turn = self._turns.setdefault(asked, asyncio.Lock())
        try:
            async with turn:
                del self._coming[asked]  # later callers wait for the next read
                answer = await read()
                coming.set_result(answer)
                return answer
        finally:
            if self._coming.get(asked) is coming:
                del self._coming[asked]
            if not coming.done():
                coming.cancel()  # one of the waiting callers reads instead
