"""Retrying and cancelling an alert's order, done as the bot would."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.order_actions import LATER, actions, cancel, failed, refused, retry, row


@pytest.fixture(autouse=True)
def no_faults(bot: Bot) -> Iterator[None]:
    """Check that a refusal leaves no fault in alerting."""
    yield
    assert bot.faults() == []


# Done


def test_a_retry_requeues_the_order_and_keeps_the_alert_open(bot: Bot) -> None:
    order = failed(bot)
    before = row(bot, order)
    alert = retry(bot, bot.alert(order), " ada ")
    after = row(bot, order)
    assert after["status"] == "pending"
    assert bot.poll() == [order]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"status", "next_retry_at", "updated_at"}
    assert alert.status == "active" and bot.events(order) == ["raised"]
    assert actions(bot) == [("retry", str(order), "ada", None)]
    # The next failure is attempt 4 of 3; a fill resolves.
    bot.fail(order)
    assert (bot.alert(order).data["attempts"], bot.alert(order).occurrences) == (4, 2)
    retry(bot, alert, "bob")
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"


@pytest.mark.parametrize("status", ["failed", "pending"])
def test_a_cancel_ends_the_order_and_its_alert(bot: Bot, status: str) -> None:
    order = failed(bot, status=status)
    alert = cancel(bot, bot.alert(order), "  the moment has passed ")
    assert (row(bot, order)["status"], row(bot, order)["last_error"]) == ("cancelled", "the moment has passed")
    assert (alert.status, alert.resolved_by, alert.resolution) == ("resolved", "system", "Order cancelled")
    assert actions(bot) == [("cancel", str(order), "ada", "the moment has passed")]
    timeline = bot.execute("select kind, actor, detail ->> 'reason' from walltrack.alert_timeline order by at").fetchall()
    assert timeline[-2:] == [("order_cancelled", "ada", "the moment has passed"), ("resolved", "system", None)]


@pytest.mark.parametrize("reason", [None, "", " \n"])
def test_a_cancel_needs_no_reason(bot: Bot, reason: str | None) -> None:
    order = failed(bot)
    cancel(bot, bot.alert(order), reason)
    assert row(bot, order)["last_error"] == "Manually cancelled"


def test_acknowledged_and_snoozed_alerts_allow_actions(bot: Bot) -> None:
    order = failed(bot)
    bot.call("acknowledge_alert", bot.alert(order).id, "ada")
    bot.call("snooze_alert", bot.alert(order).id, datetime.now(UTC) + timedelta(hours=1), "ada")
    assert retry(bot, bot.alert(order)).is_snoozed
    assert cancel(bot, bot.alert(order)).status == "resolved"


def test_a_resolved_alert_of_a_failed_order_allows_a_retry(bot: Bot) -> None:
    order = failed(bot)
    bot.call("resolve_alert", bot.alert(order).id, "later", "ada")
    assert retry(bot, bot.alert(order)).status == "resolved"
    assert row(bot, order)["status"] == "pending"


def test_an_expired_lock_blocks_no_retry(bot: Bot) -> None:
    order = failed(bot, locked_until=datetime.now(UTC) - timedelta(seconds=1), locked_by="worker-1")
    retry(bot, bot.alert(order))
    assert row(bot, order)["status"] == "pending"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-26T10:00:00.5+02:00", "2026-11-26 08:00:00.5+00"),
        ("2026-11-26T10:00:00", "2026-11-26 10:00:00+00"),  # a column without time zone: in UTC, whatever the session's is
        ("2026-11-26 10:00:00.25", "2026-11-26 10:00:00.25+00"),
        ("2026-11-26 10:00:00Z", "2026-11-26 10:00:00+00"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        *(
            (text, None)
            for text in ("", "tomorrow", "now", "11/26/2026", "2026-02-31T10:00:00", "1700000000", "infinitely", None)
        ),
    ],
)
def test_the_time_of_a_lock_is_parsed(db: psycopg.Connection, text: str | None, time: str | None) -> None:
    db.execute("set timezone = 'Asia/Tokyo'")
    assert db.execute("select walltrack.parse_time(%s) is not distinct from %s::timestamptz", (text, time)).fetchone() == (True,)


@pytest.mark.parametrize(("word", "becomes"), [("FAILED", "PENDING"), ("Failed", "Pending"), ("failed", "pending")])
def test_the_status_is_written_in_the_tables_spelling(bot: Bot, word: str, becomes: str) -> None:
    order = failed(bot, status=word)
    retry(bot, bot.alert(order))
    assert row(bot, order)["status"] == becomes


# The worker takes it


@pytest.mark.parametrize("due", [None, "infinity", "1970-01-01", LATER])
def test_the_worker_takes_a_retried_order_at_once(bot: Bot, due: str | None) -> None:
    order = failed(bot, next_retry_at=due)
    retry(bot, bot.alert(order))
    assert bot.poll() == [order]


def test_a_retry_leaves_other_orders_unchanged(bot: Bot) -> None:
    other = failed(bot, next_retry_at=LATER)
    order = failed(bot)
    retry(bot, bot.alert(order))
    assert bot.poll() == [order] and row(bot, other)["status"] == "failed"


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("kind", ["timestamp", "text"])
def test_a_retried_order_with_naive_times_is_taken(bot: Bot, kind: str, zone: str) -> None:
    """A time without a zone is in UTC, whatever the operator's zone."""
    bot.execute(
        f"create table public.trades (id text primary key, order_type text, status text, attempt_count int, max_attempts int, "
        f"last_error text, retry_at {kind}, locked_until timestamptz)"
    )
    bot.execute("""select walltrack.watch_orders('public.trades', '{"next_retry_at": "retry_at"}')""")
    bot.execute("insert into public.trades values ('seven', 'exit', 'failed', 3, 3, 'boom')")
    bot.execute(f"set timezone = '{zone}'")
    (alert,) = bot.alerts()
    retry(bot, alert)
    bot.execute("set timezone = 'UTC'")
    assert bot.poll("public.trades", "retry_at::timestamptz") == ["seven"]


