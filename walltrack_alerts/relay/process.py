"""The relay as a process: it puts the parts together and stops cleanly on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from typing import Self

from walltrack_alerts import output
from walltrack_alerts.database import Database
from walltrack_alerts.errors import AlertsError
from walltrack_alerts.listener import as_listener
from walltrack_alerts.relay.button_polling import ButtonPoller
from walltrack_alerts.relay.channels import Context
from walltrack_alerts.relay.duties import Duties, Heartbeat, metrics_reader
from walltrack_alerts.relay.http import HttpClient
from walltrack_alerts.relay.log import Level, Log
from walltrack_alerts.relay.loop import Limits, Relay
from walltrack_alerts.relay.metrics import RelayMetrics, served
from walltrack_alerts.relay.settings import RelaySettings
from walltrack_alerts.text import set_cells


async def run_relay(database: Database, settings: RelaySettings, log: Log, stopping: asyncio.Event | None = None) -> None:
    """Run a relay until SIGTERM or SIGINT, or until `stopping`; then let the messages in flight arrive (AlertsError)."""
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
        duties = Duties(
            relay.dsn, relay.name, log, None if settings.purge_after == "off" else settings.purge_after,
            Heartbeat(settings.heartbeat_url, http, os.environ) if settings.heartbeat_url else None,
            find_relay_problem=relay.find_problem,
        )  # fmt: skip
        if settings.metrics_port is not None:
            duties.metrics = await stack.enter_async_context(_metrics(settings, relay, duties, log))

        polling = asyncio.create_task(ButtonPoller(relay.dsn, relay.name, relay.context, log).run())

        async def stop(asked: asyncio.Event) -> None:
            await asked.wait()
            polling.cancel()
            duties.stop()
            relay.stop()

        asked = stopping or _asked_by_signals()
        stopper = asyncio.create_task(stop(asked))
        working = asyncio.create_task(duties.run())
        try:
            await relay.run()
        except asyncio.CancelledError:
            if stopping is not None or not asked.is_set():
                raise
            raise AlertsError("The relay was ended before its messages in flight had arrived.") from None
        finally:
            polling.cancel()
            stopper.cancel()
            duties.stop()
            await asyncio.wait({polling, stopper})
            await working


def _asked_by_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; a second signal cancels the task, for an operator who does not want to wait."""
    asked, task = asyncio.Event(), asyncio.current_task()

    def ask() -> None:
        if asked.is_set() and task is not None:
            task.cancel()
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError):  # not on Windows, not outside the main thread
            asyncio.get_running_loop().add_signal_handler(number, ask)
    return asked


@asynccontextmanager
async def _metrics(settings: RelaySettings, relay: Relay, duties: Duties, log: Log) -> AsyncIterator[RelayMetrics]:
    """Serve the metrics of a relay (AlertsError)."""
    async with metrics_reader(relay.dsn) as read, AsyncExitStack() as stack:
        metrics = RelayMetrics(version("walltrack-alerts"), read)
        relay.on_report = lambda claim, outcome: metrics.count_attempt(claim.target.name, outcome)
        host, port = settings.metrics_host, settings.metrics_port or 0
        try:
            port = stack.enter_context(served(metrics, host, port, duties.find_problem))
        except OSError as error:
            raise AlertsError(f"metrics cannot be served on {host}, port {port}: {error.strerror or error}") from error
        shown = f"[{host}]" if ":" in host else host
        log.line(Level.INFO, "metrics", f"metrics on http://{shown}:{port}/metrics", port=port)
        yield metrics


class Printer:
    """Writes lines to standard output at the pace of its reader; one that pauses does not delay the relay.

    A terminal gets lines of its width, a pipe whole ones.
    """

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
            with suppress(BrokenPipeError):  # the relay continues when the reader has left
                await output.write(sys.stdout.fileno(), f"{_fit(line)}\n".encode(encoding, "replace"))
            self._lines.task_done()


def _fit(line: str) -> str:
    """The line, cut to the width of the terminal if there is one."""
    return set_cells(line, shutil.get_terminal_size().columns).rstrip() if sys.stdout.isatty() else line
