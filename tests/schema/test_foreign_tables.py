"""A watched table of another role: its owner's code never runs with the privileges of the schema owner."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from tests.support.bot import Bot
from walltrack_alerts import Check, migrations

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
    venue trade.state, updated_at timestamptz default now()
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
    """(role, how) for each time the table owner's code ran as another role."""
    return bot.execute("select distinct who, how from trade.loot where who <> (select relowner::regrole::text from pg_class "
                       "where oid = 'trade.orders'::regclass)").fetchall()  # fmt: skip


def test_the_spy_detects_attached_code(foreign: tuple[Bot, Bot]) -> None:
    """A query of another role's table runs the code its owner attached to it: the tests below would notice."""
    owner, superuser = foreign
    owner.execute("insert into trade.orders default values; create index on trade.orders (id) where trade.spy('predicate')")
    superuser.execute("select status::text, to_json(status) from trade.orders where id is not null")
    superuser.execute("update trade.orders set attempt_count = 3")
    assert {how for _, how in thefts(superuser)} >= {"predicate", "cast to text", "cast to json", "trigger"}


def fail_twice(bot: Bot) -> None:
    bot.execute("insert into trade.orders default values")
    for _ in range(2):
        bot.execute("update trade.orders set status = 'failed', attempt_count = attempt_count + 1, last_error = 'boom'")


def test_order_writes_run_no_owner_code_as_another_role(foreign: tuple[Bot, Bot]) -> None:
    owner, superuser = foreign
    fail_twice(owner)
    (alert,) = superuser.alerts()
    assert (alert.is_open, alert.occurrences) == (True, 2)
    owner.execute("update trade.orders set id = gen_random_uuid()")
    owner.execute("delete from trade.orders")
    assert [alert.is_open for alert in superuser.alerts()] == [False, False]
    assert (thefts(superuser), superuser.faults()) == ([], [])


def test_reconciling_and_reading_run_no_owner_code(foreign: tuple[Bot, Bot]) -> None:
    owner, superuser = foreign
    superuser.execute("alter table trade.orders disable trigger user")
    owner.execute("insert into trade.orders (status, attempt_count) values ('failed', 3)")
    assert superuser.execute("select raised from walltrack.reconcile_orders()").fetchone() == (1,)
    (alert,) = superuser.alerts()
    assert superuser.execute("select walltrack.order_of_alert(%s) ->> 'status'", (alert.id,)).fetchone() == ("failed",)
    superuser.execute("select * from walltrack.health(); select walltrack.watch_orders('trade.orders')")
    assert (thefts(superuser), superuser.faults()) == ([], [])


@pytest.fixture
def unprivileged(empty_database_url: str) -> Iterator[tuple[Bot, Bot, str]]:
    """(the trading bot; the schema owner, who may only read the orders and create triggers on them; the owner's URL)."""
    schema_owner, trader = (f"wt_{kind}_{uuid.uuid4().hex[:8]}" for kind in ("owner", "trader"))
    urls = [make_conninfo(empty_database_url, options=f"-c role={role}") for role in (schema_owner, trader)]
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        superuser.execute(
            f"create role {schema_owner}; create role {trader}; "  # type: ignore[arg-type]
            f"grant create on database {superuser.info.dbname} to {schema_owner}; create schema trade authorization {trader}"
        )
        try:
            migrations.upgrade(urls[0])
            with psycopg.connect(urls[0], autocommit=True) as owner, psycopg.connect(urls[1], autocommit=True) as trading:
                trading.execute(
                    "create table trade.orders (id int, order_type text, status text, attempt_count int, max_attempts int, "
                    "last_error text); insert into trade.orders values (1, 'exit', 'failed', 3, 3, 'boom'); "
                    f"grant usage on schema trade to {schema_owner}; grant select, trigger on trade.orders to {schema_owner}"  # type: ignore[arg-type]
                )
                owner.execute("select walltrack.watch_orders('trade.orders')")
                yield Bot(trading), Bot(owner), urls[0]
        finally:
            superuser.execute(f"drop owned by {trader}, {schema_owner} cascade; drop role {trader}, {schema_owner}")  # type: ignore[arg-type]


def test_an_owner_that_may_not_lock_orders_is_told(unprivileged: tuple[Bot, Bot, str]) -> None:
    """The reconciler locks the orders that it heals, for which SELECT does not suffice."""
    trading, owner, _ = unprivileged
    assert owner.execute("select raised from walltrack.reconcile_orders()").fetchone() == (0,)
    unread = "select found, advice from walltrack.health() where name = 'orders of trade.orders'"
    (found, advice) = owner.execute(unread).fetchone() or ("", "")
    assert "may not lock its rows" in found
    trading.execute(re.findall(r"`(.*?)`", advice)[0])
    assert owner.execute(unread).fetchall() == []
    assert owner.execute("select raised from walltrack.reconcile_orders()").fetchone() == (1,)


