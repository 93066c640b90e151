"""Pages that ask the same at the same time share one reading."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary


class Sharing:
    """Gives everybody an answer that was begun after they had asked, and reads as seldom as that allows.

    While something is read, all who ask for it wait; then one of them reads for all. Whoever reads does so within the own
    request, so nothing is left behind when that ends.
    """

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._coming: dict[str, asyncio.Future[str]] = {}

    async def get(self, asked: str, read: Callable[[], Awaitable[str]]) -> str:
        """The answer to what is asked, by `read` or by that of somebody who asks the same."""
        while coming := self._coming.get(asked):
            await asyncio.wait([coming])
            if not coming.cancelled():
                return coming.result()
        coming = self._coming[asked] = asyncio.get_running_loop().create_future()
        turn = self._turns.setdefault(asked, asyncio.Lock())
        try:
            async with turn:
                del self._coming[asked]  # whoever asks from here on wants the next one
                answer = await read()
                coming.set_result(answer)
                return answer
        finally:
            if self._coming.get(asked) is coming:
                del self._coming[asked]
            if not coming.done():
                coming.cancel()  # one of those who wait takes its place
