"""Each cause of a fault: broken, written, reported, mended, healed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import BROKEN, ENDS, HOST_TRIGGER, MENDED, NO_HOST_TRIGGER, assert_fault_reported, order_row
from tests.support.reconciling import reconcile
from walltrack_alerts import AlertStatus, migrations


@dataclass(frozen=True)
class Cause:
    """How to break alerting, the possible errors, and how to mend it (`upgrade`: by migrating again)."""

    broken: str
    sqlstates: str
    mended: str = ""
    upgrade: bool = False
    kept: bool = True
    """Whether the fault can be kept: not where the guard has lost its right to write it."""
    ends: bool = True
    """Whether an alert that is open before can be, and fails to be, resolved."""


# The guard's owner is a role with these rights and no others.
WEAK = (
    "create role {role}; grant usage on schema walltrack to {role}; grant all on all tables in schema walltrack to {role};"
    "grant execute on all functions in schema walltrack to {role}; grant all on all sequences in schema walltrack to {role};"
    "alter function walltrack.tg_orders__guard() owner to {role};"
)
NO_LONGER_WEAK = "alter function walltrack.tg_orders__guard() owner to current_user; drop owned by {role}; drop role {role}"

CAUSES = {
    "a check constraint": Cause(BROKEN, "23514", MENDED),
    "a not null constraint": Cause(
        "alter table walltrack.alerts add column ticket int not null default 1;"
        "alter table walltrack.alerts alter column ticket drop default",
        "23502",
        "alter table walltrack.alerts drop column ticket",
        ends=False,
    ),
    "a unique index": Cause(
        "select walltrack.raise_alert('test', 'info', 'the only one');"
        "create unique index only_one on walltrack.alerts ((true)) where status <> 'resolved'",
        "23505",
        "drop index walltrack.only_one; delete from walltrack.alerts where alert_type = 'test'",
        ends=False,
    ),
    "a trigger of the host": Cause(HOST_TRIGGER.format(body="raise exception 'no';"), "P0001", NO_HOST_TRIGGER),
    "a division by zero": Cause(HOST_TRIGGER.format(body="new.occurrences := 1 / 0;"), "22012", NO_HOST_TRIGGER),
    "an assertion": Cause(HOST_TRIGGER.format(body="assert false;"), "P0004", NO_HOST_TRIGGER),
    "alerts dropped": Cause("drop table walltrack.alerts cascade", "42704 42P01", upgrade=True, ends=False),
    "alerts renamed": Cause(
        "alter table walltrack.alerts rename to gone", "42704 42P01", "alter table walltrack.gone rename to alerts"
    ),
    "a column of alerts dropped": Cause(
        "alter table walltrack.alerts drop column last_seen_at cascade",
        "42703",
        "alter table walltrack.alerts add column last_seen_at timestamptz not null default now()",
        upgrade=True,
        ends=False,
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
    "row level security forced": Cause(
        WEAK + "alter table walltrack.alerts enable row level security, force row level security",
        "42501",
        "alter table walltrack.alerts disable row level security, no force row level security;" + NO_LONGER_WEAK,
        ends=False,  # the guard sees no alert that it could fail to resolve
    ),
    "no right on alerts": Cause(
        WEAK + "alter role {role} bypassrls; revoke select, insert, update on walltrack.alerts from {role}",
        "42501",
        NO_LONGER_WEAK,
    ),
    "no right on alerts and alert_faults": Cause(
        WEAK + "revoke all on walltrack.alerts, walltrack.alert_faults from {role}", "42501", NO_LONGER_WEAK, kept=False
    ),
    "no right on the functions": Cause(
        WEAK + "alter role {role} bypassrls; revoke execute on all functions in schema walltrack from {role}",
        "42501",
        NO_LONGER_WEAK,
        kept=False,
    ),
    "no right on the schema": Cause(WEAK + "revoke usage on schema walltrack from {role}", "42501", NO_LONGER_WEAK, kept=False),
    "alert_events dropped": Cause("drop table walltrack.alert_events cascade", "42704 42P01", upgrade=True),
    "alert_events renamed": Cause(
        "alter table walltrack.alert_events rename to gone", "42704 42P01", "alter table walltrack.gone rename to alert_events"
    ),
    "the sequence of events at its end": Cause(
        "alter table walltrack.alert_events alter column event_id set maxvalue 1000 restart with 1000;"
        "select nextval(pg_get_serial_sequence('walltrack.alert_events', 'event_id'))",
        "2200H",
        "alter table walltrack.alert_events alter column event_id set no maxvalue",
    ),
    "sync_order() and sync_deleted_order() dropped": Cause(
        "drop function walltrack.sync_order; drop function walltrack.sync_deleted_order", "42883", upgrade=True
    ),
    "open_alert() dropped": Cause("drop function walltrack.open_alert", "42883", upgrade=True, ends=False),
    "close_order_alert() and open_alert() dropped": Cause(
        "drop function walltrack.close_order_alert; drop function walltrack.open_alert", "42883", upgrade=True
    ),
    "notify_event() dropped": Cause("drop function walltrack.notify_event", "42883", upgrade=True),
    "a function replaced by one that fails": Cause(
        "create or replace function walltrack.order_outcome(p_status text, p_is_exhausted boolean, p_is_given_up boolean) "
        "returns text language plpgsql immutable as $$ begin return p_status::int; end $$",
        "22P02",
        upgrade=True,
    ),
    "a payload too long": Cause(
        "create or replace function walltrack.build_event_detail("
        "p_severity text, p_status text, p_occurrences int, p_data jsonb, "
        "p_resolution text default null) returns jsonb language plpgsql as $$ begin perform pg_notify('x', repeat('x', 8000)); "
        "return '{}'; end $$",
        "22023",
        upgrade=True,
    ),
}


# Harmless changes by a host to its table and to those of alerting
HARMLESS = {
    "the row of watched_tables deleted": "delete from walltrack.watched_tables",
    "watched_tables dropped": "drop table walltrack.watched_tables cascade",
    "order_facts dropped": "drop type walltrack.order_facts cascade",
    "an attribute of order_facts dropped": "alter type walltrack.order_facts drop attribute side cascade",
    "an invalid pattern in watched_tables": "update walltrack.watched_tables set cancel_pattern = '('",
    "order_facts with another attribute": "alter type walltrack.order_facts add attribute venue text cascade",
    "an optional column of orders dropped": "alter table walltrack.orders drop column token_symbol",
    "an optional column of orders renamed": "alter table walltrack.orders rename column token_symbol to ticker",
    "an optional column retyped": "alter table walltrack.orders alter column amount_sol type text using 'a lot'",
    "a boolean that is none": "alter table walltrack.orders alter column is_simulated drop default, "
    "alter column is_simulated type text using 'maybe'",
}


@pytest.mark.parametrize("warm", [False, True], ids=["first write of the session", "warm session"])
@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_harmless_changes_cause_no_fault(
    bot: Bot, admin: psycopg.Connection, warnings: list[str], change: str, warm: bool
) -> None:
    order, other = (bot.create("exit", status="submitted", attempt_count=2) for _ in range(2))
    if warm:
        bot.fail(other)
    admin.execute(change)  # type: ignore[arg-type]
    bot.fail(order, "after the change")
    assert bot.alert(order).data["error"] == "after the change"
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"
    assert (warnings, bot.faults()) == ([], [])


@contextmanager
def caused(cause: Cause, admin: psycopg.Connection, database_url: str) -> Iterator[None]:
    """Break alerting for the block and mend it afterwards."""
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
    database_url: str, bot: Bot, admin: psycopg.Connection, warnings: list[str], cause: Cause, warm: bool
) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    if warm:  # its functions and plans are cached
        bot.delete(bot.create("exit", status="failed", attempt_count=3))
    with caused(cause, admin, database_url):
        bot.fail(order, "pool drained")
        assert order_row(bot, order) == ("failed", 3, "pool drained")
        assert_fault_reported(bot, warnings, order, cause.sqlstates, kept=cause.kept)
    reconcile(bot)
    alert = bot.alert(order)
    assert (alert.status, alert.occurrences, alert.data["attempts"]) == (AlertStatus.ACTIVE, 1, 3)
    assert alert.data["error"] == "pool drained"
    assert bot.events(order) == ["raised"]
    assert reconcile(bot) == (0, 0)
    bot.retry(order)
    bot.fail(order, "again")  # the same session, without a new connection
    assert (bot.alert(order).occurrences, len(warnings)) == (2, 1)


ENDING = {name: cause for name, cause in CAUSES.items() if cause.ends}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("cause", ENDING.values(), ids=ENDING)
def test_an_orders_end_is_written_whatever_breaks_its_alert(
    database_url: str, bot: Bot, admin: psycopg.Connection, warnings: list[str], cause: Cause, end: str
) -> None:
    order = bot.create("exit", status="failed", attempt_count=3, last_error="pool drained")
    with caused(cause, admin, database_url):
        getattr(bot, end)(order)
        rows = bot.execute("select status from walltrack.orders where id = %s", (order,)).fetchall()
        assert rows == ([] if end == "delete" else [(ENDS[end],)])
        if end == "delete" and warnings == []:  # a deleted order is looked for in fewer places
            assert bot.alert(order).resolution == "Order deleted"
        else:
            assert_fault_reported(bot, warnings, order, cause.sqlstates, kept=cause.kept)
    reconcile(bot)
    assert (bot.alert(order).status, bot.alert(order).resolution) == (AlertStatus.RESOLVED, f"Order {ENDS[end]}")
    assert reconcile(bot) == (0, 0)
