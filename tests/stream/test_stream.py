"""The event stream: no event missed, none repeated per stored cursor, and each alert's events in order."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections import defaultdict
from contextlib import aclosing
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.bot import Bot
from tests.support.databases import new_database
from tests.support.streams import RAISE, Consumer, ids, page_through, read
from walltrack_alerts.errors import DatabaseUnavailableError, ForeignCursorError, InvalidCursorError
from walltrack_alerts.listen_session import session
from walltrack_alerts.listener import StreamState, Timing, current_cursor, listen


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_a_reader_gets_every_event_once_from_the_beginning(db: psycopg.Connection, limit: int) -> None:
    for number in range(7):
        db.execute(RAISE, ("high", str(number)))
    seen, last = page_through(db, None, limit)
    assert seen == ids(db)
    assert read(db, last) == [] == read(db, "now")


def test_now_is_a_cursor(db: psycopg.Connection) -> None:
    start = db.execute("select walltrack.event_cursor()").fetchone()[0]  # type: ignore[index]
    assert read(db, start) == []
    db.execute(RAISE, ("high", "a"))
    again = db.execute("select walltrack.event_cursor()").fetchone()[0]  # type: ignore[index]
    assert len(read(db, start)) == 1 and read(db, again) == []


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_a_long_transaction_holds_back_only_its_own_events(database_url: str, db: psycopg.Connection, limit: int) -> None:
    with psycopg.connect(database_url) as slow, psycopg.connect(database_url) as slower:
        for number in range(3):
            slow.execute(RAISE, ("high", f"slow {number}"))
            slower.execute(RAISE, ("high", f"slower {number}"))
        db.execute(RAISE, ("high", "quick"))
        seen, place = page_through(db, None, limit)
        assert len(seen) == 1
        slow.commit()
        # Others commit while the late transactions are open: no event may be skipped.
        first = read(db, place, limit)
        place = first[-1][1]
        db.execute(RAISE, ("high", "quick again"))
        slower.commit()
        db.execute(RAISE, ("high", "and again"))
        rest, place = page_through(db, place, limit)
        assert sorted([*seen, *(row[0] for row in first), *rest]) == ids(db)
        db.execute(RAISE, ("high", "last"))
        assert [row[0] for row in read(db, place)] == ids(db)[-1:]


@pytest.mark.parametrize("seen_too", [0, 1, 3])
def test_a_page_may_end_amid_late_events(database_url: str, db: psycopg.Connection, seen_too: int) -> None:
    """The next page has the rest of them, what their snapshot saw beside them, and what came after that."""
    with psycopg.connect(database_url) as slow:
        for number in range(3):
            slow.execute(RAISE, ("high", f"slow {number}"))
        db.execute(RAISE, ("high", "quick"))
        seen, place = page_through(db, None, 10)
        slow.commit()
    for number in range(seen_too):
        db.execute(RAISE, ("high", f"in the snapshot {number}"))
    first = read(db, place, 2)
    for number in range(2):
        db.execute(RAISE, ("high", f"after it {number}"))
    rest = read(db, first[-1][1], 100)
    assert [event_id for event_id, _ in first + rest] == [each for each in ids(db) if each not in seen]
    assert read(db, rest[-1][1]) == []


def test_a_rolled_back_transaction_sends_no_event(database_url: str, db: psycopg.Connection) -> None:
    with psycopg.connect(database_url) as other:
        other.execute(RAISE, ("high", "a"))
        db.execute(RAISE, ("high", "b"))
        seen, place = page_through(db, None, 10)
        other.rollback()
        assert len(seen) == 1 and read(db, place) == []


def test_a_restored_dump_is_readable_and_refuses_old_cursors(server_url: str, template: str, db: psycopg.Connection) -> None:
    db.execute(RAISE, ("high", "a"))
    place = read(db, None)[-1][1]
    with new_database(server_url, template) as url, psycopg.connect(url, autocommit=True) as other:
        other.execute(RAISE, ("high", "b"))
        # Rows of another cluster: xids that this one has not reached.
        other.execute("alter table walltrack.alert_events disable trigger user")
        other.execute("update walltrack.alert_events set xid = '99999999999', cluster_id = 1")
        other.execute("alter table walltrack.alert_events enable trigger user")
        with pytest.raises(psycopg.Error, match="another database or cluster") as refused:
            read(other, place)
        assert refused.value.sqlstate == "WT010" and "null" in str(refused.value.diag.message_hint)
        start = other.execute("select walltrack.event_cursor()").fetchone()[0]  # type: ignore[index]
        seen, last = page_through(other, None, 1)
        assert seen == ids(other) and read(other, start) == []
        other.execute(RAISE, ("high", "c"))
        assert len(read(other, last)) == 1 == len(read(other, start))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "5",
        "c1",
        "c1/1/1/1:1:/1/0/",
        "c1/1/1/2:1:/9/0/5",
        "c1/1/1/99999999999999999999:1:/1/0/5",
        "x" * 9999,
        "c1/1/1/1:9:,,/1/0/1",
    ],
)
def test_an_invalid_cursor_is_refused(db: psycopg.Connection, cursor: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        read(db, cursor)
    assert refused.value.sqlstate == "WT009"


def test_a_cursor_ahead_of_the_database_is_refused(db: psycopg.Connection) -> None:
    db.execute(RAISE, ("high", "a"))
    place = read(db, None)[-1][1]
    with pytest.raises(psycopg.Error, match="ahead of this database"):
        read(db, place.rpartition("/")[0] + "/99")


@pytest.mark.parametrize("statistics", ["none", "of a young table", "of all of it"])
def test_reading_costs_only_what_is_read(database_url: str, db: psycopg.Connection, statistics: str) -> None:
    """Every read uses an index, whatever the planner's statistics, the number of events or the age of the cursor."""
    many = (
        "insert into walltrack.alert_events (alert_id, kind, actor, cluster_id) "
        "select alert.id, 'repeated', 'test', alert.cluster "
        "from (select id, walltrack.cluster_id() as cluster from walltrack.alerts) as alert, generate_series(1, %s)"
    )
    work = (
        "select seq_scan, seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables "
        "where relid = 'walltrack.alert_events'::regclass"
    )
    db.execute(RAISE, ("high", "a"))
    db.execute("alter table walltrack.alert_events set (autovacuum_enabled = off)")
    if statistics == "of a young table":
        db.execute("analyze walltrack.alert_events")
    (old,) = db.execute("select walltrack.event_cursor()").fetchone()  # type: ignore[misc]
    for _ in range(300):  # xids that the old cursor did not know
        db.execute(many, (1,))
    db.execute(many, (30_000,))
    if statistics == "of all of it":
        db.execute("analyze walltrack.alert_events")
    with psycopg.connect(database_url) as slow:
        slow.execute(many, (20_000,))
        middle = read(db, None, 15_000)[-1][1]
        db.execute(many, (1,))
        running = read(db, middle, 20_000)[-1][1]
        slow.commit()
    (now,) = db.execute("select walltrack.event_cursor()").fetchone()  # type: ignore[misc]
    for after, found in ((None, 100), (old, 100), (middle, 100), (running, 100), (now, 0)):
        with db.transaction():
            before = db.execute(work).fetchone()
            assert len(read(db, after, 100)) == found
            scans, rows = (now - then for now, then in zip(db.execute(work).fetchone(), before, strict=True))  # type: ignore[arg-type]
        assert scans == 0 and rows <= 350


