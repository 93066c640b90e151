"""The host's migrations of a watched table: order writes continue, and the guard follows in the same transaction.

The writer's session has written orders before, as pooled connections have.
"""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import fault_states, run_meanwhile, wait_until_blocked
from tests.support.reconciling import reconcile
from tests.support.writer import Writer
from walltrack_alerts import migrations

COMPARED = ("attempt_count", "max_attempts", "status", "order_type", "last_error")


BROKEN_TYPES = (
    "create or replace function walltrack.column_types(p_table regclass, p_columns jsonb) returns jsonb language plpgsql as "
    "$$ begin assert false; end $$"
)


def guard(bot: Bot) -> object:
    """The version of the guard's function."""
    return bot.execute("select xmin, ctid from pg_proc where proname = 'tg_orders__guard'").fetchone()


# Renamed


@pytest.mark.parametrize("column", [*COMPARED, "id", "token_address"])
def test_the_guard_follows_a_renamed_column(
    writer: Writer, admin: psycopg.Connection, warnings: list[str], ddl_warnings: list[str], column: str
) -> None:
    admin.execute(f"alter table walltrack.orders rename column {column} to other")  # type: ignore[arg-type]
    writer.names[column] = "other"
    writer.assert_alerts()
    assert (warnings, ddl_warnings) == ([], [])


def test_a_renamed_column_may_have_a_quoted_type(writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str]) -> None:
    admin.execute("create type public.state as enum ('pending', 'submitted', 'confirming', 'filled', 'failed', 'cancelled')")
    admin.execute(
        "alter table walltrack.orders alter status drop default, alter status type public.state using status::public.state"
    )
    admin.execute("set quote_all_identifiers = on")
    admin.execute("alter table walltrack.orders rename status to phase")
    writer.names["status"] = "phase"
    writer.assert_alerts()
    assert ddl_warnings == []


@pytest.mark.parametrize("command", ["alter table only", "alter view", "alter materialized view", "alter foreign table"])
def test_the_guard_follows_other_ways_to_rename(writer: Writer, admin: psycopg.Connection, command: str) -> None:
    """PostgreSQL can rename a table's column with the commands for other relations too."""
    admin.execute(f"{command} walltrack.orders rename column status to state")  # type: ignore[arg-type]
    writer.names["status"] = "state"
    writer.assert_alerts()


def test_columns_may_swap_their_names(writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str]) -> None:
    with admin.transaction():
        for old, new in (("attempt_count", "swap"), ("max_attempts", "attempt_count"), ("swap", "max_attempts")):
            admin.execute(f"alter table walltrack.orders rename column {old} to {new}")  # type: ignore[arg-type]
    writer.names = {"attempt_count": "max_attempts", "max_attempts": "attempt_count"}
    writer.assert_alerts()
    assert ddl_warnings == []


def test_the_guard_follows_a_renamed_column_of_the_parent(bot: Bot, admin: psycopg.Connection) -> None:
    """The table inherits its status: the statement names another table, where the column has another number."""
    admin.execute(
        "create table walltrack.base (unrelated int, status text);"
        "create table walltrack.child (like walltrack.orders including defaults);"
        "alter table walltrack.child alter status type text;"
        "alter table walltrack.child add unrelated int; alter table walltrack.child inherit walltrack.base;"
        "select walltrack.watch_orders('walltrack.child');"
        "alter table walltrack.base rename column status to state"
    )
    order = uuid.uuid4()
    bot.execute(
        "insert into walltrack.child (id, order_type, side, token_address, amount_sol, expected_price, state, attempt_count) "
        "values (%s, 'exit', 'sell', 'x', 1, 1, 'failed', 3)",
        (order,),
    )
    assert bot.alert(order).is_open
    bot.execute("update walltrack.child set state = 'filled'")
    assert not bot.alert(order).is_open


def test_a_new_column_does_not_replace_a_dropped_column(writer: Writer, admin: psycopg.Connection) -> None:
    """Only the statement that renames a column moves a fact, not a later one that renames another object."""
    admin.execute("alter table walltrack.orders drop column last_error")
    admin.execute("alter table walltrack.orders add column note text; alter table walltrack.orders rename column note to remark")
    writer.names["last_error"] = "remark"
    writer.fail("no error")
    assert writer.bot.alert(writer.order).data["error"] is None


# Dropped, retyped


