"""The event stream: what was missed since a cursor, then live. NOTIFY is a wake-up; read_events() is the truth."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row

from walltrack_alerts.database import listen_connection
from walltrack_alerts.errors import AlertsError, DatabaseUnavailableError, ListenError, translate
from walltrack_alerts.models import AlertEvent, AlertSeverity, EventKind

CHANNEL = "walltrack_alerts"

# A dead peer is noticed by the kernel within about 25 s even when nothing is sent.
_KEEPALIVE = {"keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}

_READ_SECONDS = 60  # a server that hangs does not close its connections

# The alert's title and keys are looked up for the reader's sake; what happened is the event alone.
_READ = """
select e.event_id, e.xid::text as xid, e.alert_id, e.kind, e.actor, e.at, e.detail, e.cursor,
  a.alert_type, a.title, a.requires_action, a.dedupe_key, a.data ->> 'order_id' as order_id
from walltrack.read_events(%s, %s) with ordinality as e left join walltrack.alerts as a on a.id = e.alert_id
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
    """Seconds: `poll` between reads, `heartbeat` for a proof of hearing, `retry` the first and longest wait to reconnect."""

    poll: float = 15.0
    heartbeat: float = 5.0
    retry: tuple[float, float] = (0.1, 10.0)


@dataclass(slots=True)
class _Session:
    """One direct connection that listens to the channel and to a private one that proves it hears."""

    connection: psycopg.AsyncConnection[object]
    timing: Timing
    private: str = field(default_factory=lambda: f"walltrack_alerts_{uuid.uuid4().hex[:16]}")
    awake: bool = False

    async def start(self, dsn: str) -> None:
        """LISTEN and prove that notifications arrive (ListenError)."""
        standby = await (await self.connection.execute("select pg_is_in_recovery()")).fetchone()
        if standby and standby[0]:  # type: ignore[index]
            raise ListenError(
                "The server is a standby: LISTEN works only on the primary.\n"
                "Name all servers and target_session_attrs=read-write in the URL: postgresql://a,b/db?target_session_attrs=read-write"
            )
        await self.connection.execute(f"listen {CHANNEL}")
        await self.connection.execute(f"listen {self.private}")
        # From another connection: what a session tells itself comes back even through a transaction pooler.
        async with listen_connection(dsn) as other:
            heard = await self.prove(other)
        if not heard:
            raise ListenError(
                "Notifications do not arrive on this connection: a transaction pooler (PgBouncer, supavisor) seems to be in "
                "between.\nSet WALLTRACK_LISTEN_URL to a direct connection to the server, or one through session pooling."
            )

    async def prove(self, sender: psycopg.AsyncConnection[object]) -> bool:
        """Have a notification sent to us; whether it arrived. Anything heard meanwhile counts as a wake-up."""
        async with asyncio.timeout(self.timing.heartbeat + 5):  # a server that hangs answers nothing at all
            await sender.execute("select pg_notify(%s, '')", (self.private,), prepare=False)
            return await self._hear(self.timing.heartbeat)

    async def now(self) -> str:
        """The cursor of now."""
        row = await (await self.connection.execute("select walltrack.event_cursor()")).fetchone()
        return str(row[0])  # type: ignore[index]

    async def read(self, after: str | None, limit: int) -> list[AlertEvent]:
        """At most so many events after a cursor."""
        async with asyncio.timeout(_READ_SECONDS), self.connection.cursor(row_factory=class_row(AlertEvent)) as cursor:
            await cursor.execute(_READ, (after, limit), prepare=True)  # this connection is a direct one
            return await cursor.fetchall()

    async def wait(self) -> None:
        """Sleep until a notification or the poll interval (DatabaseUnavailableError when the connection proves deaf)."""
        if self.awake:
            self.awake = False
            return
        async for notification in self.connection.notifies(timeout=self.timing.poll, stop_after=1):
            if notification.channel == CHANNEL:
                self.awake = True
        if not self.awake and not await self.prove(self.connection):
            raise DatabaseUnavailableError("Notifications have stopped arriving.")
        self.awake = False

    async def _hear(self, seconds: float) -> bool:
        proof = False
        deadline = asyncio.get_running_loop().time() + seconds
        while not proof and (left := deadline - asyncio.get_running_loop().time()) > 0:
            async for notification in self.connection.notifies(timeout=left, stop_after=1):
                proof = proof or notification.channel == self.private
                self.awake = self.awake or notification.channel == CHANNEL
        return proof


@asynccontextmanager
async def _session(dsn: str, timing: Timing) -> AsyncIterator[_Session]:
    async with listen_connection(dsn) as connection:
        session = _Session(connection, timing)
        await session.start(dsn)
        yield session


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
    towards the consumer, exactly once for whoever stores the cursor. A slow consumer costs one batch of memory.
    Raises ListenError, InvalidCursorError, ForeignCursorError, NotMigratedError, PermissionDeniedError; and
    DatabaseUnavailableError when the very first connection fails.
    """
    wanted = _Filter(frozenset(EventKind(kind) for kind in kinds), _at_least(min_severity))
    tell = on_state or _untold
    timing = timing or Timing()
    dsn = make_conninfo(url, **{key: value for key, value in _KEEPALIVE.items() if key not in conninfo_to_dict(url)})
    cursor = None if after == "beginning" else after
    connected_before = False
    failures = 0
    while True:
        tell(StreamState.CONNECTING, "")
        try:
            async with _session(dsn, timing) as session:
                if cursor == "now":
                    cursor = await session.now()
                connected_before, failures = True, 0
                tell(StreamState.CATCHING_UP, "")
                live = False
                while True:
                    events = await session.read(cursor, batch)
                    for event in events:
                        cursor = event.cursor
                        if wanted.takes(event):
                            yield event
                    if len(events) == batch:
                        continue
                    if not live:
                        live = True
                        tell(StreamState.LIVE, "")
                    await session.wait()
        except (AlertsError, psycopg.Error, TimeoutError) as error:
            cause = (
                DatabaseUnavailableError("The server does not answer.") if isinstance(error, TimeoutError) else translate(error)
            )
            # A standby may be promoted in a moment; at the first start nothing is waited for.
            if not connected_before or not isinstance(cause, DatabaseUnavailableError | ListenError):
                raise cause from error
            tell(StreamState.STALE, str(cause).splitlines()[0])
        await asyncio.sleep(_pause(timing, failures))
        failures += 1


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