def test_a_downgrade_removes_the_guard_of_another_roles_table(unprivileged: tuple[Bot, Bot, str]) -> None:
    trading, _, owner_url = unprivileged
    migrations.downgrade(owner_url)
    assert trading.execute("select tgname from pg_trigger where tgrelid = 'trade.orders'::regclass").fetchall() == []
    trading.execute("update trade.orders set attempt_count = 4")


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
    assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("WT011", "not_allowed")
    (refusal,) = superuser.execute("select walltrack.order_of_alert(%s) -> 'refusals' -> %s", (alert.id, action)).fetchone() or (
        {},
    )
    assert (refusal["code"], refusal["reason"]) == ("not_allowed", caught.value.diag.message_primary)
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
    "a default": "alter table trade.orders alter column last_error set default trade.spy('default')::text",
    "an index of a child": "create table trade.child () inherits (trade.orders); "
    "create index on trade.child (id) where trade.spy('index of a child')",
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
    assert "with the privileges of" in found or "row level security" in found


def test_the_functions_of_a_partition_key_do_not_run(foreign: tuple[Bot, Bot]) -> None:
    owner, superuser = foreign
    owner.execute(
        "create function trade.kept(uuid) returns int language sql immutable as $$ select 1 where trade.spy('partition key') $$;"
        "create table trade.parted (id uuid, status text, attempt_count int, max_attempts int, order_type text, last_error text) "
        "partition by range (trade.kept(id));"
        "create table trade.part partition of trade.parted default"
    )
    superuser.execute("select walltrack.watch_orders('trade.parted')")
    assert superuser.execute("select walltrack.read_refusal('trade.parted') like '%functions of another role%'").fetchone() == (
        True,
    )
    owner.execute("insert into trade.parted values (gen_random_uuid(), 'failed', 3, 3, 'exit', null)")
    owner.execute("truncate trade.loot")
    superuser.execute("select walltrack.reconcile_orders()")
    owner.execute("update trade.parted set status = 'filled'")
    assert thefts(superuser) == []
    assert [alert.is_open for alert in superuser.alerts()] == [False]


def test_code_attached_after_a_snapshot_does_not_run(foreign: tuple[Bot, Bot]) -> None:
    """The planner sees a new index at once, but a repeatable-read query does not."""
    owner, superuser = foreign
    fail_twice(owner)
    with superuser.connection.transaction():
        superuser.execute("set transaction isolation level repeatable read")
        superuser.alerts()
        owner.execute("create index on trade.orders (id) where trade.spy('predicate'); truncate trade.loot")
        superuser.execute("select walltrack.reconcile_orders()")
    assert thefts(superuser) == []


def test_no_index_appears_while_orders_are_read(foreign: tuple[Bot, Bot]) -> None:
    owner, superuser = foreign
    fail_twice(owner)
    with superuser.connection.transaction():
        superuser.execute("select walltrack.reconcile_orders()")
        owner.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            owner.execute("create index on trade.orders (id) where trade.spy('predicate')")
        fail_twice(owner)  # writers go on


def test_nested_writes_hold_no_lock_until_commit(foreign: tuple[Bot, Bot]) -> None:
    """Otherwise a second writer would not read the order as stored."""
    owner, superuser = foreign
    owner.execute(
        "create function trade.again() returns trigger language plpgsql as $$ begin "
        "update trade.orders set attempt_count = 7 where id = new.id; return null; end $$;"
        "create trigger a_again after update on trade.orders for each row when (pg_trigger_depth() = 0) "
        "execute function trade.again()"
    )
    with psycopg.connect(superuser.connection.info.dsn, autocommit=True) as connection:
        other = Bot(connection)
        with other.connection.transaction():
            owner.execute("begin")
            fail_twice(owner)
            other.execute("lock table trade.orders in share update exclusive mode nowait")
            owner.execute("commit")
    assert superuser.execute("select order_attempts from walltrack.alerts").fetchall() == [(7,)]
    assert thefts(superuser) == []


def test_a_cast_of_a_new_type_does_not_run(foreign: tuple[Bot, Bot]) -> None:
    """Without the event trigger, the guard keeps the types it knew and reads new ones only as text."""
    owner, superuser = foreign
    superuser.execute("alter event trigger walltrack_alerts_follow_ddl disable")
    try:
        owner.execute("alter table trade.orders alter column last_error type trade.state using 'failed'")
        owner.execute("insert into trade.orders (attempt_count, status, last_error) values (3, 'failed', 'pending')")
        owner.execute("update trade.orders set attempt_count = 4")
    finally:
        superuser.execute("alter event trigger walltrack_alerts_follow_ddl enable always")
    assert owner.execute("select attempt_count from trade.orders").fetchall() == [(4,)]
    assert thefts(superuser) == []