@pytest.mark.parametrize("column", ["order_type", "last_error", "token_symbol"])
def test_a_dropped_column_costs_only_its_fact(
    writer: Writer, admin: psycopg.Connection, warnings: list[str], ddl_warnings: list[str], column: str
) -> None:
    admin.execute(f"alter table walltrack.orders drop column {column}")  # type: ignore[arg-type]
    writer.write(locked_by="worker-2")
    writer.write(status="failed", attempt_count=3)
    alert = writer.bot.alert(writer.order)
    assert alert.severity == "critical" and alert.data["attempts"] == 3
    writer.write(status="filled")
    assert not writer.bot.alert(writer.order).is_open
    assert (warnings, writer.bot.faults()) == ([], [])
    assert ddl_warnings == (
        [] if column == "token_symbol" else [f"NOTICE walltrack_alerts: the alerts of walltrack.orders continue without {column}"]
    )


@pytest.mark.parametrize("column", ["attempt_count", "max_attempts", "status", "id"])
def test_dropping_an_indispensable_column_is_reported(
    writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str], column: str
) -> None:
    """Order writes continue, the migrating session gets a warning, and the fault stays until it is mended."""
    admin.execute(f"alter table walltrack.orders drop column {column}")  # type: ignore[arg-type]
    fact = "order_id" if column == "id" else column
    assert len(ddl_warnings) == 1 and ddl_warnings[0].startswith(
        "WARNING walltrack_alerts: the orders of walltrack.orders are written"
    )
    assert ddl_warnings[0].endswith(fact)
    assert fault_states(writer.bot) == ["WT004"]
    values = {"status": "failed", "attempt_count": 3, "last_error": "pool drained", "locked_by": "worker-2"}
    values.pop(column, None)
    for name, value in values.items():
        writer.write(**{name: value})
    admin.execute("alter table walltrack.orders add column unrelated int")
    assert len(ddl_warnings) == 1  # once
    reconcile(writer.bot)
    kept = writer.bot.faults()
    assert ("WT004", f"the guard can no longer find a column for: {fact}") in kept
    reconcile(writer.bot)
    assert writer.bot.faults() == kept  # as many as before

    again = {"id": f"uuid default '{writer.order}'", "status": "text default 'failed'"}.get(column, "int default 3")
    admin.execute(f"alter table walltrack.orders add column {column} {again}")  # type: ignore[arg-type]
    reconcile(writer.bot)
    assert writer.bot.faults() == [] and writer.bot.alert(writer.order).is_open
    writer.write(status="filled")
    assert not writer.bot.alert(writer.order).is_open


def test_the_guard_follows_a_replaced_column(writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str]) -> None:
    """To widen a column of a big table, a migration fills a new one, drops the old one and renames the new one."""
    admin.execute("alter table walltrack.orders add column wide bigint default 2")
    with admin.transaction():
        admin.execute("alter table walltrack.orders drop column attempt_count")
        admin.execute("alter table walltrack.orders rename column wide to attempt_count")
    assert len(ddl_warnings) == 1
    writer.assert_alerts()
    admin.execute("alter table walltrack.orders drop column max_attempts, add column max_attempts bigint default 3")
    assert len(ddl_warnings) == 1  # in one statement the column is never missing


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ("alter column last_error type json using null", None),
        ("alter column attempt_count drop default, alter column attempt_count type text", "attempt_count"),
        ("alter column status drop default, alter column status type point using null", None),
    ],
)
def test_a_type_without_an_order_or_an_equality(
    writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str], change: str, lost: str | None
) -> None:
    admin.execute("drop index walltrack.orders_status_idx; alter table walltrack.orders alter column status drop not null")
    admin.execute(f"alter table walltrack.orders {change}")  # type: ignore[arg-type]
    assert [line.rpartition(" ")[2] for line in ddl_warnings] == ([] if lost is None else [lost])
    for name, value in {"status": None, "attempt_count": "3", "last_error": '"x"', "locked_by": "worker-2"}.items():
        writer.write(**{name: value})


def test_a_type_that_is_dropped_with_its_columns(writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str]) -> None:
    admin.execute(
        "create domain walltrack.order_state as text;"
        "alter table walltrack.orders alter column status drop default, alter column status type walltrack.order_state"
    )
    writer.write(status="pending")
    admin.execute("drop domain walltrack.order_state cascade")
    writer.write(locked_by="worker-2")
    assert sum(line.startswith("WARNING walltrack_alerts") for line in ddl_warnings) == 1


# In the middle of transactions


def test_the_guard_follows_a_change_and_its_rollback(writer: Writer) -> None:
    bot = writer.bot
    before = guard(bot)
    bot.execute("begin; alter table walltrack.orders rename column status to state")
    writer.names["status"] = "state"
    writer.fail()
    assert bot.alert(writer.order).is_open
    bot.execute("rollback")
    writer.names.clear()
    assert guard(bot) == before
    writer.assert_alerts()


