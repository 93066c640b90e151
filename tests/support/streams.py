"""Readers of the event stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import psycopg

from walltrack_alerts.listener import StreamState, Timing, listen
from walltrack_alerts.models import AlertEvent

RAISE = "select walltrack.raise_alert('test', %s, 'a title', 'a message', '{}', true, %s)"


def read(db: psycopg.Connection, after: str | None, limit: int = 1000) -> list[tuple[int, str]]:
    return db.execute("select event_id, cursor from walltrack.read_events(%s, %s)", (after, limit)).fetchall()


def ids(db: psycopg.Connection) -> list[int]:
    return [row[0] for row in db.execute("select event_id from walltrack.alert_events order by event_id")]


def page_through(db: psycopg.Connection, after: str | None, limit: int) -> tuple[list[int], str | None]:
    seen = []
    while rows := read(db, after, limit):
        assert len(rows) <= limit
        seen += [row[0] for row in rows]
        after = rows[-1][1]
    return seen, after


class Consumer:
    """Reads the stream into `events` and stores each cursor, as a client of ours would."""

    def __init__(self, url: str, **options: object) -> None:
        self.url, self.options = url, options
        self.events: list[AlertEvent] = []
        self.states: list[StreamState] = []
        self.reasons: list[str] = []
        self.cursor: str = "beginning"

    def hear(self, state: StreamState, why: str) -> None:
        self.states.append(state)
        self.reasons.append(why)

    async def run(self) -> None:
        timing = Timing(poll=0.5, heartbeat=2, retry=(0.02, 0.2))
        events = listen(
            self.url, self.cursor, timing=timing, batch=50, on_state=self.hear, **self.options,
        )  # type: ignore[arg-type]  # fmt: skip
        async with aclosing(events):
            async for event in events:
                self.events.append(event)
                assert event.cursor
                self.cursor = event.cursor

    async def until(self, done: Callable[[], bool], seconds: float = 30) -> None:
        task = asyncio.create_task(self.run())
        try:
            async with asyncio.timeout(seconds):
                while not done() and not task.done():
                    await asyncio.sleep(0.01)
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])