def test_a_trigger_is_no_guard_by_its_name_alone(foreign: tuple[Bot, Bot]) -> None:
    """A table's owner may give its triggers any name, including those of the guard."""
    owner, superuser = foreign
    owner.execute(
        "create table trade.fake (like trade.orders); create trigger walltrack_alerts_update after update on trade.fake "
        "for each row execute function trade.tr()"
    )
    assert superuser.execute(
        "select walltrack.existing_guard_name('trade.fake'), walltrack.watched_root('trade.fake')"
    ).fetchone() == (
        None,
        None,
    )
    owner.execute("insert into trade.fake (id, attempt_count, status) values (gen_random_uuid(), 3, 'failed')")
    owner.execute("alter table trade.orders rename to gone; alter table trade.fake rename to orders")
    superuser.execute("select walltrack.reconcile_orders()")
    assert (superuser.alerts(), thefts(superuser)) == ([], [])


def test_a_column_name_is_never_run_as_sql(foreign: tuple[Bot, Bot]) -> None:
    owner, superuser = foreign
    name = "x')) or trade.spy('name') or ((true --"
    for quoted in ('"' + name + '"', '"$1"', '"%s %I %%"', '"{condition}"'):
        owner.execute(f"alter table trade.orders rename last_error to {quoted}")
        owner.execute("insert into trade.orders (status, attempt_count) values ('failed', 3)")
        superuser.execute("select walltrack.reconcile_orders()")
        owner.execute(f"alter table trade.orders rename {quoted} to last_error")
    assert thefts(superuser) == []
    assert {(alert.is_open, alert.occurrences) for alert in superuser.alerts()} == {(True, 1)}


def test_actions_run_no_trigger_function_of_another_role(foreign: tuple[Bot, Bot]) -> None:
    """Not even on a table of alerting's owner, e.g. one that another role used to own."""
    owner, superuser = foreign
    fail_twice(owner)
    superuser.execute("alter table trade.orders owner to current_user; truncate trade.loot")
    superuser.execute("select walltrack.watch_orders('trade.orders', p_order_actions => true)")
    (alert,) = superuser.alerts()
    with pytest.raises(psycopg.Error, match="of another role, which are attached to it"):
        superuser.call("retry_order", alert.id, "ada")
    assert superuser.execute("select count(*) from trade.loot").fetchone() == (0,)


def test_padding_does_not_resolve_an_alert(bot: Bot) -> None:
    """A fixed-width id is compared by the rules of its type."""
    bot.execute(
        "create table walltrack.padded (id char(26) primary key, status char(12), attempt_count int, max_attempts int, "
        "order_type char(8), last_error text); select walltrack.watch_orders('walltrack.padded');"
        "insert into walltrack.padded values ('01hx', 'failed', 3, 3, 'exit', 'boom')"
    )
    bot.execute("select walltrack.reconcile_orders()")
    assert [alert.is_open for alert in bot.alerts()] == [True]


def test_operators_of_the_search_path_do_not_run(bot: Bot) -> None:
    """The guard and what it fires run with the privileges of the schema owner, under the writer's search_path."""
    bot.execute("create schema hostile")
    for number, kind in enumerate(
        ("int", "text", "uuid", "timestamptz", "boolean", "bigint", "jsonb", "name", "regclass", "oid")
    ):
        bot.execute(
            f"create function hostile.shadow{number}({kind}, {kind}) returns boolean language plpgsql as "
            "$$ begin raise exception 'code of another role ran'; end $$"
        )
        for operator in ("=", "<>", ">", "<", ">=", "<="):
            bot.execute(
                f"create operator hostile.{operator} (leftarg = {kind}, rightarg = {kind}, function = hostile.shadow{number})"
            )
    order = bot.create()
    bot.execute("set search_path = hostile, pg_catalog")
    bot.execute("begin; set constraints all immediate")
    bot.execute(
        "do $$ begin for i in 1..4 loop update walltrack.orders set status = 'failed', "
        "attempt_count = i where id operator(pg_catalog.=) '" + str(order) + "'; end loop; end $$"
    )
    bot.execute("commit")
    bot.execute("update walltrack.orders set status = 'filled'")  # by itself: what is deferred runs under this search_path, too
    bot.execute("reset search_path")
    (alert,) = bot.alerts()
    assert (alert.is_open, alert.occurrences, bot.faults()) == (False, 2, [])
