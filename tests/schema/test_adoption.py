"""Adopting an older alerts table: alerts know their orders, history stays, and every change is announced."""

from __future__ import annotations

import re
import uuid

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.bot import TOKEN, Bot
from tests.support.older_tables import HOST_ORDERS, INSERT, OLDER, run, uid
from walltrack_alerts import migrations
from walltrack_alerts.errors import AdoptionError

TOUCH = """
create function walltrack.touch() returns trigger language plpgsql as $$ begin new.updated_at := now(); return new; end $$;
create trigger touch before update on walltrack.alerts for each row execute function walltrack.touch();
"""
BROKEN = """
create function walltrack.broken() returns trigger language plpgsql as $$ begin new.changed_by := 'me'; return new; end $$;
create trigger broken before update on walltrack.alerts for each row execute function walltrack.broken();
"""
REFUSING = BROKEN.replace("new.changed_by := 'me'", "raise 'alerts are never edited'")
SUPPRESSING = BROKEN.replace("new.changed_by := 'me'; return new", "return null")


def add(bot: Bot, number: int, key: str, status: str, data: dict[str, object], title: str = "Order failed") -> None:
    bot.execute(
        "insert into walltrack.alerts (id, alert_type, severity, status, title, message, dedupe_key, data, created_at, "
        "updated_at) values (%s, 'order_failed_permanently', 'critical', %s, %s, 'm', %s, %s, '2025-01-01', '2025-01-02')",
        (uid(number), status, title, key, Jsonb(data)),
    )


def test_adopted_alerts_show_the_facts_of_their_orders(empty_database_url: str) -> None:
    run(empty_database_url, HOST_ORDERS + OLDER.replace("create schema walltrack;", "") + TOUCH)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        failed = bot.create("exit", status="failed", attempt_count=3, last_error="slippage")
        filled = bot.create("entry", status="filled", attempt_count=2, token_symbol="WIF", amount_sol="2.5")
        gone = uuid.uuid4()
        add(bot, 1, f"order_failed_{failed}", "active", {"order_id": str(failed), "token_address": TOKEN})
        add(bot, 2, f"order_failed_{filled}", "resolved", {"retry_count": 1, "error_message": "rpc", "note": "mine"})
        add(bot, 3, f"order_failed_{gone}", "resolved", {"token_address": "Mint", "symbol": "POP"}, "EXIT Order Failed")
        migrations.upgrade(empty_database_url)
        alerts = {str(alert.id): alert for alert in bot.alerts()}
        names = ("order_id", "order_type", "token", "token_symbol", "attempts", "max_attempts", "error", "side", "is_simulated")
        facts = {number: tuple(alerts[uid(number)].data[name] for name in names) for number in (1, 2, 3)}
        assert facts == {
            1: (str(failed), "exit", TOKEN, "BONK", 3, 3, "slippage", "sell", False),
            2: (str(filled), "entry", TOKEN, "WIF", 1, 3, "rpc", "buy", False),
            3: (str(gone), "exit", "Mint", "POP", None, None, None, "sell", None),
        }
        assert alerts[uid(2)].data["note"] == "mine" and alerts[uid(2)].data["amount_sol"] == 2.5
        for symbol, number in (("BONK", 1), ("wif", 2), ("pop", 3)):
            found = "select (alert).id::text from walltrack.list_alerts(p_text => %s, p_status => 'all')"
            assert bot.execute(found, (symbol,)).fetchall() == [(uid(number),)]

        rows = bot.execute("select a.xmin, a.* from walltrack.alerts as a order by id").fetchall()
        migrations.upgrade(empty_database_url)
        assert bot.execute("select a.xmin, a.* from walltrack.alerts as a order by id").fetchall() == rows


