"""What other roles own, plant or hold: schemas, objects, triggers, default privileges, locks and dumps."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.support.bot import Bot
from walltrack_alerts import migrations
from walltrack_alerts.errors import AdoptionError


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


PLANTED = {
    "a table": "create table walltrack.alert_faults (at int)",
    "an overload": "create function walltrack.clip(varchar, int) returns text language sql as 'select null'",
    "a view": "create view walltrack.open_alerts as select 1",
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_objects_of_another_role_under_our_names_are_refused(empty_database_url: str, planted: str) -> None:
    role = f"wt_planter_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        superuser.execute(f"create schema walltrack; create role {role}; grant create on schema walltrack to {role}")  # type: ignore[arg-type]
        try:
            superuser.execute(f"set role {role}")  # type: ignore[arg-type]
            superuser.execute(planted)  # type: ignore[arg-type]
            superuser.execute("reset role")
            with pytest.raises(AdoptionError, match=f"(?s)objects of other roles under names of alerting: .*{role}"):
                migrations.upgrade(empty_database_url)
        finally:
            superuser.execute(f"reset role; drop owned by {role} cascade; drop role {role}")  # type: ignore[arg-type]


def test_another_roles_triggers_on_an_older_alerts_table_are_refused(empty_database_url: str) -> None:
    role = f"wt_older_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        superuser.execute(
            "create schema walltrack; create table walltrack.alerts (id uuid primary key, alert_type text, severity text, "
            f"status text, title text); create role {role}; grant all on schema walltrack to {role}; "  # type: ignore[arg-type]
            f"grant trigger on walltrack.alerts to {role}; set role {role}; create function walltrack.mine() returns trigger "
            "language plpgsql as $$ begin return new; end $$; create trigger mine before insert on walltrack.alerts "
            "for each row execute function walltrack.mine(); reset role"
        )
        try:
            with pytest.raises(AdoptionError, match="triggers whose functions belong to other roles"):
                migrations.upgrade(empty_database_url)
            superuser.execute(f"drop owned by {role} cascade")  # type: ignore[arg-type]
            migrations.upgrade(empty_database_url)
        finally:
            superuser.execute(f"drop owned by {role} cascade; drop role {role}")  # type: ignore[arg-type]


def test_default_privileges_add_no_rights(empty_database_url: str) -> None:
    role = f"wt_default_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        superuser.execute(
            f"create role {role}; alter default privileges grant all on tables to {role}; "  # type: ignore[arg-type]
            f"alter default privileges grant all on sequences to {role}; "
            f"alter default privileges grant all on functions to {role}"
        )
        try:
            migrations.upgrade(empty_database_url)
            rights = superuser.execute(
                "select has_table_privilege(%(r)s, 'walltrack.alert_events', 'select'), "
                "has_table_privilege(%(r)s, 'walltrack.alert_events', 'insert, update, delete, truncate, references, trigger'), "
                "has_column_privilege(%(r)s, 'walltrack.alerts', 'title', 'insert'), "
                "has_column_privilege(%(r)s, 'walltrack.alerts', 'own_writes', 'insert'), "
                "has_table_privilege(%(r)s, 'walltrack.alerts', 'trigger'), "
                "has_sequence_privilege(%(r)s, 'walltrack.waited_in_transaction', 'update')",
                {"r": role},
            ).fetchone()
            assert rights == (True, False, True, False, False, False)
            granted = superuser.execute(
                "select p.proname from pg_proc as p where p.pronamespace = 'walltrack'::regnamespace "
                "and has_function_privilege(%s, p.oid, 'execute') and p.proname = any (%s)",
                (role, ["open_alert", "close_order_alert", "sync_order", "grant_access", "watch_orders", "tg_orders__guard"]),
            ).fetchall()
            assert granted == []
        finally:
            superuser.execute(f"drop owned by {role} cascade; drop role {role}")  # type: ignore[arg-type]


def test_no_advisory_lock_delays_a_migration(database_url: str) -> None:
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
        bot.execute("select count(*) from walltrack.alerts")
        bot.execute("reset role; reset row_security; select walltrack.enable_row_security()")
        (found,) = bot.execute("select found from walltrack.health() where name = %s", (f"dumps by {role}",)).fetchone() or ("",)
        assert "row level security is on" in found
    finally:
        bot.execute("reset role")
        bot.execute(f"drop owned by {role}; drop role {role}")
