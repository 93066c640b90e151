"""What a relay does in addition to deliveries: it reports itself, escalates, reconciles, purges, and pings a dead man's switch.

Every relay escalates: the database fires each step once. One relay at a time reconciles and purges, see walltrack.take_duty().
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version

from walltrack_alerts.errors import AlertsError, DatabaseUnavailableError
from walltrack_alerts.reconciler import reconcile
from walltrack_alerts.relay import placeholders, queries
from walltrack_alerts.relay.http import HttpClient, SendError, Timeouts
from walltrack_alerts.relay.log import Level, Log
from walltrack_alerts.relay.metrics import RelayMetrics, Sample
from walltrack_alerts.relay.queries import Connection
from walltrack_alerts.retention import purge
from walltrack_alerts.text import counted

_BATCH = 100  # alerts that are locked at a time: order writes wait for them
_MOST_BATCHES = 50
_SILENCE = 45.0  # seconds without an answer of the database, after which /healthz complains


@dataclass(frozen=True, slots=True)
class Periods:
    """Seconds from one time to the next."""

    seen: float = 15.0
    escalate: float = 5.0
    check: float = 60.0
    look: float = 60.0
    """How often a relay looks whether a duty of all relays is due."""
    reconcile: float = 3600.0
    purge: float = 86400.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A URL that is requested while all is well; `${NAME}` in it stands for a variable of `environ`."""

    url: str
    http: HttpClient
    environ: Mapping[str, str]

    async def ping(self) -> None:
        """Request the URL (AlertsError, without the URL and its secrets)."""
        url = placeholders.resolve(self.url, self.environ)
        try:
            answer = await self.http.request("GET", url, allow_private=True, timeouts=Timeouts(total=10.0))
        except SendError as error:
            raise AlertsError(placeholders.redact(str(error), placeholders.secrets_in(self.url, self.environ))) from None
        if not answer.is_success:
            raise AlertsError(f"its service returned {answer.status}")


class _StoppedError(AlertsError):
    """The relay stops: what has not been reconciled or purged waits for the next time."""