def test_history_keeps_its_times(empty_database_url: str) -> None:
    run(empty_database_url, OLDER + TOUCH)
    run(empty_database_url, INSERT + f"('{uid(1)}', 'other', 'info', 'resolved', 't', 'm', 'k', '2025-01-01')")
    run(
        empty_database_url,
        "alter table walltrack.alerts disable trigger user; update walltrack.alerts set updated_at = '2025-01-02 UTC'; "
        "alter table walltrack.alerts enable always trigger touch",
    )
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        (alert,) = Bot(connection).alerts()
        enabled = connection.execute("select tgenabled from pg_trigger where tgname = 'touch'").fetchone()
    assert alert.updated_at.isoformat() == "2025-01-02T00:00:00+00:00" == alert.resolved_at.isoformat()  # type: ignore[union-attr]
    assert enabled == ("A",)


@pytest.mark.api_roles
def test_migrate_announces_the_changes_for_each_role(empty_database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    writer, reader = (f"wt_{kind}_{uuid.uuid4().hex[:8]}" for kind in ("writer", "reader"))
    run(
        empty_database_url,
        OLDER + TOUCH + "create unique index one_active on walltrack.alerts (dedupe_key) where status = 'active';",
    )
    run(
        empty_database_url,
        f"create role {writer}; create role {reader}; grant all on walltrack.alerts to {writer}; "
        f"grant select on walltrack.alerts to {reader}",
    )
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        api = connection.execute("select rolname from pg_roles where rolname = 'anon'").fetchone()
        if api is None:
            connection.execute("create role anon")
        try:
            connection.execute("grant select, insert on walltrack.alerts to anon")
            connection.execute(INSERT + f"('{uid(1)}', 'o', 'info', 'active', 't', 'm', null, now())")  # type: ignore[arg-type]
            migrations.upgrade(empty_database_url)
            said = caplog.text
            assert "with its 1 alerts, 1 of them open" in said
            kept, lost = re.search(f"Role {writer} keeps (.*), loses (.*)\\.", said).groups()  # type: ignore[union-attr]
            assert kept.removesuffix(", MAINTAIN") == "SELECT, INSERT, UPDATE, DELETE"
            assert set(lost.split(", ")) == {"REFERENCES", "TRIGGER", "TRUNCATE"}
            assert f"Role {reader} keeps SELECT." in said and "Role anon loses SELECT, INSERT." in said
            assert "severity (was character varying(20))" in said and "Triggers that stay in force: touch" in said
            assert "one_active. ON CONFLICT (dedupe_key) needs the condition: where status <> 'resolved'" in said
            caplog.clear()
            migrations.upgrade(empty_database_url)
            assert caplog.text == ""
        finally:
            for role in (writer, reader, *(() if api else ("anon",))):
                connection.execute(f"drop owned by {role}; drop role {role}")  # type: ignore[arg-type]


def test_rights_passed_on_by_roles_are_narrowed(empty_database_url: str) -> None:
    first, second = (f"wt_{kind}_{uuid.uuid4().hex[:8]}" for kind in ("first", "second"))
    run(
        empty_database_url,
        OLDER + f"create role {first}; create role {second}; grant usage on schema walltrack to {first}, {second}; "
        f"grant all on walltrack.alerts to {first} with grant option; set role {first}; "
        f"grant insert, truncate on walltrack.alerts to {second}; reset role",
    )  # fmt: skip
    try:
        for _ in range(2):
            migrations.upgrade(empty_database_url)
            with psycopg.connect(empty_database_url, autocommit=True) as connection:
                rights = connection.execute(
                    "select array_agg(has_any_column_privilege(r, 'walltrack.alerts', 'insert') order by r), "
                    "bool_or(has_table_privilege(r, 'walltrack.alerts', 'truncate')), "
                    "bool_or(has_column_privilege(r, 'walltrack.alerts', 'own_writes', 'insert')) from unnest(%s::name[]) as r",
                    ([first, second],),
                ).fetchone()
            assert rights == ([True, True], False, False)
        migrations.downgrade(empty_database_url)
    finally:
        run(empty_database_url, f"drop owned by {first}, {second}; drop role {first}, {second}")


FATAL = (
    "alter table walltrack.alerts drop constraint alerts_severity_check; "
    + INSERT
    + f"('{uid(1)}', 't', 'fatal', 'active', 't', 'm', 'k', now());"
)
REPAIR = "update walltrack.alerts set severity = 'critical' where severity = 'fatal'"


@pytest.mark.parametrize("trigger", [BROKEN, REFUSING, SUPPRESSING])
@pytest.mark.parametrize("way", ["without triggers", "renamed"])
def test_the_advice_works_in_any_trigger_state(empty_database_url: str, trigger: str, way: str) -> None:
    run(empty_database_url, OLDER + FATAL + trigger)
    with pytest.raises(AdoptionError, match="'fatal'") as caught:
        migrations.upgrade(empty_database_url)
    rename, disable, enable = re.findall(r"`(.*?)`", str(caught.value))
    if way == "renamed":
        run(empty_database_url, rename)
    else:
        run(empty_database_url, f"{disable}; {REPAIR}; {enable}")
        with pytest.raises(AdoptionError, match=r"changed_by|never edited|suppress") as caught:
            migrations.upgrade(empty_database_url)
        _rename, disable, _enable = re.findall(r"`(.*?)`", str(caught.value))
        run(empty_database_url, disable)
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        bot.exhaust(order)
        bot.fill(order)
        assert bot.alert(order).resolution == "Order filled" and bot.faults() == []


@pytest.mark.parametrize(
    "rule", ["check (alert_type in ('system'))", "check (length(message) < 100)", "check (dedupe_key not like 'order%')"]
)
def test_a_table_that_refuses_alerts_is_not_adopted(empty_database_url: str, rule: str) -> None:
    run(empty_database_url, OLDER + f"alter table walltrack.alerts add constraint of_old {rule}")
    with pytest.raises(AdoptionError, match="of_old"):
        migrations.upgrade(empty_database_url)


@pytest.mark.parametrize("keys", ["(data ->> 'order_id')", "alert_type, title", "alert_type) where (status = 'resolved'"])
def test_a_table_that_refuses_further_alerts_is_not_adopted(empty_database_url: str, keys: str) -> None:
    """Of another order, or of the same one when it fails again."""
    run(empty_database_url, OLDER + f"create unique index of_old on walltrack.alerts ({keys})")
    with pytest.raises(AdoptionError, match="of_old"):
        migrations.upgrade(empty_database_url)


def test_a_unique_expression_of_the_key_prevents_no_later_alerts(empty_database_url: str) -> None:
    run(empty_database_url, OLDER + "create unique index per_hash on walltrack.alerts (md5(dedupe_key))")
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        for _ in range(2):
            bot.update(order, attempt_count=0, status="pending")
            bot.exhaust(order)
            bot.call("resolve_by_dedupe_key", f"order_failed_{order}", "sold", "ada")
        assert len(bot.alerts(order)) == 2 and bot.faults() == []


def test_adopted_alerts_wait_for_their_orders_table(empty_database_url: str) -> None:
    """`migrate` creates an empty walltrack.orders, before the operator can watch the table that has the orders."""
    run(
        empty_database_url,
        OLDER + "create table public.trades (id int primary key, order_type text, status text, attempt_count int, "
        "max_attempts int, last_error text, token_symbol text, updated_at timestamptz default now()); "
        "insert into public.trades values "
        "(1, 'exit', 'failed', 3, 3, 'slippage', 'WIF'), (2, 'entry', 'cancelled', 3, 3, 'Max retries reached', 'POP'), "
        "(3, 'exit', 'filled', 3, 3, null, 'OLD');",
    )
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        for number, status in ((1, "active"), (2, "acknowledged"), (3, "active"), (4, "active")):
            add(bot, number, f"order_failed_{number}", status, {"order_id": number})
        migrations.upgrade(empty_database_url)
        assert [alert.is_open for alert in bot.alerts()] == [True] * 4
        bot.execute("select walltrack.watch_orders('public.trades')")
        bot.execute("select walltrack.reconcile_orders()")
        alerts = {alert.data["order_id"]: alert for alert in bot.alerts()}
        assert {number: (alert.status, alert.data["token_symbol"]) for number, alert in alerts.items()} == {
            "1": ("active", "WIF"), "2": ("acknowledged", "POP"), "3": ("resolved", None), "4": ("active", None),
        }  # fmt: skip
