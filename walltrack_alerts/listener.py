"""The event stream: what was missed since a cursor, then live. NOTIFY is a wake-up; read_events() is the truth."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import LiteralString, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import BaseRowFactory, class_row, scalar_row

from walltrack_alerts.database import listen_connection
from walltrack_alerts.errors import (
    AlertsError,
    DatabaseUnavailableError,
    ListenError,
    LostEventsError,
    StandbyError,
    translate,
)
from walltrack_alerts.models import AlertEvent, AlertSeverity, EventKind

Row = TypeVar("Row")

CHANNEL = "walltrack_alerts"
_HEARTBEATS = "walltrack_alerts_heartbeat"  # shared: what one listener sends proves to all of them that they hear

# A dead peer is noticed by the kernel within about 25 s even when nothing is sent.
_KEEPALIVE = {"keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}

_LONGEST_READ = 60.0  # seconds; a server that hangs does not close its connections
_KEPT_CURSORS = 1000  # to go back to when a failover has lost what was delivered last

# The alert's title and keys are looked up for the reader's sake; what happened is the event alone. Lateral, with a limit: one
# look into an index per event, where a plain join may hash every alert there is.
_READ: LiteralString = """
select e.event_id, e.xid::text as xid, e.alert_id, e.kind, e.actor, e.at, e.detail, e.cursor,
  a.alert_type, a.title, a.requires_action, a.dedupe_key, a.order_id
from walltrack.read_events(%s, %s) with ordinality as e
left join lateral (
  select a.alert_type, a.title, a.requires_action, a.dedupe_key, a.data ->> 'order_id' as order_id
  from walltrack.alerts as a
  where a.id = e.alert_id
  limit 1
) as a on true
order by e.ordinality
"""


class StreamState(StrEnum):
    """Where a stream is: connecting -> catching up -> live; stale when the database is away or silent."""

    CONNECTING = "connecting"
    CATCHING_UP = "catching up"
    LIVE = "live"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: `poll` between reads, `retry` the first and the longest wait to reconnect.

    `heartbeat`: after one to two of silence it is proven that notifications arrive; the proof may take one more.
    """

    poll: float = 15.0
    heartbeat: float = 5.0
    retry: tuple[float, float] = (0.1, 10.0)


