"""A slow server in a real browser: no click is lost, no stale data replaces newer data, no typing is interrupted."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import SERVER, answered, arrived, badge, deaf, hold, live, row, select

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

MANY = (
    "select walltrack.raise_alert('load', 'high', 'Alert ' || n, 'Text', jsonb_build_object('token', n), true, 'k' || n) "
    "from generate_series(1, {}) as n"
)

# The number of rows at each rendering of the list.
LISTEN = """() => {
  window.seen = [];
  const root = document.querySelector('.wta');
  new MutationObserver(() => window.seen.push(Number(root.dataset.shown))).observe(root, { attributeFilter: ['data-shown'] });
}"""

# Everything is read again.
COME_BACK = """() => {
  const now = Date.now;
  Date.now = () => now() + 6000; // so long somebody was elsewhere
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def late(page: Page, name: str) -> tuple[list[Route], list[str]]:
    """Hold all further answers of this server function as they were when the page asked."""
    held: list[Route] = []
    bodies: list[str] = []

    def keep(route: Route) -> None:
        if f'"{name}"' not in (route.request.post_data or ""):
            route.continue_()
            return
        bodies.append(route.fetch().text())
        held.append(route)

    page.route(SERVER, keep)
    return held, bodies


def listed(page: Page) -> Page:
    """Wait until the page is live and shows its first rows."""
    live(page)
    badge(page, shown=100)
    return page


def to_the_end(page: Page) -> None:
    page.locator(".wta-scroll").evaluate("node => node.scrollTo(0, node.scrollHeight)")


def test_order_actions_are_offered_only_once_the_order_loads(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
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


def test_a_slow_detail_is_shown(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """The detail takes longer than the polling interval of the page."""
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    held = hold(page, "detail")
    row(page, bot.alert(order).id).click()
    page.wait_for_timeout(7000)
    assert len(held) == 1  # the page does not keep asking a slow server
    held[0].continue_()
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    expect(page.locator("#alerts-panel-events li")).to_have_count(1)


def test_an_answer_requested_before_an_action_does_not_undo_it(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    live(page)
    select(page, bot.alert(order).id)
    held, bodies = late(page, "detail")
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


def test_typing_continues_when_the_alert_is_resolved(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
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
    said = page.locator("#alerts-panel-said[data-outcome=late]")
    expect(said).to_have_text(re.compile(r"^system resolved it at [\d:]+, before you\. Your note was not sent\.$"))
    expect(page.locator("#alerts-panel-resolve")).to_be_hidden()
    badge(page, acknowledged=0, checked=0)
    note.press("Control+Enter")
    expect(said).to_have_text(re.compile(r"^system resolved it at [\d:]+, before you\.$"))
    expect(note).to_have_value("a sale, x a")
    note.fill("")
    select(page, bot.alert(orders[1]).id)
    row(page, bot.alert(orders[1]).id).focus()
    note.fill("sold")
    page.locator("#alerts-panel-resolve").click()
    badge(page, unresolved=0)
    expect(note).to_be_hidden()


def test_unsent_search_text_counts_when_a_filter_changes(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
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


def test_a_new_list_loads_while_the_old_one_is_pending(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(400))
    page = listed(open_page(serve()))
    held = hold(page, "read_page")
    to_the_end(page)
    arrived(page, held)
    page.locator("#alerts-panel-filter-high").click()
    page.locator("[data-reading=false][data-list='2'][data-shown='100']").wait_for()
    to_the_end(page)
    page.wait_for_timeout(500)
    page.unroute(SERVER)  # what is held goes on
    page.locator("[data-shown='200']").wait_for()


def test_changes_beyond_the_first_page_keep_rows_in_place(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(190))
    page = listed(open_page(serve()))
    to_the_end(page)
    badge(page, shown=190)
    page.evaluate(LISTEN)
    beyond = row(page, bot.alerts()[150].id)
    beyond.scroll_into_view_if_needed()
    before = beyond.evaluate("node => node.getBoundingClientRect().top")
    bot.execute(
        "select walltrack.acknowledge_alert(a.id, 'grace') from (select id from walltrack.open_alerts limit 90 offset 100) as a"
    )
    badge(page, acknowledged=90)
    expect(beyond).to_contain_text("by grace")
    assert abs(beyond.evaluate("node => node.getBoundingClientRect().top") - before) < 2
    assert set(page.evaluate("window.seen")) == {190}


def test_a_list_from_before_an_action_does_not_undo_it(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(), before=deaf)
    alert = bot.alert(order).id
    select(page, alert)
    held, bodies = late(page, "snapshot")
    arrived(page, held)
    page.evaluate("""() => {
      window.seen = [];
      const item = document.querySelector('#alerts-panel-list li');
      new MutationObserver(() => window.seen.push(item.dataset.status)).observe(item, { attributeFilter: ['data-status'] });
    }""")
    page.locator("#alerts-panel-acknowledge").click()
    answered(page)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    arrived(page, held, 2)
    assert set(page.evaluate("window.seen")) == {"acknowledged"}
    held[1].fulfill(body=bodies[1], content_type="application/json")
    page.unroute(SERVER)
    badge(page, acknowledged=1)
    assert set(page.evaluate("window.seen")) == {"acknowledged"}


def test_older_numbers_do_not_replace_newer_ones(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.exhaust(bot.create("exit"))
    page = open_page(serve(refresh_seconds=600))
    live(page)
    held, bodies = late(page, "snapshot")
    bot.exhaust(bot.create("exit"))
    arrived(page, held)
    bot.exhaust(bot.create("exit"))
    badge(page, critical=3)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    arrived(page, held, 2)
    assert page.title() == "(3) Alerts"
    held[1].fulfill(body=bodies[1], content_type="application/json")
    badge(page, critical=3, shown=3)
    page.unroute(SERVER)


def test_alerts_resolved_while_rows_load_are_left_out(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = listed(open_page(serve(refresh_seconds=600)))
    held, bodies = late(page, "read_page")
    to_the_end(page)
    arrived(page, held)
    bot.call("resolve_alert", bot.alerts()[140].id, "done", "grace")
    badge(page, unresolved=149)
    page.wait_for_timeout(1000)  # the announced alert has been read but is not in the list yet
    held[0].fulfill(body=bodies[0], content_type="application/json")
    badge(page, shown=149)
    page.unroute(SERVER)


def test_a_full_reload_shows_no_more_rows_than_before(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(400))
    page = open_page(serve(), before=deaf)
    badge(page, shown=100)
    for number in (1, 2):
        bot.exhaust(bot.create("exit"))
        badge(page, critical=number, unresolved=400 + number, shown=100 + number)
    bot.execute(
        "select walltrack.raise_alert('x', 'critical', 'Alert', '', '{}', true, n::text) from generate_series(1, 40) as n"
    )
    badge(page, critical=42)
    page.wait_for_function("document.querySelector('.wta').dataset.shown >= 142")
    assert int(page.locator(".wta").get_attribute("data-shown") or 0) <= 182


def test_rows_that_arrive_during_a_full_reload_stay(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(400))
    page = listed(open_page(serve(refresh_seconds=600)))
    first = row(page, bot.alerts()[0].id)
    bot.execute("update walltrack.alerts set title = 'Nobody was told', own_writes = 9 where id = %s", (bot.alerts()[0].id,))
    held, bodies = late(page, "snapshot")
    page.evaluate(COME_BACK)
    arrived(page, held)
    to_the_end(page)
    badge(page, shown=200)
    page.get_by_label("Select all alerts of the list").check()
    badge(page, checked=200)
    page.evaluate(LISTEN)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    expect(first).to_contain_text("Nobody was told")
    badge(page, checked=200)
    assert min(page.evaluate("window.seen")) == 200
    page.unroute_all(behavior="ignoreErrors")  # it may be asking for more


def test_the_numbers_do_not_wait_for_the_whole_list(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = open_page(serve(), before=deaf)
    badge(page, shown=100)
    to_the_end(page)
    badge(page, shown=150)
    held = hold(page, "read_page")
    bot.exhaust(bot.create("exit"))
    arrived(page, held)
    badge(page, critical=1, unresolved=151, shown=150)
    assert page.title() == "(1) Alerts"
    held[0].fulfill(status=500)
    page.unroute(SERVER)
    badge(page, shown=151)


def test_opening_another_list_ends_a_full_reload(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = open_page(serve(), before=deaf)
    badge(page, shown=100)
    held = hold(page, "read_page")
    bot.execute(
        "select walltrack.raise_alert('x', 'critical', 'Alert', '', '{}', true, n::text) from generate_series(1, 90) as n"
    )
    arrived(page, held)
    page.locator("#alerts-panel-critical").click()
    held[0].continue_()
    page.locator("[data-reading=false][data-list='2'][data-shown='90']").wait_for()
    assert len(held) == 1


def test_a_rare_match_stays_once_found(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """The first page searches the newest 20,000 alerts without a match; the match lies beyond."""
    bot.execute(
        "insert into walltrack.alerts (alert_type, severity, status, title, message, data, requires_action, created_at, "
        "updated_at, last_seen_at, resolved_at, resolved_by, resolution) select 'x', 'info', 'resolved', "
        "case n when 20100 then 'needle' else 'hay' end, '', '{}', false, at, at, at, at, 'ada', 'done' "
        "from (select n, now() - n * interval '1 min' as at from generate_series(1, 20100) as n) as each"
    )
    page = open_page(f"{serve(refresh_seconds=600)}/?status=resolved&q=needle")
    live(page)
    badge(page, shown=1)
    held = hold(page, "snapshot")
    while not held or '"ids":["' not in (held[-1].request.post_data or ""):
        before = len(held)
        if held:
            held[-1].continue_()  # a full read, as when the page becomes live
        bot.exhaust(bot.create("exit"))
        arrived(page, held, before + 1)
    page.evaluate(LISTEN)
    page.unroute(SERVER)  # what is held goes on
    page.wait_for_function("window.seen.length > 0")
    page.evaluate(COME_BACK)
    page.wait_for_function("window.seen.length > 1")
    assert set(page.evaluate("window.seen")) == {1}


def test_a_read_discarded_by_an_action_is_repeated_in_full(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = listed(open_page(serve(refresh_seconds=600)))
    live(page)
    to_the_end(page)
    badge(page, shown=150)
    beyond = row(page, bot.alerts()[140].id)
    held, bodies = late(page, "snapshot")
    bot.execute("update walltrack.alerts set title = 'Nobody was told', own_writes = 9 where id = %s", (bot.alerts()[140].id,))
    page.evaluate(COME_BACK)
    arrived(page, held)
    page.keyboard.press("j")
    page.keyboard.press("a")
    answered(page)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    arrived(page, held, 2)
    held[1].fulfill(body=bodies[1], content_type="application/json")
    expect(beyond).to_contain_text("Nobody was told")
    page.unroute_all(behavior="ignoreErrors")  # it may be asking for more


def test_a_failed_request_for_more_rows_is_repeated(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = listed(open_page(serve(refresh_seconds=600)))
    held = hold(page, "read_page")
    to_the_end(page)
    arrived(page, held)
    held[0].fulfill(status=500)
    page.unroute(SERVER)
    badge(page, shown=150)


def test_keys_act_on_the_visible_list(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit") for _ in range(3)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(f"{serve()}/?alert={bot.alert(orders[2]).id}")
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    badge(page, shown=3)
    page.keyboard.press("a")
    badge(page, acknowledged=1)
    assert [bot.alert(order).acknowledged_by for order in orders] == [None, None, "ada"]

    page.locator("#alerts-panel-filter-status").select_option("active")
    badge(page, shown=2)
    select(page, bot.alert(orders[0]).id)
    page.locator("#alerts-panel-acknowledge").click()
    badge(page, acknowledged=2, shown=1)
    page.keyboard.press("r")  # still the detail of the first alert
    page.keyboard.type("sold")
    page.keyboard.press("Control+Enter")
    badge(page, unresolved=2)
    assert bot.alert(orders[0]).resolution == "sold"


def test_enter_in_the_search_waits_for_its_results(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit", token_symbol=symbol) for symbol in ("WIF", "PEPE")]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve(refresh_seconds=600))
    live(page)
    badge(page, shown=2)
    held = hold(page, "snapshot")
    page.keyboard.press("/")
    page.keyboard.type("pepe")
    page.keyboard.press("Enter")
    arrived(page, held)
    page.keyboard.type("a")  # a letter of the search
    page.keyboard.press("Backspace")
    page.unroute(SERVER)
    page.locator("[data-reading=false][data-shown='1']").wait_for()
    expect(row(page, bot.alert(orders[1]).id)).to_be_visible()
    page.keyboard.press("Enter")
    expect(row(page, bot.alert(orders[1]).id)).to_be_focused()
    page.keyboard.press("a")
    badge(page, acknowledged=1)
    assert [bot.alert(order).acknowledged_by for order in orders] == [None, "ada"]


def test_no_key_acts_behind_a_second_dialog(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(2):
        bot.exhaust(bot.create("exit"))
    page = open_page(serve(operator=None))
    live(page)
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
    badge(page, checked=2)


def test_a_sheet_does_not_lock_charts_on_a_phone(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(f"{serve()}/?alert={bot.alert(order).id}&view=charts", viewport={"width": 390, "height": 844})
    page.locator("#alerts-panel-range-30").click()
    page.locator("#alerts-panel-nav-alerts").click()
    expect(page.locator("#alerts-panel-detail")).to_be_visible()
    page.locator("#alerts-panel-back").click()
    expect(row(page, bot.alert(order).id)).to_be_visible()


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
    live(page)
    assert lost


def test_a_stale_sheet_says_that_it_is_out_of_date(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(), viewport={"width": 390, "height": 844}, before=deaf)
    detail = select(page, bot.alert(order).id)
    page.route(SERVER, lambda route: route.fulfill(status=500))
    expect(detail.locator(".wta-trouble")).to_contain_text("What you see")
    page.unroute(SERVER)
    expect(detail.locator(".wta-trouble")).to_be_hidden()


def test_failed_actions_stay_selected_with_their_note(serve: Serve, open_page: OpenPage, bot: Bot, database_url: str) -> None:
    orders = [bot.create("exit") for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(serve())
    live(page)
    page.get_by_label("Select all alerts of the list").check()
    with psycopg.connect(database_url) as holder:
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (bot.alert(orders[1]).id,))
        page.keyboard.press("r")
        page.get_by_label("How did it end?").fill("all sold")
        page.get_by_role("button", name="Resolve 2 alerts").click()
        expect(page.locator("#alerts-panel-toast")).to_contain_text("Resolved: 1 of 2.")
    badge(page, checked=1)
    page.keyboard.press("r")
    expect(page.get_by_label("How did it end?")).to_have_value("all sold")
    page.get_by_role("button", name="Resolve 1 alert").click()
    badge(page, unresolved=0, checked=0)
    assert {bot.alert(order).resolution for order in orders} == {"all sold"}


def test_a_detail_that_fails_to_load_says_so(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    live(page)
    held = hold(page, "detail")
    row(page, bot.alert(order).id).click()
    arrived(page, held)
    held[0].fulfill(status=500)
    expect(page.locator(".wta-trouble")).to_contain_text("cannot be reached. It may be out of date.")
    page.unroute(SERVER)
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    expect(page.locator(".wta-trouble")).to_be_hidden()
