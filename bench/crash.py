"""Writers fail and fill orders on a server that is killed repeatedly; defines what must hold afterwards.

Each writer remembers what the server acknowledged: the order and the alerts it must have. A write that was cut off
may or may not be there, but the order and its alerts must agree. The tests and the soak run share this file.
"""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import LiteralString

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg.conninfo import make_conninfo

from walltrack_alerts import migrations
from walltrack_alerts.embedded import embedded_server

WRITERS = 8
INSERT: LiteralString = (
    "insert into walltrack.orders (id, order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
    "values (%(order)s, 'exit', 'sell', 'DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263', 1.5, 0.000021, "
)
ACTIONS: dict[str, LiteralString] = {
    "create": INSERT + "'submitted', 2)",
    "create_failed": INSERT + "'failed', 3)",
    "fail": "update walltrack.orders set status = 'failed', attempt_count = attempt_count + 1, last_error = 'rpc timeout' "
    "where id = %(order)s",
    "lock": "update walltrack.orders set locked_by = 'worker-1' where id = %(order)s",
    "retry": "update walltrack.orders set status = 'pending' where id = %(order)s",
    "give_up": "update walltrack.orders set status = 'cancelled', last_error = 'Max retries reached (3 attempts)' "
    "where id = %(order)s",
    "resolve": "select walltrack.resolve_by_dedupe_key('order_failed_' || %(order)s, 'by hand', 'ada')",
    "fill": "update walltrack.orders set status = 'filled', filled_at = now() where id = %(order)s",
    "cancel": "update walltrack.orders set status = 'cancelled', last_error = 'Manually cancelled' where id = %(order)s",
    "delete": "delete from walltrack.orders where id = %(order)s",
}
STATUS = {"create": "submitted", "create_failed": "failed", "fail": "failed", "retry": "pending", "give_up": "cancelled"}
ENDS = {
    "resolve": "by hand", "fill": "Order filled", "cancel": "Order cancelled", "delete": "Order deleted",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class State:
    """An order (status None: there is none) and its alerts, the oldest first: (resolution, None while open; occurrences)."""

    status: str | None = None
    attempts: int = 2
    alerts: tuple[tuple[str | None, int], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether an alert has to be open."""
        return bool(self.alerts) and self.alerts[-1][0] is None

    @property
    def occurrences(self) -> int:
        """Of all alerts."""
        return sum(count for _, count in self.alerts)

    def after(self, action: str) -> State:
        """What an action makes of it."""
        state = self
        if action in {"fail", "create_failed"}:
            *older, (_, count) = self.alerts if self.is_open else (*self.alerts, (None, 0))
            state = replace(self, attempts=self.attempts + 1, alerts=(*older, (None, count + 1)))
        elif action in ENDS and self.is_open:
            state = replace(self, alerts=(*self.alerts[:-1], (ENDS[action], self.alerts[-1][1])))
        status = {"fill": "filled", "cancel": "cancelled", "delete": None, **STATUS}.get(action, self.status)
        return replace(state, status=status)


@dataclass(slots=True)
class Record:
    """What a writer knows about one of its own orders.

    `cut` is the state after a write that the server never acknowledged. `loose`: alerting was blocked during the last
    write, so its alert is guaranteed to be correct only after a reconciliation.
    """

    order: uuid.UUID = field(default_factory=uuid.uuid4)
    state: State = field(default_factory=State)
    cut: State | None = None
    loose: bool = False


@dataclass(slots=True)
class Shared:
    """An order that all writers fail, with counts of failures acknowledged, cut off, and not seen by alerting."""

    order: uuid.UUID = field(default_factory=uuid.uuid4)
    acknowledged: int = 0
    cut: int = 0
    unseen: int = 0


def story(chance: random.Random) -> Iterator[list[str]]:
    """The life of one order: lists of actions, each one a transaction."""
    yield from [["create"], ["fail"]] if chance.random() < 0.8 else [["create_failed"]]
    while chance.random() < 0.7:
        yield chance.choice(
            [
                ["lock"],
                ["retry"],
                ["retry", "fail"],
                ["fail"],
                ["fail", "lock", "fail"],
                ["give_up"],
                ["give_up", "retry"],
                ["resolve"],
            ]
        )
    yield chance.choice([["fill"], ["retry", "fill"], ["retry", "cancel"], ["delete"], ["give_up"], ["fail"], ["lock"]])


class Server:
    """A dedicated server with fsync on. Entering it again after a kill restarts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Yields the URL of a migrated database, the same after every crash."""
        with embedded_server(self.folder) as url:
            migrations.upgrade(url)
            yield url

    def crash(self) -> None:
        """SIGKILL to the postmaster and every backend, then nothing but PostgreSQL's own recovery."""
        pid = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)  # a signal takes a moment, and a dying process holds the shared memory
        with embedded_server(self.folder):
            pass


class Load:
    """Writers that keep writing through crashes until they are stopped."""

    def __init__(self, url: str, seed: int, shared: int = 2, faults: bool = False) -> None:
        self.url = make_conninfo(url, application_name="walltrack_writer")
        self.seed = seed
        self.faults = faults
        self.records: list[list[Record]] = [[] for _ in range(WRITERS)]
        self.shared = [Shared() for _ in range(shared)]
        self.written = 0
        self.blind = 0
        """Odd while the triggers are disabled."""
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Run the writers during the block; raise any error other than a lost connection at its end."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for shared in self.shared:
                connection.execute(ACTIONS["create"], {"order": shared.order})
        threads = [threading.Thread(target=self._write_on, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self.errors:
            raise self.errors[0]

    def wait_for_writes(self, count: int, timeout: float | None = None) -> None:
        """Wait until this many more writes are acknowledged, or for `timeout` seconds."""
        with self._changed:
            target = self.written + count
            self._changed.wait_for(lambda: self.written >= target or bool(self.errors), timeout)

    def _write_on(self, number: int) -> None:
        chance = random.Random(self.seed * WRITERS + number)
        try:
            while not self._stop.is_set():
                with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True) as connection:
                    writer = Writer(self, connection, self.records[number], chance)
                    while not self._stop.is_set():
                        writer.one_more()
                self._stop.wait(0.02)  # between two attempts to reach a recovering server
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
            with self._changed:
                self.errors.append(error)
                self._changed.notify_all()

    def count(self, shared: Shared | None = None, *, acknowledged: int = 0, cut: int = 0, unseen: int = 0) -> None:
        """Count the outcome of a write."""
        with self._changed:
            if shared:
                shared.acknowledged += acknowledged
                shared.cut += cut
                shared.unseen += unseen
            self.written += acknowledged
            self._changed.notify_all()


class Writer:
    """One connection of a writer."""

    def __init__(self, load: Load, connection: psycopg.Connection, records: list[Record], chance: random.Random) -> None:
        self.load = load
        self.connection = connection
        self.records = records
        self.chance = chance
        self.warned = False
        connection.add_notice_handler(self._heard)

    def _heard(self, notice: psycopg.errors.Diagnostic) -> None:
        """Note the warning that the database sends when it could not update the alert of a write."""
        self.warned = self.warned or notice.severity_nonlocalized == "WARNING"

    def one_more(self) -> None:
        """Fail a shared order, or run one of this writer's own orders through its life."""
        if self.load.shared and self.chance.random() < 0.2:
            self._fail_shared(self.chance.choice(self.load.shared))
            return
        record = Record()
        self.records.append(record)
        for actions in story(self.chance):
            self._write(record, actions)
            if record.loose:
                return

    def _write(self, record: Record, actions: list[str]) -> None:
        record.cut = reduce(State.after, actions, record.state)
        record.loose = self.load.faults  # the default, because a warning may be lost with the connection
        record.loose = self._send(actions, record.order)
        record.state, record.cut = record.cut, None
        self.load.count(acknowledged=1)

    def _fail_shared(self, shared: Shared) -> None:
        try:
            unseen = self._send(["fail"], shared.order)
        except psycopg.OperationalError:
            self.load.count(shared, cut=1, unseen=int(self.load.faults))
            raise
        self.load.count(shared, acknowledged=1, unseen=int(unseen))

    def _send(self, actions: list[str], order: uuid.UUID) -> bool:
        """Run the actions in one transaction; return whether alerting was blocked."""
        self.warned = False
        before = self.load.blind
        with self.connection.transaction() if len(actions) > 1 else contextlib.nullcontext():
            for action in actions:
                self.connection.execute(ACTIONS[action], {"order": order})
        return self.warned or before % 2 == 1 or self.load.blind != before


@dataclass
class Verdict:
    """What is missing, and what is there but should not be."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    orders: int = 0
    alerts: int = 0

    def compare(self, what: str, found: int, least: int, most: int) -> None:
        """File a number that is too small under lost, one that is too large under doubled."""
        if found < least:
            self.lost.append(f"{what}: {found}, not {least}")
        if found > most:
            self.doubled.append(f"{what}: {found}, not {most}")


ALERTS: LiteralString = """
select substr(a.dedupe_key, length('order_failed_') + 1)::uuid, a.resolution, a.occurrences, (a.data ->> 'attempts')::int,
  e.raised, e.repeated, e.resolved
from walltrack.alerts as a
left join lateral (
  select count(*) filter (where kind = 'raised') as raised, count(*) filter (where kind = 'repeated') as repeated,
    count(*) filter (where kind = 'resolved') as resolved
  from walltrack.alert_events where alert_id = a.id
) as e on true
order by a.created_at, a.id
"""


def verify(url: str, load: Load) -> Verdict:
    """Compare orders, alerts and events with what was acknowledged; the writers have stopped."""
    verdict = Verdict()
    states: dict[uuid.UUID, State] = {}
    latest: dict[uuid.UUID, int] = {}
    with psycopg.connect(url) as connection:
        for order, status, attempts in connection.execute("select id, status, attempt_count from walltrack.orders"):
            states[order] = State(status, attempts)
        for order, resolution, occurrences, attempts, raised, repeated, resolved in connection.execute(ALERTS):
            state = states.get(order, State())
            states[order] = replace(state, alerts=(*state.alerts, (resolution, occurrences)))
            latest[order] = attempts
            verdict.alerts += 1
            verdict.compare(f"raised events of order {order}", raised, 1, 1)
            verdict.compare(f"repeated events of order {order}", repeated, occurrences - 1, occurrences - 1)
            verdict.compare(f"resolved events of order {order}", resolved, int(bool(resolution)), int(bool(resolution)))
    verdict.orders = len(states)
    for order, state in states.items():
        verdict.compare(f"open alerts of order {order}", sum(not resolution for resolution, _ in state.alerts), 0, 1)
        if state.is_open:
            verdict.compare(f"attempts in the open alert of order {order}", latest[order], state.attempts, state.attempts)
    for record in (record for records in load.records for record in records):
        _verify_record(verdict, record, states.pop(record.order, State()))
    for shared in load.shared:
        _verify_shared(verdict, shared, states.pop(shared.order, State()))
    verdict.doubled.extend(f"order {order} belongs to no writer" for order in states)
    return verdict


def _verify_record(verdict: Verdict, record: Record, found: State) -> None:
    if found.status is None:
        found = replace(found, attempts=record.state.attempts)  # only the alerts still show a deleted order
    allowed = [record.state, *([record.cut] if record.cut else [])]
    allowed = [replace(state, attempts=found.attempts) if state.status is None else state for state in allowed]
    if found in allowed:
        return
    matching = [state for state in allowed if (state.status, state.attempts) == (found.status, found.attempts)]
    what = f"{record} is {found}"
    if not matching:
        verdict.lost.append(what)
    elif not record.loose:
        (verdict.doubled if found.occurrences > matching[-1].occurrences else verdict.lost).append(what)
    else:
        if not any(state.is_open == found.is_open for state in matching):
            (verdict.doubled if found.is_open else verdict.lost).append(what)
        if found.occurrences > max(state.occurrences for state in matching):
            verdict.doubled.append(what)


def _verify_shared(verdict: Verdict, shared: Shared, found: State) -> None:
    failures = found.attempts - 2
    verdict.compare(f"failures of {shared}", failures, shared.acknowledged, shared.acknowledged + shared.cut)
    verdict.compare(f"occurrences of {shared}", found.occurrences, failures - shared.unseen, failures)
    verdict.compare(f"alerts of {shared}", len(found.alerts), int(failures > 0), 1)
