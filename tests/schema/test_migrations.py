"""Installing, upgrading and removing alerting, on an empty database and on one in use."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import psycopg
import pytest
from alembic.config import CommandLine, Config

from tests.support.bot import Bot
from tests.support.databases import new_database
from tests.support.older_tables import HOST_ORDERS, INSERT, OLDER, run, uid
from walltrack_alerts import migrations
from walltrack_alerts.errors import AdoptionError, DatabaseUnavailableError, NotMigratedError

ROOT = Path(__file__).parent.parent.parent
REVISIONS = len(list(ROOT.glob("alembic/versions/*.py")))


CATALOGUE = """
select 'class', c.oid::regclass::text, c.relkind::text, c.relacl::text, obj_description(c.oid, 'pg_class')
from pg_class as c where c.relnamespace = 'walltrack'::regnamespace
union all
select 'column', a.attrelid::regclass::text || '.' || a.attname,
  format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end,
  pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
from pg_attribute as a join pg_class as c on c.oid = a.attrelid
left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'walltrack'::regnamespace and c.relkind <> 'i' and a.attnum > 0 and not a.attisdropped
union all
select 'constraint', c.conrelid::regclass::text || '.' || c.conname, pg_get_constraintdef(c.oid), null, null
from pg_constraint as c where c.connamespace = 'walltrack'::regnamespace and c.contype <> 'n'
union all
select 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), null, null
from pg_index as i join pg_class as c on c.oid = i.indrelid where c.relnamespace = 'walltrack'::regnamespace
union all
select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid, 'pg_proc')
from pg_proc as p where p.pronamespace = 'walltrack'::regnamespace
union all
select 'trigger', t.tgrelid::regclass::text || '.' || t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text, null
from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
where c.relnamespace = 'walltrack'::regnamespace and not t.tgisinternal
union all
select 'view', c.oid::regclass::text, pg_get_viewdef(c.oid), c.reloptions::text, null
from pg_class as c where c.relnamespace = 'walltrack'::regnamespace and c.relkind = 'v'
union all
select 'event trigger', e.evtname, e.evtevent || ' ' || e.evttags::text || ' ' || e.evtfoid::regproc, e.evtenabled::text,
  obj_description(e.oid, 'pg_event_trigger')
from pg_event_trigger as e
order by 1, 2
"""


def catalogue(url: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(CATALOGUE).fetchall()


def alembic_process(url: str, *arguments: str) -> None:
    """Run the command `alembic`."""
    subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        check=True, capture_output=True, cwd=ROOT, env={**os.environ, "WALLTRACK_DATABASE_URL": url},
    )  # fmt: skip


def alembic(url: str, *arguments: str) -> str:
    """The output of `alembic`, run in this process because starting it takes longer than most of its work."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALLTRACK_DATABASE_URL", url)
        patch.chdir(ROOT)
        line = CommandLine()
        options = line.parser.parse_args(arguments)
        line.run_cmd(Config("alembic.ini", stdout=printed, output_buffer=printed, cmd_opts=options), options)
    return printed.getvalue()


def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    before = catalogue(database_url)
    migrations.upgrade(database_url)
    assert catalogue(database_url) == before


