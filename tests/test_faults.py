"""Whatever goes wrong in alerting, the order write commits, somebody is told, and the alert exists in the end.

Every test really causes its fault: nothing is simulated. Then the same four questions: did the order write commit, is
the fault kept in alert_faults (or, where that is impossible, heard as a WARNING), and is the alert right once the cause
is mended and reconcile_orders() has run?
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus

from tests.bot import TOKEN, Bot
from tests.conftest import new_database
from walltrack_alerts import AlertStatus, migrations
from walltrack_alerts.embedded import embedded_server, is_available

BROKEN = "alter table walltrack.alerts add constraint alerts_never check (false) not valid"
MENDED = "alter table walltrack.alerts drop constraint alerts_never"


@pytest.fixture
def heard(db: psycopg.Connection) -> list[str]:
    """The warnings that the writer of orders hears."""
    return listen_to(db)


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    """Somebody else, who breaks and mends: the writer's session has to notice by itself."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def bounded(db: psycopg.Connection) -> None:
    """A write that hangs is a failure of the test, not its end."""
    db.execute("set statement_timeout = '20s'")


def listen_to(connection: psycopg.Connection) -> list[str]:
    heard: list[str] = []
    connection.add_notice_handler(lambda d: heard.append(f"{d.severity_nonlocalized} {d.message_primary}"))
    return heard


def order_row(bot: Bot, order: uuid.UUID) -> tuple[str, int, str | None]:
    """(status, attempt_count, last_error) as it is committed."""
    assert bot.connection.info.transaction_status is TransactionStatus.IDLE
    row = bot.execute("select status, attempt_count, last_error from walltrack.orders where id = %s", (order,)).fetchone()
    assert row is not None
    return row


def reconcile(bot: Bot) -> tuple[int, int]:
    """(raised, resolved)."""
    row = bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone()
    assert row is not None
    return row


def states(bot: Bot) -> list[str]:
    return [sqlstate for sqlstate, _ in bot.faults()]


def assert_told(bot: Bot, heard: list[str], order: uuid.UUID, *sqlstates: str) -> None:
    """Each fault is kept once and was heard once."""
    assert states(bot) == list(sqlstates)
    assert len(heard) == len(sqlstates)
    for line, sqlstate in zip(heard, sqlstates, strict=True):
        assert line.startswith(f"WARNING walltrack_alerts: order {order} of walltrack.orders was written but its alert was not")
        assert line.endswith(f"({sqlstate})")


def wait_until_blocked(watcher: psycopg.Connection, waiting: psycopg.Connection, blocker: psycopg.Connection) -> None:
    """Until one session waits for a lock that the other one holds."""
    while True:
        row = watcher.execute(
            "select %s = any (pg_blocking_pids(%s))", (blocker.info.backend_pid, waiting.info.backend_pid)
        ).fetchone()
        if row == (True,):
            return


def let_go(notify: psycopg.Connection) -> None:
    """End the open transaction of a session."""
    notify.rollback()


# One cause, one error


@dataclass(frozen=True)
class Cause:
    """How alerting is broken, what the error is, how it is mended (`upgrade`: by migrating again)."""

    broken: str
    sqlstate: str
    mended: str = ""
    upgrade: bool = False
    keeps_alerts: bool = True


HOST_TRIGGER = (
    "create function walltrack.host() returns trigger language plpgsql as $$ begin {body} end $$;"
    "create trigger host before insert or update on walltrack.alerts for each row execute function walltrack.host()"
)
NO_HOST_TRIGGER = "drop function walltrack.host() cascade"
WATCH_AGAIN = "select walltrack.watch_orders('walltrack.orders')"
RENAMED = """select walltrack.watch_orders('walltrack.orders', '{"token_symbol": "ticker"}')"""