@dataclass(slots=True)
class _Session:
    """One direct connection that listens.

    The socket is read all the time, by us whenever no query reads it: while the consumer takes its time, too. Otherwise the
    server could not get rid of its notifications and would keep them, and all later ones of everybody, in its queue.
    """

    connection: psycopg.AsyncConnection[object]
    timing: Timing
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    private: str = field(default_factory=lambda: f"walltrack_alerts_{uuid.uuid4().hex[:16]}")
    awake: bool = False
    proven: bool = False
    beat_at: float = 0.0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    broken: Exception | None = None
    reading: int | None = None

    async def start(self, dsn: str) -> None:
        """LISTEN and prove that notifications arrive (StandbyError, ListenError)."""
        self.connection.add_notify_handler(lambda notification: self._hear(notification.channel))
        if await self._value("select pg_is_in_recovery()"):
            raise StandbyError(
                "The server is a standby: LISTEN works only on the primary.\n"
                "Name all servers in the URL: postgresql://a,b/db?target_session_attrs=read-write"
            )
        await self._query(f"listen {CHANNEL}; listen {_HEARTBEATS}; listen {self.private}".encode())
        # From another connection: what a session tells itself comes back even through a transaction pooler.
        async with listen_connection(dsn) as other:
            sender = _Session(other, self.timing)
            try:
                await sender.notify(self.private)
            finally:
                sender.stop()
        until = self.loop.time() + self.timing.heartbeat
        while not self.proven:
            if self.loop.time() >= until:
                raise ListenError(
                    "Notifications do not arrive on this connection: a transaction pooler (PgBouncer, supavisor) seems to be in "
                    "between.\nSet WALLTRACK_LISTEN_URL to a direct connection to the server, or one through session pooling."
                )
            await self._sleep(until)
        await self._query(f"unlisten {self.private}".encode())

    def stop(self) -> None:
        """Leave the socket alone; it can be closed."""
        if self.reading is not None:
            self.loop.remove_reader(self.reading)
            self.reading = None

    async def notify(self, channel: str) -> None:
        """Send a notification without a payload."""
        await self._query("select pg_notify(%s, '')", (channel,), seconds=self.timing.heartbeat)

    async def now(self) -> str:
        """The cursor of now."""
        return str(await self._value("select walltrack.event_cursor()"))

    async def read(self, after: str | None, limit: int, seconds: float) -> list[AlertEvent]:
        """At most so many events after a cursor, within so many seconds."""
        self.awake = False  # what is told from here on may be too late for this read
        rows = class_row(AlertEvent)
        return await self._query(_READ, (after, limit), rows=rows, prepare=True, seconds=seconds)  # prepared: it is direct

    async def wait(self) -> None:
        """Sleep until a notification or the poll interval (DatabaseUnavailableError when the connection proves deaf)."""
        until = self.loop.time() + self.timing.poll
        while not self.awake and self.loop.time() < until:
            if self.loop.time() < self.beat_at:
                await self._sleep(min(until, self.beat_at))
            else:
                await self._prove()

    async def _prove(self) -> None:
        """Have a notification sent to us, and hear it or another."""
        until = self.loop.time() + self.timing.heartbeat
        await self.notify(_HEARTBEATS)
        while self.beat_at < until:  # hearing anything puts it off
            if self.loop.time() >= until:
                raise DatabaseUnavailableError("Notifications have stopped arriving.")
            await self._sleep(until)

    def _hear(self, channel: str) -> None:
        self.awake = self.awake or channel == CHANNEL
        self.proven = self.proven or channel == self.private
        # Of many listeners the first one whose patience ends proves it to all.
        self.beat_at = self.loop.time() + self.timing.heartbeat * random.uniform(1.0, 2.0)  # noqa: S311 - jitter
        self.heard.set()

    def _drain(self) -> None:
        """Take what has arrived; a notification is only a wake-up, so none is kept."""
        try:
            self.connection.pgconn.consume_input()
            while notification := self.connection.pgconn.notifies():
                self._hear(notification.relname.decode())
        except psycopg.Error as error:
            self.stop()
            self.broken = error
            self.heard.set()

    async def _sleep(self, until: float) -> None:
        """Until something is heard, at the latest until this time of the loop."""
        self.heard.clear()
        self._drain()  # a query may have taken in more than its own answer
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.heard.wait()
        if self.broken is not None:
            raise self.broken

    async def _value(self, query: LiteralString) -> object:
        return (await self._query(query, rows=scalar_row))[0]

    async def _query(
        self, query: LiteralString | bytes, parameters: Sequence[object] = (), *,
        rows: BaseRowFactory[Row] = scalar_row, prepare: bool = False, seconds: float = _LONGEST_READ,
    ) -> list[Row]:  # fmt: skip
        """The rows, within so many seconds (psycopg.Error, DatabaseUnavailableError)."""
        if self.broken is not None:
            raise self.broken
        self.stop()
        timer = self.loop.call_later(seconds, self._cut)
        try:
            cursor = self.connection.cursor(row_factory=rows)
            await cursor.execute(query, parameters, prepare=prepare)
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error:
            if self.broken is not None:
                raise self.broken from None
            raise
        finally:
            timer.cancel()
            if not self.connection.closed:
                self.reading = self.connection.fileno()
                self.loop.add_reader(self.reading, self._drain)

    def _cut(self) -> None:
        """End a query that hangs: to cancel it, the server would have to answer."""
        self.broken = DatabaseUnavailableError("The server does not answer.")
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def _session(dsn: str, timing: Timing) -> AsyncIterator[_Session]:
    async with listen_connection(dsn) as connection:
        session = _Session(connection, timing)
        try:
            await session.start(dsn)
            yield session
        finally:
            session.stop()