def test_only_a_reader_may_read_the_stream(db: psycopg.Connection) -> None:
    db.execute(RAISE, ("high", "a"))
    role = f"wt_reader_{random.randrange(10**9)}"
    db.execute(f"create role {role}")
    try:
        for grant in ("grant usage on schema walltrack to {0}", "select walltrack.grant_access('{0}', 'reader')"):
            with db.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege), db.transaction():
                db.execute(f"set local role {role}")
                db.execute("select * from walltrack.read_events(null, 10)")
            db.execute(grant.format(role))
        with db.transaction():
            db.execute(f"set local role {role}")
            seen = read(db, None)
            assert len(seen) == 1 and read(db, seen[-1][1]) == []
            db.execute("select walltrack.event_cursor()")
    finally:
        db.execute(f"drop owned by {role}")
        db.execute(f"drop role {role}")


def test_a_reader_may_be_denied_the_system_identifier(server_url: str, template: str) -> None:
    """It still reads late commits, because it assumes the cluster that the writers recorded."""
    role = f"wt_reader_{random.randrange(10**9)}"
    with new_database(server_url, template) as url, psycopg.connect(url, autocommit=True) as db:
        db.execute(f"create role {role}")
        try:
            db.execute(
                f"revoke execute on function pg_control_system() from public; select walltrack.grant_access('{role}', 'reader')"
            )
            with psycopg.connect(url) as late:
                late.execute(RAISE, ("high", "late"))
                db.execute(RAISE, ("high", "early"))
                db.execute(f"set role {role}")
                ((_, after),) = read(db, None)
                late.commit()
            assert len(read(db, after)) == 1
        finally:
            db.execute("reset role")
            db.execute(f"drop owned by {role}; drop role {role}")


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_any_limit_is_accepted(db: psycopg.Connection, limit: int | None) -> None:
    db.execute(RAISE, ("high", "a"))
    assert len(read(db, None, limit)) == (1 if limit is None else 0)  # type: ignore[arg-type]


