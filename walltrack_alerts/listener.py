"""The event stream: what was missed since a cursor, then live. NOTIFY is a wake-up; read_events() is the truth."""

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

# A dead peer is noticed by the kernel within about 25 s even when nothing is sent.
_KEEPALIVE = {"keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}

_KEPT_CURSORS = 1000  # to go back to when a failover has lost what was delivered last


class StreamState(StrEnum):
    """Where a stream is: connecting -> catching up -> live; stale when the database is away or silent."""

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
    dsn = _as_listener(url)
    place = _Place(None if after == "beginning" else after, timing.heartbeat)
    connected_before = False
    failures = 0
    while True:
        tell(StreamState.CONNECTING, "")
        try:
            async with session(dsn, timing) as listening:
                await listening.start(dsn)
                connected_before, failures = True, 0
                tell(StreamState.CATCHING_UP, "")
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
                        tell(StreamState.LIVE, "")
                    await listening.wait()
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
        async with listen_connection(_as_listener(url)) as connection:
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

    async def read(self, session: Session, batch: int) -> list[AlertEvent]:
        """What comes next. Where a failover has lost what was delivered, back to the last of it that was kept."""
        seconds = self.patience
        self.patience = min(2 * seconds, LONGEST_READ)  # does it hang, or is it slow? The next read may take longer
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
    waited_for = DatabaseUnavailableError | DatabaseBusyError | ListenError
    return isinstance(cause, StandbyError) or (connected_before and isinstance(cause, waited_for))


def _as_listener(url: str) -> str:
    """A connection string with what a listener adds where it says nothing; of several servers only the primary will do."""
    dsn = as_libpq(url)
    given = conninfo_to_dict(dsn)
    several = "," in str(given.get("host") or given.get("hostaddr") or "")
    wanted = {**_KEEPALIVE, **({"target_session_attrs": "primary"} if several else {})}
    return make_conninfo(dsn, **{name: value for name, value in wanted.items() if name not in given})


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
