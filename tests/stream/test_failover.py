"""Failover with real streaming replication: dying primaries, promoted standbys, and peers that stop for a while."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.folders import temporary_folder
from tests.support.streams import RAISE, Consumer, ids, page_through, read
from walltrack_alerts import embedded, migrations
from walltrack_alerts.embedded.server import Cluster
from walltrack_alerts.errors import LostEventsError
from walltrack_alerts.listener import StreamState, listen

pytestmark = pytest.mark.own_server

SETTINGS = ("max_prepared_transactions = 5", "synchronous_commit = on", "wal_receiver_status_interval = 1")


@dataclass
class Node:
    """One server of a pair."""

    folder: Path

    @property
    def url(self) -> str:
        return make_conninfo("", host=str(self.folder), port="5432", user="postgres", dbname="postgres")

    @property
    def cluster(self) -> Cluster:
        return Cluster.at(self.folder)

    def start(self) -> None:
        code, output = self.cluster._start()
        assert code == 0, output

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0]))
        return [postmaster, *postmaster.children(recursive=True)]

    def kill(self) -> None:
        """Kill the whole server with SIGKILL; it stays down."""
        processes = self.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes[:1], timeout=30)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The whole server hangs, as if unplugged from the network: it accepts connections but never answers."""
        processes = self.processes()
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()


@pytest.fixture
def primary() -> Iterator[Node]:
    folder = temporary_folder(0o777)
    node = Node(folder / "a")
    with embedded.embedded_server(node.folder):
        node.execute(*(f"alter system set {setting}" for setting in SETTINGS))
        node.cluster._stop()
        node.start()
        migrations.upgrade(node.url)
        yield node
    shutil.rmtree(folder)


@pytest.fixture
def standby(primary: Node) -> Iterator[Node]:
    """A hot standby that streams from the primary."""
    node = Node(primary.folder.with_name("b"))
    code, output = node.cluster.programs.run(
        "pg_basebackup", "-D", str(node.folder), "-h", str(primary.folder), "-p", "5432", "-U", "postgres", "-R", "-c", "fast"
    )
    assert code == 0, output
    for socket in node.folder.glob(".s.PGSQL*"):  # the primary's lies in its data folder
        socket.unlink()
    node.start()
    yield node
    node.cluster._stop()


def both(primary: Node, standby: Node) -> str:
    return make_conninfo(
        primary.url, host=f"{primary.folder},{standby.folder}", port="5432,5432", target_session_attrs="read-write"
    )


def promote(node: Node) -> None:
    node.execute("select pg_promote(true, 60)")


def wait_for(done: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def replicated(primary: Node, standby: Node) -> bool:
    with psycopg.connect(primary.url) as one, psycopg.connect(standby.url) as other:
        return ids(one) == ids(other)


def facts(url: str) -> set[tuple[int, object]]:
    """Identify an event by id and time, because ids assigned by a lost primary may recur."""
    with psycopg.connect(url) as connection:
        return set(connection.execute("select event_id, at from walltrack.alert_events").fetchall())


class Writers:
    """Raise alerts on whichever server accepts them, until stopped."""

    def __init__(self, url: str) -> None:
        self.url, self.written, self.over = url, 0, threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(number,), daemon=True) for number in range(4)]

    def write(self, number: int) -> None:
        while not self.over.is_set():
            with suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                while not self.over.is_set():
                    connection.execute(RAISE, ("high", f"{number}.{self.written % 50}"))
                    self.written += 1
            self.over.wait(0.02)

    @contextmanager
    def running(self) -> Iterator[Writers]:
        for thread in self.threads:
            thread.start()
        try:
            yield self
        finally:
            self.over.set()
            for thread in self.threads:
                thread.join(30)


async def test_a_standby_takes_over_and_nothing_is_missed(primary: Node, standby: Node) -> None:
    """Synchronous, under load: every acknowledged event is there, and the reader receives each one once."""
    primary.execute("alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")
    url = both(primary, standby)
    consumer = Consumer(url)

    def fail_over() -> None:
        with Writers(url).running() as writers:
            wait_for(lambda: writers.written > 200)
            primary.kill()
            before = writers.written
            promote(standby)
            wait_for(lambda: writers.written > before + 200)

    disaster = asyncio.create_task(asyncio.to_thread(fail_over))

    def is_done() -> bool:
        return disaster.done() and consumer.states[-1] is StreamState.LIVE and len(consumer.events) >= len(facts(standby.url))

    await consumer.until(is_done, 120)
    await disaster
    assert sorted((event.event_id, event.at) for event in consumer.events) == sorted(facts(standby.url))  # type: ignore[type-var]
    assert StreamState.STALE in consumer.states and consumer.states[-1] is StreamState.LIVE


