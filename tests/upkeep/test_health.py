"""health() finds problems in alerting itself and says what to do."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.bot import Bot
from tests.support.commands import run
from tests.support.databases import new_database
from tests.support.health import failed_checks, follow_advice
from walltrack_alerts import AlertService, Check, migrations
from walltrack_alerts.database import Database
from walltrack_alerts.doctor import examine


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[AlertService]:
    async with AlertService.from_url(database_url) as service:
        yield service


async def test_a_sound_database_passes_every_check(bot: Bot, service: AlertService) -> None:
    bot.exhaust(bot.create())
    checks = await service.get_health()
    assert all(check.ok and check.found for check in checks)
    assert {"guard on walltrack.orders", "faults", "notification queue", "skipped notifications"} <= {c.name for c in checks}


@pytest.mark.parametrize(
    ("harm", "name", "found", "advice"),
    [
        ("alter table walltrack.orders disable trigger walltrack_alerts_update", "guard on walltrack.orders",
         "trigger update disabled", "`alter table walltrack.orders enable trigger walltrack_alerts_update`"),
        ("alter table walltrack.orders enable replica trigger walltrack_alerts_insert", "guard on walltrack.orders",
         "trigger insert disabled", "enable trigger walltrack_alerts_insert"),
        ("drop trigger walltrack_alerts_delete on walltrack.orders", "guard on walltrack.orders",
         "trigger delete missing", "watch_orders('walltrack.orders')"),
        ("drop trigger walltrack_alerts_truncate on walltrack.orders; alter table walltrack.orders disable trigger user",
         "guard on walltrack.orders", "trigger delete disabled, trigger insert disabled, trigger truncate missing", "reconcile"),
        ("select walltrack.unwatch_orders('walltrack.orders')", "guard", "no table is watched", "migrate"),
        ("drop event trigger walltrack_alerts_forget_dropped; drop table walltrack.orders cascade", "guard on walltrack.orders",
         "no longer exists", "unwatch_orders"),
        ("drop table walltrack.orders cascade", "guard", "no table is watched", "watch TABLE"),
        ("insert into walltrack.alert_faults (sqlstate, message) values ('XX000', 'x')", "faults", "1 in walltrack.alert_faults",
         "reconcile"),
        ("insert into walltrack.alert_faults (sqlstate, message) values ('WT007', 'x')", "skipped notifications", "1 skipped",
         "walltrack.alert_events"),
    ],
)  # fmt: skip
def test_each_problem_is_named(bot: Bot, harm: str, name: str, found: str, advice: str) -> None:
    bot.execute(harm)
    (check,) = failed_checks(bot)
    assert check.name.startswith(name)
    assert found in check.found and advice in check.advice


def test_the_advice_for_triggers_loses_nothing(bot: Bot) -> None:
    """Orders that failed meanwhile are not treated as history, and the host's own triggers stay unchanged."""
    bot.execute("alter table walltrack.orders rename last_error to reason")
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_cancel_pattern => '^Given up', p_order_actions => false)")
    settings = bot.execute(
        "select columns, cancel_pattern, order_actions, watched_since from walltrack.watched_tables"
    ).fetchall()
    bot.execute(
        "drop trigger walltrack_alerts_update on walltrack.orders;"
        "alter table walltrack.orders disable trigger orders_log_status, disable trigger walltrack_alerts_insert"
    )
    order = bot.create(status="failed", attempt_count=3, reason="boom")
    bot.update(order, status="cancelled", reason="Given up after 3 attempts")
    (check,) = failed_checks(bot)
    follow_advice(bot, check.advice)
    assert failed_checks(bot) == []
    bot.execute("drop trigger walltrack_alerts_delete on walltrack.orders")
    (check,) = failed_checks(bot)
    follow_advice(bot, check.advice)
    assert failed_checks(bot) == []
    assert (
        settings
        == bot.execute("select columns, cancel_pattern, order_actions, watched_since from walltrack.watched_tables").fetchall()
    )
    assert bot.execute("select tgenabled from pg_trigger where tgname = 'orders_log_status'").fetchone() == ("D",)
    assert bot.execute("select raised from walltrack.reconcile_orders()").fetchone() == (1,)
    assert bot.alert(order).is_open


def test_a_missing_column_is_reported(bot: Bot) -> None:
    """Checks an installation in which the guard does not follow ALTER TABLE."""
    bot.execute("set session_replication_role = replica")
    bot.execute('update walltrack.watched_tables set columns = columns || \'{"last_error": "gone_one"}\'')
    (check,) = failed_checks(bot)
    assert "column gone_one (last_error) no longer exists" in check.found and "watch_orders" in check.advice


