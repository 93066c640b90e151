"""The relay: wakes up, lets the database create and hand out deliveries, sends them concurrently, reports the results.

Three tasks with a connection each: events become deliveries, deliveries are claimed and sent, results are reported. No
transaction is open while a message is on its way, and each task continues by itself when the database comes back.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import cast

from walltrack_alerts.errors import (
    AlertsError,
    DatabaseBusyError,
    DatabaseUnavailableError,
    ListenError,
    NotMigratedError,
    PermissionDeniedError,
    StandbyError,
)
from walltrack_alerts.listen_session import Timing, session
from walltrack_alerts.relay import queries
from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target, attempt
from walltrack_alerts.relay.log import Level, Log
from walltrack_alerts.relay.queries import Connection, Finished, Report
from walltrack_alerts.text import counted

_FIRST_SLOTS = 8  # of a target that has not answered yet
_AHEAD = 2  # claims that wait for each message in flight, so that a target that answers quickly is never without one
_SILENCE = 60.0  # seconds; each task works at least once per second while the database answers
_BUSY = 0.02  # seconds; the queue of the next event is being changed
_RETRY = (0.1, 5.0)  # seconds: the first and the longest pause before the database is tried again


_PASSING = (DatabaseUnavailableError, DatabaseBusyError, NotMigratedError, PermissionDeniedError)
"""Errors that pass: the database is away, busy or not migrated yet, or a right is missing. The results themselves are valid."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Messages in flight per target and in total; seconds between polls, of a lease, to gather results, and to stop."""

    per_target: int = 32
    total: int = 128
    events: int = 1000
    poll: float = 1.0
    lease: float = 60.0
    gather: float = 0.005
    stop: float = 20.0


