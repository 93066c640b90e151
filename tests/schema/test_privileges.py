"""Privileges: none by default, each role only what it needs, and no escalation through definer functions."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.bot import Bot
from tests.support.databases import new_database
from walltrack_alerts import migrations

DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def role(db: psycopg.Connection) -> Iterator[str]:
    """A role without any right, dropped afterwards."""
    name = f"wt_role_{uuid.uuid4().hex[:8]}"
    db.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
    yield name
    db.execute("reset role")
    db.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


@pytest.fixture
def as_role(database_url: str, role: str) -> Iterator[Bot]:
    """A session that has only the rights of `role`."""
    with psycopg.connect(make_conninfo(database_url, options=f"-c role={role}"), autocommit=True) as connection:
        yield Bot(connection)


def test_the_bot_needs_no_right_on_alerts(bot: Bot, as_role: Bot, role: str) -> None:
    bot.execute(f"grant usage on schema walltrack to {role}; grant select, insert, update, delete on walltrack.orders to {role}")
    order = as_role.create()
    as_role.exhaust(order)
    as_role.give_up(order)
    assert bot.alert(order).is_open
    as_role.retry(order)
    as_role.fill(order)
    assert bot.alert(order).resolution == "Order filled"
    assert bot.faults() == []
    for query in ("select * from walltrack.alerts", "select walltrack.reconcile_orders()", "select * from walltrack.open_alerts"):
        with pytest.raises(DENIED):
            as_role.execute(query)
    with pytest.raises(DENIED):
        as_role.call("raise_alert", "t", "info", "t")


READS = [
    "alerts", "alert_events", "order_actions", "alert_faults", "watched_tables", "open_alerts", "alert_counts", "alert_summary",
    "alert_timeline", "alerts_version", "list_alerts()", "changed_alerts(array[gen_random_uuid()])",
    "median_seconds_to_acknowledge()", "deliveries", "finished_deliveries", "sent_messages", "button_presses", "silences",
    "escalation_steps", "relays", "relay_duties", "chat_pace", "active_silences", "undelivered", "target_states",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["reader", "operator", "raiser", "relay"])
def test_each_kind_of_role_has_only_its_rights(bot: Bot, as_role: Bot, role: str, kind: str) -> None:
    order = bot.create()
    bot.exhaust(order)
    alert = bot.alert(order)
    with pytest.raises(DENIED):
        as_role.execute("select * from walltrack.alerts")
    bot.execute("select walltrack.grant_access(%s, %s)", (role, kind))
    for relation in READS:
        assert as_role.execute(f"select count(*) from walltrack.{relation}").fetchone() is not None
    assert [a.id for a in as_role.alerts(order)] == [alert.id]

    may = {
        "operator": {
            "acknowledge_alert",
            "snooze_alert",
            "acknowledge_alerts",
            "snooze_alerts",
            "resolve_alerts",
            "resolve_by_dedupe_key",
            "retry_order",
            "cancel_order",
            "resolve_alert",
        },
        "raiser": {"raise_alert", "resolve_by_dedupe_key"},
    }
    calls = {
        "acknowledge_alert": (alert.id, "ada"),
        "snooze_alert": (alert.id, None, "ada"),
        "acknowledge_alerts": ([alert.id], "ada"),
        "snooze_alerts": ([alert.id], None, "ada"),
        "resolve_alerts": ([], "done", "ada"),
        "retry_order": (alert.id, "ada"),
        "cancel_order": (alert.id, None, "ada"),
        "resolve_alert": (alert.id, "done", "ada"),
        "resolve_by_dedupe_key": ("nothing", "done", "ada"),
        "raise_alert": ("t", "info", "t"),
    }
    for function, arguments in calls.items():
        if function in may.get(kind, set()):
            as_role.call(function, *arguments)
        else:
            with pytest.raises(DENIED):
                as_role.call(function, *arguments)
    if kind in ("reader", "operator"):
        assert as_role.execute("select bool_and(ok) from walltrack.health()").fetchone() == (True,)
        assert as_role.execute("select walltrack.order_of_alert(%s) ->> 'id'", (alert.id,)).fetchone() == (str(order),)
    else:
        with pytest.raises(DENIED):
            as_role.execute("select walltrack.order_of_alert(%s)", (alert.id,))
    for statement in (
        "delete from walltrack.order_actions",
        "update walltrack.alerts set title = 'x'",
        "delete from walltrack.alert_events",
        "insert into walltrack.alert_faults (sqlstate, message) values ('x', 'x')",
        "truncate walltrack.alerts",
        "select walltrack.purge_alerts('0')",
        "select walltrack.open_alert('t', 'info', 't', '', '{}', false, null, null, null, null, 'x', 'event')",
        "select walltrack.close_order_alert('k', 'x', 'event')",
        "select walltrack.unwatch_orders('walltrack.orders')",
        "select walltrack.grant_access(session_user::regrole, 'operator')",
    ):
        with pytest.raises(DENIED):
            as_role.execute(statement)

    bot.execute("select walltrack.revoke_access(%s)", (role,))
    with pytest.raises(DENIED):
        as_role.execute("select * from walltrack.alerts")


DELIVERY_CALLS = {
    "fan_out_events()": "relay",
    "claim_deliveries('r', '{}')": "relay",
    "finish_deliveries('r', '[]')": "relay",
    "press_button(1, 'x', 'acknowledge', '1')": "relay",
    "relay_seen('r', 'h', 1, '1')": "relay",
    "take_duty('d', 'r', '1 min')": "relay",
    "relay_stopped('r')": "relay",
    "add_silence('{\"token\": \"BONK\"}', 'r', now() + interval '1 hour', 'ada')": "operator",
    "end_silence((select min(silence_id) from walltrack.silences), 'ada')": "operator",
    "replay_deliveries('{}', 'ada')": "operator",
    "drop_deliveries('{}', 'ada')": "operator",
}


OWNERS_STATEMENTS = [
    "select walltrack.add_target('t', 'terminal', '{}')",
    "select walltrack.remove_target('t')",
    "update walltrack.deliveries set state = 'dead'",
    "delete from walltrack.finished_deliveries",
    "insert into walltrack.silences (token, reason, created_by, ends_at) values ('x', 'x', 'x', now())",
    "update walltrack.escalation_steps set repeats = 0",
]


@pytest.mark.parametrize("kind", ["reader", "operator", "raiser", "relay"])
def test_deliveries_are_for_relays_and_operators(bot: Bot, as_role: Bot, role: str, kind: str) -> None:
    bot.execute("select walltrack.grant_access(%s, %s)", (role, kind))
    for call, allowed in DELIVERY_CALLS.items():
        if allowed == kind:
            as_role.execute(f"select * from walltrack.{call}")
        else:
            with pytest.raises(DENIED):
                as_role.execute(f"select * from walltrack.{call}")
    for columns in ("config", "*"):
        if kind == "relay":
            as_role.execute(f"select {columns} from walltrack.notification_targets")
        else:
            with pytest.raises(DENIED):
                as_role.execute(f"select {columns} from walltrack.notification_targets")
    for statement in OWNERS_STATEMENTS:
        with pytest.raises(DENIED):
            as_role.execute(statement)


def test_an_upgrade_extends_earlier_grants_to_new_objects(bot: Bot, as_role: Bot, role: str) -> None:
    """An earlier version knew neither targets nor silences."""
    bot.execute("select walltrack.grant_access(%s, 'operator')", (role,))
    bot.execute(
        f"revoke select on walltrack.deliveries, walltrack.finished_deliveries, walltrack.notification_targets from {role}; "
        f"revoke execute on function walltrack.add_silence, walltrack.format_utc from {role}"
    )
    with pytest.raises(DENIED):
        as_role.execute("select * from walltrack.alert_timeline")
    bot.execute("select walltrack.renew_grants()")
    for relation in READS:
        as_role.execute(f"select count(*) from walltrack.{relation}")
    as_role.execute("select walltrack.add_silence('{\"token\": \"BONK\"}', 'known', now() + interval '1 hour', 'ada')")
    with pytest.raises(DENIED):
        as_role.execute("select config from walltrack.notification_targets")


def test_an_upgrade_extends_the_grants_of_relays(bot: Bot, as_role: Bot, role: str, database_url: str) -> None:
    bot.execute("select walltrack.grant_access(%s, 'relay')", (role,))
    bot.execute(f"revoke execute on function walltrack.finish_deliveries, walltrack.resolve_ended_alerts from {role}")
    with pytest.raises(DENIED):
        as_role.execute("select walltrack.finish_deliveries('relay', '[]')")
    migrations.upgrade(database_url)
    as_role.execute("select walltrack.resolve_ended_alerts(true)")
    as_role.execute("select walltrack.finish_deliveries('relay', '[]')")
    as_role.execute("select config from walltrack.notification_targets")


def test_default_privileges_do_not_show_configurations(bot: Bot, as_role: Bot, role: str) -> None:
    bot.execute(f"grant usage on schema walltrack to {role}; grant select on walltrack.notification_targets to {role}")
    as_role.execute("select config from walltrack.notification_targets")
    bot.execute("select walltrack.narrow_grants()")
    as_role.execute("select name from walltrack.notification_targets")
    with pytest.raises(DENIED):
        as_role.execute("select config from walltrack.notification_targets")


def test_an_unknown_kind_of_role_is_refused(bot: Bot, role: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        bot.execute("select walltrack.grant_access(%s, 'god')", (role,))
    assert caught.value.sqlstate == "WT003"


@pytest.mark.api_roles
def test_the_roles_of_a_public_api_get_nothing(server_url: str) -> None:
    """Default privileges grant everything to every role, as on some platforms; the migration revokes it."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        roles = {name for (name,) in admin.execute("select rolname from pg_roles where rolname in ('anon', 'authenticated')")}
        for name in {"anon", "authenticated"} - roles:
            admin.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
        try:
            with new_database(server_url) as url, psycopg.connect(url, autocommit=True) as connection:
                connection.execute(
                    """
                    create schema walltrack; grant usage on schema walltrack to anon, authenticated;
                    alter default privileges in schema walltrack grant all on tables to anon, authenticated;
                    alter default privileges in schema walltrack grant all on functions to anon, authenticated;
                    alter default privileges in schema walltrack grant all on sequences to anon, authenticated;
                    create function walltrack.hosts_own() returns int language sql as 'select 1';
                    """
                )
                migrations.upgrade(url)
                open_doors = connection.execute(
                    """
                    select r.rolname, c.relname from pg_class as c cross join pg_roles as r
                    where c.relnamespace = 'walltrack'::regnamespace and r.rolname in ('anon', 'authenticated')
                      and c.relkind in ('r', 'v')
                      and has_table_privilege(r.rolname, c.oid, 'select, insert, update, delete, truncate')
                    union all
                    select r.rolname, c.relname from pg_class as c cross join pg_roles as r
                    where c.relnamespace = 'walltrack'::regnamespace and r.rolname in ('anon', 'authenticated')
                      and c.relkind = 'S' and has_sequence_privilege(r.rolname, c.oid, 'usage, select, update')
                    union all
                    select r.rolname, p.proname from pg_proc as p cross join pg_roles as r
                    where p.pronamespace = 'walltrack'::regnamespace and r.rolname in ('anon', 'authenticated')
                      and p.proname <> 'hosts_own' and has_function_privilege(r.rolname, p.oid, 'execute')
                    """
                ).fetchall()
                assert open_doors == []
                assert connection.execute(
                    "select has_function_privilege('anon', 'walltrack.hosts_own()', 'execute')"
                ).fetchone() == (True,)
        finally:
            for name in {"anon", "authenticated"} - roles:
                admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_row_level_security_is_on_where_asked_and_not_forced(db: psycopg.Connection) -> None:
    secured = (
        "select relname, relrowsecurity, relforcerowsecurity from pg_class where relnamespace = 'walltrack'::regnamespace "
        "and relkind = 'r' and relname not in ('orders', 'order_status_log') order by 1"
    )
    names = (
        "alert_events", "alert_faults", "alerts", "alerts_version", "button_presses", "chat_pace", "deliveries",
        "escalation_steps", "finished_deliveries", "given_usage", "notification_targets", "order_actions", "relay_duties",
        "relays", "sent_messages", "silences", "watched_tables",
    )  # fmt: skip
    assert db.execute(secured).fetchall() == [(name, False, False) for name in names]
    for _ in range(2):
        db.execute("select walltrack.enable_row_security()")
        assert db.execute(secured).fetchall() == [(name, True, False) for name in names]


