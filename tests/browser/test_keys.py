"""The panel with the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import row_of, select_alert, wait_for_counts, wait_until_live, wait_until_settled

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def test_keys_find_acknowledge_and_resolve_an_alert(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit", token_symbol=symbol) for symbol in ("WIF", "BONK", "PEPE")]
    for order in orders:
        bot.exhaust(order)
    first, second, third = (bot.alert(order) for order in orders)
    page = open_page(serve())
    wait_until_live(page)
    keys = page.keyboard

    keys.press("j")
    expect(row_of(page, first.id)).to_be_focused()
    keys.press("j")
    keys.press("ArrowDown")
    expect(row_of(page, third.id)).to_be_focused()
    keys.press("k")
    expect(row_of(page, second.id)).to_be_focused()
    outline = row_of(page, second.id).evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    keys.press("a")
    wait_for_counts(page, acknowledged=1)
    wait_until_settled(page)
    assert bot.alert(orders[1]).acknowledged_by == "ada"

    keys.press("Enter")
    page.locator(f"#alerts-panel-detail[data-alert-id='{second.id}'][data-status=acknowledged]").wait_for()
    expect(row_of(page, second.id)).to_be_focused()
    keys.press("r")
    note = page.locator("#alerts-panel-note")
    expect(note).to_be_focused()
    keys.type("jak? x/s")  # no shortcut acts while the operator types
    expect(note).to_have_value("jak? x/s")
    wait_for_counts(page, acknowledged=1, checked=0)
    keys.press("Control+Enter")
    wait_for_counts(page, unresolved=2)
    assert bot.alert(orders[1]).resolution == "jak? x/s"

    keys.press("Escape")  # out of the field, then out of the detail
    keys.press("Escape")
    page.locator("[data-selected='']").wait_for()
    expect(page.locator("#alerts-panel-list .wta-row:focus")).to_have_count(1)


def test_keys_search_select_snooze_and_show_help(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for symbol in ("WIF", "BONK", "PEPE"):
        bot.exhaust(bot.create("entry", token_symbol=symbol))
    page = open_page(serve())
    wait_until_live(page)
    keys = page.keyboard

    keys.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("acknowledge")
    keys.press("a")  # the dialog has the keyboard
    keys.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)
    wait_for_counts(page, waiting=3)

    keys.press("/")
    keys.type("bonk")
    page.locator("[data-shown='1'][data-reading=false]").wait_for()
    keys.press("Enter")
    expect(page.locator(".wta-row")).to_be_focused()
    keys.press("s")
    expect(page.locator("#alerts-panel-snooze-1")).to_be_focused()
    keys.press("ArrowDown")
    expect(page.locator("#alerts-panel-snooze-2")).to_be_focused()
    keys.press("Enter")
    wait_for_counts(page, snoozed=1, unresolved=2)
    expect(page.locator("#alerts-panel-list li")).to_have_attribute("data-status", "snoozed")

    keys.press("/")
    keys.press("Escape")
    page.locator("[data-shown='3'][data-reading=false]").wait_for()
    keys.press("Escape")
    keys.press("x")
    keys.press("j")
    keys.press("x")
    page.locator("[data-checked='2']").wait_for()
    keys.press("Escape")
    page.locator("[data-checked='0']").wait_for()


def test_a_key_right_after_a_dialog_counts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """The browser reports the closing of the dialog to the page only later."""
    bot.exhaust(bot.create("exit"))
    page = open_page(serve())
    wait_until_live(page)
    page.keyboard.press("j")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.evaluate("""() => {
      document.querySelector('.wta > dialog.wta-dialog').close();
      document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true, cancelable: true }));
    }""")
    page.locator(".wta:not([data-dialog])").wait_for()
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_tab_reaches_every_control_once(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(30):
        bot.exhaust(bot.create("entry"))
    page = open_page(serve())
    wait_until_live(page)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    page.locator("#alerts-panel-nav-alerts").focus()
    reached = []
    for _ in range(60):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        page.keyboard.press("Tab")
        if page.evaluate("!document.querySelector('.wta').contains(document.activeElement)"):
            break
    else:
        pytest.fail(f"no way out: {reached}")
    assert reached.count("wta-row") == 1  # one stop for thirty rows
    for name in (
        "search",
        "filter-critical",
        "filter-status",
        "filter-type",
        "filter-simulated",
        "note",
        "acknowledge",
        "resolve",
    ):
        assert f"alerts-panel-{name}" in reached, name


def test_resolving_selects_the_next_alert(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit") for _ in range(3)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.keyboard.type("sold")
    page.keyboard.press("Control+Enter")
    wait_for_counts(page, unresolved=2, shown=2)
    wait_until_settled(page)
    page.keyboard.press("j")
    expect(row_of(page, bot.alert(orders[1]).id)).to_be_focused()
    page.keyboard.press("j")
    expect(row_of(page, bot.alert(orders[2]).id)).to_be_focused()


def test_the_focus_stays_on_the_button_pressed(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)

    def press(name: str) -> Locator:
        button = page.locator(f"#alerts-panel-{name}")
        button.focus()
        button.press("Enter")
        return button

    button = press("acknowledge")
    wait_for_counts(page, acknowledged=1)
    wait_until_settled(page)
    expect(button).to_be_focused()
    expect(button).to_be_disabled()
    assert button.evaluate("node => getComputedStyle(node).cursor") == "not-allowed"  # and looks so
    button = press("snooze")
    page.locator("#alerts-panel-snooze-1").press("Enter")
    wait_for_counts(page, snoozed=1)
    wait_until_settled(page)
    expect(button).to_be_focused()
    button = press("retry")
    page.get_by_role("button", name="Retry the order").press("Enter")
    page.locator("#alerts-panel-order[data-order-status=pending]").wait_for()
    wait_until_settled(page)
    expect(button).to_be_focused()
    page.locator("#alerts-panel-note").fill("sold")
    press("resolve")
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()
    wait_until_settled(page)
    expect(page.locator(".wta-detail-body")).to_be_focused()  # its button has gone
