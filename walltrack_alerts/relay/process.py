"""The relay as a process: it puts the parts together and stops cleanly on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from typing import Self

from walltrack_alerts import output
from walltrack_alerts.database import Database
from walltrack_alerts.listener import as_listener
from walltrack_alerts.relay.channels import Context
from walltrack_alerts.relay.http import HttpClient
from walltrack_alerts.relay.log import Log
from walltrack_alerts.relay.loop import Limits, Relay
from walltrack_alerts.relay.settings import RelaySettings


async def run_relay(database: Database, settings: RelaySettings, log: Log) -> None:
    """Run a relay until SIGTERM or SIGINT, then let the messages in flight arrive (AlertsError)."""
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: log.fault("event loop", context.get("exception") or RuntimeError())
    )
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(HttpClient())
        printer = await stack.enter_async_context(Printer())
        relay = Relay(
            as_listener(database.dsn),
            as_listener(database.listen_dsn),
            Context(http, os.environ, settings.panel_url, printer.write),
            log,
            Limits(per_target=settings.relay_per_target, total=settings.relay_total),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError):  # not on Windows, not outside the main thread
                loop.add_signal_handler(number, relay.stop)
        await relay.run()


class Printer:
    """Writes lines to standard output at the pace of its reader; one that pauses does not delay the relay."""

    _MOST = 1000  # lines that wait

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str] = asyncio.Queue(self._MOST)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._print())
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Write what waits, unless the reader pauses."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._lines.join()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def write(self, line: str) -> None:
        """Write a line soon (asyncio.QueueFull if too many wait: the delivery is tried again)."""
        self._lines.put_nowait(line)

    async def _print(self) -> None:
        encoding = sys.stdout.encoding or "utf-8"
        while True:
            line = await self._lines.get()
            with suppress(BrokenPipeError):  # the relay goes on when the reader has left
                await output.write(sys.stdout.fileno(), f"{line}\n".encode(encoding, "replace"))
            self._lines.task_done()
