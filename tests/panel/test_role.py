"""The database role of the panel needs an operator's rights, and the server refuses readers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gradio as gr
import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.bot import Bot
from tests.support.hubs import RAISE, is_live, until
from tests.support.hubs import serving as serving_hub
from tests.support.panels import logged_in
from walltrack_alerts import passwords
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import (
    PasswordAccess,
    Role,
    launch_panel,
)
from walltrack_alerts.ui.actions import Actions
from walltrack_alerts.ui.auth.access import Person
from walltrack_alerts.ui.live import Hub
from walltrack_alerts.ui.queries import Queries, Source

pytestmark = pytest.mark.own_server


@pytest.fixture
def operator_url(database_url: str, db: psycopg.Connection) -> Iterator[str]:
    """The test's database, as a role that was granted only 'operator'."""
    name = f"wt_panel_{uuid.uuid4().hex[:8]}"
    db.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    db.execute("select walltrack.grant_access(%s::regrole, 'operator')", (name,))
    yield make_conninfo(database_url, user=name)
    db.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (name,))
    db.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


async def test_the_panel_needs_only_an_operators_rights(operator_url: str, bot: Bot) -> None:
    orders = [bot.create("exit", token_symbol=f"T{n}") for n in range(4)]
    for order in orders:
        bot.exhaust(order)
    acknowledged, snoozed, retried, cancelled = (bot.alert(order).id for order in orders)
    async with AlertService.from_url(operator_url) as service:
        asked = {"id": str(retried), "ids": [str(retried)], "filter": {"status": "all"}, "limit": 3, "days": 7, "timezone": "UTC"}
        for function in Queries(Source(service)).functions:
            answer = json.loads(await function(asked))
            assert "problem" not in answer, (function.__name__, answer)
        await service.acknowledge_alert(acknowledged, "ada")
        assert (await service.resolve_alert(acknowledged, "sold by hand", "ada")).resolved_by == "ada"
        assert (await service.snooze_alert(snoozed, datetime.now(UTC) + timedelta(hours=1), "ada")).is_snoozed
        assert not (await service.snooze_alert(snoozed, None, "ada")).is_snoozed
        await service.retry_order(retried, "ada")
        await service.cancel_order(cancelled, None, "ada")
        assert (await service.get_timeline(snoozed))[0].kind == "raised"
    assert bot.execute("select status from walltrack.orders where id = any(%s) order by status", (orders,)).fetchall() == [
        ("cancelled",), ("failed",), ("failed",), ("pending",),
    ]  # fmt: skip
    with psycopg.connect(operator_url, autocommit=True) as panel:
        assert panel.execute("select rolsuper or rolcreaterole from pg_roles where rolname = current_user").fetchone() == (False,)
        for statement in (
            "update walltrack.orders set status = 'filled'",
            "select * from walltrack.orders",
            "update walltrack.alerts set status = 'resolved'",
            "insert into walltrack.alert_events (alert_id, kind, actor) values (gen_random_uuid(), 'raised', 'x')",
            "insert into walltrack.order_actions (alert_id, order_id, action) values (gen_random_uuid(), 'x', 'retry')",
            "delete from walltrack.alerts",
            "update walltrack.watched_tables set order_actions = true",
            "select walltrack.unwatch_orders('walltrack.orders')",
            "create table walltrack.mine (id int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                panel.execute(statement)


async def test_the_live_hub_needs_only_an_operators_rights(operator_url: str, db: psycopg.Connection) -> None:
    with serving_hub(Hub(operator_url)) as site:
        async with site.page() as page:
            await is_live(page)
            db.execute(RAISE, ("a",))
            await until(page, lambda message: bool(message["changed"]))


async def test_too_many_ids_are_all_refused_explicitly() -> None:
    asked = [str(uuid.uuid4()) for _ in range(501)]
    event = gr.EventData(None, {"nonce": "1", "ids": asked})
    acting = Actions(Source("host=/nowhere"), lambda _: Person("ada"), lambda _: {}, lambda _: None, order_actions=True)
    outcomes = json.loads(await acting.acknowledge(event, gr.Request()))["outcomes"]
    assert [each["id"] for each in outcomes] == asked
    assert {each["text"] for each in outcomes} == {"At most 500 at a time, these are 501."}


def test_a_reader_is_refused_by_the_server(database_url: str, users: Path, bot: Bot) -> None:
    """The requests are those of the page, but without a page that hides its buttons."""
    order = bot.create()
    bot.exhaust(order)
    alert_id = str(bot.alert(order).id)
    panel = launch_panel(database_url, port=0, block=False, access=PasswordAccess(users))

    def act(session: httpx.Client, event: str) -> str:
        dependencies = session.get("/config").json()["dependencies"]
        number = next(each["id"] for each in dependencies if event in {target[1] for target in each["targets"]})
        asked = {"nonce": "1", "ids": [alert_id], "note": "by hand", "actor": "eve", "until": None}
        body = {"fn_index": number, "data": [], "event_data": asked, "session_hash": "x"}
        answer = session.post("/gradio_api/run/predict", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"][0])

    try:
        with logged_in(panel.url, "bob", "battery staple") as reader:
            assert '"role": "reader"' in act(reader, "identify")
            for event in ("acknowledge", "snooze", "resolve", "retry", "cancel"):
                assert '"outcome": "refused"' in act(reader, event)
            assert bot.alert(order).acknowledged_at is None and bot.alert(order).is_open
            passwords.add_user(users, "bob", Role.OPERATOR, "battery staple")
        with logged_in(panel.url, "bob", "battery staple") as operator:
            assert '"outcome": "done"' in act(operator, "acknowledge")
            assert bot.alert(order).acknowledged_by == "bob"  # never the name that the page sends
    finally:
        panel.close()