def new_name() -> str:
    """A name that no other process has, or has had."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass(slots=True)
class _Lane:
    """The messages of one target: more at a time while it responds, fewer while it does not.

    Targets that hang therefore do not occupy all slots of the relay.
    """

    most: int
    allowed: int = _FIRST_SLOTS
    in_flight: int = 0
    waiting: deque[tuple[float, Claim]] = field(default_factory=deque)
    """Claims, each with the time from which its lease is too short for an attempt."""

    @property
    def room(self) -> int:
        """How many claims it takes. Some wait only for a target that has proved to answer: their leases run already."""
        allowed = min(self.allowed, self.most)
        ahead = _AHEAD * allowed if self.allowed > _FIRST_SLOTS else 0
        return max(0, allowed + ahead - self.in_flight - len(self.waiting))

    @property
    def is_open(self) -> bool:
        """Whether the next message may be sent."""
        return bool(self.waiting) and self.in_flight < min(self.allowed, self.most)

    def release(self, *, answered: bool) -> None:
        """A message is no longer in flight."""
        self.in_flight -= 1
        self.allowed = min(self.most, self.allowed + 1) if answered else max(1, self.allowed // 2)


@dataclass
class Relay:
    """One relay process. `run()` works until `stop()`."""

    dsn: str
    listen_dsn: str
    context: Context
    log: Log
    limits: Limits = field(default_factory=Limits)
    name: str = field(default_factory=new_name)
    on_report: Callable[[Claim, Outcome], None] = lambda _claim, _outcome: None
    """Called with each attempt."""

    def __post_init__(self) -> None:
        self.targets: dict[int, Target] = {}
        self._lanes: dict[int, _Lane] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._reports: list[Report] = []
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()  # there may be events to fan out
        self._work = asyncio.Event()  # there may be deliveries to claim
        self._reported = asyncio.Event()  # there are results to report
        self._is_drained = False  # nothing is in flight any more, and nothing will be
        self._refreshed_at = 0.0
        self._began_at = monotonic()
        self._failing: dict[str, str] = {}  # the tasks that fail because of the database, and the reasons that were logged
        self._worked_at: dict[str, float] = {}

    def stop(self) -> None:
        """Claim nothing more; run() returns when the messages in flight are sent and reported."""
        self._stopping.set()
        for event in (self._news, self._work, self._reported):
            event.set()

    def find_problem(self) -> str | None:
        """The problem that keeps the relay from delivering, for /healthz, or None. Callable from any thread."""
        idle = max(monotonic() - self._worked_at.get(task, self._began_at) for task in ("fan-out", "claim"))
        return f"nothing has been delivered for {idle:.0f} s" if idle > _SILENCE else None

    async def run(self) -> None:
        """Work until stop(). Raises what makes the first contact with the database fail (AlertsError)."""
        connections = {name: Connection(self.dsn) for name in ("fan-out", "claim", "report")}
        try:
            await self._refresh_targets(connections["claim"])
            self.log.line(Level.INFO, "started", f"relay {self.name} has started; targets: {len(self.targets)}", relay=self.name)
            listening = asyncio.create_task(self._listen())
            reporting = asyncio.create_task(self._persist("report", connections["report"], self._report))
            await asyncio.gather(
                self._persist("fan-out", connections["fan-out"], self._fan_out),
                self._persist("claim", connections["claim"], self._claim),
            )
            await self._finish_sending()
            self._is_drained = True
            self._reported.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(reporting, self.limits.stop / 2)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._unregister(connections["report"])
        finally:
            for connection in connections.values():
                await connection.close()

    # ---- the three tasks ----

    async def _persist(self, name: str, connection: Connection, work: Callable[[Connection], Awaitable[bool]]) -> None:
        """Repeat a piece of work until it reports that it is done, across failures of the database."""
        failures = 0
        while True:
            try:
                if not await work(connection):
                    return
                failures = 0
                self._database_worked(name)
            except AlertsError as error:
                self._database_failed(name, error)
            except Exception as error:  # noqa: BLE001 - a fault in one task must not end the relay
                self.log.fault(f"relay, {name}", error)
                failures = max(failures, 5)
            else:
                continue
            pause = min(_RETRY[0] * 2**failures, _RETRY[1])
            failures += 1
            if self._stopping.is_set() and failures > 5:
                return
            await asyncio.sleep(pause)

    async def _fan_out(self, connection: Connection) -> bool:
        """Turn events into deliveries, until stopped."""
        await self._wait(self._news, self.limits.poll)
        if self._stopping.is_set():
            return False
        try:
            done = await queries.fan_out_events(connection, self.limits.events)
        except BaseException:
            self._news.set()
            raise
        for each in done:
            if each.problem:
                self.log.line(Level.WARNING, "stream", f"target {each.target}: {each.problem}", target=each.target)
        if any(each.has_more for each in done):
            self._news.set()
            if not any(each.read for each in done):
                await asyncio.sleep(_BUSY)
        if any(each.created for each in done):
            self._work.set()
        return True

    async def _claim(self, connection: Connection) -> bool:
        """Claim deliveries and send them, until stopped."""
        await self._wait(self._work, self.limits.poll)
        if self._stopping.is_set():
            return False
        if monotonic() >= self._refreshed_at + self.limits.poll:
            await self._refresh_targets(connection)
        capacity = self._capacity()
        if not capacity:
            return True  # the next result wakes this task up
        claims = await queries.claim_deliveries(
            connection, self.name, capacity, timedelta(seconds=self.limits.lease), sum(capacity.values()), self.targets
        )
        stale_at = monotonic() + self.limits.lease / 2
        for claim in claims:
            self._lanes[claim.target.target_id].waiting.append((stale_at, claim))
        self._start_sending()
        return True

    def _capacity(self) -> dict[int, int]:
        """How many messages to claim for each target; an equal share if there is not enough room."""
        wanted = {target_id: room for target_id in self.targets if (room := self._lanes[target_id].room)}
        room = (1 + _AHEAD) * self.limits.total - sum(lane.in_flight + len(lane.waiting) for lane in self._lanes.values())
        if sum(wanted.values()) > room:
            share = max(1, room // len(wanted))
            wanted = {target_id: min(share, free) for target_id, free in list(wanted.items())[: max(0, room)]}
        return wanted

    def _start_sending(self) -> None:
        """Send waiting messages, as far as the limits allow: first to the targets with the fewest messages in flight."""
        while len(self._sending) < self.limits.total and not self._stopping.is_set():
            lane = min((lane for lane in self._lanes.values() if lane.is_open), key=lambda lane: lane.in_flight, default=None)
            if lane is None:
                return
            stale_at, claim = lane.waiting.popleft()
            if monotonic() >= stale_at:
                self._put_back(claim)
                continue
            lane.in_flight += 1
            self._sending.add(asyncio.create_task(self._send(claim, lane)))

    def _put_back(self, claim: Claim) -> None:
        """Give a claim back that was not sent."""
        self._reports.append(Report(claim, Result(Outcome.RELEASED)))
        self._reported.set()

    def _put_back_waiting(self, lane: _Lane) -> None:
        while lane.waiting:
            self._put_back(lane.waiting.popleft()[1])

    async def _report(self, connection: Connection) -> bool:
        """Results are reported, those of some milliseconds at once. They are kept until the database has them."""
        await self._wait(self._reported, None)
        if not self._stopping.is_set():
            await asyncio.sleep(self.limits.gather)
        reports, self._reports = self._reports, []
        try:
            finished = await queries.finish_deliveries(connection, self.name, reports) if reports else []
        except _PASSING:
            self._reports = reports + self._reports
            self._reported.set()
            raise
        except AlertsError:
            # One of them cannot be stored. Alone it fails alone: its lease will expire.
            if len(reports) > 1:
                await self._report_each(connection, reports)
            self._work.set()
            raise
        self._log_finished(reports, finished)
        self._work.set()  # the next events of the same alerts can be sent, and there is room for more
        return not self._is_drained or bool(self._reports)

    async def _report_each(self, connection: Connection, reports: Sequence[Report]) -> None:
        for report in reports:
            try:
                await queries.finish_deliveries(connection, self.name, [report])
            except _PASSING:
                self._reports.append(report)
                self._reported.set()
            except AlertsError:
                continue

    async def _send(self, claim: Claim, lane: _Lane) -> None:
        """Send one claim; its result is reported later."""
        answered = False
        try:
            result = await attempt(claim, self.context)
            answered = result.status is not None or result.outcome is Outcome.DELIVERED
            self._reports.append(Report(claim, result))
            self.on_report(claim, result.outcome)
        except Exception as error:  # noqa: BLE001 - its lease will expire
            self.log.fault("relay, send", error)
        finally:
            lane.release(answered=answered)
            self._sending.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            self._start_sending()
            self._reported.set()

    # ---- listening and connections ----

    async def _listen(self) -> None:
        """Notifications wake the relay up. Without them, e.g. behind a transaction pooler, it polls."""
        timing = Timing(poll=30.0)
        reported = ""
        while True:
            try:
                async with session(self.listen_dsn, timing) as listening:
                    await listening.start(self.listen_dsn)
                    reported = ""
                    while True:
                        self._news.set()
                        listening.awake = False
                        await listening.wait()
            except StandbyError:
                await asyncio.sleep(self.limits.poll)
            except ListenError as error:
                if str(error) != reported:
                    reported = str(error)
                    self.log.line(Level.WARNING, "listen", f"the relay polls every second: {reported}")
                await asyncio.sleep(60)
            except Exception as error:  # noqa: BLE001 - the other tasks log that the database is away
                if not isinstance(error, AlertsError | OSError) and type(error).__module__.partition(".")[0] != "psycopg":
                    self.log.fault("relay, listen", error)
                await asyncio.sleep(self.limits.poll)

    async def _wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Wait for an event, which is cleared, or for so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
        event.clear()

    async def _refresh_targets(self, connection: Connection) -> None:
        """Read the targets, and log which are new or gone."""
        before, self.targets = self.targets, await queries.enabled_targets(connection)
        self._refreshed_at = monotonic()
        for target_id, target in self.targets.items():
            self._lanes.setdefault(target_id, _Lane(self.limits.per_target))
            if target_id not in before:
                self.log.line(Level.INFO, "target", f"target {target.name}: delivering to {target.kind}", target=target.name)
        for target_id, target in before.items():
            if target_id not in self.targets:
                self.log.line(Level.INFO, "target", f"target {target.name}: no longer delivered to", target=target.name)
        for target_id, lane in list(self._lanes.items()):
            if target_id not in self.targets:
                self._put_back_waiting(lane)
                if not lane.in_flight:
                    del self._lanes[target_id]
        if before != self.targets:
            self.log.secrets = {value for target in self.targets.values() for value in target.secrets(self.context.environ)}
            self._news.set()

    async def _finish_sending(self) -> None:
        """Let the messages in flight arrive."""
        if self._sending:
            self.log.line(Level.INFO, "stopping", f"waiting for {counted(len(self._sending), 'message')} in flight")
            _, late = await asyncio.wait(self._sending, timeout=self.limits.stop)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for lane in self._lanes.values():
            self._put_back_waiting(lane)

    async def _unregister(self, connection: Connection) -> None:
        try:
            await queries.relay_stopped(connection, self.name)
        except AlertsError as error:
            self.log.line(Level.WARNING, "database", f"the relay could not unregister: {_first_line(error)}")
        self.log.line(Level.INFO, "stopped", f"relay {self.name} has stopped", relay=self.name)

    # ---- logging ----

    def _database_failed(self, task: str, error: AlertsError) -> None:
        """Log a failure once, until the task works again or fails for another reason."""
        reason = _first_line(error)
        is_away = isinstance(error, DatabaseUnavailableError)
        is_known = reason in self._failing.values() or (is_away and len(self._failing) > 0)
        self._failing[task] = reason
        if not is_known:
            what = "the database is away" if is_away else "the relay cannot work"
            self.log.line(Level.WARNING, "database", f"{what}: {reason}")

    def _database_worked(self, task: str) -> None:
        self._worked_at[task] = monotonic()
        if self._failing.pop(task, None) is not None and not self._failing:
            self.log.line(Level.INFO, "database", "the database is back")

    def _log_finished(self, reports: Sequence[Report], finished: Sequence[Finished]) -> None:
        by_delivery = {each.delivery_id: each for each in finished}
        for report in reports:
            claim, result = report.claim, report.result
            state = next((by_delivery[each] for each in claim.deliveries if each in by_delivery), None)
            is_delivered = result.outcome is Outcome.DELIVERED
            event = claim.item["event"]["event_id"] if claim.item else None
            what = f"event {event}" if event is not None else f"a digest of {len(claim.deliveries)}"
            if state is None:
                then = ", but another relay has taken it over"
            elif is_delivered:
                then = ""
            elif result.outcome is Outcome.GONE:
                then = "; the target is disabled"
            else:
                then = (
                    "; dead, see `deliveries list --dead`"
                    if state.state == "dead"
                    else f"; again at {state.due_at:%H:%M:%S}"
                    if state.due_at
                    else ""
                )
            status = f"{result.status} " if result.status is not None else ""
            self.log.line(
                Level.DETAIL if result.outcome in {Outcome.DELIVERED, Outcome.RELEASED} else Level.WARNING,
                "delivery",
                f"target {claim.target.name}: {what} {result.outcome}: {status}{result.response}".rstrip(": ") + then,
                target=claim.target.name,
                deliveries=claim.deliveries,
                event_id=event,
                outcome=result.outcome,
                status=result.status,
                response=result.response,
                state=state.state if state else None,
                due_at=state.due_at if state else None,
            )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