def test_a_write_may_wait_for_the_change(database_url: str, writer: Writer, admin: psycopg.Connection) -> None:
    writer.bot.execute("prepare late as update walltrack.orders set locked_by = 'worker-3'")
    with psycopg.connect(database_url) as migrating:
        migrating.execute("alter table walltrack.orders rename column attempt_count to tries")
        with run_meanwhile(lambda: writer.bot.execute("execute late")):
            wait_until_blocked(admin, writer.bot.connection, migrating)
            migrating.commit()
    writer.names["attempt_count"] = "tries"
    writer.assert_alerts()


def test_a_snapshot_may_be_older_than_the_change(writer: Writer, admin: psycopg.Connection) -> None:
    """The transaction still sees the former names in watched_tables."""
    writer.bot.execute("begin isolation level repeatable read; select count(*) from walltrack.watched_tables")
    admin.execute("alter table walltrack.orders rename column attempt_count to tries")
    writer.names["attempt_count"] = "tries"
    writer.fail()
    writer.bot.execute("commit")
    assert writer.bot.alert(writer.order).is_open and writer.bot.faults() == []


def test_a_change_where_triggers_are_off_spares_other_sessions(writer: Writer, admin: psycopg.Connection) -> None:
    """As in a session that applies a replicated change: other sessions continue to write."""
    admin.execute("set session_replication_role = replica; alter table walltrack.orders rename column status to state")
    writer.names["status"] = "state"
    writer.assert_alerts()


# The table as a whole


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("alter table walltrack.orders rename to trades", "walltrack.trades"),
        ("create schema bot; alter table walltrack.orders set schema bot", "bot.orders"),
        ("create schema bot; alter table walltrack.orders set schema bot; alter schema bot rename to robot", "robot.orders"),
    ],
)
def test_the_guard_follows_a_renamed_table(
    database_url: str, writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str], change: str, table: str
) -> None:
    admin.execute(f"{change}; alter table {table} rename column status to state")  # type: ignore[arg-type]
    writer.table = table
    writer.names["status"] = "state"
    migrations.upgrade(database_url)
    assert admin.execute("select to_regclass('walltrack.orders')").fetchone() == (None,)  # no empty one beside it
    writer.assert_alerts()
    assert ddl_warnings == []


def test_a_new_table_may_take_the_old_name(writer: Writer, admin: psycopg.Connection) -> None:
    """Each table has its own guard and keeps it when the other table is unwatched."""
    admin.execute(
        "alter table walltrack.orders rename to trades; create table walltrack.orders (like walltrack.trades including defaults);"
        "select walltrack.watch_orders('walltrack.orders'); alter table walltrack.orders rename column status to state;"
        "select walltrack.unwatch_orders('walltrack.orders')"
    )
    writer.table = "walltrack.trades"
    writer.assert_alerts()


def test_an_attached_partition_is_guarded(bot: Bot, admin: psycopg.Connection) -> None:
    """The new partition has its columns in another order, and its guard reads the renamed columns."""
    admin.execute(
        "create table walltrack.parts (like walltrack.orders including defaults) partition by list (side);"
        "select walltrack.watch_orders('walltrack.parts');"
        "alter table walltrack.parts rename column attempt_count to tries;"
        "create table walltrack.selling (tries int default 0, gone int, like walltrack.orders);"
        "alter table walltrack.selling drop column gone, drop column attempt_count;"
        "alter table walltrack.parts attach partition walltrack.selling for values in ('sell');"
        "alter table walltrack.parts rename column status to state; alter table walltrack.parts add column venue text"
    )
    order = uuid.uuid4()
    bot.execute(
        "insert into walltrack.parts (id, order_type, side, token_address, amount_sol, expected_price, state, tries, created_at, "
        "updated_at) values (%s, 'exit', 'sell', 'x', 1, 1, 'submitted', 2, now(), now())",
        (order,),
    )
    bot.execute("update walltrack.parts set state = 'failed', tries = 3")
    assert bot.alert(order).is_open
    bot.execute("update walltrack.parts set state = 'filled'")
    assert not bot.alert(order).is_open and bot.faults() == []


