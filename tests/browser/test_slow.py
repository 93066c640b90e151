"""A slow server in a real browser: no click is lost, no stale data replaces newer data, no typing is interrupted."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import (
    SERVER,
    block_live_updates,
    hold_requests,
    release_requests,
    row_of,
    select_alert,
    wait_for_counts,
    wait_for_requests,
    wait_until_live,
    wait_until_settled,
)
from tests.support.slow import COME_BACK, hold_responses

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def test_order_actions_are_offered_only_once_the_order_loads(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit"), bot.create("exit")]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    select_alert(page, bot.alert(orders[0]).id)
    held = hold_requests(page, "detail")
    row_of(page, bot.alert(orders[1]).id).click()
    page.locator("#alerts-panel-detail[data-status=loading]").wait_for()
    expect(page.locator("#alerts-panel-acknowledge")).to_be_enabled()  # the list knows enough for that
    expect(page.locator("#alerts-panel-cancel")).not_to_be_visible()
    wait_for_requests(page, held)
    release_requests(page, held)
    page.locator("#alerts-panel-cancel").click()
    expect(page.get_by_role("dialog", name="Cancel this order?")).to_be_visible()


def test_a_slow_detail_is_shown(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """The detail takes longer than the polling interval of the page."""
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    held = hold_requests(page, "detail")
    row_of(page, bot.alert(order).id).click()
    wait_for_requests(page, held)
    with page.expect_response(lambda answer: '"snapshot"' in (answer.request.post_data or "")):
        page.evaluate(COME_BACK)  # a detail would be asked for before the list
    assert len(held) == 1  # the page does not keep asking a slow server
    held[0].continue_()
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    expect(page.locator("#alerts-panel-events li")).to_have_count(1)


def test_an_answer_requested_before_an_action_does_not_undo_it(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    held, bodies = hold_responses(page, "detail")
    wait_for_requests(page, held)
    page.locator("#alerts-panel-acknowledge").click()
    wait_until_settled(page)
    wait_for_requests(page, held, 2)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    page.wait_for_timeout(500)
    expect(page.locator("#alerts-panel-detail")).to_have_attribute("data-status", "acknowledged", timeout=1)
    held[1].fulfill(body=bodies[1], content_type="application/json")
    page.unroute(SERVER)
    expect(page.locator("#alerts-panel-events li").first).to_contain_text("acknowledged by ada")


def test_typing_continues_when_the_alert_is_resolved(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit"), bot.create("exit")]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(orders[0]).id)
    note = page.locator("#alerts-panel-note")
    note.press_sequentially("a s")
    bot.fill(orders[0])
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()
    wait_for_counts(page, unresolved=1)
    page.keyboard.type("ale, x a")  # in the list these are keys
    expect(note).to_have_value("a sale, x a")
    expect(note).to_be_focused()
    outcome = page.locator("#alerts-panel-outcome[data-outcome=late]")
    expect(outcome).to_have_text(re.compile(r"^system resolved it at [\d:]+, before you\. Your note was not sent\.$"))
    expect(page.locator("#alerts-panel-resolve")).to_be_hidden()
    wait_for_counts(page, acknowledged=0, checked=0)
    note.press("Control+Enter")
    expect(outcome).to_have_text(re.compile(r"^system resolved it at [\d:]+, before you\.$"))
    expect(note).to_have_value("a sale, x a")
    note.fill("")
    select_alert(page, bot.alert(orders[1]).id)
    row_of(page, bot.alert(orders[1]).id).focus()
    note.fill("sold")
    page.locator("#alerts-panel-resolve").click()
    wait_for_counts(page, unresolved=0)
    expect(note).to_be_hidden()


def test_keys_act_on_the_visible_list(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit") for _ in range(3)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(f"{serve()}/?alert={bot.alert(orders[2]).id}")
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    wait_for_counts(page, shown=3)
    wait_until_live(page)
    page.keyboard.press("a")
    wait_for_counts(page, acknowledged=1)
    assert [bot.alert(order).acknowledged_by for order in orders] == [None, None, "ada"]

    page.locator("#alerts-panel-filter-status").select_option("active")
    wait_for_counts(page, shown=2)
    select_alert(page, bot.alert(orders[0]).id)
    page.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(page, acknowledged=2, shown=1)
    wait_until_settled(page)
    page.keyboard.press("r")  # still the detail of the first alert
    page.keyboard.type("sold")
    page.keyboard.press("Control+Enter")
    wait_for_counts(page, unresolved=2)
    assert bot.alert(orders[0]).resolution == "sold"


def test_enter_in_the_search_waits_for_its_results(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit", token_symbol=symbol) for symbol in ("WIF", "PEPE")]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve(refresh_seconds=600))
    wait_until_live(page)
    wait_for_counts(page, shown=2)
    held = hold_requests(page, "snapshot")
    page.keyboard.press("/")
    page.keyboard.type("pepe")
    page.keyboard.press("Enter")
    wait_for_requests(page, held)
    page.keyboard.type("a")  # a letter of the search
    page.keyboard.press("Backspace")
    release_requests(page, held)
    page.locator("[data-reading=false][data-shown='1']").wait_for()
    expect(row_of(page, bot.alert(orders[1]).id)).to_be_visible()
    page.keyboard.press("Enter")
    expect(row_of(page, bot.alert(orders[1]).id)).to_be_focused()
    page.keyboard.press("a")
    wait_for_counts(page, acknowledged=1)
    assert [bot.alert(order).acknowledged_by for order in orders] == [None, "ada"]


def test_no_key_acts_behind_a_second_dialog(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(2):
        bot.exhaust(bot.create("exit"))
    page = open_page(serve(operator=None))
    wait_until_live(page)
    page.get_by_label("Select all alerts of the list").check()
    page.keyboard.press("a")
    page.get_by_role("button", name="Acknowledge 2 alerts").click()
    name = page.get_by_role("dialog", name="Who are you?")
    name.get_by_role("button", name="Cancel").focus()
    page.wait_for_timeout(300)
    page.keyboard.press("?")
    expect(page.locator("dialog.wta-dialog")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(name).to_have_count(0)
    wait_for_counts(page, checked=2)


def test_a_sheet_does_not_lock_charts_on_a_phone(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(f"{serve()}/?alert={bot.alert(order).id}&view=charts", viewport={"width": 390, "height": 844})
    page.locator("#alerts-panel-range-30").click()
    page.locator("#alerts-panel-nav-alerts").click()
    expect(page.locator("#alerts-panel-detail")).to_be_visible()
    page.locator("#alerts-panel-back").click()
    expect(row_of(page, bot.alert(order).id)).to_be_visible()


def test_a_failed_request_for_the_user_is_repeated(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.exhaust(bot.create("exit"))
    lost: list[Route] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route)
            route.fulfill(status=502)

    page = open_page(serve(), before=lambda page: page.route("**/gradio_api/run/**", lose))
    page.locator("[data-role=operator]").wait_for()
    wait_until_live(page)
    assert lost


def test_a_stale_sheet_says_that_it_is_out_of_date(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(), viewport={"width": 390, "height": 844}, before=block_live_updates)
    detail = select_alert(page, bot.alert(order).id)
    page.route(SERVER, lambda route: route.fulfill(status=500))
    expect(detail.locator(".wta-trouble")).to_contain_text("What you see")
    page.unroute(SERVER)
    expect(detail.locator(".wta-trouble")).to_be_hidden()


def test_failed_actions_stay_selected_with_their_note(serve: Serve, open_page: OpenPage, bot: Bot, database_url: str) -> None:
    orders = [bot.create("exit") for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    page.get_by_label("Select all alerts of the list").check()
    with psycopg.connect(database_url) as holder:
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (bot.alert(orders[1]).id,))
        page.keyboard.press("r")
        page.get_by_label("How were they solved?").fill("all sold")
        page.get_by_role("button", name="Resolve 2 alerts").click()
        expect(page.locator("#alerts-panel-toast")).to_contain_text("Resolved: 1 of 2.")
    wait_for_counts(page, checked=1)
    page.keyboard.press("r")
    expect(page.get_by_label("How were they solved?")).to_have_value("all sold")
    page.get_by_role("button", name="Resolve 1 alert").click()
    wait_for_counts(page, unresolved=0, checked=0)
    assert {bot.alert(order).resolution for order in orders} == {"all sold"}


def test_a_detail_that_fails_to_load_says_so(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    held = hold_requests(page, "detail")
    row_of(page, bot.alert(order).id).click()
    wait_for_requests(page, held)
    held[0].fulfill(status=500)
    expect(page.locator(".wta-trouble")).to_contain_text("cannot be reached. It may be out of date.")
    page.unroute(SERVER)
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    expect(page.locator(".wta-trouble")).to_be_hidden()
