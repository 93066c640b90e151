"""What the reconciler heals, and what it leaves for its next run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import (
    BROKEN,
    HOST_TRIGGER,
    HOSTS_TRIGGERS,
    MENDED,
    NO_HOST_TRIGGER,
    WATCH_AGAIN,
    alerting_disabled,
    fault_states,
    order_row,
    without_triggers,
)
from tests.support.reconciling import reconcile


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [("bigint", "3000000000"), ("numeric", "NaN"), ("numeric", "Infinity"), ("double precision", "1e300")],
)
def test_attempts_out_of_range_raise_in_the_end(bot: Bot, admin: psycopg.Connection, kind: str, attempts: str) -> None:
    """Every exhausted order gets its alert, if not from the write itself then from the reconciler."""
    admin.execute(f"alter table walltrack.orders alter column attempt_count type {kind}; {WATCH_AGAIN}")  # type: ignore[arg-type]
    order = bot.create("exit", status="submitted")
    other = bot.create("exit", status="submitted", attempt_count=2)
    bot.update(order, status="failed", attempt_count=attempts)
    assert bot.execute("select status from walltrack.orders where id = %s", (order,)).fetchone() == ("failed",)
    with alerting_disabled(admin):
        bot.fail(other)
    reconcile(bot)
    assert bot.alert(other).is_open  # one order that cannot be reported never stops the others
    assert bot.alert(order).is_open


def test_an_unreadable_order_does_not_count_as_deleted(bot: Bot, admin: psycopg.Connection) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    admin.execute(f"alter table walltrack.orders alter column amount_sol type text; {WATCH_AGAIN}")  # type: ignore[arg-type]
    bot.update(order, amount_sol="n/a", status="pending", attempt_count=1)
    reconcile(bot)
    assert bot.alert(order).is_open


def test_the_reconciler_heals_the_other_tables(bot: Bot, admin: psycopg.Connection) -> None:
    """A watched table that was dropped or lost a column does not stop the reconciler from healing the others."""
    order = bot.create("exit", status="submitted", attempt_count=2)
    for table in ("dropped", "renamed"):
        admin.execute(f"create table walltrack.{table} (like walltrack.orders including defaults)")  # type: ignore[arg-type]
        admin.execute(f"select walltrack.watch_orders('walltrack.{table}')")  # type: ignore[arg-type]
    admin.execute("drop table walltrack.dropped; alter table walltrack.renamed rename column token_symbol to ticker")
    with alerting_disabled(admin):
        bot.fail(order)
    reconcile(bot)
    assert bot.alert(order).is_open


def test_an_unhealed_fault_is_kept(bot: Bot, admin: psycopg.Connection) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    admin.execute("delete from walltrack.watched_tables;" + BROKEN)
    bot.fail(order)
    admin.execute(MENDED)
    reconcile(bot)  # the reconciler finds no watched table
    assert bot.alerts(order) == [] and fault_states(bot) == ["23514"]
    admin.execute(WATCH_AGAIN)
    assert reconcile(bot) == (1, 0)
    assert fault_states(bot) == []


def test_a_fault_of_an_open_transaction_is_kept(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """The transaction commits after the reconciler has looked, with an id below one committed earlier."""
    first, second = (bot.create("exit", status="submitted", attempt_count=2) for _ in range(2))
    with psycopg.connect(database_url) as slow:
        admin.execute(BROKEN)
        Bot(slow).fail(first)
        bot.fail(second)
        admin.execute(MENDED)
        known = bot.execute("select walltrack.known_faults()").fetchone()
        slow.commit()
    bot.execute("select walltrack.clear_faults(%s)", known)
    assert [order for (order,) in bot.execute("select order_id from walltrack.alert_faults")] == [str(first)]
    assert reconcile(bot) == (2, 0)
    assert fault_states(bot) == []


def test_a_write_survives_an_endless_host_trigger_on_alerts(bot: Bot, admin: psycopg.Connection, warnings: list[str]) -> None:
    """The trigger swallows every inserted row: the write gives up by itself before its timeout."""
    order = bot.create("exit", status="submitted", attempt_count=2)
    admin.execute(HOST_TRIGGER.format(body="return null;"))  # type: ignore[arg-type]
    bot.fail(order)
    assert order_row(bot, order)[:2] == ("failed", 3)
    assert len(warnings) == 1 and "57014" not in fault_states(bot)
    admin.execute(NO_HOST_TRIGGER)
    assert reconcile(bot) == (1, 0)


# Triggers that do not fire


@pytest.mark.parametrize("silent", [alerting_disabled, without_triggers])
def test_writes_missed_by_the_triggers_are_healed(bot: Bot, silent: Callable[[psycopg.Connection], Iterator[None]]) -> None:
    fresh = bot.create("exit", status="submitted", attempt_count=2)
    again, filled, cancelled, deleted = (bot.create("exit", status="failed", attempt_count=3) for _ in range(4))
    held, later = (bot.create("exit", status="failed", attempt_count=3) for _ in range(2))
    for order in (held, later):
        bot.call("resolve_alert", bot.alert(order).id, "by hand", "ada")
    with silent(bot.connection):
        bot.fail(fresh, "unseen")
        bot.retry(again)
        bot.fail(again, "unseen")
        bot.fill(filled)
        bot.cancel(cancelled)
        bot.delete(deleted)
        bot.give_up(held)
        bot.fail(later, "unseen")
    assert reconcile(bot) == (3, 3)
    assert bot.alert(fresh).data["error"] == "unseen"
    assert [bot.alert(order).resolution for order in (filled, cancelled, deleted)] == [
        "Order filled",
        "Order cancelled",
        "Order deleted",
    ]
    assert bot.alert(held).resolution == "by hand"  # holds until the order fails again
    assert [alert.status for alert in bot.alerts(later)] == ["resolved", "active"]
    assert reconcile(bot) == (0, 0)


def test_a_repeat_missed_by_the_triggers_updates_the_alert(bot: Bot) -> None:
    """An open alert does not keep showing outdated attempts and an outdated error."""
    order = bot.create("exit", status="failed", attempt_count=3, last_error="before")
    with without_triggers(bot.connection):
        bot.retry(order)
        bot.fail(order, "unseen")
    reconcile(bot)
    assert (bot.alert(order).data["attempts"], bot.alert(order).data["error"]) == (4, "unseen")


# What the reconciler cannot read


CAST = """
create type walltrack.venue as enum ('good', 'bad');
create function walltrack.venue_json(walltrack.venue) returns json language plpgsql immutable as
  $$ begin if $1 = 'bad' then raise 'no JSON of it'; end if; return '{}'; end $$;