def write(url: str, seed: int, count: int) -> None:
    chance = random.Random(seed)
    with psycopg.connect(url) as connection:
        for number in range(count):
            connection.execute(RAISE, (chance.choice(["high", "critical"]), f"{seed}.{number % 20}"))
            connection.execute("select pg_sleep(%s)", (chance.random() * 0.004,))
            if chance.random() < 0.2:
                connection.rollback()
            else:
                connection.commit()


async def test_killed_and_resumed_readers_miss_nothing(database_url: str, db: psycopg.Connection) -> None:
    writers = [threading.Thread(target=write, args=(database_url, seed, 100)) for seed in range(12)]
    for writer in writers:
        writer.start()
    consumers = [Consumer(database_url) for _ in range(3)]
    chance = random.Random(1)
    while any(writer.is_alive() for writer in writers):
        stop = [len(consumer.events) + chance.randint(1, 200) for consumer in consumers]
        await asyncio.gather(
            *(
                consumer.until(lambda c=consumer, s=limit: len(c.events) >= s or not any(w.is_alive() for w in writers))
                for consumer, limit in zip(consumers, stop, strict=True)
            )
        )
    wanted = ids(db)
    assert len(wanted) > 600
    for consumer in consumers:
        await consumer.until(lambda c=consumer: len(c.events) >= len(wanted))
        assert sorted(event.event_id for event in consumer.events) == wanted
        of_alert = defaultdict(list)
        for event in consumer.events:
            of_alert[event.alert_id].append(event.event_id)
        assert all(order == sorted(order) for order in of_alert.values())


CUT = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'cut'"


async def test_a_cut_connection_is_reopened(database_url: str, db: psycopg.Connection) -> None:
    consumer = Consumer(database_url + " application_name=cut")
    cut = False

    def step() -> bool:
        nonlocal cut
        if not cut and StreamState.LIVE in consumer.states:
            db.execute(CUT)
            db.execute(RAISE, ("high", "missed"))
            cut = True
        return len(consumer.events) == 1 and consumer.states[-1] is StreamState.LIVE

    await consumer.until(step)
    assert StreamState.STALE in consumer.states and consumer.states[-1] is StreamState.LIVE