CAUSES = {
    "a check constraint": Cause(BROKEN, "23514", MENDED),
    "a not null constraint": Cause(
        "alter table walltrack.alerts add column ticket int; alter table walltrack.alerts add check (ticket is not null) not valid",
        "23514",
        "alter table walltrack.alerts drop column ticket",
    ),
    "a unique index": Cause(
        "alter table walltrack.alerts add column one boolean default true;"
        "insert into walltrack.alerts (alert_type, severity, title) values ('test', 'info', 'the first');"
        "create unique index only_one on walltrack.alerts (one) where alert_type = 'test' or one",
        "23505",
        "alter table walltrack.alerts drop column one",
        keeps_alerts=False,
    ),
    "a trigger of the host": Cause(HOST_TRIGGER.format(body="raise exception 'no';"), "P0001", NO_HOST_TRIGGER),
    "a division by zero": Cause(HOST_TRIGGER.format(body="new.occurrences := 1 / 0;"), "22012", NO_HOST_TRIGGER),
    "an assertion": Cause(HOST_TRIGGER.format(body="assert false;"), "P0004", NO_HOST_TRIGGER),
    "alerts dropped": Cause("drop table walltrack.alerts cascade", "42704", upgrade=True, keeps_alerts=False),
    "alerts renamed": Cause(
        "alter table walltrack.alerts rename to gone", "42P01", "alter table walltrack.gone rename to alerts"
    ),
    "a column of alerts dropped": Cause(
        "alter table walltrack.alerts drop column last_seen_at cascade",
        "42703",
        "alter table walltrack.alerts add column last_seen_at timestamptz not null default now()",
        upgrade=True,
    ),
    "a column of alerts renamed": Cause(
        "alter table walltrack.alerts rename column updated_at to touched",
        "42703",
        "alter table walltrack.alerts rename column touched to updated_at",
    ),
    "a column of alerts retyped": Cause(
        "drop view walltrack.open_alerts; alter table walltrack.alerts alter column notified_at type int using null",
        "42804",
        "alter table walltrack.alerts alter column notified_at type timestamptz using null",
        upgrade=True,
    ),
    "the unique index of alerts dropped": Cause(
        "drop index walltrack.alerts_one_open_per_dedupe_key",
        "42P10",
        "create unique index alerts_one_open_per_dedupe_key on walltrack.alerts (dedupe_key) where status <> 'resolved'",
        keeps_alerts=False,  # nothing is inserted to resolve
    ),
    "row level security forced": Cause(
        "alter table walltrack.alerts enable row level security; alter table walltrack.alerts force row level security;"
        "create role {role}; grant usage on schema walltrack to {role};"
        "grant all on all tables in schema walltrack to {role}; grant execute on all functions in schema walltrack to {role};"
        "alter function walltrack.tg_orders__guard() owner to {role}",
        "42501",
        "alter function walltrack.tg_orders__guard() owner to current_user;"
        "alter table walltrack.alerts no force row level security; alter table walltrack.alerts disable row level security;"
        "drop owned by {role}; drop role {role}",
        keeps_alerts=False,  # the alert cannot be seen, so nothing fails and the reconciler has to find it
    ),
    "no right on alerts": Cause(
        "create role {role}; grant usage on schema walltrack to {role};"
        "grant all on all tables in schema walltrack to {role}; grant execute on all functions in schema walltrack to {role};"
        "revoke insert, update on walltrack.alerts from {role}; alter function walltrack.tg_orders__guard() owner to {role}",
        "42501",
        "alter function walltrack.tg_orders__guard() owner to current_user; drop owned by {role}; drop role {role}",
    ),
    "no right on the functions": Cause(
        "create role {role}; grant usage on schema walltrack to {role};"
        "grant all on all tables in schema walltrack to {role}; alter function walltrack.tg_orders__guard() owner to {role}",
        "42501",
        "alter function walltrack.tg_orders__guard() owner to current_user; drop owned by {role}; drop role {role}",
    ),
    "alert_events dropped": Cause("drop table walltrack.alert_events cascade", "42704", upgrade=True),
    "alert_events renamed": Cause(
        "alter table walltrack.alert_events rename to gone", "42P01", "alter table walltrack.gone rename to alert_events"
    ),
    "the sequence of events at its end": Cause(
        "alter table walltrack.alert_events alter column event_id set maxvalue 2 restart with 2;"
        "insert into walltrack.alerts (alert_type, severity, title, id) values ('test', 'info', 'one',"
        " '00000000-0000-0000-0000-000000000001');"
        "insert into walltrack.alert_events (alert_id, kind, actor) values"
        " ('00000000-0000-0000-0000-000000000001', 'raised', 'test')",
        "2200H",
        "alter table walltrack.alert_events alter column event_id set no maxvalue",
        keeps_alerts=False,
    ),
    "the row of watched_tables deleted": Cause("delete from walltrack.watched_tables", "P0002", WATCH_AGAIN, keeps_alerts=True),
    "watched_tables dropped": Cause("drop table walltrack.watched_tables cascade", "42P01", upgrade=True),
    "order_changed() dropped": Cause("drop function walltrack.order_changed", "42883", upgrade=True),
    "upsert_alert() dropped": Cause("drop function walltrack.upsert_alert", "42883", upgrade=True, keeps_alerts=False),
    "resolve_alert() and upsert_alert() dropped": Cause(
        "drop function walltrack.resolve_alert; drop function walltrack.upsert_alert", "42883", upgrade=True
    ),
    "append_event() dropped": Cause("drop function walltrack.append_event", "42883", upgrade=True),
    "a function replaced by one that fails": Cause(
        "create or replace function walltrack.clip(p_text text, p_length int) returns text language plpgsql immutable as "
        "$$ begin return p_text::int; end $$",
        "22P02",
        upgrade=True,
        keeps_alerts=False,
    ),
    "a payload too long": Cause(
        "create or replace function walltrack.event_payload(p_alert walltrack.alerts, p_event walltrack.alert_events)"
        " returns text language sql immutable as $$ select repeat('x', 8000) $$",
        "22023",
        upgrade=True,
    ),
    "order_facts with another attribute": Cause(
        "alter type walltrack.order_facts add attribute venue text cascade",
        "42846",
        "alter type walltrack.order_facts drop attribute venue cascade",
    ),
    "an attribute of order_facts dropped": Cause(
        "alter type walltrack.order_facts drop attribute side cascade",
        "42846",
        "drop type walltrack.order_facts cascade",
        upgrade=True,
    ),
    "order_facts dropped": Cause("drop type walltrack.order_facts cascade", "42704", upgrade=True),
    "an optional column of orders dropped": Cause("alter table walltrack.orders drop column token_symbol", "42703", WATCH_AGAIN),
    "an optional column of orders renamed": Cause(
        "alter table walltrack.orders rename column token_symbol to ticker", "42703", RENAMED
    ),
    "an optional column retyped": Cause(
        "alter table walltrack.orders alter column amount_sol type text using 'a lot'",
        "22P02",
        "alter table walltrack.orders alter column amount_sol type numeric using 1.5",
    ),
    "a boolean that is none": Cause(
        "alter table walltrack.orders alter column is_simulated drop default, alter column is_simulated type text using 'maybe'",
        "22P02",
        "alter table walltrack.orders alter column is_simulated type boolean using false",
    ),
    "an invalid pattern": Cause(
        "update walltrack.watched_tables set cancel_pattern = '('",
        "2201B",
        "update walltrack.watched_tables set cancel_pattern = '^Max retries reached'",
        keeps_alerts=False,  # a filled order is not matched
    ),
}


