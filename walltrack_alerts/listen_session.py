"""One direct connection that listens, driven from the event loop.

The socket is read all the time, also while the consumer is busy. Otherwise the server could not deliver its notifications, and
its queue, which all sessions share, would fill up. So one callback of the event loop drives the connection through psycopg's
wrapper of libpq. psycopg's own async cursor, which registers with the loop for each wait, more than doubles a round trip (0.68
instead of 0.29 ms).
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from walltrack_alerts.database import listen_connection
from walltrack_alerts.errors import DatabaseUnavailableError, ListenError, StandbyError
from walltrack_alerts.models import AlertEvent

CHANNEL = b"walltrack_alerts"
_HEARTBEATS = b"walltrack_alerts_heartbeat"  # shared: the heartbeat of one listener reaches all of them

LONGEST_READ = 60.0  # seconds; a server that hangs does not close its connections

# Title, keys and order of the alert are for the reader; the event itself holds what happened. Lateral, with a limit: one index
# lookup per event, where a plain join might hash all alerts.
_READ = b"""
select e.event_id, e.xid::text as xid, e.alert_id, e.kind, e.actor, e.at, e.detail, e.cursor,
  a.alert_type, a.title, a.requires_action, a.dedupe_key, a.order_id, a.token, a.token_symbol, a.side, a.is_simulated