async def listen(
    url: str,
    after: str | None = "now",
    *,
    kinds: Collection[EventKind | str] = (),
    min_severity: AlertSeverity | str | None = None,
    batch: int = 500,
    timing: Timing | None = None,
    on_state: Callable[[StreamState, str], None] | None = None,
) -> AsyncGenerator[AlertEvent, None]:
    """Events after a cursor, each with its own `cursor` to store when it is handled: first the missed ones, then live.

    `after`: a cursor, "beginning" or "now". Survives server restarts and failovers (name several hosts). At least once
    towards the consumer, exactly once for whoever stores the cursor. A slow consumer costs one batch of memory and holds
    nothing up, as long as it does not block the event loop.
    Raises ListenError, InvalidCursorError, ForeignCursorError, NotMigratedError, PermissionDeniedError; and
    DatabaseUnavailableError when the very first connection fails.
    """
    wanted = _Filter(frozenset(EventKind(kind) for kind in kinds), _at_least(min_severity))
    tell = on_state or _untold
    timing = timing or Timing()
    dsn = make_conninfo(url, **_listening(conninfo_to_dict(url)))
    place = _Place(None if after == "beginning" else after, timing.heartbeat)
    connected_before = False
    failures = 0
    while True:
        tell(StreamState.CONNECTING, "")
        try:
            async with _session(dsn, timing) as session:
                connected_before, failures = True, 0
                tell(StreamState.CATCHING_UP, "")
                live = False
                while True:
                    events = await place.read(session, batch)
                    for event in events:
                        place.move(event.cursor)
                        if wanted.takes(event):
                            yield event
                    if len(events) == batch:
                        continue
                    if not live:
                        live = True
                        tell(StreamState.LIVE, "")
                    await session.wait()
        except (AlertsError, psycopg.Error) as error:
            cause = translate(error)
            if not _passes(cause, connected_before):
                raise cause from error
            tell(StreamState.STALE, str(cause).splitlines()[0])
        await asyncio.sleep(_pause(timing, failures))
        failures += 1


async def current_cursor(url: str) -> str:
    """The cursor of now, for whoever wants to store it before the first event (AlertsError)."""
    try:
        async with listen_connection(make_conninfo(url, **_listening(conninfo_to_dict(url)))) as connection:
            cursor = await connection.cursor(row_factory=scalar_row).execute("select walltrack.event_cursor()")
            return str(await cursor.fetchone())
    except psycopg.Error as error:
        raise translate(error) from error


@dataclass(slots=True)
class _Place:
    """How far the consumer got: the last cursor, and those before it."""

    cursor: str | None
    patience: float
    earlier: deque[str | None] = field(default_factory=lambda: deque(maxlen=_KEPT_CURSORS))

    def move(self, cursor: str | None) -> None:
        """The consumer gets the next event."""
        self.earlier.append(self.cursor)
        self.cursor = cursor

    async def read(self, session: _Session, batch: int) -> list[AlertEvent]:
        """What comes next. Where a failover has lost what was delivered, back to the last of it that was kept."""
        seconds = self.patience
        self.patience = min(2 * seconds, _LONGEST_READ)  # does it hang, or is it slow? The next read may take longer
        if self.cursor == "now":
            self.cursor = await session.now()
        while True:
            try:
                events = await session.read(self.cursor, batch, seconds)
            except psycopg.Error as error:
                if not self.earlier or not isinstance(translate(error), LostEventsError):
                    raise
                self.cursor = self.earlier.pop()
            else:
                self.patience = session.timing.heartbeat
                return events


def _passes(cause: AlertsError, connected_before: bool) -> bool:
    """Whether to wait for it: a standby may be promoted in a moment; at the first start nothing else is waited for."""
    return isinstance(cause, StandbyError) or (connected_before and isinstance(cause, DatabaseUnavailableError | ListenError))


def _listening(given: Mapping[str, object]) -> dict[str, str]:
    """What a listener adds to a connection string that does not say it; of several servers only the primary will do."""
    several = "," in str(given.get("host") or given.get("hostaddr") or "")
    wanted = {**_KEEPALIVE, **({"target_session_attrs": "primary"} if several else {})}
    return {name: value for name, value in wanted.items() if name not in given}


def _untold(_state: StreamState, _why: str) -> None:
    """Nobody wants to know the states."""


def _pause(timing: Timing, failures: int) -> float:
    first, longest = timing.retry
    return min(longest, first * 2.0 ** min(failures, 20)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


@dataclass(frozen=True, slots=True)
class _Filter:
    kinds: frozenset[EventKind]
    severities: frozenset[str] | None

    def takes(self, event: AlertEvent) -> bool:
        severity = event.detail.get("severity")
        return (not self.kinds or event.kind in self.kinds) and (self.severities is None or severity in self.severities)


def _at_least(severity: AlertSeverity | str | None) -> frozenset[str] | None:
    """The severities that are as bad or worse; AlertSeverity lists them worst first."""
    if severity is None:
        return None
    ranked = list(AlertSeverity)
    return frozenset(ranked[: ranked.index(AlertSeverity(severity)) + 1])