def test_the_advice_for_a_dropped_table_works(bot: Bot) -> None:
    bot.execute("drop event trigger walltrack_alerts_forget_dropped; drop table walltrack.orders cascade")
    (check,) = failed_checks(bot)
    follow_advice(bot, check.advice)
    assert [check.found for check in failed_checks(bot)] == ["no table is watched: failed orders raise no alerts"]


def test_a_disabled_trigger_of_one_partition_is_reported(bot: Bot) -> None:
    bot.execute(
        """
        create table public.trades (id int, order_type text, status text, attempt_count int, max_attempts int, last_error text)
        partition by range (id);
        create table public.trades_1 partition of public.trades for values from (0) to (10);
        create table public.trades_2 partition of public.trades for values from (10) to (20);
        """
    )
    bot.execute("select walltrack.watch_orders('public.trades')")
    assert failed_checks(bot) == []
    bot.execute("alter table public.trades_2 disable trigger walltrack_alerts_update")
    (check,) = failed_checks(bot)
    assert (check.name, check.found) == ("guard on public.trades", "trigger update disabled on public.trades_2")
    follow_advice(bot, check.advice)
    assert failed_checks(bot) == []


def test_unwatched_orders_are_reported(bot: Bot) -> None:
    bot.execute("create table public.trades (like walltrack.orders including all)")
    bot.execute("select walltrack.watch_orders('public.trades'); select walltrack.unwatch_orders('walltrack.orders')")
    assert failed_checks(bot) == []
    bot.create()
    (check,) = failed_checks(bot)
    assert (check.name, check.found) == ("guard on walltrack.orders", "not watched: its failed orders raise no alerts")


def test_a_table_of_another_role_has_no_order_actions(bot: Bot) -> None:
    """Its triggers would run with the privileges of the schema owner. Its alerts are raised all the same."""
    owner = f"wt_health_{uuid.uuid4().hex[:8]}"
    bot.execute(f"create role {owner}; grant create, usage on schema walltrack to {owner}")
    try:
        bot.execute(f"alter table walltrack.orders owner to {owner}; revoke create on schema walltrack from {owner}")
        (check,) = failed_checks(bot)
        assert check.name == "order actions on walltrack.orders"
        assert f"belongs to {owner}" in check.found and "alter table walltrack.orders owner to" in check.advice
        bot.execute("select walltrack.watch_orders('walltrack.orders', p_order_actions => false)")
        assert failed_checks(bot) == []
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open
    finally:
        bot.execute(f"reassign owned by {owner} to current_user")
        bot.execute(f"drop owned by {owner}; drop role {owner}")


def test_an_unread_fact_is_named(bot: Bot) -> None:
    """The column was added after its table was watched."""
    bot.execute("alter table walltrack.orders drop column token_symbol; select walltrack.watch_orders('walltrack.orders')")
    assert failed_checks(bot) == []
    bot.execute("alter table walltrack.orders add column token_symbol text")
    (check,) = failed_checks(bot)
    assert (check.name, check.found) == ("guard on walltrack.orders", "column token_symbol is not read")
    follow_advice(bot, check.advice)
    assert failed_checks(bot) == []
    order = bot.create()
    bot.exhaust(order)
    assert bot.alert(order).data["token_symbol"] == "BONK"


def test_the_advice_for_a_replaced_guard_works(bot: Bot) -> None:
    bot.execute(
        "create or replace function walltrack.tg_orders__guard() returns trigger language plpgsql as "
        "$$ begin /* walltrack.sync_order() */ return null; end $$"
    )
    (check,) = failed_checks(bot)
    assert "has been replaced since it was written" in check.found
    follow_advice(bot, check.advice)
    assert failed_checks(bot) == []


# The role that reads it

OWNER, HOST, READER, MEMBER, RAISER, STRANGER = (
    f"wt_{name}_{uuid.uuid4().hex[:8]}" for name in ("owner", "host", "reader", "member", "raiser", "stranger")
)
ROLES = (MEMBER, READER, RAISER, STRANGER, HOST, OWNER)