@contextmanager
def caused(cause: Cause, admin: psycopg.Connection, database_url: str) -> Iterator[None]:
    """Broken inside, mended afterwards."""
    role = f"wt_weak_{uuid.uuid4().hex[:12]}"  # roles belong to the whole server
    admin.execute(cause.broken.replace("{role}", role))  # type: ignore[arg-type]
    try:
        yield
    finally:
        admin.execute(cause.mended.replace("{role}", role))  # type: ignore[arg-type]
    if cause.upgrade:
        migrations.upgrade(database_url)


@pytest.mark.parametrize("warm", [False, True], ids=["first write of the session", "warm session"])
@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_a_failure_is_written_whatever_breaks_its_alert(
    database_url: str, bot: Bot, admin: psycopg.Connection, heard: list[str], cause: Cause, warm: bool
) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    if warm:  # its functions and plans are cached
        bot.delete(bot.create("exit", status="failed", attempt_count=3))
    with caused(cause, admin, database_url):
        bot.fail(order, "pool drained")
        assert order_row(bot, order) == ("failed", 3, "pool drained")
        assert_told(bot, heard, order, cause.sqlstate)
    reconcile(bot)
    alert = bot.alert(order)
    assert (alert.status, alert.occurrences, alert.data["attempts"]) == (AlertStatus.ACTIVE, 1, 3)
    assert alert.data["error"] == "pool drained"
    assert bot.events(order) == ["raised"]
    assert reconcile(bot) == (0, 0)
    bot.retry(order)
    bot.fail(order, "again")  # the same session, without a new connection
    assert (bot.alert(order).occurrences, len(heard)) == (2, 1)


ENDING = {name: cause for name, cause in CAUSES.items() if cause.keeps_alerts}


@pytest.mark.parametrize(("end", "status"), [("fill", "filled"), ("cancel", "cancelled"), ("delete", None)])
@pytest.mark.parametrize("cause", ENDING.values(), ids=ENDING)
def test_the_end_of_an_order_is_written_whatever_breaks_its_alert(
    database_url: str, bot: Bot, admin: psycopg.Connection, heard: list[str], cause: Cause, end: str, status: str | None
) -> None:
    order = bot.create("exit", status="failed", attempt_count=3, last_error="pool drained")
    with caused(cause, admin, database_url):
        getattr(bot, end)(order)
        rows = bot.execute("select status from walltrack.orders where id = %s", (order,)).fetchall()
        assert rows == ([] if status is None else [(status,)])
        if not (status is None and cause.sqlstate in {"P0002", "42P01"} and states(bot) == []):
            assert_told(bot, heard, order, cause.sqlstate)
    reconcile(bot)
    assert (bot.alert(order).status, bot.alert(order).resolution) == (AlertStatus.RESOLVED, f"Order {status or 'deleted'}")
    assert reconcile(bot) == (0, 0)
