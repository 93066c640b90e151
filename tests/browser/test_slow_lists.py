"""A slow server in a real browser: lists neither jump nor fall back to older data."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

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
    wait_until_unmoved,
)
from tests.support.slow import COME_BACK, LISTEN, MANY, hold_responses, scroll_to_end, wait_for_first_rows

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def test_unsent_search_text_counts_when_a_filter_changes(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for symbol in ("WIF", "PEPE"):
        bot.exhaust(bot.create("exit", token_symbol=symbol))
    page = open_page(serve())
    wait_until_live(page)
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
    page = wait_for_first_rows(open_page(serve()))
    held = hold_requests(page, "read_page")
    scroll_to_end(page)
    wait_for_requests(page, held)
    page.locator("#alerts-panel-filter-high").click()
    page.locator("[data-reading=false][data-list='2'][data-shown='100']").wait_for()
    scroll_to_end(page)
    page.wait_for_timeout(500)
    release_requests(page, held)
    page.locator("[data-shown='200']").wait_for()


def test_changes_beyond_the_first_page_keep_rows_in_place(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(190))
    page = wait_for_first_rows(open_page(serve()))
    scroll_to_end(page)
    wait_for_counts(page, shown=190)
    page.evaluate(LISTEN)
    beyond = row_of(page, bot.alerts()[150].id)
    beyond.scroll_into_view_if_needed()
    offset = "node => node.getBoundingClientRect().top"
    before = beyond.evaluate(offset)
    bot.execute(
        "select walltrack.acknowledge_alert(a.id, 'grace') from (select id from walltrack.open_alerts limit 90 offset 100) as a"
    )
    wait_for_counts(page, acknowledged=90)
    expect(beyond).to_contain_text("by grace")
    wait_until_unmoved(beyond, offset, before)
    assert set(page.evaluate("window.seen")) == {190}


def test_a_list_from_before_an_action_does_not_undo_it(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve(), before=block_live_updates)
    alert = bot.alert(order).id
    select_alert(page, alert)
    held, bodies = hold_responses(page, "snapshot")
    wait_for_requests(page, held)
    page.evaluate("""() => {
      window.seen = [];
      const item = document.querySelector('#alerts-panel-list li');
      new MutationObserver(() => window.seen.push(item.dataset.status)).observe(item, { attributeFilter: ['data-status'] });
    }""")
    page.locator("#alerts-panel-acknowledge").click()
    wait_until_settled(page)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    wait_for_requests(page, held, 2)
    assert set(page.evaluate("window.seen")) == {"acknowledged"}
    held[1].fulfill(body=bodies[1], content_type="application/json")
    page.unroute(SERVER)
    wait_for_counts(page, acknowledged=1)
    assert set(page.evaluate("window.seen")) == {"acknowledged"}


def test_older_numbers_do_not_replace_newer_ones(
    serve: Serve, open_page: OpenPage, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("walltrack_alerts.ui.live.COUNTS_SECONDS", 60)  # the numbers come with each announcement
    bot.exhaust(bot.create("exit"))
    page = open_page(serve(refresh_seconds=600))
    wait_until_live(page)
    held, bodies = hold_responses(page, "snapshot")
    bot.exhaust(bot.create("exit"))
    wait_for_requests(page, held)
    bot.exhaust(bot.create("exit"))
    wait_for_counts(page, critical=3)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    wait_for_requests(page, held, 2)
    assert page.title() == "(3) Alerts"
    held[1].fulfill(body=bodies[1], content_type="application/json")
    wait_for_counts(page, critical=3, shown=3)
    page.unroute(SERVER)


def test_alerts_resolved_while_rows_load_are_left_out(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = wait_for_first_rows(open_page(serve(refresh_seconds=600)))
    held, bodies = hold_responses(page, "read_page")
    scroll_to_end(page)
    wait_for_requests(page, held)
    bot.call("resolve_alert", bot.alerts()[140].id, "done", "grace")
    wait_for_counts(page, unresolved=149)
    page.wait_for_timeout(1000)  # the announced alert has been read but is not in the list yet
    held[0].fulfill(body=bodies[0], content_type="application/json")
    wait_for_counts(page, shown=149)
    page.unroute(SERVER)


def test_a_full_reload_shows_no_more_rows_than_before(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(400))
    page = open_page(serve(), before=block_live_updates)
    wait_for_counts(page, shown=100)
    for number in (1, 2):
        bot.exhaust(bot.create("exit"))
        wait_for_counts(page, critical=number, unresolved=400 + number, shown=100 + number)
    bot.execute(
        "select walltrack.raise_alert('x', 'critical', 'Alert', '', '{}', true, n::text) from generate_series(1, 40) as n"
    )
    wait_for_counts(page, critical=42)
    page.wait_for_function("document.querySelector('.wta').dataset.shown >= 142")
    assert int(page.locator(".wta").get_attribute("data-shown") or 0) <= 182


def test_rows_that_arrive_during_a_full_reload_stay(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(400))
    page = wait_for_first_rows(open_page(serve(refresh_seconds=600)))
    first = row_of(page, bot.alerts()[0].id)
    bot.execute("update walltrack.alerts set title = 'Changed silently', own_writes = 9 where id = %s", (bot.alerts()[0].id,))
    held, bodies = hold_responses(page, "snapshot")
    page.evaluate(COME_BACK)
    wait_for_requests(page, held)
    scroll_to_end(page)
    wait_for_counts(page, shown=200)
    page.get_by_label("Select all alerts of the list").check()
    wait_for_counts(page, checked=200)
    page.evaluate(LISTEN)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    page.wait_for_function("window.seen.length > 0")
    expect(first).to_contain_text("Changed silently")
    wait_for_counts(page, checked=200)
    assert min(page.evaluate("window.seen")) == 200
    page.unroute_all(behavior="ignoreErrors")  # it may be asking for more


def test_the_numbers_do_not_wait_for_the_whole_list(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = open_page(serve(), before=block_live_updates)
    wait_for_counts(page, shown=100)
    scroll_to_end(page)
    wait_for_counts(page, shown=150)
    held = hold_requests(page, "read_page")
    bot.exhaust(bot.create("exit"))
    wait_for_requests(page, held)
    wait_for_counts(page, critical=1, unresolved=151, shown=150)
    assert page.title() == "(1) Alerts"
    held[0].fulfill(status=500)
    page.unroute(SERVER)
    wait_for_counts(page, shown=151)


def test_opening_another_list_ends_a_full_reload(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = open_page(serve(refresh_seconds=600), before=block_live_updates)
    wait_for_counts(page, shown=100)
    held = hold_requests(page, "read_page")
    bot.execute(
        "select walltrack.raise_alert('x', 'critical', 'Alert', '', '{}', true, n::text) from generate_series(1, 90) as n"
    )
    page.evaluate(COME_BACK)
    wait_for_requests(page, held)
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
    wait_until_live(page)
    wait_for_counts(page, shown=1)
    held = hold_requests(page, "snapshot")
    while not held or '"ids":["' not in (held[-1].request.post_data or ""):
        before = len(held)
        if held:
            held[-1].continue_()  # a full read, as when the page becomes live
        bot.exhaust(bot.create("exit"))
        wait_for_requests(page, held, before + 1)
    page.evaluate(LISTEN)
    release_requests(page, held)
    page.wait_for_function("window.seen.length > 0")
    page.evaluate(COME_BACK)
    page.wait_for_function("window.seen.length > 1")
    assert set(page.evaluate("window.seen")) == {1}


def test_a_read_discarded_by_an_action_is_repeated_in_full(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = wait_for_first_rows(open_page(serve(refresh_seconds=600)))
    wait_until_live(page)
    scroll_to_end(page)
    wait_for_counts(page, shown=150)
    beyond = row_of(page, bot.alerts()[140].id)
    held, bodies = hold_responses(page, "snapshot")
    bot.execute("update walltrack.alerts set title = 'Changed silently', own_writes = 9 where id = %s", (bot.alerts()[140].id,))
    page.evaluate(COME_BACK)
    wait_for_requests(page, held)
    page.keyboard.press("j")
    page.keyboard.press("a")
    wait_until_settled(page)
    held[0].fulfill(body=bodies[0], content_type="application/json")
    wait_for_requests(page, held, 2)
    held[1].fulfill(body=bodies[1], content_type="application/json")
    expect(beyond).to_contain_text("Changed silently")
    page.unroute_all(behavior="ignoreErrors")  # it may be asking for more


def test_a_failed_request_for_more_rows_is_repeated(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY.format(150))
    page = wait_for_first_rows(open_page(serve(refresh_seconds=600)))
    held = hold_requests(page, "read_page")
    scroll_to_end(page)
    wait_for_requests(page, held)
    held[0].fulfill(status=500)
    page.unroute(SERVER)
    wait_for_counts(page, shown=150)
