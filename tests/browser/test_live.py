"""Live updates in a real browser: the page shows each commit and reconnects by itself."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from playwright.sync_api import expect
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import block_live_updates, row_of, select_alert, wait_for_counts, wait_until_live
from tests.support.panel_servers import free_port
from walltrack_alerts.ui import Access, Person, Role, launch_panel

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

NEVER = 600.0
"""Seconds between readings, so that only what is heard can bring something."""


def test_every_open_page_receives_every_change(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    url = serve(refresh_seconds=NEVER)
    pages = [open_page(url) for _ in range(3)]
    for page in pages:
        wait_until_live(page)
        expect(page.locator("#alerts-panel-live")).to_have_text("live")
    order = bot.create("exit")
    bot.exhaust(order)
    for page in pages:
        wait_for_counts(page, critical=1, waiting=1)
    select_alert(pages[0], bot.alert(order).id)
    pages[0].locator("#alerts-panel-acknowledge").click()
    for page in pages:
        wait_for_counts(page, critical=1, waiting=0)
        expect(row_of(page, bot.alert(order).id)).to_contain_text("by ada")
    bot.fill(order)
    for page in pages:
        wait_for_counts(page, critical=0, unresolved=0)
    pages[0].locator("#alerts-panel-detail[data-status=resolved]").wait_for()


def test_the_page_continues_after_a_database_outage(
    serve: Serve, open_page: OpenPage, bot: Bot, database_url: str, server_url: str
) -> None:
    page = open_page(serve(refresh_seconds=2))
    wait_until_live(page)
    name = str(conninfo_to_dict(database_url)["dbname"])
    allow = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        page.locator("[data-live=stale]").wait_for()
        expect(page.locator("#alerts-panel-live")).to_contain_text("stale since")
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    wait_until_live(page)
    with psycopg.connect(database_url, autocommit=True) as connection:
        again = Bot(connection)
        again.exhaust(again.create("exit"))
        wait_for_counts(page, critical=1)


@pytest.mark.parametrize("refresh_seconds", [0.3, NEVER])
def test_another_panel_at_the_address_asks_for_a_reload(open_page: OpenPage, database_url: str, refresh_seconds: float) -> None:
    """The page asks whether or not a read has failed in between."""
    port = free_port()
    panel = launch_panel(database_url, port=port, block=False, operator="ada", refresh_seconds=refresh_seconds)
    page = open_page(panel.url)
    wait_until_live(page)
    panel.close()
    page.locator("[data-live=reconnecting]").wait_for()
    panel = launch_panel(database_url, port=port, block=False, operator="ada")  # its parts have other numbers
    try:
        page.locator("#alerts-panel-banner").get_by_role("link", name="Reload").click()
        wait_until_live(page)
        expect(page.locator("#alerts-panel-banner")).to_be_hidden()
    finally:
        panel.close()


def test_a_live_page_that_cannot_read_asks_for_a_reload(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """Its live connection goes to another panel, or still to the old one."""
    page = open_page(serve(refresh_seconds=NEVER))
    wait_until_live(page)
    page.route("**/component_server**", lambda route: route.fulfill(status=500))
    bot.exhaust(bot.create("exit"))
    page.locator("[data-state=offline]").wait_for()
    link = page.locator("#alerts-panel-banner").get_by_role("link", name="Reload")
    link.wait_for()
    page.unroute("**/component_server**")
    wait_for_counts(page, critical=1)  # a panel that answers late is still the same panel
    expect(page.locator("#alerts-panel-banner")).to_be_hidden()
    wait_until_live(page)


def test_without_websockets_the_page_says_that_it_polls(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = open_page(serve(refresh_seconds=1), before=block_live_updates)
    page.locator("[data-live=polling]").wait_for()
    expect(page.locator("#alerts-panel-live")).to_have_text("polling every 1 s")
    bot.exhaust(bot.create("exit"))
    wait_for_counts(page, critical=1)


def test_a_signed_out_user_sees_a_notice(open_page: OpenPage, database_url: str) -> None:
    people: list[Person | None] = [Person("ada")]
    panel = launch_panel(database_url, port=0, block=False, access=Access(lambda _: people[0]), refresh_seconds=1)
    try:
        page = open_page(panel.url)
        wait_until_live(page)
        expect(page.locator("#alerts-panel-who")).to_have_text("ada")
        people[0] = None
        page.locator("[data-live=signed-out]").wait_for()
        expect(page.locator("#alerts-panel-banner")).to_contain_text("You have been signed out")
        expect(page.locator("#alerts-panel-banner").get_by_role("link")).to_have_text("Sign in again")
        people[0] = Person("ada")
        wait_until_live(page)
        expect(page.locator("#alerts-panel-banner")).to_be_hidden()
    finally:
        panel.close()


def test_a_reader_sees_why_actions_are_unavailable(open_page: OpenPage, database_url: str, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    access = Access(lambda _: Person("rita", Role.READER))
    panel = launch_panel(database_url, port=0, block=False, access=access)
    try:
        page = open_page(panel.url)
        wait_until_live(page)
        detail = select_alert(page, bot.alert(order).id)
        expect(page.locator("#alerts-panel-read-only")).to_contain_text("You have read-only access")
        for button in ("acknowledge", "snooze", "resolve", "retry", "cancel", "note"):
            expect(detail.locator(f"#alerts-panel-{button}")).to_be_hidden()
        expect(page.locator("#alerts-panel-list .wta-tick-box")).to_be_hidden()
        for key in "arsx":
            page.keyboard.press(key)
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert bot.alert(order).is_active
    finally:
        panel.close()


def test_the_page_shows_health_problems_with_their_advice(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute("alter table walltrack.orders disable trigger user")
    page = open_page(serve())
    illness = page.locator("#alerts-panel-illness")
    expect(illness).to_contain_text("Alerting has a problem")
    illness.locator("summary").click()
    expect(illness.locator(".wta-advice").first).to_be_visible()
    expect(page.locator("#alerts-panel-empty")).to_contain_text("some may be missing")
    expect(page.locator("#alerts-panel-empty .wta-tick")).to_be_hidden()
