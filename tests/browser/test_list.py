"""The list in a real browser: filters in the address, pages loaded on scroll, rows that keep their place."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import row_of, select_alert, wait_for_counts, wait_until_live, wait_until_unmoved

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def shown(page: Page, number: int) -> None:
    """Wait until the list is loaded and shows this many rows."""
    page.locator(f"[data-reading=false][data-shown='{number}']").wait_for()


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_critical_alerts_come_first_and_stand_out(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for order_type in ("entry", "exit", "entry", "exit"):
        bot.exhaust(bot.create(order_type))
    page = open_page(serve())
    wait_for_counts(page, unresolved=4, critical=2)
    items = page.locator("#alerts-panel-list li")
    assert [item.get_attribute("data-severity") for item in items.all()] == ["critical", "critical", "high", "high"]
    look = "(node) => { const s = getComputedStyle(node); return [s.backgroundColor, s.borderLeftColor]; }"
    assert items.nth(0).evaluate(look) != items.nth(3).evaluate(look)
    expect(items.nth(0)).to_contain_text("critical")
    expect(items.nth(0)).to_contain_text("EXIT")
    expect(items.nth(0)).to_contain_text("1.5 SOL")
    expect(items.nth(0)).to_contain_text("3/3 attempts")


def test_a_view_has_an_address_that_can_be_shared(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create(kind, token_symbol=symbol) for kind, symbol in (("exit", "WIF"), ("exit", "PEPE"), ("entry", "WIF"))]
    orders.append(bot.create("entry", token_symbol="GIGA", is_simulated=True))
    for order in orders:
        bot.exhaust(order)
    bot.call("resolve_alert", bot.alert(orders[1]).id, "sold", "grace")
    url = serve()
    page = open_page(url)
    shown(page, 3)

    page.locator("#alerts-panel-filter-high").click()
    shown(page, 2)
    page.get_by_label("Simulated").select_option("yes")
    shown(page, 1)
    assert query(page) == {"severity": ["high"], "simulated": ["yes"]}
    page.locator("#alerts-panel-filter-clear").click()
    shown(page, 3)
    page.get_by_label("Status", exact=True).select_option("all")
    shown(page, 4)
    page.get_by_label("Order type").select_option("exit")
    shown(page, 2)
    page.get_by_role("searchbox").fill("pep")
    shown(page, 1)
    assert query(page) == {"status": ["all"], "type": ["exit"], "q": ["pep"]}
    expect(page.locator("#alerts-panel-list li[data-status=resolved]")).to_contain_text("by grace")

    other = open_page(page.url)
    shown(other, 1)
    expect(other.get_by_role("searchbox")).to_have_value("pep")
    expect(other.get_by_label("Order type")).to_have_value("exit")
    page.go_back()  # the search has replaced its own steps
    shown(page, 4)
    expect(page.get_by_label("Order type")).to_have_value("")
    page.go_forward()
    shown(page, 1)
    page.locator("#alerts-panel-critical").click()
    shown(page, 1)
    assert query(page) == {"severity": ["critical"]}


def test_search_text_is_literal(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    errors = ["100% slip_page", "100 per cent", r"a\b 'quoted' \"text\"", "${window.hit=1}"]
    for error in errors:
        bot.exhaust(bot.create(), error)
    page = open_page(serve())
    shown(page, 4)
    for error in errors:
        page.get_by_role("searchbox").fill(error)
        shown(page, 1)
        expect(page.locator(".wta-what b")).to_have_text(error)
    page.get_by_role("searchbox").fill("nothing has this")
    shown(page, 0)
    expect(page.locator("#alerts-panel-empty")).to_contain_text("No alerts here")
    page.get_by_role("button", name="Clear the filter").click()
    shown(page, 4)


def test_thousands_of_alerts_load_as_the_operator_scrolls(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(
        "select walltrack.raise_alert('load', 'high', 'Alert ' || n, 'Text', jsonb_build_object('token', n), true, 'k' || n) "
        "from generate_series(1, 1500) as n"
    )
    page = open_page(serve())
    wait_until_live(page)
    wait_for_counts(page, unresolved=1500)
    shown(page, 100)
    scroller = page.locator(".wta-scroll")
    for number in (200, 300, 400):
        scroller.evaluate("node => node.scrollTo(0, node.scrollHeight)")
        page.locator(f"[data-shown='{number}']").wait_for()
    alerts = bot.alerts()
    beyond = row_of(page, alerts[350].id)
    beyond.scroll_into_view_if_needed()
    beyond.focus()
    offset = "node => node.getBoundingClientRect().top"
    before = beyond.evaluate(offset)

    bot.exhaust(bot.create("exit"))  # at the top of the list, while the operator reads far below
    wait_for_counts(page, unresolved=1501, critical=1)
    page.locator("[data-shown='401']").wait_for()
    expect(page.locator("#alerts-panel-list li").first).to_have_attribute("data-severity", "critical")
    wait_until_unmoved(beyond, offset, before)
    expect(beyond).to_be_focused()

    bot.call("acknowledge_alert", alerts[351].id, "grace")  # beyond the first page
    expect(row_of(page, alerts[351].id)).to_contain_text("by grace")
    bot.call("resolve_alert", alerts[352].id, "done", "grace")
    page.locator("[data-shown='400']").wait_for()
    expect(row_of(page, alerts[352].id)).to_have_count(0)
    # In the order of the database, without gaps or duplicates.
    listed = page.locator("#alerts-panel-list li").evaluate_all("nodes => nodes.map(node => node.dataset.alertId)")
    wanted = bot.execute("select id::text from walltrack.open_alerts limit 400").fetchall()
    assert listed == [each for (each,) in wanted]


def test_new_alerts_do_not_disturb_the_operators_work(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(25):
        bot.exhaust(bot.create("entry"))
    alerts = bot.alerts()
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, alerts[3].id)
    page.locator("#alerts-panel-note").fill("half a no")
    select_alert(page, alerts[20].id)
    expect(page.locator("#alerts-panel-note")).to_have_value("")
    page.locator("#alerts-panel-note").fill("another no")
    page.get_by_label("Select high alert BONK").nth(19).check()
    page.locator("#alerts-panel-message").evaluate("node => getSelection().selectAllChildren(node)")
    page.evaluate("window.kept = [...document.querySelectorAll('#alerts-panel-list li')].slice(0, 25)")
    marked = page.evaluate("getSelection().toString()")
    assert marked

    bot.exhaust(bot.create("exit"))
    bot.call("acknowledge_alert", alerts[0].id, "grace")
    wait_for_counts(page, unresolved=26, critical=1, acknowledged=1)
    expect(page.locator("#alerts-panel-list li").first).to_have_attribute("data-severity", "critical")
    expect(row_of(page, alerts[20].id)).to_have_attribute("aria-current", "true")
    assert page.evaluate("getSelection().toString()") == marked
    assert page.evaluate("window.kept.every(node => node.isConnected)")  # not rebuilt, so nothing flickers
    expect(page.locator("[data-checked='1'] li[data-checked]")).to_have_count(1)
    expect(page.locator("#alerts-panel-note")).to_have_value("another no")
    select_alert(page, alerts[3].id)
    expect(page.locator("#alerts-panel-note")).to_have_value("half a no")


def test_a_tile_opens_the_list_from_the_charts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.exhaust(bot.create())
    page = open_page(serve())
    shown(page, 1)
    page.locator("#alerts-panel-nav-charts").click()
    assert query(page) == {"view": ["charts"]}
    page.locator("#alerts-panel-unresolved").click()  # what the list shows anyway
    page.locator("[data-view=alerts]").wait_for()
    assert query(page) == {}
    page.go_back()
    page.locator("[data-view=charts]").wait_for()


def test_the_header_checkbox_ticks_the_loaded_rows(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(
        "select walltrack.raise_alert('load', 'high', 'Alert ' || n, 'Text', jsonb_build_object('token', n), true, 'k' || n) "
        "from generate_series(1, 150) as n"
    )
    page = open_page(serve())
    wait_until_live(page)
    shown(page, 100)
    box = page.get_by_label("Select all alerts of the list")
    boxes = page.locator("#alerts-panel-list .wta-tick-box")
    expect(box).not_to_be_checked()
    boxes.nth(3).check()
    wait_for_counts(page, checked=1)
    expect(box).to_be_checked(indeterminate=True)
    box.click()
    wait_for_counts(page, checked=100)
    expect(box).to_be_checked()
    expect(page.locator("#alerts-panel-list li[data-checked]")).to_have_count(100)
    boxes.nth(3).uncheck()
    wait_for_counts(page, checked=99)
    expect(box).to_be_checked(indeterminate=True)
    page.locator(".wta-scroll").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    shown(page, 150)
    wait_for_counts(page, checked=99)
    box.click()
    wait_for_counts(page, checked=150)
    box.click()
    wait_for_counts(page, checked=0)
    expect(box).not_to_be_checked()
    expect(page.locator("#alerts-panel-list li[data-checked]")).to_have_count(0)
