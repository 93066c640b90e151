"""A brief network loss in a real browser: a click succeeds or reports its failure, and no typed text is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import (
    SERVER,
    hold_requests,
    select_alert,
    wait_for_counts,
    wait_for_requests,
    wait_until_live,
    wait_until_settled,
)

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def test_a_click_without_a_network_loses_nothing(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit") for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve(refresh_seconds=600))
    wait_until_live(page)
    page.evaluate("window.same = true")
    select_alert(page, bot.alert(orders[0]).id)
    note = page.locator("#alerts-panel-note")
    note.fill("half a no")
    select_alert(page, bot.alert(orders[1]).id)
    page.context.set_offline(True)
    page.locator("#alerts-panel-acknowledge").click()
    expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("Nothing was sent.")
    wait_until_settled(page)
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    page.context.set_offline(False)
    page.locator("[data-state=live]").wait_for()
    page.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(page, acknowledged=1)
    assert bot.alert(orders[1]).acknowledged_by == "ada"
    select_alert(page, bot.alert(orders[0]).id)
    expect(note).to_have_value("half a no")
    assert page.evaluate("window.same")  # Gradio has not reloaded the page


def test_a_page_that_missed_one_answer_is_live_again(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(refresh_seconds=600))
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    held = hold_requests(page, "ping")
    page.locator("#alerts-panel-acknowledge").click()
    wait_for_requests(page, held)
    held[0].fulfill(status=500)
    page.unroute(SERVER)
    expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("Nothing was sent.")
    page.locator("[data-state=live][data-live=live]").wait_for()
    page.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(page, acknowledged=1)


def test_the_reason_of_a_failed_cancel_is_kept(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(refresh_seconds=600))
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-cancel").click()
    page.get_by_label("Reason").fill("pool is empty")
    page.context.set_offline(True)
    page.get_by_role("button", name="Cancel the order").click()
    expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("Nothing was sent.")
    page.context.set_offline(False)
    page.locator("[data-state=live]").wait_for()
    page.locator("#alerts-panel-cancel").click()
    expect(page.get_by_label("Reason")).to_have_value("pool is empty")
    page.get_by_role("button", name="Cancel the order").click()
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()
    assert bot.execute("select last_error from walltrack.orders").fetchone() == ("pool is empty",)


def test_alerts_of_an_unsent_action_stay_selected(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(2):
        bot.exhaust(bot.create("exit"))
    page = open_page(serve(refresh_seconds=600))
    wait_until_live(page)
    page.get_by_label("Select all alerts of the list").check()
    page.keyboard.press("r")
    page.get_by_label("How were they solved?").fill("all sold")
    page.context.set_offline(True)
    page.get_by_role("button", name="Resolve 2 alerts").click()
    expect(page.locator("#alerts-panel-toast")).to_contain_text("Nothing was sent.")
    page.context.set_offline(False)
    page.locator("[data-state=live][data-checked='2']").wait_for()
    page.keyboard.press("r")
    expect(page.get_by_label("How were they solved?")).to_have_value("all sold")
    page.get_by_role("button", name="Resolve 2 alerts").click()
    wait_for_counts(page, unresolved=0, checked=0)


def test_a_click_waits_for_a_slow_server(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    held = hold_requests(page, "ping")
    page.locator("#alerts-panel-acknowledge").click()
    page.locator("#alerts-panel-list li[data-pending][data-status=acknowledged]").wait_for()  # it shows at once
    wait_for_requests(page, held)
    assert bot.alert(order).is_active
    held[0].continue_()
    wait_for_counts(page, acknowledged=1)
    wait_until_settled(page)