def test_a_pending_order_that_is_never_due_is_made_due(bot: Bot) -> None:
    """The bot's own retry leaves it like this, and no worker would ever take it."""
    order = failed(bot)
    bot.retry(order)
    assert bot.poll() == []
    retry(bot, bot.alert(order))
    assert bot.poll() == [order]
    assert actions(bot) == [("retry", str(order), "ada", None)]
    refused(
        bot, bot.alert(order), "retry", "waiting", "ada put the order back at .*, and it is due since .* is the worker running?"
    )


def test_a_hosts_trigger_finds_its_own_tables(bot: Bot) -> None:
    """The trigger omits schema names, as most do, and the calling operator has a different search_path."""
    order = failed(bot)
    bot.execute(
        """
        create table walltrack.host_log (what text);
        create table public.public_log (what text);
        create function walltrack.host() returns trigger language plpgsql as
          $$ begin insert into host_log values (new.status); insert into public_log values (new.status); return new; end $$;
        create trigger host before update on walltrack.orders for each row execute function walltrack.host();
        create schema evil; create table evil.host_log (what text); create temporary table host_log (what text);
        set search_path = evil, pg_temp
        """
    )
    retry(bot, bot.alert(order))
    assert bot.execute("select what from walltrack.host_log").fetchall() == [("pending",)]
    assert bot.execute("select what from public.public_log").fetchall() == [("pending",)]
    assert bot.execute("select count(*) from evil.host_log").fetchone() == (0,)
    assert bot.execute("show search_path").fetchone() == ("evil, pg_temp",)


def test_a_writable_public_schema_is_not_searched(bot: Bot) -> None:
    for statement, path in (
        ("revoke create on schema public from public", "pg_catalog, walltrack, public, pg_temp"),
        ("grant create on schema public to public", "pg_catalog, walltrack, pg_temp"),
        ("drop schema public cascade", "pg_catalog, walltrack, pg_temp"),
    ):
        bot.execute(statement)
        assert bot.execute("select walltrack.trigger_search_path('walltrack.orders')").fetchone() == (path,)


def test_recorded_actions_are_never_edited(bot: Bot) -> None:
    retry(bot, bot.alert(failed(bot)))
    with pytest.raises(psycopg.Error) as caught:
        bot.execute("update walltrack.order_actions set actor = 'somebody else'")
    assert caught.value.sqlstate == "WT006"