async def test_events_lost_with_the_primary_hide_no_new_ones(primary: Node, standby: Node) -> None:
    """Asynchronous: the old primary takes delivered events with it, and the new one reuses their ids."""
    consumer = Consumer(both(primary, standby))
    raise_many = (
        "select count(walltrack.raise_alert('test', 'high', 'a title', '', '{}', true, null)) from generate_series(1, 100)"
    )
    primary.execute(raise_many)
    wait_for(lambda: replicated(primary, standby))
    kept = facts(standby.url)
    standby.execute("alter system set primary_conninfo = ''", "select pg_reload_conf()")
    with psycopg.connect(primary.url, autocommit=True) as watch:
        wait_for(lambda: watch.execute("select count(*) from pg_stat_replication").fetchone() == (0,))
    primary.execute(raise_many, raise_many)
    lost = facts(primary.url) - kept
    wanted: set[tuple[int, object]] = set()

    def fail_over() -> None:
        primary.kill()
        promote(standby)
        standby.execute(raise_many, raise_many)
        wanted.update(facts(standby.url))

    disaster: list[asyncio.Task[None]] = []

    def complete() -> bool:
        if len(consumer.events) == 300 and not disaster:
            disaster.append(asyncio.create_task(asyncio.to_thread(fail_over)))
        return bool(wanted) and wanted <= {(event.event_id, event.at) for event in consumer.events}

    await consumer.until(complete, 120)
    await disaster[0]
    assert {number for number, _ in wanted - kept} & {number for number, _ in lost}
    assert len(consumer.events) == len(wanted | lost)
    with pytest.raises(LostEventsError, match="lost its latest"):  # a reader that returns with a cursor of the lost past
        await anext(listen(standby.url, consumer.events[299].cursor))


async def test_a_standby_is_named_and_its_promotion_followed(primary: Node, standby: Node) -> None:
    consumer = Consumer(standby.url)
    await consumer.until(lambda: StreamState.STALE in consumer.states)
    assert "standby" in consumer.reasons[-1]
    primary.kill()
    consumer = Consumer(standby.url)
    disaster: list[asyncio.Task[None]] = []

    def promoted() -> bool:
        if not disaster and StreamState.STALE in consumer.states:
            disaster.append(asyncio.create_task(asyncio.to_thread(promote, standby)))
        return consumer.states[-1:] == [StreamState.LIVE]

    await consumer.until(promoted, 60)


def test_a_standby_can_be_read_and_takes_the_primarys_cursors(primary: Node, standby: Node) -> None:
    with psycopg.connect(primary.url, autocommit=True) as db, psycopg.connect(standby.url, autocommit=True) as other:
        with psycopg.connect(primary.url) as slow:
            slow.execute(RAISE, ("high", "slow"))
            db.execute(RAISE, ("high", "quick"))
            seen, place = page_through(db, None, 10)
            wait_for(lambda: other.execute("select count(*) from walltrack.alert_events").fetchone() == (1,))
            assert read(other, place) == []  # what still runs on the primary is not passed over
            slow.commit()
        db.execute(RAISE, ("high", "last"))
        wait_for(lambda: len(ids(other)) == 3)
        more, place = page_through(other, place, 1)
        assert sorted(seen + more) == ids(db)
        assert page_through(db, place, 10)[0] == []


def test_prepared_transactions_and_savepoints_are_read_on_commit(primary: Node) -> None:
    event = (
        "with alert as (insert into walltrack.alerts (alert_type, severity, title, message, own_writes) "
        "values ('test', 'high', 'a', '', 1) returning id) "
        "insert into walltrack.alert_events (alert_id, kind, actor) select id, 'raised', 'test' from alert"
    )  # without NOTIFY, which PREPARE TRANSACTION refuses
    with psycopg.connect(primary.url, autocommit=True) as db, psycopg.connect(primary.url) as other:
        other.execute(event)
        with other.transaction():
            other.execute(event)
            with suppress(psycopg.errors.DivisionByZero), other.transaction():
                other.execute(event)
                other.execute("select 1 / 0")
            with other.transaction():
                other.execute(event)
        other.execute("prepare transaction 'held'")
        other.rollback()
        db.execute(RAISE, ("high", "quick"))
        seen, place = page_through(db, None, 10)
        assert len(seen) == 1
        for _ in range(3):
            db.execute(RAISE, ("high", "later"))
            more, place = page_through(db, place, 10)
            seen += more
        db.execute("commit prepared 'held'")
        late, place = page_through(db, place, 2)
        assert len(late) == 3 and sorted(seen + late) == ids(db)
        assert read(db, place) == []


@pytest.mark.parametrize("whole", [True, False], ids=["server", "backend"])
async def test_a_silent_peer_is_noticed_and_left(primary: Node, whole: bool) -> None:
    """Nothing closes the connection: only the missing answer to the heartbeat reveals it."""
    consumer = Consumer(primary.url + " application_name=silent")
    reader = asyncio.create_task(consumer.until(lambda: len(consumer.events) == 1, 120))

    async def state(wanted: StreamState) -> None:
        async with asyncio.timeout(60):
            while consumer.states[-1:] != [wanted]:
                await asyncio.sleep(0.01)

    await state(StreamState.LIVE)
    if whole:
        with primary.stopped():
            await state(StreamState.STALE)
    else:
        with psycopg.connect(primary.url) as db:
            query = "select pid from pg_stat_activity where application_name = 'silent'"
            (pid,) = db.execute(query).fetchone()  # type: ignore[misc]
        os.kill(pid, signal.SIGSTOP)
        await state(StreamState.STALE)
        await state(StreamState.LIVE)
        os.kill(pid, signal.SIGCONT)
    assert any("respon" in why or "arriv" in why for why in consumer.reasons), consumer.reasons
    primary.execute("select walltrack.raise_alert('test', 'high', 'a title', '', '{}', true, null)")
    await reader
