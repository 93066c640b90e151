"""The waits that alerting adds to a transaction have a bounded total, and alerting never fails a COMMIT."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from tests.support.bot import Bot
from tests.support.faults import (
    bounded_waiting,
    fault_states,
    let_writes_wait,
    run_meanwhile,
    wait_until_blocked,
    waited_ms,
)
from tests.support.reconciling import reconcile

ORDERS = 60
LOCKED = {
    "alerts": "lock table walltrack.alerts in access exclusive mode",
    "alert_events": "lock table walltrack.alert_events in access exclusive mode",
    "alerts and alert_faults": "lock table walltrack.alerts, walltrack.alert_faults in access exclusive mode",
    "watched_tables": "lock table walltrack.watched_tables in access exclusive mode",
    "the rows of alerts": "select id from walltrack.alerts for update",
    "the sequence of events": "alter sequence walltrack.alert_events_event_id_seq cache 1",
    "the sequence of faults, and alerts": "alter sequence walltrack.alert_faults_fault_id_seq cache 1; "
    "lock table walltrack.alerts in access exclusive mode",
    "everything": "lock table walltrack.alerts, walltrack.alert_events, walltrack.alert_faults, walltrack.watched_tables "
    "in access exclusive mode",
}


def in_one_statement(bot: Bot) -> None:
    bot.execute("update walltrack.orders set status = 'failed', attempt_count = attempt_count + 1")


def each_in_a_savepoint(bot: Bot) -> None:
    with bot.connection.transaction():
        for (order,) in bot.execute("select id from walltrack.orders").fetchall():
            with bot.connection.transaction():
                bot.fail(order)


def each_in_a_savepoint_that_is_rolled_back(bot: Bot) -> None:
    with bot.connection.transaction():
        for (order,) in bot.execute("select id from walltrack.orders").fetchall():
            with bot.connection.transaction(force_rollback=True):
                bot.fail(order)


def as_fills(bot: Bot) -> None:
    bot.execute("update walltrack.orders set status = 'filled'")


@pytest.mark.parametrize("write", [in_one_statement, each_in_a_savepoint, each_in_a_savepoint_that_is_rolled_back, as_fills])
@pytest.mark.parametrize("lock", LOCKED.values(), ids=LOCKED)
def test_all_waits_of_a_transaction_share_one_bound(database_url: str, bot: Bot, lock: str, write: Callable[[Bot], None]) -> None:
    for _ in range(ORDERS):
        bot.create("exit", status="failed", attempt_count=3)
    with psycopg.connect(database_url) as holder, bot.connection.transaction(), bounded_waiting(bot):
        holder.execute(lock)  # type: ignore[arg-type]
        write(bot)
    reconcile(bot)
    assert reconcile(bot) == (0, 0)


def test_alerting_does_not_wait_where_it_cannot_add_up(database_url: str, bot: Bot) -> None:
    orders = [bot.create("exit", status="failed", attempt_count=3) for _ in range(ORDERS)]
    with psycopg.connect(database_url) as holder:
        holder.execute(
            "alter sequence walltrack.waited_in_transaction cache 1; lock table walltrack.alerts in access exclusive mode"
        )
        with bot.connection.transaction():
            bot.fail(orders[0])
            bot.execute("savepoint one")
            in_one_statement(bot)
            assert bot.execute("select ms, failures from walltrack.lock_wait_totals()").fetchone() == (999, 999)
            assert bot.execute("select walltrack.remaining_lock_wait()").fetchone() in [(0,), (-1,)]
    reconcile(bot)
    assert reconcile(bot) == (0, 0)


def test_two_tables_share_one_deadline(database_url: str, bot: Bot) -> None:
    bot.execute("create table walltrack.others (like walltrack.orders including all)")
    bot.execute("select walltrack.watch_orders('walltrack.others')")
    for _ in range(ORDERS):
        bot.create("exit", status="failed", attempt_count=3)
    bot.execute("insert into walltrack.others select * from walltrack.orders; update walltrack.others set id = gen_random_uuid()")
    with psycopg.connect(database_url) as holder:
        holder.execute("lock table walltrack.alerts in access exclusive mode")
        with bot.connection.transaction(), bounded_waiting(bot):
            for table in ("orders", "others"):
                bot.execute(sql.SQL("update {} set attempt_count = attempt_count + 1").format(sql.Identifier("walltrack", table)))
    assert len(fault_states(bot)) == 2 * ORDERS  # faults are kept without waiting
    assert reconcile(bot)[0] == 2 * ORDERS


def test_a_slow_machine_loses_no_alerts(bot: Bot) -> None:
    """Elapsed time is not waiting: only waits for locks count against the deadline."""
    bot.execute(
        "create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return new; end $$;"
        "create trigger slow before insert on walltrack.alerts for each row execute function public.slow()"
    )
    for _ in range(20):
        bot.create("exit", status="submitted", attempt_count=2)
    in_one_statement(bot)
    assert len(bot.alerts()) == 20 and bot.faults() == []


# COMMIT


def raise_many(url: str, settings: str, failed: list[str]) -> None:
    """Commit 25 times, each time raising or repeating an alert."""
    with psycopg.connect(url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create("exit", status="failed", attempt_count=3)
        for statement in settings.split(";"):
            connection.execute(statement)  # type: ignore[arg-type]
        for turn in range(25):
            connection.execute("begin")
            try:
                bot.fail(order, f"turn {turn}")
                if "deferred" in settings:
                    connection.execute("set constraints all immediate")
            except psycopg.errors.LockNotAvailable:  # the host's own table is extended by another writer
                connection.execute("rollback")
                continue
            try:
                connection.execute("commit")
            except psycopg.Error as error:
                failed.append(f"{error.sqlstate} {error}")


@pytest.mark.parametrize(
    "settings",
    ["set lock_timeout = '1ms'", "set lock_timeout = '1ms'; set constraints all deferred", "set lock_timeout = 0"],
    ids=["timeout", "timeout, constraints immediate", "no timeout"],
)
def test_no_commit_fails_on_its_lock_timeout(database_url: str, settings: str) -> None:
    """Commits that notify queue for one cluster-wide lock, beyond the reach of exception handlers."""
    failed: list[str] = []
    stop = threading.Event()

    def notify() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("notify elsewhere, 'x'")

    noise = threading.Thread(target=notify)
    writers = [threading.Thread(target=raise_many, args=(database_url, settings, failed)) for _ in range(12)]
    for thread in (noise, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    noise.join()
    assert failed == []


def test_immediate_constraints_restore_the_lock_timeout_after_the_commit(database_url: str, bot: Bot) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.execute("set lock_timeout = '1ms'")
    with bot.connection.transaction():
        bot.execute("set constraints all immediate")
        bot.fail(order)
        assert bot.execute("show lock_timeout").fetchone() == ("0",)  # for the COMMIT, which comes next
    assert bot.execute("show lock_timeout").fetchone() == ("1ms",)


def test_a_lock_timeout_keeps_its_meaning_until_the_commit(database_url: str, bot: Bot) -> None:
    first, second = (bot.create("exit", status="submitted", attempt_count=2) for _ in range(2))
    bot.execute("set lock_timeout = '10ms'")
    with psycopg.connect(database_url) as other:
        other.execute("select from walltrack.orders where id = %s for update", (second,))
        with pytest.raises(psycopg.errors.LockNotAvailable), bot.connection.transaction():
            bot.fail(first)
            bot.lock(second)
    bot.fail(first)
    assert bot.execute("show lock_timeout").fetchone() == ("10ms",)


# Cancels


def test_a_bulk_write_stays_cancelable(database_url: str, bot: Bot) -> None:
    for _ in range(300):
        bot.create("exit", status="submitted", attempt_count=2)
    bot.execute(
        "create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.05); return new; end $$;"
        "create trigger slow before insert on walltrack.alerts for each row execute function public.slow()"
    )
    pid = bot.connection.info.backend_pid

    def cancel() -> None:
        with psycopg.connect(database_url, autocommit=True) as admin:
            while admin.execute("select state from pg_stat_activity where pid = %s", (pid,)).fetchone() != ("active",):
                time.sleep(0.01)
            time.sleep(0.3)
            admin.execute("select pg_cancel_backend(%s)", (pid,))

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        in_one_statement(bot)
    thread.join()
    assert bot.alerts() == []


def test_a_statement_timeout_still_ends_a_slow_bulk_write(bot: Bot) -> None:
    for _ in range(200):
        bot.create("exit", status="submitted", attempt_count=2)
    bot.execute(
        "create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.05); return new; end $$;"
        "create trigger slow before update on walltrack.orders for each row execute function public.slow()"
    )
    bot.execute("set statement_timeout = '500ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        in_one_statement(bot)


def test_several_locks_of_one_write_share_one_deadline(database_url: str, bot: Bot) -> None:
    """Each lock is released just before its wait would time out, when the next one is already held."""
    for _ in range(20):
        bot.create("exit", status="submitted", attempt_count=2)
    holders = [psycopg.connect(database_url) for _ in range(3)]
    for holder, lock in zip(holders, ("alerts", "alert_events", "alert_faults"), strict=True):
        holder.execute(f"lock table walltrack.{lock} in access exclusive mode")  # type: ignore[arg-type]
    timers = [threading.Timer(0.07 * (number + 1), holder.rollback) for number, holder in enumerate(holders)]
    for timer in timers:
        timer.start()
    with bot.connection.transaction(), bounded_waiting(bot):
        bot.execute("update walltrack.orders set status = 'failed', attempt_count = 3")
    for timer, holder in zip(timers, holders, strict=True):
        timer.join()
        holder.close()
    reconcile(bot)
    assert [alert.is_open for alert in bot.alerts()] == [True] * 20


def test_the_wait_for_another_writer_of_the_same_key_counts(database_url: str, bot: Bot) -> None:
    """A service that writes alerts itself holds the dedupe keys until its COMMIT."""
    orders = [bot.create("exit", status="submitted", attempt_count=2) for _ in range(ORDERS)]
    with psycopg.connect(database_url) as service:
        for order in orders:
            service.execute(
                "insert into walltrack.alerts (alert_type, severity, title, message, data, requires_action, dedupe_key) "
                "values ('order_failed_permanently', 'high', 't', 'm', '{}', true, %s)",
                (f"order_failed_{order}",),
            )
        with bot.connection.transaction(), bounded_waiting(bot):
            bot.execute("update walltrack.orders set status = 'failed', attempt_count = 3")
        service.rollback()
    reconcile(bot)
    assert [alert.is_open for alert in bot.alerts()] == [True] * ORDERS


def test_waits_that_end_in_time_are_counted(database_url: str, bot: Bot) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    let_writes_wait(bot.connection)
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as watcher:
        holder.execute("lock table walltrack.alerts in access exclusive mode")
        with bot.connection.transaction():
            with run_meanwhile(lambda: bot.fail(order, "again")):
                wait_until_blocked(watcher, bot.connection, holder)
                time.sleep(0.06)
                holder.rollback()
            assert waited_ms(bot) >= 50
    assert bot.faults() == []


def test_three_locks_of_one_write_fit_into_the_deadline(bot: Bot) -> None:
    """Locks of two tables, and of the row or key of an alert: each wait gets a third of the remaining time."""
    first = bot.execute(
        "select p.proname, substring(c.setting from 'lock_timeout=(.*)ms')::int from pg_proc as p "
        "cross join unnest(p.proconfig) as c (setting) "
        "where p.pronamespace = 'walltrack'::regnamespace and c.setting like 'lock_timeout%' "
        "and p.proname = any (array['sync_order', 'sync_deleted_order', 'sync_stored_order', 'has_alert'])"
    ).fetchall()
    assert len(first) == 4 and all(3 * milliseconds <= 250 for _, milliseconds in first)
    for ms in (5, 30, 120, 200):
        with bot.connection.transaction():
            bot.execute("select walltrack.record_lock_wait(clock_timestamp() - make_interval(secs => %s))", (ms / 1000,))
            bot.execute("select walltrack.limit_lock_wait()")
            (left,) = bot.execute("select setting::int from pg_settings where name = 'lock_timeout'").fetchone() or (0,)
        assert left > 0 and ms + 3 * left <= 240  # and 10 ms that are not counted


def test_deletes_from_partitions_share_one_deadline(database_url: str, bot: Bot) -> None:
    bot.execute(
        "create table walltrack.parts (like walltrack.orders including defaults) partition by list (status);"
        "create table walltrack.part partition of walltrack.parts default; select walltrack.watch_orders('walltrack.parts');"
        "insert into walltrack.parts (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        f"select 'exit', 'sell', 'x', 1, 1, 'failed', 3 from generate_series(1, {ORDERS})"
    )
    with psycopg.connect(database_url) as holder:
        holder.execute("lock table walltrack.alerts in access exclusive mode")
        with bot.connection.transaction(), bounded_waiting(bot):
            bot.execute("delete from walltrack.parts")
    reconcile(bot)
    assert [alert.is_open for alert in bot.alerts()] == [False] * ORDERS