create cast (walltrack.venue as json) with function walltrack.venue_json;
alter table walltrack.orders add column venue walltrack.venue;
"""


def test_a_row_need_not_convert_to_json(bot: Bot, admin: psycopg.Connection, warnings: list[str]) -> None:
    """The guard reads only mapped columns and calls no cast of the type's owner."""
    admin.execute(CAST)
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.update(order, venue="bad")
    bot.fail(order)
    assert bot.alert(order).is_open
    with alerting_disabled(admin):
        bot.fill(order)
    assert reconcile(bot) == (0, 1)
    assert (warnings, bot.faults()) == ([], [])


def test_an_invalid_time_does_not_count_as_a_deletion(bot: Bot, admin: psycopg.Connection) -> None:
    admin.execute(HOSTS_TRIGGERS)
    admin.execute("alter table walltrack.orders alter column updated_at type text")
    order = bot.create("exit", status="failed", attempt_count=3)
    bot.update(order, updated_at="2025-02-31T25:00:00")
    bot.fail(order, "later")
    assert bot.alert(order).data["error"] == "later"
    assert reconcile(bot) == (0, 0)
    assert bot.alert(order).is_open and bot.faults() == []


def test_a_status_may_be_null(bot: Bot, admin: psycopg.Connection) -> None:
    admin.execute("alter table walltrack.orders alter column status drop not null")
    order = bot.create("exit", status=None, attempt_count=2)
    bot.update(order, attempt_count=3)
    bot.update(order, last_error="known by now")
    assert (bot.alert(order).occurrences, bot.alert(order).data["error"]) == (1, "known by now")
    assert bot.faults() == []


def test_null_attempts_count_as_none(bot: Bot) -> None:
    """NULL means no attempts: the first failures count, and only the last one raises an alert."""
    order = bot.create("exit", attempt_count=None, max_attempts=None)
    bot.update(order, status="failed")
    bot.update(order, max_attempts=3)
    bot.fill(order)
    assert bot.alerts() == []
    again = bot.create("exit", status="failed", attempt_count=3)
    bot.call("resolve_alert", bot.alert(again).id, "by hand", "ada")
    bot.update(again, attempt_count=None)
    bot.update(again, attempt_count=3)
    assert [alert.status for alert in bot.alerts(again)] == ["resolved", "active"]
    assert bot.faults() == []


def test_a_table_that_was_dropped_has_no_orders(bot: Bot, admin: psycopg.Connection) -> None:
    """The dropped table does not stop the reconciler, which resolves the open alerts of its orders."""
    admin.execute("create table walltrack.other (like walltrack.orders including defaults)")
    admin.execute("select walltrack.watch_orders('walltrack.other')")
    order = bot.create("exit", status="failed", attempt_count=3)
    gone = uuid.uuid4()
    bot.execute(
        "insert into walltrack.other (id, order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "values (%s, 'exit', 'sell', 'x', 1, 1, 'failed', 3)",
        (gone,),
    )
    admin.execute("drop table walltrack.other")
    with alerting_disabled(admin):
        bot.fill(order)
    assert reconcile(bot) == (0, 2)
    assert [bot.alert(o).resolution for o in (order, gone)] == ["Order filled", "Order deleted"]
    assert bot.faults() == []
