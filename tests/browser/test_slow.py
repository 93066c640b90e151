"""A server that is slow, in a real browser: no click is lost, nothing old comes after what is new, nobody is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.bot import Bot
from tests.browser.conftest import OpenPage
from tests.browser.page import answered, badge, live, row, select

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

SERVER = "**/component_server/**"
MANY = (
    "select walltrack.raise_alert('load', 'high', 'Alert ' || n, 'Text', jsonb_build_object('token', n), true, 'k' || n) "
    "from generate_series(1, {}) as n"
)


def hold(page: Page, name: str) -> list[Route]:
    """From now on, requests for this server function wait in the list."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        if f'"{name}"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route(SERVER, keep)
    return held


def arrived(page: Page, held: list[Route], number: int = 1) -> None:
    while len(held) < number:
        page.wait_for_timeout(50)


def test_an_order_is_not_offered_before_it_is_known(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit"), bot.create("exit")]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    select(page, bot.alert(orders[0]).id)
    held = hold(page, "detail")
    row(page, bot.alert(orders[1]).id).click()
    page.locator("#alerts-panel-detail[data-status=loading]").wait_for()
    expect(page.locator("#alerts-panel-acknowledge")).to_be_enabled()  # the list knows enough for that
    expect(page.locator("#alerts-panel-cancel")).not_to_be_visible()
    arrived(page, held)
    page.unroute(SERVER)  # what is held goes on
    page.locator("#alerts-panel-cancel").click()
    expect(page.get_by_role("dialog", name="Cancel this order?")).to_be_visible()


def test_a_detail_that_takes_long_is_shown(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """Longer than the time after which the page looks again."""
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    held = hold(page, "detail")
    row(page, bot.alert(order).id).click()
    page.wait_for_timeout(7000)
    assert len(held) == 1  # a slow server is not asked again and again
    held[0].continue_()
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    expect(page.locator("#alerts-panel-events li")).to_have_count(1)


def test_what_was_asked_for_before_an_action_does_not_undo_it(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    live(page)
    select(page, bot.alert(order).id)
    held: list[Route] = []
    bodies: list[str] = []

    def answer_late(route: Route) -> None:
        if '"detail"' not in (route.request.post_data or ""):
            route.continue_()
            return
        bodies.append(route.fetch().text())  # as it is now
        held.append(route)

    page.route(SERVER, answer_late)
    arrived(page, held)
    page.locator("#alerts-panel-acknowledge").click()
    answered(page)
    arrived(page, held, 2)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    page.wait_for_timeout(500)
    expect(page.locator("#alerts-panel-detail")).to_have_attribute("data-status", "acknowledged", timeout=1)
    held[1].fulfill(body=bodies[1], content_type="application/json")
    page.unroute(SERVER)
    expect(page.locator("#alerts-panel-events li").first).to_contain_text("acknowledged by ada")


def test_who_is_writing_goes_on_when_the_alert_is_resolved(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit"), bot.create("exit")]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    live(page)
    select(page, bot.alert(orders[0]).id)
    note = page.locator("#alerts-panel-note")
    note.press_sequentially("a s")
    bot.fill(orders[0])
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()
    badge(page, unresolved=1)
    page.keyboard.type("ale, x a")  # in the list these are keys
    expect(note).to_have_value("a sale, x a")
    expect(note).to_be_focused()
    expect(page.locator("#alerts-panel-said[data-outcome=late]")).to_contain_text("resolved meanwhile")
    expect(page.locator("#alerts-panel-resolve")).to_be_hidden()
    badge(page, acknowledged=0, checked=0)
    note.press("Control+Enter")
    expect(page.locator("#alerts-panel-said")).to_contain_text("system was first")
    expect(note).to_have_value("a sale, x a")
    note.fill("")
    select(page, bot.alert(orders[1]).id)
    row(page, bot.alert(orders[1]).id).focus()
    note.fill("sold")
    page.locator("#alerts-panel-resolve").click()
    badge(page, unresolved=0)
    expect(note).to_be_hidden()


def test_what_is_being_typed_counts_when_the_filter_changes(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for symbol in ("WIF", "PEPE"):
        bot.exhaust(bot.create("exit", token_symbol=symbol))
    page = open_page(serve())
    live(page)
    page.evaluate("""() => {
      const type = (id, name, value) => {
        const node = document.getElementById(`alerts-panel-${id}`);
        node.value = value;
        node.dispatchEvent(new Event(name, { bubbles: true }));
      };
      type('search', 'input', 'pep');
      type('filter-type', 'change', 'exit');
    }""")
    page.locator("[data-reading=false][data-shown='1']").wait_for()
    assert parse_qs(urlsplit(page.url).query) == {"type": ["exit"], "q": ["pep"]}
    expect(page.get_by_role("searchbox")).to_have_value("pep")
    page.evaluate("""() => {
      const search = document.getElementById('alerts-panel-search');
      search.value = 'nothing';
      search.dispatchEvent(new Event('input', { bubbles: true }));
      document.getElementById('alerts-panel-unresolved').click();
    }""")
    page.locator("[data-reading=false][data-shown='2']").wait_for()
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_another_list_is_read_on_while_the_old_one_is_waited_for(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(400))
    page = open_page(serve())
    live(page)
    badge(page, shown=100)
    held = hold(page, "read_page")
    end = "node => node.scrollTo(0, node.scrollHeight)"
    page.locator(".wta-scroll").evaluate(end)
    arrived(page, held)
    page.locator("#alerts-panel-filter-high").click()
    page.locator("[data-reading=false][data-list='2'][data-shown='100']").wait_for()
    page.locator(".wta-scroll").evaluate(end)
    page.wait_for_timeout(500)
    page.unroute(SERVER)  # what is held goes on
    page.locator("[data-shown='200']").wait_for()


def test_many_changed_beyond_the_first_page_stay_where_they_are(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(190))
    page = open_page(serve())
    live(page)
    badge(page, shown=100)
    page.locator(".wta-scroll").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    badge(page, shown=190)
    page.evaluate("""() => {
      window.least = 190;
      const root = document.querySelector('.wta');
      const watch = () => { window.least = Math.min(window.least, root.dataset.shown); };
      new MutationObserver(watch).observe(root, { attributes: true });
    }""")
    beyond = row(page, bot.alerts()[150].id)
    beyond.scroll_into_view_if_needed()
    before = beyond.evaluate("node => node.getBoundingClientRect().top")
    bot.execute(
        "select walltrack.acknowledge_alert(a.id, 'grace') from (select id from walltrack.open_alerts limit 90 offset 100) as a"
    )
    badge(page, acknowledged=90)
    expect(beyond).to_contain_text("by grace")
    assert abs(beyond.evaluate("node => node.getBoundingClientRect().top") - before) < 2
    assert page.evaluate("window.least") == 190