@pytest.fixture(scope="module")
def advised(server_url: str) -> Iterator[str]:
    """A database that OWNER, no superuser, has migrated; the orders belong to HOST."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        for role in ROLES:
            admin.execute(f"create role {role} login")
        admin.execute(f"grant {OWNER} to {MEMBER}")
        try:
            with new_database(server_url) as url:
                name = conninfo_to_dict(url)["dbname"]
                admin.execute(f"alter database {name} owner to {OWNER}")
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(f"create schema trade authorization {HOST}; grant usage on schema trade to {OWNER}")
                migrations.upgrade(make_conninfo(url, user=OWNER))
                with psycopg.connect(make_conninfo(url, user=HOST), autocommit=True) as host:
                    host.execute(
                        "create table trade.orders (id int, order_type text, status text, attempt_count int, max_attempts int, "
                        f"last_error text); grant select, update, trigger on trade.orders to {OWNER}"
                    )
                with psycopg.connect(make_conninfo(url, user=OWNER), autocommit=True) as owner:
                    owner.execute("select walltrack.watch_orders('trade.orders')")
                    owner.execute(
                        f"select walltrack.grant_access('{READER}', 'reader'), walltrack.grant_access('{RAISER}', 'raiser')"
                    )
                yield url
        finally:
            admin.execute(f"drop role {', '.join(ROLES)}")


def doctor(url: str, role: str | None = None) -> dict[str, Check]:
    """What doctor finds as a role, as a superuser by default."""
    dsn = make_conninfo(url, user=role) if role else url
    return {check.name: check for check in examine(Database(dsn, dsn, "here", "here"))}


def test_an_impossible_check_neither_passes_nor_fails(advised: str) -> None:
    found = doctor(advised, READER)
    check = found.pop("following ALTER TABLE")
    assert check.ok is None and check.found == f"not possible: {OWNER} is no superuser and may not create an event trigger"
    assert "walltrack.watch_orders() in the same transaction" in check.advice and "migrate" not in check.advice
    assert all(check.ok for check in found.values()), found
    said = run(make_conninfo(advised, user=READER), "doctor").stdout
    assert "n/a  following ALTER TABLE: not possible" in said and "FAIL" not in said


@pytest.mark.parametrize(
    ("role", "enable", "reconcile"),
    [
        (OWNER, f"Ask {HOST} to run `alter", "then run `walltrack-alerts reconcile`."),
        (MEMBER, f"Ask {HOST} to run `alter", "then run `walltrack-alerts reconcile`."),
        (READER, f"Ask {HOST} to run `alter", f"then ask {OWNER} to run `walltrack-alerts reconcile`."),
        (None, f"As {HOST}, run `alter", "then run `walltrack-alerts reconcile`."),
    ],
    ids=["owner", "member", "reader", "superuser"],
)
def test_advice_fits_the_role_that_reads_it(advised: str, role: str | None, enable: str, reconcile: str) -> None:
    with psycopg.connect(make_conninfo(advised, user=HOST), autocommit=True) as host:
        host.execute("alter table trade.orders disable trigger walltrack_alerts_update")
        try:
            check = doctor(advised, role)["guard on trade.orders"]
            assert check.ok is False
            assert check.advice.startswith(enable) and check.advice.endswith(reconcile)
            host.execute(check.advice.split("`")[1])
            assert doctor(advised, role)["guard on trade.orders"].ok
        finally:
            host.execute("alter table trade.orders enable trigger walltrack_alerts_update")


def test_advice_addresses_the_role_that_was_set(advised: str) -> None:
    with psycopg.connect(advised, autocommit=True) as connection:
        connection.execute(f"insert into walltrack.alert_faults (sqlstate, message) values ('XX000', 'x'); set role {READER}")
        (advice,) = connection.execute("select advice from walltrack.health() where name = 'faults'").fetchone() or ("",)
        connection.execute("reset role; delete from walltrack.alert_faults")
    assert advice == f"Read them, fix the cause, then ask {OWNER} to run `walltrack-alerts reconcile`."


@pytest.mark.parametrize("role", [RAISER, STRANGER], ids=["raiser", "stranger"])
def test_a_role_without_the_right_learns_who_can_grant_it(advised: str, role: str) -> None:
    check = doctor(advised, role)["rights"]
    assert check.ok is False and check.found == f"{role} may not examine alerting"
    assert check.advice == f"Ask {OWNER} to run `select walltrack.grant_access('{role}', 'reader')`."


def test_the_advice_to_migrate_fits_the_role(server_url: str, advised: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as admin, new_database(server_url) as url:
        admin.execute(f"alter database {conninfo_to_dict(url)['dbname']} owner to {OWNER}")
        for role, advice in (
            (OWNER, "Run `"), (MEMBER, "Run `"), (STRANGER, f"Ask {OWNER} to run `"), (None, "Run `"),
        ):  # fmt: skip
            found = doctor(url, role)
            assert found["migrated"].advice == f"{advice}walltrack-alerts migrate`.", found
        with psycopg.connect(advised, autocommit=True) as connection:
            connection.execute("delete from walltrack.alerts_version")
            try:
                advice = {role: doctor(advised, role)["migrated"].advice for role in (OWNER, MEMBER, READER, None)}
            finally:
                connection.execute("insert into walltrack.alerts_version values (%s)", (migrations.head_revision(),))
    assert advice == {
        OWNER: "Run `walltrack-alerts migrate`.",
        MEMBER: f"As {OWNER}, run `walltrack-alerts migrate`.",
        READER: f"Ask {OWNER} to run `walltrack-alerts migrate`.",
        None: f"As {OWNER}, run `walltrack-alerts migrate`.",
    }