async def test_a_broken_connection_closes_its_socket_once(database_url: str, db: psycopg.Connection) -> None:
    """Another connection may reuse the socket's number before the consumer asks for the next event."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with session(f"{database_url} application_name=cut", Timing()) as listening:
            number = listening.connection.fileno()
            db.execute(CUT)
            async with asyncio.timeout(30):
                while listening.failure is None:
                    await asyncio.sleep(0.01)
            os.dup2(ours.fileno(), number)
            loop.add_reader(number, lambda: None)
        assert loop.remove_reader(number)
        os.close(number)


async def test_a_sqlalchemy_url_is_accepted(database_url: str, db: psycopg.Connection) -> None:
    parts = conninfo_to_dict(database_url)
    query = urlencode({name: value for name, value in parts.items() if value})
    db.execute(RAISE, ("high", "a"))
    consumer = Consumer(f"postgresql+psycopg://?{query}")
    await consumer.until(lambda: len(consumer.events) == 1)
    now = await current_cursor(consumer.url)
    assert read(db, now) == []
    db.execute(RAISE, ("high", "b"))
    assert [event_id for event_id, _ in read(db, now)] == ids(db)[1:]


async def test_a_lost_notification_loses_no_event(database_url: str, db: psycopg.Connection) -> None:
    """As while the notification queue is half full: the event is in the table, but no listener was woken."""
    consumer = Consumer(database_url)
    written = False

    def step() -> bool:
        nonlocal written
        if not written and StreamState.LIVE in consumer.states:
            db.execute(
                "with alert as (insert into walltrack.alerts (alert_type, severity, title, message, own_writes) "
                "values ('test', 'high', 'quiet', '', 1) returning id) "
                "insert into walltrack.alert_events (alert_id, kind, actor) select id, 'raised', 'test' from alert"
            )
            written = True
        return len(consumer.events) == 1

    await consumer.until(step)
    assert consumer.events[0].title == "quiet"


async def test_a_slow_consumer_holds_no_notification(database_url: str, db: psycopg.Connection) -> None:
    """The consumer stops reading and the socket is full: the server's queue still empties."""
    many = "select count(pg_notify('walltrack_alerts', repeat('x', 500) || n)) from generate_series(1, 20000) as n"
    usage = "select pg_notification_queue_usage()"
    async with aclosing(listen(database_url, "beginning")) as events:
        db.execute(RAISE, ("high", "a"))
        first = await anext(events)
        for _ in range(3):
            db.execute(many)
        async with asyncio.timeout(30):
            while db.execute(usage).fetchone() != (0,):
                await asyncio.sleep(0.01)
        db.execute(RAISE, ("high", "b"))
        second = await anext(events)
    assert [first.event_id, second.event_id] == ids(db)


@pytest.mark.parametrize("where", ["in the body", "waiting", "catching up"])
async def test_cancelling_leaves_nothing_behind(database_url: str, db: psycopg.Connection, where: str) -> None:
    """No task, no connection and no socket stays behind."""
    db.execute("select count(walltrack.raise_alert('test', 'high', 'a', '', '{}', true, null)) from generate_series(1, 500)")
    reached = asyncio.Event()

    async def consume() -> None:
        seen = 0
        url = database_url + " application_name=cancelled"
        async with aclosing(listen(url, "beginning", batch=1 if where == "catching up" else 500)) as events:
            async for _ in events:
                seen += 1
                if where == "in the body":
                    reached.set()
                    await asyncio.Event().wait()
                if seen == (100 if where == "catching up" else 500):
                    asyncio.get_running_loop().call_later(0 if where == "catching up" else 0.2, reached.set)

    task = asyncio.create_task(consume())
    async with asyncio.timeout(30):
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        query = "select from pg_stat_activity where datname = current_database() and application_name = 'cancelled'"
        while db.execute(query).fetchone():
            await asyncio.sleep(0.01)


async def test_filters_select_events(database_url: str, bot: Bot) -> None:
    for kind in ("exit", "entry"):
        order = bot.create(kind)
        bot.exhaust(order)
        bot.fill(order)
    consumer = Consumer(database_url, kinds=["raised"], min_severity="critical")
    await consumer.until(lambda: StreamState.LIVE in consumer.states)
    assert [(event.kind, event.detail["severity"]) for event in consumer.events] == [("raised", "critical")]


async def test_wrong_cursors_and_servers_are_reported(database_url: str, empty_database_url: str) -> None:
    for cursor, error in (("nonsense", InvalidCursorError), ("c1/1/1/1:1:/1/0/1", ForeignCursorError)):
        with pytest.raises(error):
            await anext(listen(database_url, cursor))
    with pytest.raises(DatabaseUnavailableError):
        await anext(listen("host=/nowhere dbname=x"))
    for wrong in ({"kinds": ["reborn"]}, {"min_severity": "fatal"}):
        with pytest.raises(ValueError, match="is not a valid"):
            await anext(listen(database_url, **wrong))
