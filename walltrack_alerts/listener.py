"""The event stream: the events since a cursor, then live ones. NOTIFY is a wake-up; read_events() is the truth."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import scalar_row

from walltrack_alerts.database import as_libpq, listen_connection
from walltrack_alerts.errors import (
    AlertsError,
    DatabaseBusyError,
    DatabaseUnavailableError,
    ListenError,
    LostEventsError,
    StandbyError,
    translate,
)
from walltrack_alerts.listen_session import LONGEST_READ, Session, Timing, session
from walltrack_alerts.models import AlertEvent, AlertSeverity, EventKind

__all__ = ["StreamState", "Timing", "current_cursor", "listen"]

# The kernel notices a dead peer within about 25 s, even when nothing is sent.
_KEEPALIVE = {"keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}

_KEPT_CURSORS = 1000  # to go back to when a failover has lost the last delivered events


class StreamState(StrEnum):
    """The state of a stream: connecting, catching up, live; stale while the database is away or silent."""

    CONNECTING = "connecting"
    CATCHING_UP = "catching up"
    LIVE = "live"
    STALE = "stale"


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
    """Events after a cursor, each with its own `cursor` to store once it is handled: first the missed ones, then live ones.

    `after` is a cursor, "beginning" or "now". The stream survives server restarts and failovers (name several hosts). Delivery
    is at least once, and exactly once for a consumer that stores the cursor with its work. A slow consumer costs one batch of
    memory and delays no other session, as long as it does not block the event loop.
    Raises ListenError, InvalidCursorError, ForeignCursorError, NotMigratedError, PermissionDeniedError, and
    DatabaseUnavailableError when the first connection fails.
    """
    wanted = _Filter(frozenset(EventKind(kind) for kind in kinds), _at_least(min_severity))
    report = on_state or (lambda _state, _reason: None)
    timing = timing or Timing()
    dsn = as_listener(url)
    place = _Place(None if after == "beginning" else after, timing.heartbeat)
    connected_before = False
    failures = 0
    while True:
        report(StreamState.CONNECTING, "")
        try:
            async with session(dsn, timing) as listening:
                await listening.start(dsn)
                connected_before, failures = True, 0
                report(StreamState.CATCHING_UP, "")
                live = False
                while True:
                    events = await place.read(listening, batch)
                    for event in events:
                        place.move(event.cursor)
                        if wanted.takes(event):
                            yield event
                    if len(events) == batch:
                        continue
                    if not live:
                        live = True
                        report(StreamState.LIVE, "")
                    await listening.wait()
        except (AlertsError, psycopg.Error) as error:
            cause = translate(error)
            if not _is_temporary(cause, connected_before):
                raise cause from error
            report(StreamState.STALE, str(cause).splitlines()[0])
        await asyncio.sleep(_pause(timing, failures))
        failures += 1


async def current_cursor(url: str) -> str:
    """The current cursor, to be stored before the first event (AlertsError)."""
    try:
        async with listen_connection(as_listener(url)) as connection:
            cursor = await connection.cursor(row_factory=scalar_row).execute("select walltrack.event_cursor()")
            return str(await cursor.fetchone())
    except psycopg.Error as error:
        raise translate(error) from error


@dataclass(slots=True)
class _Place:
    """The position of the consumer: its last cursor, and earlier ones."""

    cursor: str | None
    patience: float
    earlier: deque[str | None] = field(default_factory=lambda: deque(maxlen=_KEPT_CURSORS))

    def move(self, cursor: str | None) -> None:
        """Advance to the cursor of an event that the consumer receives."""
        self.earlier.append(self.cursor)
        self.cursor = cursor

    async def read(self, session: Session, batch: int) -> list[AlertEvent]:
        """The next events. If a failover has lost delivered events, read from the newest earlier cursor that still exists."""
        seconds = self.patience
        self.patience = min(2 * seconds, LONGEST_READ)  # the server may be slow, not hanging: the next read may take longer
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


def _is_temporary(cause: AlertsError, connected_before: bool) -> bool:
    """Whether to reconnect after an error. Before the first connection only a standby counts: it may be promoted soon."""
    temporary = DatabaseUnavailableError | DatabaseBusyError | ListenError
    return isinstance(cause, StandbyError) or (connected_before and isinstance(cause, temporary))


def as_listener(url: str) -> str:
    """The connection string, completed with keep-alive settings; of several servers it selects the primary."""
    dsn = as_libpq(url)
    given = conninfo_to_dict(dsn)
    several = "," in str(given.get("host") or given.get("hostaddr") or "")
    wanted = {**_KEEPALIVE, **({"target_session_attrs": "primary"} if several else {})}
    return make_conninfo(dsn, **{name: value for name, value in wanted.items() if name not in given})


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
    """The severity and all worse ones; AlertSeverity lists the worst first."""
    if severity is None:
        return None
    ranked = list(AlertSeverity)
    return frozenset(ranked[: ranked.index(AlertSeverity(severity)) + 1])