# Other tables

SECOND = {
    "attempt_count": "retry_count",
    "max_attempts": "max_retries",
    "last_error": "retry_reason",
    "locked_until": "held_until",
}


@pytest.fixture(params=["plain", "partitioned", "enum"])
def second(request: pytest.FixtureRequest, bot: Bot) -> Bot:
    """A second-generation table with text ids, other names, and no columns for the lock or the next retry."""
    status = "text"
    if request.param == "enum":
        bot.execute("create type public.order_status as enum ('PENDING', 'FAILED', 'EXECUTED', 'CANCELLED')")
        status = "public.order_status"
    bot.execute(
        f"""
        create table public.trades (
          id text, order_type text, status {status}, retry_count int, max_retries int, retry_reason text, held_until timestamp,
          "Mode" text, primary key (id {", retry_count" if request.param == "partitioned" else ""})
        ) {"partition by range (retry_count)" if request.param == "partitioned" else ""}
        """
    )
    if request.param == "partitioned":
        bot.execute(
            "create table public.trades_few partition of public.trades for values from (0) to (5);"
            "create table public.trades_many partition of public.trades for values from (5) to (100)"
        )
    bot.execute("select walltrack.watch_orders('public.trades', %s)", (psycopg.types.json.Jsonb(SECOND),))
    bot.execute("insert into public.trades values ('it''s #1', 'exit_stop_loss', 'FAILED', 3, 3, 'boom', null, 'live')")
    return bot


def test_actions_work_on_a_second_generation_table(second: Bot) -> None:
    (alert,) = second.alerts()
    retry(second, alert)
    assert row(second, "it's #1", "public.trades")["status"] == "PENDING"
    refused(second, alert, "retry", "waiting", "ada put the order back at .*, and it is due, but no worker has taken it yet")
    second.execute("update public.trades set status = 'FAILED', retry_count = 5")
    assert second.alerts()[0].data["attempts"] == 5
    assert cancel(second, alert, "enough").resolution == "Order cancelled"
    found = row(second, "it's #1", "public.trades")
    assert (found["status"], found["retry_reason"]) == ("CANCELLED", "enough")
    order = second.execute("select walltrack.order_of_alert(%s)", (alert.id,)).fetchone()
    assert order is not None
    stored = (order[0]["last_error"], order[0]["retry_reason"], order[0].get("locked_until"))
    assert stored == ("enough", "enough", None)


def test_actions_on_a_second_generation_table_are_refused(second: Bot) -> None:
    (alert,) = second.alerts()
    second.execute("update public.trades set held_until = now() at time zone 'UTC' + interval '1 h'")
    second.execute("set timezone = 'Asia/Tokyo'")
    refused(second, alert, "retry", "locked", "a worker is working on the order")
    second.execute("update public.trades set held_until = now() at time zone 'UTC' - interval '1 s', status = 'EXECUTED'")
    refused(second, alert, "retry", "filled", "the order was executed")
    if second.execute("select pg_typeof(status)::text from public.trades").fetchone() == ("text",):
        second.execute("update public.trades set status = 'parked'")
        refused(
            second, alert, "cancel", "other_status", "the order is 'parked', and only a pending or failed order can be cancelled"
        )


def test_an_order_found_in_two_tables_is_refused(bot: Bot) -> None:
    order = failed(bot)
    alert = bot.alert(order)
    bot.execute("create table public.orders (like walltrack.orders including all)")
    bot.execute("select walltrack.watch_orders('public.orders')")
    bot.execute("alter table public.orders disable trigger user; insert into public.orders select * from walltrack.orders")
    bot.execute("update walltrack.alerts set order_table = null")  # as of an adopted alert
    refused(bot, alert, "retry", "ambiguous", "the alert is ambiguous")
    bot.execute("select walltrack.reconcile_orders()")  # records the table
    retry(bot, alert)


# At once


def test_a_row_that_is_being_written_is_refused(database_url: str, bot: Bot) -> None:
    """The worker holds the row in an open transaction: the operator gets a refusal within 200 ms."""
    order = failed(bot)
    alert = bot.alert(order)
    with psycopg.connect(database_url) as worker:
        worker.execute("select from walltrack.orders where id = %s for update", (order,))
        for what in ("retry", "cancel"):
            refused(bot, alert, what, "busy", "another session is writing the order")
    retry(bot, alert)


