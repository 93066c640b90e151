"""One direct connection that listens, driven from the event loop.

The socket is read all the time: while the consumer takes its time, too. Otherwise the server could not get rid of its
notifications and would keep them, and all later ones of everybody, in its queue. So the connection is driven through
psycopg's libpq wrapper by one callback of the loop; psycopg's own async cursor, which registers with the loop anew for
each wait, would also more than double the way to the server and back (0.68 against 0.29 ms).
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
_HEARTBEATS = b"walltrack_alerts_heartbeat"  # shared: what one listener sends proves to all of them that they hear

LONGEST_READ = 60.0  # seconds; a server that hangs does not close its connections

# The alert's title, keys and order are looked up for the reader's sake; what happened is the event alone. Lateral, with a
# limit: one look into an index per event, where a plain join may hash every alert there is.
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
    """Seconds: `poll` between reads, `retry` the first and the longest wait to reconnect.

    `heartbeat`: after one to two of silence it is proven that notifications arrive; the proof may take one more.
    """

    poll: float = 15.0
    heartbeat: float = 5.0
    retry: tuple[float, float] = (0.1, 10.0)


@dataclass(slots=True)
class Session:
    """What a listener does with its connection; use `session()` to make one."""

    connection: psycopg.AsyncConnection[object]
    timing: Timing
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    private: bytes = field(default_factory=lambda: b"walltrack_alerts_%s" % uuid.uuid4().hex[:16].encode())
    awake: bool = False
    proven: bool = False
    beat_at: float = 0.0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    broken: Exception | None = None
    answer: asyncio.Future[None] | None = None
    results: list[PGresult] = field(default_factory=list)
    prepared: bool = False
    socket: int = -1

    # ---- what a listener asks ----

    async def start(self, dsn: str) -> None:
        """LISTEN and prove that notifications arrive (StandbyError, ListenError)."""
        if await self._value(b"select pg_is_in_recovery()"):
            raise StandbyError(
                "The server is a standby: LISTEN works only on the primary.\n"
                "Name all servers in the URL: postgresql://a,b/db?target_session_attrs=read-write"
            )
        for channel in (CHANNEL, _HEARTBEATS, self.private):
            await self._ask(b"listen " + channel)
        # From another connection: what a session tells itself comes back even through a transaction pooler.
        async with session(dsn, self.timing) as other:
            sent = await other.notify(self.private)
        until = self.loop.time() + self.timing.heartbeat
        while sent and not self.proven:
            if self.loop.time() >= until:
                raise ListenError(
                    "Notifications do not arrive on this connection: a transaction pooler (PgBouncer, supavisor) seems to be in "
                    "between.\nSet WALLTRACK_LISTEN_URL to a direct connection to the server, or one through session pooling."
                )
            await self._sleep(until)
        await self._ask(b"unlisten " + self.private)

    async def notify(self, channel: bytes) -> bool:
        """Send a notification without a payload; False where the server's queue of them is full: reading goes on by the clock."""
        try:
            await self._ask(b"select pg_notify($1, '')", (channel,), seconds=self.timing.heartbeat)
        except psycopg.errors.ProgramLimitExceeded:
            return False
        return True

    async def now(self) -> str:
        """The cursor of now."""
        return str(await self._value(b"select walltrack.event_cursor()"))

    async def read(self, after: str | None, limit: int, seconds: float) -> list[AlertEvent]:
        """At most so many events after a cursor, within so many seconds."""
        self.awake = False  # what is told from here on may be too late for this read
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
        if not await self.notify(_HEARTBEATS):
            self.beat_at = until
        while self.beat_at < until:  # hearing anything puts it off
            if self.loop.time() >= until:
                raise DatabaseUnavailableError("Notifications have stopped arriving.")
            await self._sleep(until)

    async def _sleep(self, until: float) -> None:
        """Until something is heard, at the latest until this time of the loop."""
        self.heard.clear()
        if self.broken is not None:
            raise self.broken
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.heard.wait()
        if self.broken is not None:
            raise self.broken

    # ---- the connection ----

    def open(self) -> None:
        """From here on the loop reads the socket."""
        self.socket = self.connection.fileno()
        self.loop.add_reader(self.socket, self._receive)

    def close(self) -> None:
        """Leave the socket alone, once: libpq closes one that broke, and its number may be another connection's by then."""
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
        """What the server answers within so many seconds (psycopg.Error, DatabaseUnavailableError)."""
        if self.broken is not None:
            raise self.broken
        self.results = []
        self.answer = self.loop.create_future()
        # To cancel a query that hangs, the server would have to answer.
        timer = self.loop.call_later(seconds, self._break, DatabaseUnavailableError("The server does not answer."))
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
        """Hand what is to be sent to the kernel, as much as it takes."""
        try:
            if self.connection.pgconn.flush():
                self.loop.add_writer(self.socket, self._send)
            else:
                self.loop.remove_writer(self.socket)
        except psycopg.Error as error:
            self._break(error)

    def _receive(self) -> None:
        """Take what has arrived. A notification is only a wake-up, so none is kept."""
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
                self._hear(notification.relname)
        except psycopg.Error as error:
            self._break(error)

    def _hear(self, channel: bytes) -> None:
        self.awake = self.awake or channel == CHANNEL
        self.proven = self.proven or channel == self.private
        # Of many listeners the first one whose patience ends proves it to all.
        self.beat_at = self.loop.time() + self.timing.heartbeat * random.uniform(1.0, 2.0)  # noqa: S311 - jitter
        self.heard.set()

    def _break(self, error: Exception) -> None:
        """The connection is of no more use."""
        self.close()
        self.broken = error
        self.heard.set()
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)


@asynccontextmanager
async def session(dsn: str, timing: Timing) -> AsyncIterator[Session]:
    """A connection of one's own (AlertsError)."""
    async with listen_connection(dsn) as connection:
        made = Session(connection, timing)
        made.open()
        try:
            yield made
        finally:
            made.close()
            await connection.close()  # also in the middle of an answer, for which psycopg would wait
