"""An older alerts table is adopted: its rows stay, and what does not fit is named."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.catalogue import catalogue
from tests.support.older_tables import HOST_ORDERS, INSERT, OLDER, run, uid
from walltrack_alerts import migrations
from walltrack_alerts.errors import AdoptionError


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
        ("create view walltrack.v as select title from walltrack.alerts", 'view walltrack.v depends on column "title"'),
        ("alter table walltrack.alerts add is_open bool generated always as (status <> 'resolved') stored", "is_open"),
        ("create policy unresolved on walltrack.alerts using (status <> 'resolved')", "unresolved"),
        ("alter table walltrack.alerts set unlogged", "unlogged"),
        ("alter table walltrack.alerts drop constraint alerts_pkey, add primary key (id, created_at)", "primary key"),
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
