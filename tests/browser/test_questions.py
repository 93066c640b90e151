"""The dialogs of the page: their clock, alerts and operator name, and what closes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import SERVER, row_of, select_alert, wait_for_counts, wait_until_live, wait_until_settled

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

NOW = re.compile(r'(\\"now\\":)(\d+)')
SLOW_CLOCK = "const now = Date.now; Date.now = () => now() - 20 * 60e3;"
NO_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden'); } });"


def test_a_snooze_uses_the_clock_of_the_server(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(), before=lambda page: page.add_init_script(SLOW_CLOCK))
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-snooze").click()
    before = datetime.now(UTC)
    page.get_by_role("button", name="15 minutes").click()
    wait_until_settled(page)
    until = bot.alert(order).snoozed_until
    assert until is not None
    assert timedelta(minutes=14) < until - before < timedelta(minutes=16)


def test_a_snooze_starts_at_the_click(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-snooze").click()
    shown = page.locator("#alerts-panel-snooze-1 small")
    first = shown.text_content()
    assert first is not None

    def later(route: Route) -> None:  # the server's clock, while the question stands open
        answer = route.fetch().text()
        route.fulfill(
            body=NOW.sub(lambda found: f"{found[1]}{int(found[2]) + 16 * 60_000}", answer), content_type="application/json"
        )

    page.route(SERVER, later)
    bot.exhaust(bot.create("entry"))
    wait_for_counts(page, unresolved=2)
    page.wait_for_function(
        """first => {
          const minutes = (text) => { const [, hour, minute] = text.match(/(\\d+):(\\d+)/); return hour * 60 + Number(minute); };
          const shown = document.querySelector('#alerts-panel-snooze-1 small').textContent;
          return (minutes(shown) - minutes(first) + 1440) % 1440 >= 15;
        }""",
        arg=first,
    )
    before = datetime.now(UTC)
    page.get_by_role("button", name="15 minutes").click()
    wait_until_settled(page)
    page.unroute_all(behavior="wait")
    until = bot.alert(order).snoozed_until
    assert until is not None
    assert until - before > timedelta(minutes=30)


def test_one_ticked_alert_is_treated_like_several(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for symbol in ("WIF", "BONK", "PEPE"):
        bot.exhaust(bot.create("exit", token_symbol=symbol))
    page = open_page(serve())
    wait_until_live(page)
    page.get_by_label("Select critical alert WIF").check()
    page.keyboard.press("a")
    page.get_by_role("button", name="Acknowledge 1 alert").click()
    wait_for_counts(page, acknowledged=1, checked=0)
    page.get_by_label("Select critical alert WIF").check()
    page.keyboard.press("r")
    page.get_by_label("How were they solved?").fill("sold WIF")
    page.get_by_role("button", name="Resolve 1 alert").click()
    wait_for_counts(page, unresolved=2, checked=0, shown=2)
    page.get_by_label("Select all alerts of the list").check()
    page.keyboard.press("r")
    expect(page.get_by_label("How were they solved?")).to_have_value("")


def test_a_tick_survives_other_actions(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit", token_symbol="WIF")
    bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    page.get_by_label("Select critical alert WIF").check()
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-acknowledge").click()
    wait_until_settled(page)
    wait_for_counts(page, acknowledged=1, checked=1)


def test_a_draft_note_is_offered_only_for_its_alerts(serve: Serve, open_page: OpenPage, bot: Bot, database_url: str) -> None:
    orders = [bot.create("exit", token_symbol=symbol) for symbol in ("WIF", "BONK", "PEPE")]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    for symbol in ("WIF", "BONK"):
        page.get_by_label(f"Select critical alert {symbol}").check()
    with psycopg.connect(database_url) as holder:
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (bot.alert(orders[1]).id,))
        page.keyboard.press("r")
        page.get_by_label("How were they solved?").fill("both sold")
        page.get_by_role("button", name="Resolve 2 alerts").click()
        expect(page.locator("#alerts-panel-toast")).to_contain_text("Resolved: 1 of 2.")
    wait_for_counts(page, unresolved=2, checked=1)
    page.get_by_label("Select critical alert PEPE").check()
    page.keyboard.press("r")
    expect(page.get_by_label("How were they solved?")).to_have_value("")
    page.keyboard.press("Escape")
    page.get_by_label("Select critical alert PEPE").uncheck()
    page.keyboard.press("a")
    page.get_by_role("button", name="Acknowledge 1 alert").click()
    wait_for_counts(page, acknowledged=1, checked=0)
    page.get_by_label("Select critical alert BONK").check()
    page.keyboard.press("r")
    expect(page.get_by_label("How were they solved?")).to_have_value("both sold")


def test_without_storage_the_page_asks_for_the_name_once(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(operator=None), before=lambda page: page.add_init_script(NO_STORAGE))
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-acknowledge").click()
    page.get_by_label("Your name").fill("grace")
    page.get_by_label("Your name").press("Enter")
    wait_for_counts(page, acknowledged=1)
    wait_until_settled(page)
    expect(page.locator("#alerts-panel-who")).to_have_text("grace")
    page.locator("#alerts-panel-note").fill("sold")
    page.locator("#alerts-panel-resolve").click()
    wait_for_counts(page, unresolved=0)
    assert (bot.alert(order).acknowledged_by, bot.alert(order).resolved_by) == ("grace", "grace")


def test_an_action_is_recorded_under_the_name_shown(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(operator=None))
    wait_until_live(page)
    page.locator("#alerts-panel-who").click()
    page.get_by_label("Your name").fill("ada")
    page.get_by_label("Your name").press("Enter")
    expect(page.locator("#alerts-panel-who")).to_have_text("ada")
    page.evaluate("localStorage.setItem('walltrack-alerts.name', 'grace')")  # as another tab does
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(page, acknowledged=1)
    wait_until_settled(page)
    assert bot.alert(order).acknowledged_by == page.locator("#alerts-panel-who").text_content()


def test_selecting_text_past_the_edge_keeps_the_dialog_open(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(2):
        bot.exhaust(bot.create("exit"))
    page = open_page(serve())
    wait_until_live(page)
    page.get_by_label("Select all alerts of the list").check()
    page.keyboard.press("r")
    note = page.get_by_label("How were they solved?")
    note.fill("all sold")
    box = note.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 15)
    page.mouse.down()
    page.mouse.move(5, box["y"] + 15, steps=4)
    page.mouse.up()
    page.keyboard.press("End")
    page.keyboard.type(", all")
    expect(note).to_have_value("all sold, all")
    page.mouse.click(5, box["y"])  # beside it
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.usefixtures("patient_actions")
def test_an_action_on_a_waiting_alert_is_sent_or_reported(serve: Serve, open_page: OpenPage, bot: Bot, database_url: str) -> None:
    order = bot.create("exit", token_symbol="WIF")
    bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    note = page.locator("#alerts-panel-note")
    with psycopg.connect(database_url) as holder:
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (bot.alert(order).id,))
        page.locator("#alerts-panel-acknowledge").click()
        page.locator("#alerts-panel-list li[data-pending]").wait_for()
        note.fill("sold")
        note.press("Control+Enter")
        expect(page.locator("#alerts-panel-outcome[data-outcome=refused]")).to_contain_text("Nothing was sent.")
        page.get_by_label("Select critical alert WIF").check()
        page.locator("#alerts-panel-bulk-resolve").click()
        page.get_by_label("How were they solved?").fill("all sold")
        page.get_by_role("button", name="Resolve 1 alert").click()
        page.locator("[data-pending='2']").wait_for()
    wait_until_settled(page)
    wait_for_counts(page, unresolved=0, checked=0)
    assert bot.alert(order).resolution == "all sold"


@pytest.mark.usefixtures("patient_actions")
def test_a_bulk_snooze_includes_an_alert_awaiting_an_answer(
    serve: Serve, open_page: OpenPage, bot: Bot, database_url: str
) -> None:
    orders = [bot.create("exit") for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    with psycopg.connect(database_url) as holder:
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (bot.alert(orders[0]).id,))
        row_of(page, bot.alert(orders[0]).id).focus()
        page.keyboard.press("a")
        page.locator("#alerts-panel-list li[data-pending]").wait_for()
        page.get_by_label("Select all alerts of the list").check()
        page.keyboard.press("s")
        page.get_by_role("dialog", name="Snooze 2 alerts").get_by_role("button", name="1 hour").click()
        page.locator("[data-pending='2']").wait_for()
    wait_for_counts(page, snoozed=2, checked=0)
    wait_until_settled(page)
    assert bot.alert(orders[0]).acknowledged_by == "ada"