def test_an_upgrade_reads_new_facts(database_url: str) -> None:
    """The tables were watched by an older release without these facts."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        bot = Bot(connection)
        settings = "select columns, column_types, cancel_pattern from walltrack.watched_tables"
        before = bot.execute(settings).fetchall()
        bot.execute("update walltrack.watched_tables set columns = columns - '{token_symbol,next_retry_at}'::text[]")
        bot.execute("select walltrack.write_guard('walltrack.orders')")
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).data["token_symbol"] is None

        migrations.upgrade(database_url)
        assert bot.execute(settings).fetchall() == before
        assert bot.alert(order).data["token_symbol"] == "BONK"
        later = bot.create()
        bot.exhaust(later)
        assert bot.alert(later).data["token_symbol"] == "BONK"
        bot.call("retry_order", bot.alert(later).id, "ada")
        assert later in bot.poll()


def test_an_upgrade_keeps_the_named_columns(database_url: str) -> None:
    run(database_url, "select walltrack.watch_orders('walltrack.orders', '{\"token_symbol\": \"signal_id\"}')")
    migrations.upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        named = connection.execute("select columns ->> 'token_symbol' from walltrack.watched_tables").fetchone()
    assert named == ("signal_id",)


def test_alembic_makes_the_same_catalogue(database_url: str, empty_database_url: str) -> None:
    assert "(head)" not in alembic(empty_database_url, "current")
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regnamespace('walltrack')").fetchone() == (None,)  # it only looks
    alembic_process(empty_database_url, "upgrade", "head")
    assert catalogue(empty_database_url) == catalogue(database_url)
    assert "(head)" in alembic(empty_database_url, "current")


@pytest.mark.parametrize("target", ["heads", f"+{REVISIONS}", migrations.head_revision()])
def test_every_target_at_the_head_is_complete(database_url: str, empty_database_url: str, target: str) -> None:
    alembic(empty_database_url, "upgrade", target)
    assert catalogue(empty_database_url) == catalogue(database_url)


@pytest.mark.parametrize("target", ["head", "heads"])
def test_the_printed_script_makes_the_same_catalogue(database_url: str, empty_database_url: str, target: str) -> None:
    run(empty_database_url, alembic(empty_database_url, "upgrade", target, "--sql"))
    assert catalogue(empty_database_url) == catalogue(database_url)


def test_existing_orders_get_their_alerts(empty_database_url: str) -> None:
    run(empty_database_url, HOST_ORDERS)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        failed = bot.create("exit", status="failed", attempt_count=3, last_error="old trouble")
        retried = bot.create("entry", status="pending", attempt_count=4)
        for status, attempts, error in (
            ("filled", 3, None), ("cancelled", 3, "Manually cancelled"), ("pending", 0, None), ("failed", 2, "rpc"),
            ("cancelled", 3, "Max retries reached (3 attempts)"),
        ):  # fmt: skip
            bot.create("exit", status=status, attempt_count=attempts, last_error=error)
        before = catalogue(empty_database_url)
        rows = bot.execute("select o.xmin, o.* from walltrack.orders as o order by id").fetchall()

        for _ in range(2):
            migrations.upgrade(empty_database_url)
            # Orders that the worker had given up before raise no alert; the two that still fail raise one each.
            assert {alert.dedupe_key for alert in bot.alerts()} == {f"order_failed_{failed}", f"order_failed_{retried}"}
            assert bot.events() == ["raised", "raised"]
        assert bot.alert(failed).data["error"] == "old trouble"

        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open
        bot.delete(order)
        after = {(row[0], row[1]) for row in catalogue(empty_database_url)}
        assert {(row[0], row[1]) for row in before} <= after

        migrations.downgrade(empty_database_url)
        assert catalogue(empty_database_url) == before
        assert bot.execute("select o.xmin, o.* from walltrack.orders as o order by id").fetchall() == rows
        bot.exhaust(bot.create())

        migrations.upgrade(empty_database_url)
        assert len(bot.alerts()) == 3


def test_a_dropped_watched_table_blocks_no_migration(database_url: str) -> None:
    run(
        database_url,
        "create table walltrack.other (like walltrack.orders including all); select walltrack.watch_orders('walltrack.other'); "
        "drop table walltrack.other",
    )
    migrations.upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open
    migrations.downgrade(database_url)


@pytest.mark.parametrize("target", ["base", f"-{REVISIONS}"])
def test_downgrade_removes_everything_it_installed(database_url: str, target: str) -> None:
    alembic(database_url, "downgrade", migrations.head_revision())  # which is where it is
    run(database_url, "select walltrack.raise_alert('t', 'info', 't')")
    alembic(database_url, "downgrade", target)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select to_regnamespace('walltrack')").fetchone() == (None,)
    alembic(database_url, "downgrade", "base")


def test_a_further_revision_is_run(empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    (folder / "versions" / "9999_next.py").write_text(
        "from walltrack_alerts.migrations import run_script\n"
        f"revision, down_revision = '9999', '{migrations.head_revision()}'\n"
        "def upgrade(): run_script('alter table if exists walltrack.alerts add column next int')\n"
        "def downgrade():\n"
        "    run_script('drop view walltrack.open_alerts; alter table walltrack.alerts drop column if exists next')\n"
    )
    migrations.upgrade(empty_database_url)
    monkeypatch.setattr(migrations, "_folder", lambda name: folder if name == "alembic" else ROOT / name)
    assert migrations.head_revision() == "9999"
    for _ in range(2):
        migrations.upgrade(empty_database_url)
        with psycopg.connect(empty_database_url) as connection:
            assert connection.execute("select version_num from walltrack.alerts_version").fetchone() == ("9999",)
            connection.execute("select next from walltrack.alerts")
    migrations.downgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regnamespace('walltrack')").fetchone() == (None,)


def test_downgrade_can_print_its_script(database_url: str) -> None:
    run(database_url, alembic(database_url, "downgrade", "head:base", "--sql"))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select to_regclass('walltrack.alerts')").fetchone() == (None,)


def test_two_upgrades_at_once_both_succeed(empty_database_url: str) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            alembic_process(empty_database_url, "upgrade", "head")
        except subprocess.CalledProcessError as error:
            failures.append(error)
            print(error.stderr)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_migration_creates_its_triggers_beside_a_busy_writer(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long transaction holds orders: the migration waits briefly, lets writers through, and retries."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.2)
    run(empty_database_url, HOST_ORDERS)
    with psycopg.connect(empty_database_url) as holder:
        Bot(holder).create()
        thread = threading.Thread(target=migrations.upgrade, args=(empty_database_url,))
        thread.start()
        with psycopg.connect(empty_database_url, autocommit=True) as writer:
            for _ in range(20):
                Bot(writer).create()
        holder.commit()
        thread.join()
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open


def test_an_unwatchable_table_is_refused(empty_database_url: str) -> None:
    run(empty_database_url, "create schema walltrack; create table walltrack.orders (id int, status text)")
    with pytest.raises(Exception, match="attempt_count, max_attempts, last_error") as caught:
        migrations.upgrade(empty_database_url)
    assert type(caught.value).__name__ == "UnwatchableTableError"


def test_a_missing_server_is_reported() -> None:
    with pytest.raises(DatabaseUnavailableError, match="WALLTRACK_DATABASE_URL"):
        migrations.upgrade("postgresql://nobody@127.0.0.1:1/nothing")


# An older alerts table


def test_an_older_table_is_adopted(empty_database_url: str, database_url: str) -> None:
    run(empty_database_url, OLDER)
    run(
        empty_database_url,
        INSERT
        + f"""
        ('{uid(1)}', 'order_failed_permanently', 'critical', 'active', 'old', 'm', 'k', '2025-01-01'),
        ('{uid(2)}', 'order_failed_permanently', 'critical', 'acknowledged', 'newer', 'm', 'k', '2025-01-02'),
        ('{uid(3)}', 'order_failed_permanently', 'high', 'resolved', 'done', 'm', 'k', '2024-01-01'),
        ('{uid(4)}', 'other', 'info', 'active', 'no key', 'm', null, '2025-01-01'),
        ('{uid(5)}', 'other', 'info', 'active', 'no key', 'm', null, '2025-01-01')
        """,
    )
    run(empty_database_url, "grant select on walltrack.alerts to public")
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        alerts = {str(alert.id): alert for alert in bot.alerts()}
        assert set(alerts) == {uid(number) for number in range(1, 6)}
        assert alerts[uid(1)].resolution == f"Duplicate of {uid(2)}"
        assert (alerts[uid(2)].status, alerts[uid(2)].occurrences) == ("acknowledged", 2)
        assert alerts[uid(2)].acknowledged_by == "unknown"
        assert alerts[uid(3)].resolved_by == "unknown" and alerts[uid(3)].resolved_at is not None
        assert alerts[uid(4)].is_active and alerts[uid(5)].is_active
        order = bot.create()
        bot.exhaust(order)
        bot.fill(order)
        assert bot.alert(order).resolution == "Order filled"
        open_order = bot.create()
        bot.exhaust(open_order)
        data = bot.alert(open_order).data

    def parts(url: str) -> set[tuple]:
        return {
            row for row in catalogue(url) if row[1].startswith(("walltrack.alerts.", "walltrack.alerts_")) and row[0] != "class"
        }

    fresh, adopted = parts(database_url), parts(empty_database_url)
    assert fresh <= adopted
    assert {row[1] for row in adopted - fresh} == {"walltrack.alerts_old_idx"}

    migrations.downgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        (count,) = connection.execute("select count(*) from walltrack.alerts").fetchone() or ()
        assert (data,) in connection.execute("select data from walltrack.alerts").fetchall()
        columns = {d.name for d in connection.execute("select * from walltrack.alerts limit 0").description or ()}
    assert count == 7
    assert "occurrences" not in columns and "notified_at" in columns


def test_an_adopted_open_alert_is_its_orders_alert(empty_database_url: str) -> None:
    run(empty_database_url, HOST_ORDERS)
    run(empty_database_url, OLDER.replace("create schema walltrack;", ""))
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        still, settled = (
            bot.create("exit", status="failed", attempt_count=3),
            bot.create("exit", status="failed", attempt_count=3),
        )
        ended = bot.create("exit", status="filled", attempt_count=3)
        bot.execute(
            INSERT + "(%s, 'order_failed_permanently', 'critical', 'active', 't', 'm', %s, now()), "
            "(%s, 'order_failed_permanently', 'critical', 'resolved', 't', 'm', %s, now()), "
            "(%s, 'order_failed_permanently', 'critical', 'active', 't', 'm', %s, now())",
            (uid(1), f"order_failed_{still}", uid(2), f"order_failed_{settled}", uid(3), f"order_failed_{ended}"),
        )
        migrations.upgrade(empty_database_url)
        assert str(bot.alert(still).id) == uid(1) and bot.alert(still).is_open
        assert str(bot.alert(settled).id) == uid(2)
        assert bot.alert(ended).resolution == "Order filled"
        bot.fail(still)
        assert bot.alert(still).occurrences == 2
        bot.fail(settled)
        assert len(bot.alerts(settled)) == 2


def test_an_odd_older_table_is_adopted(empty_database_url: str) -> None:
    """Enumerations, JSON text, naive times, upper case and a full unique index do not prevent the adoption."""
    run(
        empty_database_url,
        """
        create schema walltrack;
        create type walltrack.old_severity as enum ('INFO', 'WARNING', 'HIGH', 'CRITICAL');
        create table walltrack.alerts (
          id uuid not null, alert_type text, severity walltrack.old_severity default 'HIGH', status text default 'ACTIVE',
          title text, message text, data json, requires_action text, dedupe_key varchar(100) unique,
          created_at timestamp, updated_at timestamp, acknowledged_at timestamp, acknowledged_by text,
          resolved_at timestamp, resolution text, notified_at timestamp, extra text not null default 'kept');
        insert into walltrack.alerts values
          ('00000000-0000-0000-0000-000000000001', 't', 'CRITICAL', 'ACTIVE', 'a', null, '[1]', 'yes', 'k', '2025-01-01 12:00'),
          ('00000000-0000-0000-0000-000000000002', null, 'INFO', 'RESOLVED', null, null, null, null, null, null);
        """,
    )
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        alerts = {str(alert.id): alert for alert in Bot(connection).alerts()}
        assert connection.execute("select extra from walltrack.alerts").fetchall() == [("kept",)] * 2
        again = Bot(connection).call("resolve_by_dedupe_key", "k", "done", "ada")
        assert again is not None and str(again.id) == uid(1)
        assert Bot(connection).call("raise_alert", "t", "info", "t", "", "{}", False, "k") is not None
    assert (alerts[uid(1)].severity, alerts[uid(1)].status, alerts[uid(1)].data) == ("critical", "active", {"value": [1]})
    assert alerts[uid(1)].created_at.isoformat() == "2025-01-01T12:00:00+00:00" and alerts[uid(1)].requires_action
    assert alerts[uid(2)].title == "Alert" and alerts[uid(2)].status == "resolved"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("alter table walltrack.alerts alter column severity type text, drop constraint alerts_severity_check; "
         + INSERT + f"('{uid(1)}', 't', 'fatal', 'active', 't', 'm', null, now())", "unknown severity: 'fatal'"),
        ("alter table walltrack.alerts drop constraint alerts_status_check; "
         + INSERT + f"('{uid(1)}', 't', 'high', 'muted', 't', 'm', null, now())", "unknown status: 'muted'"),
        ("alter table walltrack.alerts add column channel text not null", "channel"),
        ("alter table walltrack.alerts drop column title", "column missing: title"),
        ("alter table walltrack.alerts drop column id; alter table walltrack.alerts add column id bigint", "id is bigint"),
        ("drop table walltrack.alerts; create view walltrack.alerts as select 1 as id", "not an ordinary table"),
        ("create view walltrack.v as select title from walltrack.alerts", "view"),
        ("alter table walltrack.alerts force row level security", "row level security"),
    ],
)  # fmt: skip
def test_an_unfit_table_is_named_and_left_unchanged(empty_database_url: str, change: str, named: str) -> None:
    run(empty_database_url, OLDER)
    run(empty_database_url, change)
    before = catalogue(empty_database_url)
    with pytest.raises(AdoptionError, match="cannot be adopted") as caught:
        migrations.upgrade(empty_database_url)
    assert named in str(caught.value)
    assert catalogue(empty_database_url) == before


def test_an_unmigrated_database_is_reported(server_url: str) -> None:
    import asyncio

    from walltrack_alerts import AlertService

    async def ask(url: str) -> None:
        async with AlertService.from_url(url) as service:
            await service.get_active_alerts()

    with new_database(server_url) as url, pytest.raises(NotMigratedError, match="walltrack-alerts migrate"):
        asyncio.run(ask(url))


@pytest.mark.parametrize("policies", [True, False])
def test_row_level_security_of_an_older_table_is_kept(empty_database_url: str, policies: bool) -> None:
    """It still applies to all roles but those that are granted access, and a downgrade leaves it as it was."""
    role = f"wt_policy_{uuid.uuid4().hex[:8]}"
    state = (
        "select c.relrowsecurity, array(select p.polname::text from pg_policy as p where p.polrelid = c.oid) "
        "from pg_class as c where c.oid = 'walltrack.alerts'::regclass"
    )
    run(empty_database_url, OLDER + "alter table walltrack.alerts enable row level security;")
    run(empty_database_url, INSERT + f"('{uid(1)}', 'other', 'info', 'active', 't', 'm', null, now())")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"create role {role}; grant usage on schema walltrack to {role}")  # type: ignore[arg-type]
        try:
            connection.execute(f"grant select on walltrack.alerts to {role}")  # type: ignore[arg-type]
            if policies:
                connection.execute("create policy mine on walltrack.alerts for select using (created_at < '2000-01-01')")
            before = connection.execute(state).fetchone()
            assert before is not None and before[0]

            def seen() -> object:
                with connection.transaction():
                    connection.execute(f"set local role {role}")  # type: ignore[arg-type]
                    return connection.execute("select count(*) from walltrack.alerts").fetchone()

            assert seen() == (0,)
            for _ in range(2):
                migrations.upgrade(empty_database_url)
            assert seen() == (0,)
            connection.execute("select walltrack.grant_access(%s, 'reader')", (role,))
            connection.execute("select walltrack.grant_access(%s, 'operator')", (role,))
            assert seen() == (1,)
            # In a restored dump, another role may have this role's oid.
            connection.execute(f"create role {role}_other")  # type: ignore[arg-type]
            mine, other = connection.execute(
                "select p.polname::text, %s::regrole::oid from pg_policy as p where p.polroles = array[%s::regrole::oid]",
                (f"{role}_other", role),
            ).fetchone()  # type: ignore[misc]
            name = f"grants_decide_select_{other}"
            connection.execute(f'alter policy "{mine}" on walltrack.alerts rename to "{name}"')  # type: ignore[arg-type]
            connection.execute("select walltrack.grant_access(%s, 'reader')", (f"{role}_other",))
            connection.execute("select walltrack.revoke_access(%s)", (f"{role}_other",))
            connection.execute(f"drop owned by {role}_other; drop role {role}_other")  # type: ignore[arg-type]
            assert seen() == (1,)
            connection.execute("select walltrack.revoke_access(%s)", (role,))
            connection.execute(f"grant select on walltrack.alerts to {role}")  # type: ignore[arg-type]
            assert seen() == (0,)
            connection.execute("select walltrack.grant_access(%s, 'reader')", (role,))
            migrations.downgrade(empty_database_url)
            assert connection.execute(state).fetchone() == before
            assert seen() == (0,)
        finally:
            connection.execute(f"drop owned by {role}; drop role {role}")  # type: ignore[arg-type]
