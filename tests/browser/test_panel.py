"""The panel in a real browser, with alerts raised by real order writes."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import gradio as gr
import psycopg
import pytest
from playwright.sync_api import expect
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import block_live_updates, hold_requests, row_of, select_alert, wait_for_counts, wait_until_unmoved
from tests.support.panel_servers import free_port
from walltrack_alerts import AlertStatus
from walltrack_alerts.ui import PanelStartError, create_alerts_panel, launch_panel

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def test_an_alert_appears_and_is_acknowledged_and_resolved(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = open_page(serve())
    wait_for_counts(page, unresolved=0, critical=0)
    expect(page.locator("#alerts-panel-empty")).to_contain_text("No open alerts")
    expect(page.locator("#alerts-panel-empty .wta-tick")).to_be_visible()

    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.fail(order, "RPC error: blockhash not found")
    wait_for_counts(page, unresolved=1, critical=1, waiting=1, acknowledged=0)
    expect(page.locator("#alerts-panel-critical b")).to_have_text("1")
    alert = bot.alert(order)
    detail = select_alert(page, alert.id)
    expect(detail).to_contain_text(str(order))
    expect(detail.locator("#alerts-panel-message")).to_have_text(alert.message)
    expect(detail.locator("#alerts-panel-events li")).to_have_count(1)

    page.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(page, unresolved=1, critical=1, waiting=0, acknowledged=1)
    expect(page.locator("#alerts-panel-acknowledge")).to_be_disabled()
    expect(detail.locator("#alerts-panel-events li").first).to_contain_text("acknowledged by ada")

    page.locator("#alerts-panel-note").fill("Sold by hand")
    page.locator("#alerts-panel-resolve").click()
    wait_for_counts(page, unresolved=0, critical=0, acknowledged=0)
    expect(page.locator("#alerts-panel-detail[data-status=resolved]")).to_contain_text("Resolved by ada: Sold by hand")
    expect(page.locator("#alerts-panel-resolve")).to_be_hidden()
    alert = bot.alert(order)
    assert (alert.acknowledged_by, alert.resolved_by, alert.resolution) == ("ada", "ada", "Sold by hand")


def test_resolving_needs_a_note_and_every_action_a_name(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    page = open_page(serve(operator=None))
    select_alert(page, bot.alert(order).id)
    outcome = page.locator("#alerts-panel-outcome")

    page.locator("#alerts-panel-note").fill("   ")
    page.locator("#alerts-panel-resolve").click()
    expect(outcome).to_contain_text("Enter a resolution note first")
    page.locator("#alerts-panel-acknowledge").click()
    dialog = page.get_by_role("dialog", name="Who are you?")
    dialog.get_by_role("button", name="Cancel").click()
    assert bot.alert(order).status is AlertStatus.ACTIVE

    page.locator("#alerts-panel-acknowledge").click()
    page.get_by_label("Your name").fill("grace")
    page.get_by_label("Your name").press("Enter")
    wait_for_counts(page, acknowledged=1)
    assert bot.alert(order).acknowledged_by == "grace"
    page.reload()
    expect(page.locator("#alerts-panel-who")).to_have_text("grace")


def test_the_second_operator_reads_who_was_first(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    alert = bot.alert(order)
    page = open_page(serve(refresh_seconds=600), before=block_live_updates)
    select_alert(page, alert.id)
    hold_requests(page, "detail")  # it would show the change before the click
    bot.call("acknowledge_alert", alert.id, "<b>grace</b>")
    page.locator("#alerts-panel-acknowledge").click()
    outcome = page.locator("#alerts-panel-outcome[data-outcome=late]")
    expect(outcome).to_have_text(re.compile(r"^<b>grace</b> acknowledged it at [\d:]+, before you\.$"))
    wait_for_counts(page, acknowledged=1)  # the last polling cycle before the next step

    bot.call("resolve_alert", alert.id, "done", "linus")
    page.locator("#alerts-panel-note").fill("mine")
    page.locator("#alerts-panel-resolve").click()
    expect(outcome).to_contain_text("linus resolved it at ")
    assert bot.alert(order).resolution == "done"


def test_a_resolved_alert_cannot_be_acknowledged(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    page = open_page(serve(refresh_seconds=600), before=block_live_updates)
    select_alert(page, bot.alert(order).id)
    hold_requests(page, "detail")  # it would show the change before the click
    bot.fill(order)
    page.locator("#alerts-panel-acknowledge").click()
    expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("resolved")
    wait_for_counts(page, unresolved=0)


def test_selection_scroll_focus_and_notes_survive_new_alerts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(25):
        bot.exhaust(bot.create("entry"))
    alerts = bot.alerts()
    page = open_page(serve())
    wait_for_counts(page, unresolved=25)
    select_alert(page, alerts[3].id)
    page.locator("#alerts-panel-note").fill("half a no")
    select_alert(page, alerts[20].id)
    expect(page.locator("#alerts-panel-note")).to_have_value("")
    page.locator("#alerts-panel-note").fill("another no")
    row_of(page, alerts[20].id).focus()
    offset = "(node) => node.getBoundingClientRect().top - node.closest('.wta-scroll').getBoundingClientRect().top"
    before = row_of(page, alerts[20].id).evaluate(offset)

    bot.exhaust(bot.create("exit"))
    wait_for_counts(page, unresolved=26, critical=1)
    expect(page.locator("#alerts-panel-list li").first).to_have_attribute("data-severity", "critical")
    expect(row_of(page, alerts[20].id)).to_be_focused()
    expect(row_of(page, alerts[20].id)).to_have_attribute("aria-current", "true")
    wait_until_unmoved(row_of(page, alerts[20].id), offset, before)
    expect(page.locator("#alerts-panel-note")).to_have_value("another no")
    select_alert(page, alerts[3].id)
    expect(page.locator("#alerts-panel-note")).to_have_value("half a no")


def test_the_age_advances_without_a_refresh(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.exhaust(bot.create())
    page = open_page(serve(refresh_seconds=600))
    age = page.locator("#alerts-panel-list time").first
    before = age.text_content()
    assert before is not None
    expect(age).not_to_have_text(before)


def test_the_page_shows_a_lost_database_and_recovers(
    serve: Serve, open_page: OpenPage, bot: Bot, database_url: str, server_url: str
) -> None:
    order = bot.create()
    bot.exhaust(order)
    page = open_page(serve())
    select_alert(page, bot.alert(order).id)
    name = str(conninfo_to_dict(database_url)["dbname"])
    allow = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        page.locator("[data-state=database-unreachable]").wait_for()
        expect(page.locator("#alerts-panel-banner")).to_contain_text("Database unreachable since")
        expect(page.locator("#alerts-panel-banner")).not_to_contain_text(name)
        page.locator("#alerts-panel-acknowledge").click()
        expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("cannot be reached")
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    page.locator("[data-state=live]").wait_for()
    expect(page.locator("#alerts-panel-banner")).to_be_hidden()
    page.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(page, acknowledged=1)


def test_a_missing_schema_shows_what_to_do(empty_database_url: str, open_page: OpenPage) -> None:
    panel = launch_panel(empty_database_url, port=0, block=False)
    try:
        page = open_page(panel.url, live=False)
        page.locator("[data-state=problem]").wait_for()
        expect(page.locator("#alerts-panel-banner")).to_contain_text("walltrack-alerts migrate")
    finally:
        panel.close()


def test_the_panel_works_in_a_tab_of_another_app(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    plain = "(node) => { const s = getComputedStyle(node); return [s.font, s.color, s.padding, s.margin]; }"
    with gr.Blocks() as host:
        gr.Textbox(label="Mine", elem_id="mine")
        gr.HTML("<h2 id='heading'>Mine</h2><ol><li>one</li></ol>")
        with gr.Tabs():
            with gr.Tab("Trading"):
                gr.Button("Trade", elem_id="trade")
            with gr.Tab("Alerts"):
                inner = create_alerts_panel(database_url, operator="ignored", refresh_seconds=0.3)
    assert isinstance(inner, gr.Blocks)
    _, url, _ = host.launch(
        server_name="127.0.0.1",
        server_port=free_port(),
        prevent_thread_lock=True,
        quiet=True,
        auth=("grace", "secret"),
        footer_links=[],
        ssr_mode=False,
    )
    try:
        page = open_page(url, live=False)
        page.get_by_label("username").fill("grace")
        page.get_by_label("password").fill("secret")
        page.get_by_role("button", name="Login").click()
        page.locator("#trade").wait_for()
        names = ("#heading", "#trade", "#mine textarea", "#mine")
        before = [page.locator(name).evaluate(plain) for name in names]
        page.get_by_role("tab", name="Alerts").click()
        wait_for_counts(page, unresolved=1, critical=1)
        select_alert(page, bot.alert(order).id)
        page.locator("#alerts-panel-acknowledge").click()
        wait_for_counts(page, acknowledged=1)
        assert bot.alert(order).acknowledged_by == "grace"
        page.locator("#alerts-panel-note").fill("half a no")
        page.get_by_role("tab", name="Trading").click()
        assert [page.locator(name).evaluate(plain) for name in names] == before
        page.get_by_role("tab", name="Alerts").click()
        expect(page.locator("#alerts-panel-note")).to_have_value("half a no")
    finally:
        host.close()


def test_the_error_names_a_busy_port(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PanelStartError, match=rf"port {port} on 127\.0\.0\.1 is in use.*--port"):
            launch_panel(database_url, port=port, block=False)
    panel = launch_panel(database_url, port=port, block=False)
    panel.close()
    panel.close()
    with socket.create_server(("127.0.0.1", port)):
        pass