def test_an_alert_that_is_being_written_is_refused(database_url: str, bot: Bot) -> None:
    """Otherwise the order would be cancelled while its alert stays open until the next reconciliation."""
    order = failed(bot)
    alert = bot.alert(order)
    with psycopg.connect(database_url) as operator:
        operator.execute("select walltrack.acknowledge_alert(%s, 'bob')", (alert.id,))
        refused(bot, alert, "cancel", "busy", "another session is writing the alert")
    assert cancel(bot, alert).status == "resolved"


def test_a_foreign_key_to_the_order_blocks_no_action(database_url: str, bot: Bot) -> None:
    order = failed(bot)
    with psycopg.connect(database_url) as other:
        other.execute("select from walltrack.orders where id = %s for key share", (order,))
        retry(bot, bot.alert(order))


def test_an_order_filled_just_before_is_refused(database_url: str, bot: Bot) -> None:
    """The operator's action waits for the worker's transaction and then sees the row that it wrote."""
    order = failed(bot)
    alert = bot.alert(order)
    with psycopg.connect(database_url) as worker, psycopg.connect(database_url, autocommit=True) as watcher:
        Bot(worker).fill(order)
        errors: list[str] = []

        def operator() -> None:
            try:
                retry(bot, alert)
            except psycopg.Error as error:
                errors.append(str(error))

        # Long enough for the test; that the function itself waits for 200 ms only is shown above.
        watcher.execute("alter function walltrack.act_on_order(uuid, text, text, text) set lock_timeout = '60s'")
        thread = threading.Thread(target=operator, daemon=True)
        thread.start()
        blocked = "select %s = any (pg_blocking_pids(%s))"
        pids = (worker.info.backend_pid, bot.connection.info.backend_pid)
        while thread.is_alive() and watcher.execute(blocked, pids).fetchone() != (True,):
            pass
        worker.commit()
        thread.join(60)
    assert len(errors) == 1 and "the order was filled" in errors[0]
    assert actions(bot) == []


def work(bot: Bot, orders: list[uuid.UUID]) -> None:
    """The retry worker: takes pending orders and fails them."""
    for order in orders * 15:
        with bot.connection.transaction():
            found = bot.execute(
                "select from walltrack.orders where id = %s and status = 'pending' for update skip locked", (order,)
            ).fetchone()
            if found is not None:
                bot.update(order, status="submitted")
                bot.fail(order)


def operate(bot: Bot, alerts: list[uuid.UUID], number: int) -> None:
    """One of four operators: mostly retries, sometimes acknowledges; the first one cancels everything at the end."""
    for turn in range(15):
        for alert in alerts:
            call = ("cancel_order", alert, "enough", "ada") if turn == 14 and number == 0 else ("retry_order", alert, "ada")
            if turn % 5 == number:
                call = ("acknowledge_alert", alert, "ada")
            try:
                bot.call(*call)
            except psycopg.Error as error:
                if error.sqlstate not in ("WT011", "WT002"):
                    raise


def test_workers_and_operators_act_at_once(database_url: str, bot: Bot) -> None:
    """No deadlock, no order taken by both, and every refusal has a reason."""
    orders = [failed(bot, order_type) for order_type in ("exit", "entry") * 3]
    alerts = [bot.alert(order).id for order in orders]
    start = threading.Barrier(6)
    wrong: list[str] = []

    def run(person: Callable[..., None], *arguments: Any) -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                start.wait(60)
                person(Bot(connection), *arguments)
        except Exception as error:
            wrong.append(repr(error))

    everybody: list[tuple[Any, ...]] = [(work, orders)] * 2 + [(operate, alerts, number) for number in range(4)]
    threads = [threading.Thread(target=run, args=somebody, daemon=True) for somebody in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert len(actions(bot)) > len(orders)
    for order in orders:
        cancelled = row(bot, order)["status"] == "cancelled"
        assert (bot.alert(order).status == "resolved") == cancelled
    # On a busy machine a worker may give up waiting for an alert that is being acknowledged; that is allowed (R9).
    bot.execute("delete from walltrack.alert_faults where sqlstate = '55P03'")
