"""A relay in the event loop of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.support.deadline import Deadline
from walltrack_alerts.relay.channels import Context
from walltrack_alerts.relay.http import HttpClient, Timeouts
from walltrack_alerts.relay.log import Log
from walltrack_alerts.relay.loop import Limits, Relay

QUICK = Limits(poll=0.1, stop=5)


@dataclass
class Running:
    """A running relay and what it has said."""

    relay: Relay
    lines: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    async def wait_for_line(self, text: str) -> str:
        """The first line with a text, as soon as there is one."""
        deadline = Deadline()
        while deadline.is_ahead():
            for line in self.lines:
                if text in line:
                    return line
            await asyncio.sleep(0.01)
        raise AssertionError

    async def stop(self) -> None:
        self.relay.stop()
        assert self.task is not None
        await self.task

    async def kill(self) -> None:
        """End it as SIGKILL does: nothing more is sent to the database."""
        assert self.task is not None
        for task in (*self.relay._sending, self.task):
            task.cancel()
        await asyncio.gather(*self.relay._sending, self.task, return_exceptions=True)


@asynccontextmanager
async def running_relay(
    url: str,
    environ: Mapping[str, str] | None = None,
    *,
    limits: Limits = QUICK,
    timeouts: Timeouts | None = None,
    listen_url: str | None = None,
    as_json: bool = False,
) -> AsyncIterator[Running]:
    """A relay that stops cleanly at the end, unless it has ended before."""
    lines: list[str] = []
    printed: list[str] = []
    async with HttpClient(timeouts) as http:
        context = Context(http, environ or {}, "https://panel.example", printed.append)
        relay = Relay(url, listen_url or url, context, Log(as_json=as_json, verbose=True, write=lines.append), limits)
        running = Running(relay, lines, printed)
        running.task = asyncio.create_task(relay.run())
        try:
            await _first(running.wait_for_line("has started"), running.task)
            yield running
        finally:
            if not running.task.done():
                await running.stop()


async def _first(waiting: Any, task: asyncio.Task[None]) -> None:
    """Wait for something, unless the task ends before with an error."""
    waiter = asyncio.ensure_future(waiting)
    await asyncio.wait({waiter, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiter.cancel()
        task.result()


def add_target(db: psycopg.Connection, name: str, url: str, *, filters: dict[str, Any] | None = None, **config: Any) -> int:
    """A webhook target on this machine; its id."""
    row = db.execute(
        "select target_id from walltrack.add_target(%s, 'webhook', %s, %s, p_by => 'ada')",
        (name, Jsonb({"url": url, "allow_private": True, **config}), Jsonb(filters or {})),
    ).fetchone()
    assert row is not None
    return row[0]


async def until(db: psycopg.Connection, query: str, expected: Any = True) -> None:
    """Wait until a query returns a value."""
    deadline = Deadline()
    while deadline.is_ahead():
        row = db.execute(query).fetchone()  # type: ignore[arg-type]
        if row is not None and row[0] == expected:
            return
        await asyncio.sleep(0.01)