from walltrack.read_events($1, $2) with ordinality as e
left join lateral (
  select a.alert_type, a.title, a.requires_action, a.dedupe_key, a.data ->> 'order_id' as order_id,
    a.data ->> 'token' as token, a.data ->> 'token_symbol' as token_symbol,
    coalesce(a.data ->> 'side', a.data ->> 'order_type') as side, a.data ->> 'is_simulated' = 'true' as is_simulated
  from walltrack.alerts as a
  where a.id = e.alert_id
  limit 1
) as a on true
order by e.ordinality
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: `poll` between reads, `retry` the first and the longest pause before reconnecting.

    `heartbeat`: after one to two heartbeats of silence the session checks that notifications arrive; the check may take one more.
    """

    poll: float = 15.0
    heartbeat: float = 5.0
    retry: tuple[float, float] = (0.1, 10.0)


@dataclass(slots=True)
class Session:
    """The connection of a listener; `session()` opens one."""

    connection: psycopg.AsyncConnection[object]
    timing: Timing
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    private: bytes = field(default_factory=lambda: b"walltrack_alerts_%s" % uuid.uuid4().hex[:16].encode())
    awake: bool = False
    is_verified: bool = False
    heartbeat_due: float = 0.0
    received: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    answer: asyncio.Future[None] | None = None
    results: list[PGresult] = field(default_factory=list)
    prepared: bool = False
    socket: int = -1

    # ---- the listener's side ----

    async def start(self, dsn: str) -> None:
        """LISTEN, and verify that notifications arrive (StandbyError, ListenError)."""
        if await self._value(b"select pg_is_in_recovery()"):
            raise StandbyError(
                "The server is a standby: LISTEN works only on the primary.\n"
                "Name all servers in the URL: postgresql://a,b/db?target_session_attrs=read-write"
            )
        for channel in (CHANNEL, _HEARTBEATS, self.private):
            await self._ask(b"listen " + channel)
        # From another connection, because a session's notification to itself arrives even through a transaction pooler.
        async with session(dsn, self.timing) as other:
            sent = await other.notify(self.private)
        until = self.loop.time() + self.timing.heartbeat
        while sent and not self.is_verified:
            if self.loop.time() >= until:
                raise ListenError(
                    "Notifications do not arrive on this connection: it seems to go through a transaction pooler (PgBouncer, "
                    "supavisor).\nSet WALLTRACK_LISTEN_URL to a direct connection to the server, or one through session pooling."
                )
            await self._sleep(until)
        await self._ask(b"unlisten " + self.private)

    async def notify(self, channel: bytes) -> bool:
        """Send a notification without a payload; False if the server's queue is full, so that only polling finds events."""
        try:
            await self._ask(b"select pg_notify($1, '')", (channel,), seconds=self.timing.heartbeat)
        except psycopg.errors.ProgramLimitExceeded:
            return False
        return True

    async def now(self) -> str:
        """The current cursor."""
        return str(await self._value(b"select walltrack.event_cursor()"))

    async def read(self, after: str | None, limit: int, seconds: float) -> list[AlertEvent]:
        """At most `limit` events after a cursor (DatabaseUnavailableError after `seconds`)."""
        self.awake = False  # a notification from here on may be of an event that this read misses
        if not self.prepared:
            await self._answer(lambda pgconn: pgconn.send_prepare(b"read", _READ), LONGEST_READ)
            self.prepared = True
        parameters = None if after is None else after.encode(), str(limit).encode()
        result = await self._answer(
            lambda pgconn: pgconn.send_query_prepared(b"read", parameters, result_format=Format.BINARY), seconds
        )
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        loaded = Transformer(self.connection)
        loaded.set_pgresult(result)
        return loaded.load_rows(0, result.ntuples, lambda values: AlertEvent(**dict(zip(names, values, strict=True))))

    async def wait(self) -> None:
        """Sleep until a notification or the poll interval (DatabaseUnavailableError if notifications have stopped arriving)."""
        until = self.loop.time() + self.timing.poll
        while not self.awake and self.loop.time() < until:
            if self.loop.time() < self.heartbeat_due:
                await self._sleep(min(until, self.heartbeat_due))
            else:
                await self._verify_delivery()

    async def _verify_delivery(self) -> None:
        """Send a heartbeat, and wait for it or any other notification."""
        until = self.loop.time() + self.timing.heartbeat
        if not await self.notify(_HEARTBEATS):
            self.heartbeat_due = until
        while self.heartbeat_due < until:  # any notification moves it on
            if self.loop.time() >= until:
                raise DatabaseUnavailableError("Notifications have stopped arriving.")
            await self._sleep(until)

    async def _sleep(self, until: float) -> None:
        """Sleep until a notification, at most until this time of the loop."""
        self.received.clear()
        if self.failure is not None:
            raise self.failure
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.received.wait()
        if self.failure is not None:
            raise self.failure

    # ---- the connection ----

    def open(self) -> None:
        """Let the event loop read the socket."""
        self.socket = self.connection.fileno()
        self.loop.add_reader(self.socket, self._receive)

    def close(self) -> None:
        """Stop reading the socket, once: libpq closes a broken one, and another connection may have its number by then."""
        socket, self.socket = self.socket, -1
        if socket >= 0:
            self.loop.remove_reader(socket)
            self.loop.remove_writer(socket)

    async def _value(self, query: bytes) -> object:
        result = await self._ask(query)
        loaded = Transformer(self.connection)
        loaded.set_pgresult(result)
        return loaded.load_rows(0, 1, tuple)[0][0]

    async def _ask(self, query: bytes, parameters: Sequence[bytes | None] = (), seconds: float = LONGEST_READ) -> PGresult:
        return await self._answer(lambda pgconn: pgconn.send_query_params(query, parameters), seconds)

    async def _answer(self, send: Callable[[PGconn], None], seconds: float) -> PGresult:
        """The server's result (psycopg.Error; DatabaseUnavailableError after `seconds`)."""
        if self.failure is not None:
            raise self.failure
        self.results = []
        self.answer = self.loop.create_future()
        # A cancel request would not help: it needs a server that answers.
        timer = self.loop.call_later(seconds, self._fail, DatabaseUnavailableError("The server does not respond."))
        try:
            send(self.connection.pgconn)
            self._send()
            await self.answer
        finally:
            timer.cancel()
            self.answer = None
        result = self.results[-1]
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, self.connection.info.encoding)
        return result

    def _send(self) -> None:
        """Write as much of the output buffer as the kernel takes."""
        try:
            if self.connection.pgconn.flush():
                self.loop.add_writer(self.socket, self._send)
            else:
                self.loop.remove_writer(self.socket)
        except psycopg.Error as error:
            self._fail(error)

    def _receive(self) -> None:
        """Consume what has arrived. Notifications are wake-ups only, so none is kept."""
        pgconn = self.connection.pgconn
        try:
            pgconn.consume_input()
            while self.answer is not None and not self.answer.done() and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    self.answer.set_result(None)
                else:
                    self.results.append(result)
            while notification := pgconn.notifies():
                self._on_notification(notification.relname)
        except psycopg.Error as error:
            self._fail(error)

    def _on_notification(self, channel: bytes) -> None:
        self.awake = self.awake or channel == CHANNEL
        self.is_verified = self.is_verified or channel == self.private
        # Random, so that one of many listeners sends the heartbeat that serves all of them.
        self.heartbeat_due = self.loop.time() + self.timing.heartbeat * random.uniform(1.0, 2.0)  # noqa: S311 - jitter
        self.received.set()

    def _fail(self, error: Exception) -> None:
        """Give the connection up: pending and later calls raise this error."""
        self.close()
        self.failure = error
        self.received.set()
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)


@asynccontextmanager
async def session(dsn: str, timing: Timing) -> AsyncIterator[Session]:
    """A new session on its own connection (AlertsError)."""
    async with listen_connection(dsn) as connection:
        made = Session(connection, timing)
        made.open()
        try:
            yield made
        finally:
            made.close()
            await connection.close()  # at once, also in the middle of a result, for which psycopg would wait