def test_a_database_owner_without_superuser_installs(server_url: str) -> None:
    name = f"wt_owner_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} nosuperuser nocreaterole nocreatedb").format(sql.Identifier(name)))
        try:
            with new_database(server_url) as url:
                dbname = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
                admin.execute(sql.SQL("alter database {} owner to {}").format(sql.Identifier(str(dbname)), sql.Identifier(name)))
                mine = make_conninfo(url, options=f"-c role={name}")
                for _ in range(2):
                    migrations.upgrade(mine)
                with psycopg.connect(mine, autocommit=True) as connection:
                    bot = Bot(connection)
                    order = bot.create()
                    bot.exhaust(order)
                    assert bot.alert(order).is_open
                migrations.downgrade(mine)
        finally:
            admin.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


def test_an_attackers_search_path_has_no_effect(bot: Bot, as_role: Bot, role: str) -> None:
    """The guard ignores operators, functions and temporary tables that the bot's session would find first."""
    bot.execute(
        f"""
        grant usage on schema walltrack to {role}; grant select, insert, update on walltrack.orders to {role};
        create schema evil authorization {role}
        """
    )
    as_role.execute(
        """
        create table evil.loot (who text);
        create function evil.steal(text, text) returns boolean language plpgsql as
          $$ begin insert into evil.loot values (current_user); return true; end $$;
        create operator evil.= (leftarg = text, rightarg = text, function = evil.steal);
        create operator evil.~ (leftarg = text, rightarg = text, function = evil.steal);
        create function evil.lower(text) returns text language plpgsql as
          $$ begin insert into evil.loot values (current_user); return 'filled'; end $$;
        create function evil."left"(text, int) returns text language plpgsql as
          $$ begin insert into evil.loot values (current_user); return 'x'; end $$;
        create temporary table alerts (id uuid);
        create temporary table watched_tables (id uuid);
        create temporary table pg_class (oid oid);
        set search_path = evil, pg_temp, walltrack, pg_catalog;
        """
    )
    order = as_role.create()
    as_role.exhaust(order)
    as_role.give_up(order)
    assert bot.alert(order).is_open
    bot.execute("reset search_path")
    assert {who for (who,) in bot.execute("select who from evil.loot")} <= {role}
    assert bot.faults() == []


def test_trigger_functions_cannot_be_put_on_another_table(as_role: Bot, bot: Bot, role: str) -> None:
    bot.execute(f"grant usage on schema walltrack to {role}; create schema own authorization {role}")
    as_role.execute("create table own.t (id int)")
    for function in ("tg_orders__guard", "tg_watched__truncated"):
        with pytest.raises(DENIED):
            as_role.execute(f"create trigger x after insert on own.t for each row execute function walltrack.{function}()")


def test_functions_of_the_host_stay_executable(db: psycopg.Connection, database_url: str) -> None:
    db.execute(
        "create function walltrack.host_helper() returns int language sql set search_path = pg_catalog, pg_temp as 'select 1';"
        "create type walltrack.host_type as (a int)"
    )
    migrations.upgrade(database_url)
    executable = "has_function_privilege('public', 'walltrack.host_helper()', 'execute')"
    assert db.execute(f"select {executable}, has_type_privilege('public', 'walltrack.host_type', 'usage')").fetchone() == (
        True,
        True,
    )
