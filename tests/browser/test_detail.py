"""The detail of an alert: its link, its current order, explorer links, the timeline; a sheet on a phone."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.support.bot import TOKEN, Bot
from tests.support.page import row_of, select_alert, wait_until_live, wait_until_settled

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

ON_TOP = """node => {
  const box = node.getBoundingClientRect();
  return node.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
}"""
SIGNATURE = "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"


def test_the_detail_has_its_own_link(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for symbol in ("WIF", "BONK"):
        bot.exhaust(bot.create("exit", token_symbol=symbol), "slippage")
    alert = bot.alerts()[1]
    bot.call("resolve_alert", bot.alerts()[0].id, "sold", "grace")
    url = serve()
    page = open_page(f"{url}/?alert={alert.id}&__theme=dark")
    detail = page.locator(f"#alerts-panel-detail[data-alert-id='{alert.id}'][data-status=active]")
    expect(detail.locator("h3")).to_have_text("BONK")
    expect(detail.locator("#alerts-panel-message")).to_have_text(alert.message)
    expect(page.locator("[data-current] .wta-row")).to_have_attribute("aria-current", "true")
    page.keyboard.press("Escape")
    page.locator("[data-selected='']").wait_for()
    assert parse_qs(urlsplit(page.url).query) == {"__theme": ["dark"]}

    page.goto(f"{url}/?alert={bot.alerts()[0].id}")  # an alert that is not in the list
    detail = page.locator("#alerts-panel-detail[data-status=resolved]")
    expect(detail).to_contain_text("Resolved by grace: sold")
    page.goto(f"{url}/?alert=00000000-0000-4000-8000-000000000000")
    expect(page.locator("#alerts-panel-detail[data-status=gone]")).to_contain_text("no longer exists")
    page.goto(f"{url}/?alert=<script>window.hit=1</script>")
    wait_until_live(page)
    page.locator("[data-selected='']").wait_for()


def test_back_and_forward_open_and_close_the_detail(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.exhaust(bot.create())
    page = open_page(serve())
    select_alert(page, bot.alerts()[0].id)
    page.go_back()
    page.locator("[data-selected='']").wait_for()
    page.go_forward()
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()


def test_the_detail_shows_the_current_order(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit", amount_tokens="71428.50", expected_price="0.000000142")
    bot.exhaust(order, "slippage")
    page = open_page(serve())
    select_alert(page, bot.alert(order).id)
    now = page.locator("#alerts-panel-order")
    expect(now).to_have_attribute("data-order-status", "failed")
    expect(now).to_contain_text("3 of 3")
    expect(now).to_contain_text("1.5 SOL · 71428.5 tokens")
    expect(now).to_contain_text("0.000000142 SOL")
    expect(now.get_by_role("button", name="Retry order")).to_be_enabled()

    bot.lock(order)  # this sends no event: the page polls
    expect(now).to_contain_text("worker-1")
    expect(now).to_contain_text("Not possible: worker-1 is working on the order and holds it until")
    expect(now.get_by_role("button", name="Retry order")).to_be_disabled()
    bot.unlock(order)
    bot.update(order, status="pending")
    page.locator("#alerts-panel-order[data-order-status=pending]").wait_for()
    expect(now.get_by_role("button", name="Cancel order")).to_be_enabled()
    bot.fill(order)
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()
    expect(now).to_contain_text("Not possible: the order was filled")
    bot.delete(order)
    expect(now).to_contain_text("no longer exists")


def test_only_valid_addresses_link_to_an_explorer(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    good = bot.create("exit", tx_signature=SIGNATURE)
    bad = bot.create("exit", token_address="javascript:alert(1)//0123456789abcd", tx_signature=f"{SIGNATURE[:60]}/../../x")
    for order in (good, bad):
        bot.exhaust(order)
    page = open_page(serve())
    detail = select_alert(page, bot.alert(good).id)
    links = detail.locator("a")
    expect(links).to_have_count(2)
    assert [link.get_attribute("href") for link in links.all()] == [
        f"https://solscan.io/token/{TOKEN}",
        f"https://solscan.io/tx/{SIGNATURE}",
    ]
    assert {(link.get_attribute("rel"), link.get_attribute("target")) for link in links.all()} == {
        ("noopener noreferrer", "_blank")
    }
    expect(select_alert(page, bot.alert(bad).id).locator("a")).to_have_count(0)


def test_context_and_timeline_are_complete(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order, "first error")
    alert = bot.alert(order)
    bot.call("acknowledge_alert", alert.id, "grace")
    bot.retry(order)
    bot.update(order, status="submitted")
    bot.fail(order, "second error")
    bot.execute("select walltrack.snooze_alert(%s, now() + interval '1 hour', 'linus')", (alert.id,))
    page = open_page(serve())
    detail = select_alert(page, alert.id)
    entries = [text.split(" by ")[0] for text in detail.locator("#alerts-panel-events li b").all_text_contents()]
    assert [entry.split(" until")[0] for entry in entries] == ["snoozed", "repeated", "acknowledged", "raised"]
    expect(detail.locator("#alerts-panel-events")).to_contain_text("by grace")
    expect(detail.locator("#alerts-panel-events")).to_contain_text("attempt 4: second error")
    expect(detail.locator("#alerts-panel-json")).to_be_hidden()
    detail.get_by_text("Context as JSON").click()
    context = json.loads(detail.locator("#alerts-panel-json").text_content() or "")
    assert context["order_id"] == str(order)
    assert context["error"] == "second error"


def test_the_panel_works_in_an_older_browser(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """Safari supports this feature since 17.4."""
    order = bot.create("exit")
    bot.exhaust(order)
    script = "delete Element.prototype.checkVisibility"
    page = open_page(serve(), before=lambda page: page.add_init_script(script))
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-note").fill("sold")
    page.locator("#alerts-panel-resolve").click()
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()
    wait_until_settled(page)
    assert bot.alert(order).resolution == "sold"


def test_on_a_phone_the_detail_covers_the_list(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for number in range(12):
        bot.exhaust(bot.create("entry" if number % 3 else "exit"), "slippage tolerance exceeded " * 4)
    page = open_page(serve(), viewport={"width": 390, "height": 844}, has_touch=True)
    page.locator("[data-unresolved='12'][data-layout=sheet]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    alert = bot.alerts()[4]
    row_of(page, alert.id).tap()
    sheet = page.locator("#alerts-panel-detail[data-mode=sheet][data-status=active]")
    sheet.wait_for()
    box = sheet.bounding_box()
    assert box is not None
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 390, 844)
    expect(page.locator("#alerts-panel-acknowledge")).to_be_in_viewport()
    page.locator("#alerts-panel-acknowledge").tap()
    page.locator("#alerts-panel-detail[data-status=acknowledged]").wait_for()
    page.locator("#alerts-panel-back").tap()
    page.locator("#alerts-panel-detail[data-mode=closed]").wait_for(state="attached")
    expect(row_of(page, alert.id)).to_be_in_viewport()
    row_of(page, alert.id).tap()
    page.locator("#alerts-panel-detail[data-mode=sheet]").wait_for()
    page.go_back()  # the phone's own back
    page.locator("#alerts-panel-detail[data-mode=closed]").wait_for(state="attached")


def test_narrowing_the_window_keeps_the_dialog_on_top(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(), viewport={"width": 1440, "height": 900})
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-snooze").click()
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.querySelector('.wta').clientWidth <= 390")
    page.evaluate("() => new Promise((go) => { requestAnimationFrame(() => requestAnimationFrame(go)); })")
    assert page.locator("#alerts-panel-snooze-2").evaluate(ON_TOP)
    page.locator("#alerts-panel-snooze-2").click()
    page.locator("#alerts-panel-detail[data-mode=sheet][data-status=snoozed]").wait_for()


@pytest.mark.usefixtures("patient_actions")
def test_messages_appear_above_the_sheet(serve: Serve, open_page: OpenPage, bot: Bot, database_url: str) -> None:
    orders = [bot.create("exit", token_symbol=symbol) for symbol in ("WIF", "BONK")]
    for order in orders:
        bot.exhaust(order)
    first, second = (bot.alert(order).id for order in orders)
    page = open_page(serve(), viewport={"width": 390, "height": 844})
    wait_until_live(page)
    toast = page.locator("#alerts-panel-toast")
    with psycopg.connect(database_url) as holder:  # the answer arrives while another alert is open
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (first,))
        select_alert(page, first)
        page.locator("#alerts-panel-acknowledge").click()
        page.locator("#alerts-panel-back").click()
        select_alert(page, second)
    expect(toast).to_have_text("WIF: Acknowledged.")
    assert toast.evaluate(ON_TOP)