@dataclass
class Duties:
    """The duties of one relay. `run()` works until `stop()`."""

    dsn: str
    relay: str
    log: Log
    purge_after: str | None = None
    """The age of resolved alerts at which they are deleted; None deletes nothing."""
    heartbeat: Heartbeat | None = None
    metrics: RelayMetrics | None = None
    find_relay_problem: Callable[[], str | None] = lambda: None
    """What keeps the relay from delivering."""
    periods: Periods = field(default_factory=Periods)

    def __post_init__(self) -> None:
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._seen_at: float | None = None
        self._next: dict[str, float] = {}
        self._last_errors: dict[str, str] = {}
        self._problems: list[str] | None = []

    def stop(self) -> None:
        """Start no further work; run() returns soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Perform the duties until stop(). Failures are logged, and the work is retried."""
        names = ("seen", "escalate", "check", "chores")
        connections = {name: Connection(self.dsn) for name in names}
        try:
            await self._once("seen", lambda: self._report(connections["seen"]))
            await asyncio.gather(
                self._every(self.periods.seen, "seen", lambda: self._report(connections["seen"])),
                self._every(self.periods.escalate, "escalate", lambda: self._escalate(connections["escalate"])),
                self._every(self.periods.check, "check", lambda: self._check(connections["check"])),
                self._every(self.periods.look, "chores", lambda: self._do_chores(connections["chores"])),
            )
        finally:
            for connection in connections.values():
                await connection.close()

    def find_problem(self) -> str | None:
        """The problem that keeps the relay from working, for /healthz, or None. Callable from any thread."""
        if self._seen_at is None:
            return "the database has not responded yet"
        silence = self._loop.time() - self._seen_at
        if silence > self.periods.seen + _SILENCE:
            return f"the database has not responded for {silence:.0f} s"
        return self.find_relay_problem()

    # ---- repetition ----

    async def _every(self, seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            await self._once(name, work)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _once(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do a piece of work. A failure is logged once, until the work succeeds or fails for another reason."""
        try:
            await work()
        except DatabaseUnavailableError:
            return  # the relay logs it
        except _StoppedError:
            return
        except AlertsError as error:
            text = str(error).partition("\n")[0]
            if self._last_errors.get(name) != text:
                self._last_errors[name] = text
                self.log.line(Level.WARNING, name, f"{name}: {text}")
            return
        except Exception as error:  # noqa: BLE001 - a fault in one duty must not end the others
            self.log.fault(f"duties, {name}", error)
            return
        self._last_errors.pop(name, None)

    # ---- what ----

    async def _report(self, connection: Connection) -> None:
        await queries.relay_seen(connection, self.relay, socket.gethostname(), os.getpid(), version("walltrack-alerts"))
        self._seen_at = self._loop.time()

    async def _escalate(self, connection: Connection) -> None:
        fired = 0
        for _ in range(_MOST_BATCHES):
            batch = await queries.escalate_overdue(connection, _BATCH)
            fired += batch
            if batch == 0 or self._stopping.is_set():
                break
        if fired:
            self.log.line(Level.INFO, "escalated", f"escalated {counted(fired, 'unacknowledged alert')}", count=fired)

    async def _check(self, connection: Connection) -> None:
        """Check the health of alerting, and ping the service if no check fails."""
        if self.heartbeat is None and self.metrics is None:
            return
        problems: list[str] | None = None
        try:
            problems = await queries.failed_checks(connection)
            problems += [problem] if (problem := self.find_relay_problem()) else []
        finally:
            if self.metrics is not None:
                self.metrics.set_well(problems == [])
        if problems != self._problems:
            self._problems = problems
            if problems:
                self.log.line(Level.WARNING, "health", f"health checks failed: {'; '.join(problems)}", problems=problems)
            else:
                self.log.line(Level.INFO, "health", "all health checks pass again")
        if self.heartbeat is not None and not problems:
            try:
                await self.heartbeat.ping()
            except AlertsError as error:
                raise AlertsError(f"the heartbeat has failed: {error}") from error

    async def _do_chores(self, connection: Connection) -> None:
        chores = [("reconcile", self.periods.reconcile, self._reconcile)]
        if self.purge_after is not None:
            chores.append(("purge", self.periods.purge, self._purge))
        for duty, seconds, work in chores:
            now = self._loop.time()
            if now >= self._next.get(duty, 0) and await queries.take_duty(
                connection, duty, self.relay, timedelta(seconds=seconds)
            ):
                self._next[duty] = now + seconds
                await asyncio.to_thread(work)

    def _reconcile(self) -> None:
        done = reconcile(self.dsn, dry_run=False, progress=self._raise_if_stopping)
        if done.raised or done.resolved or done.failed:
            level = Level.WARNING if done.failed else Level.INFO
            healed = f"{counted(done.raised, 'alert')} raised, {done.resolved} resolved, {done.failed} could not be healed"
            self.log.line(level, "reconciled", f"reconciled: {healed}", raised=done.raised, resolved=done.resolved)

    def _purge(self) -> None:
        done = purge(self.dsn, self.purge_after or "", dry_run=False, progress=self._raise_if_stopping)
        if done.purged:
            self.log.line(Level.INFO, "purged", f"purged {counted(done.purged, 'alert')}", purged=done.purged, kept=done.kept)

    def _raise_if_stopping(self, _done: int, _total: int) -> None:
        """Called between two transactions."""
        if self._stopping.is_set():
            raise _StoppedError


@asynccontextmanager
async def metrics_reader(dsn: str) -> AsyncIterator[Callable[[], list[Sample]]]:
    """A function for other threads that reads the metrics of the database on this event loop (AlertsError, TimeoutError)."""
    loop = asyncio.get_running_loop()
    connection = Connection(dsn)

    def read() -> list[Sample]:
        future = asyncio.run_coroutine_threadsafe(queries.relay_metrics(connection), loop)
        try:
            return future.result(timeout=10)
        finally:
            future.cancel()

    try:
        yield read
    finally:
        await connection.close()