@pytest.mark.parametrize("goes", ["drop table walltrack.orders", "drop schema walltrack cascade"])
def test_dropping_a_watched_table_sends_no_warning(
    writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str], goes: str
) -> None:
    admin.execute(goes)  # type: ignore[arg-type]
    admin.execute("create table other (id int); alter table other rename column id to key; drop table other")
    assert not any("walltrack_alerts" in line for line in ddl_warnings)
    (left,) = admin.execute("select count(*) from pg_event_trigger").fetchone() or ()
    assert left == (0 if "schema" in goes else 3)


# Everything else


def test_other_changes_do_not_touch_the_guard(writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str]) -> None:
    before = guard(writer.bot)
    admin.execute(
        "create table other (id int, status text); alter table other rename column status to state; alter table other drop state;"
        "create type mood as enum ('a'); alter table other add mood mood; drop type mood cascade;"
        "create function f() returns int language sql as 'select 1'; drop function f(); drop table other"
    )
    admin.execute(
        "alter table walltrack.orders add column venue text; alter table walltrack.orders rename column venue to place;"
        "alter table walltrack.orders alter column place type varchar(20); alter table walltrack.orders drop column place;"
        "alter table walltrack.orders add constraint c check (amount_sol > 0) not valid; "
        "alter table walltrack.orders validate constraint c; alter table walltrack.orders set (fillfactor = 80)"
    )
    assert guard(writer.bot) == before
    assert [line for line in ddl_warnings if "walltrack_alerts" in line] == []
    writer.assert_alerts()


@pytest.mark.parametrize(
    "broken",
    [
        "drop function walltrack.follow_columns",
        "drop function walltrack.column_types",
        "drop function walltrack.write_guard",
        "drop table walltrack.watched_tables cascade",
        BROKEN_TYPES,
    ],
)
def test_alerting_never_fails_a_change(writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str], broken: str) -> None:
    admin.execute(broken)  # type: ignore[arg-type]
    ddl_warnings.clear()
    admin.execute("alter table walltrack.orders rename column status to state")
    assert len(ddl_warnings) == 1 and ddl_warnings[0].startswith(
        "WARNING walltrack_alerts: the guard could not follow this alter table"
    )


def test_a_change_succeeds_when_its_warning_cannot_be_sent(writer: Writer, admin: psycopg.Connection) -> None:
    """The warning is Cyrillic and the client uses LATIN1: the table is changed all the same."""
    admin.execute("alter table walltrack.watched_tables add constraint \"проверка\" check (columns ->> 'status' = 'status')")
    admin.execute("set client_encoding = 'LATIN1'")
    admin.execute("alter table walltrack.orders rename column status to state")
    admin.execute("set client_encoding = 'UTF8'")
    assert admin.execute("select state from walltrack.orders").fetchone() == ("submitted",)


def test_a_change_does_not_wait_for_alerting(
    database_url: str, writer: Writer, admin: psycopg.Connection, ddl_warnings: list[str]
) -> None:
    """Another session holds the row of watched_tables: the migration gets a warning and does not wait."""
    admin.execute("set statement_timeout = '20s'")
    with psycopg.connect(database_url) as holder:
        holder.execute("select from walltrack.watched_tables for update")
        admin.execute("alter table walltrack.orders rename column status to state")
        holder.rollback()
    assert len(ddl_warnings) == 1 and ddl_warnings[0].endswith("(55P03)")
    admin.execute("""select walltrack.watch_orders('walltrack.orders', '{"status": "state"}')""")
    writer.names["status"] = "state"
    writer.assert_alerts()


def test_watching_again_beside_a_rename_follows_it(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """The call waits for the rename, and reads the columns only then."""
    order = bot.create("exit", status="submitted", attempt_count=2)
    with psycopg.connect(database_url) as other:
        other.execute("alter table walltrack.orders rename column attempt_count to tries")
        with run_meanwhile(lambda: bot.execute("select walltrack.watch_orders('walltrack.orders', p_notify => 'off')")):
            wait_until_blocked(admin, bot.connection, other)
            other.commit()
    bot.execute("update walltrack.orders set status = 'failed', tries = 3")
    assert (bot.alert(order).is_open, bot.faults()) == (True, [])


def test_a_rename_waits_for_a_call_that_watches_again(database_url: str, bot: Bot) -> None:
    """Otherwise, the guard could not follow, and order writes would fail."""
    with psycopg.connect(database_url) as other:
        other.execute("select walltrack.watch_orders('walltrack.orders', p_notify => 'off')")
        bot.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            bot.execute("alter table walltrack.orders rename column attempt_count to tries")
        other.commit()
    bot.execute("reset lock_timeout; alter table walltrack.orders rename column attempt_count to tries")
    order = bot.create("exit", status="failed", tries=3)
    assert bot.alert(order).is_open
