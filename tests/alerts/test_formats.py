"""Servers, roles and environments that format texts and times differently from what psycopg expects."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.support.bot import Bot
from tests.support.commands import run
from tests.support.databases import new_database
from walltrack_alerts import AlertService, migrations, retention
from walltrack_alerts.listener import listen

ERROR = "zu wenig Gebühr … 5 €"
OTHER = {
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "client_encoding": "LATIN1",
    "timezone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "lc_numeric": "C",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
}


@pytest.fixture
def url(server_url: str) -> Iterator[str]:
    """A database whose sessions start with other settings, not migrated."""
    with new_database(server_url) as url:
        name = str(conninfo_to_dict(url)["dbname"])
        with psycopg.connect(url, autocommit=True) as connection:
            for setting, value in OTHER.items():
                alter = sql.SQL("alter database {} set {} = {}")
                connection.execute(alter.format(sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)))
        yield url


def use(url: str) -> None:
    """Write orders in a session with the server's defaults, and do everything else through the package."""
    migrations.upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        bot = Bot(connection)
        orders = [bot.create("exit"), bot.create("entry")]
        connection.execute("set client_encoding = 'UTF8'")
        for order in orders:
            bot.exhaust(order, ERROR)
        connection.execute("reset client_encoding")
        assert bot.faults() == []
    asyncio.run(look_and_act(url))
    run(url, "reconcile")
    run(url, "doctor")
    assert ERROR[:8] in run(url, "alerts", "list").stdout
    assert retention.purge(url, "1 day", dry_run=False, progress=lambda *_: None).scanned == 0


async def look_and_act(url: str) -> None:
    now = datetime.now(UTC)
    async with AlertService.from_url(url) as service:
        critical, high = await service.get_active_alerts()
        assert critical.data["error"] == ERROR
        assert abs(critical.created_at - now) < timedelta(minutes=1)
        snoozed = await service.snooze_alert(high.id, now + timedelta(hours=1), "Jörg €")
        assert snoozed.snoozed_until == now + timedelta(hours=1)
        await service.resolve_alert(critical.id, "verkauft … €", "Jörg €")
        assert (await service.get_events(critical.id))[-1].actor == "Jörg €"
    kinds = []
    async with aclosing(listen(url, "beginning")) as events:
        async for event in events:
            assert abs(event.at - now) < timedelta(minutes=1)
            kinds.append(event.kind)
            if len(kinds) == 4:
                break
    assert kinds == ["raised", "raised", "snoozed", "resolved"]


def test_alerting_works_under_any_database_settings(url: str) -> None:
    use(url)


def test_alerting_works_under_any_environment_settings(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGTZ", "America/St_Johns")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    use(empty_database_url)


def test_alerting_works_where_backslashes_escape(bot: Bot) -> None:
    """Each session parses a function's body anew under its own settings."""
    bot.execute("set standard_conforming_strings = off")
    order = bot.create(amount_sol="0.00000001")
    bot.exhaust(order)
    alert = bot.alert(order)
    assert (alert.data["attempts"], alert.data["amount_sol"]) == (3, 1e-8)
    place = bot.execute("select walltrack.list_place(a) from walltrack.alerts as a").fetchone()
    assert bot.execute("select count(alert) from walltrack.list_alerts(p_after => %s)", place).fetchone() == (0,)
    families = bot.execute(
        "select walltrack.error_family('3 of 5 at (-7.5 %)'), cardinality(walltrack.chart_times(2, 'Etc/GMT+5'))"
    )
    assert families.fetchone() == ("# of # at (#%)", 49)
    bot.execute("alter table walltrack.orders disable trigger user")
    bot.fill(order)
    missed = bot.create()
    bot.exhaust(missed)
    bot.execute("alter table walltrack.orders enable trigger user")
    assert bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone() == (1, 1)
    assert bot.faults() == []


@pytest.mark.parametrize("status", ["open", "resolved"])
def test_an_ambiguous_local_time_keeps_its_moment(bot: Bot, status: str) -> None:
    """Every style but ISO prints the zone's abbreviation, and Moscow's stood for two offsets in one night."""
    titles = ["21:30", "21:40", "22:30", "22:40"]
    for title in titles:
        alert = bot.call("raise_alert", "t", "high", title)
        if status == "resolved" and alert is not None:
            bot.call("resolve_alert", alert.id, "done", "ada")
    for column in ("created_at", "resolved_at"):
        bot.execute(
            f"update walltrack.alerts set {column} = ('2014-10-25 ' || title || 'Z')::timestamptz where {column} is not null"
        )
    bot.execute("set datestyle = 'SQL, DMY'; set timezone = 'Europe/Moscow'")
    seen: list[str] = []
    place = None
    for _ in titles:
        page = bot.execute(
            "select (alert).title, place from walltrack.list_alerts(p_status => %s, p_limit => 1, p_after => %s)", (status, place)
        ).fetchall()
        seen += [title for title, _ in page if title is not None]
        place = page[-1][1] if page else place
    assert seen == (titles if status == "open" else titles[::-1])


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_another_encoding_is_refused_before_any_change(server_url: str, encoding: str) -> None:
    name = f"wt_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        create = "create database {} encoding {} lc_collate 'C' lc_ctype 'C' template template0"
        admin.execute(sql.SQL(create).format(sql.Identifier(name), sql.Literal(encoding)))
    try:
        done = run(psycopg.conninfo.make_conninfo(server_url, dbname=name), "migrate", expect=1)
        assert f"database {name} has encoding {encoding}, but alerting requires UTF8" in done.stderr
        assert "create database" in done.stderr
    finally:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
