"""Actions in a real browser: snoozing, bulk actions, retrying and cancelling orders, two operators, readers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import (
    block_live_updates,
    record_toasts,
    row_of,
    select_alert,
    wait_for_counts,
    wait_for_toast,
    wait_until_live,
    wait_until_settled,
)

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

# Every message about an action, including those that have disappeared again.
LISTEN = """() => {
  window.outcomes = [];
  const node = document.getElementById('alerts-panel-outcome');
  const record = () => { if (node.textContent) window.outcomes.push(node.textContent); };
  new MutationObserver(record).observe(node, { childList: true });
}"""


HUNDREDS = (
    "select walltrack.raise_alert('load', 'high', 'Alert ' || n, '', '{{}}', true, 'k' || n) from generate_series(1, {}) as n"
)


def confirm(page: Page, name: str) -> None:
    """Confirm the dialog."""
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


def all_rows(page: Page, number: int) -> None:
    """Scroll until this many rows are loaded."""
    page.wait_for_function(
        """number => {
          const [root, scroll] = ['.wta', '.wta-scroll'].map((each) => document.querySelector(each));
          scroll.scrollTo(0, scroll.scrollHeight);
          return Number(root.dataset.shown) === number;
        }""",
        arg=number,
        polling=100,
    )


def test_a_snoozed_alert_leaves_the_tiles_and_wakes_by_itself(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.alert(order)
    page = open_page(serve(), timezone_id="America/New_York")
    wait_until_live(page)
    select_alert(page, alert.id)
    page.locator("#alerts-panel-snooze").click()
    before = datetime.now(UTC)
    page.get_by_role("button", name="15 minutes").click()
    wait_for_counts(page, critical=0, unresolved=0, snoozed=1)
    wait_until_settled(page)
    until = bot.alert(order).snoozed_until
    assert until is not None
    assert timedelta(minutes=14) < until - before < timedelta(minutes=16)
    expect(row_of(page, alert.id)).to_contain_text("until")
    expect(page.locator("#alerts-panel-events li").first).to_contain_text("by ada")

    page.locator("#alerts-panel-snooze").click()
    page.get_by_role("button", name="Tomorrow 9:00").click()
    wait_until_settled(page)
    until = bot.alert(order).snoozed_until
    assert until is not None
    local = until.astimezone(ZoneInfo("America/New_York"))
    assert (local.hour, local.minute) == (9, 0)
    page.locator("#alerts-panel-snooze").click()
    page.get_by_role("button", name="End the snooze").click()
    wait_for_counts(page, critical=1, snoozed=0)

    bot.call("snooze_alert", alert.id, datetime.now(UTC) + timedelta(hours=1), "grace")
    wait_for_counts(page, critical=0, snoozed=1)
    page.locator("#alerts-panel-list li[data-status=snoozed]").wait_for()
    bot.call("snooze_alert", alert.id, datetime.now(UTC) + timedelta(seconds=2), "grace")
    wait_for_counts(page, critical=1, snoozed=0)  # no write happened meanwhile
    page.locator("#alerts-panel-list li[data-status=active]").wait_for()


@pytest.mark.parametrize("device", [{}, {"viewport": {"width": 390, "height": 844}}], ids=["wide", "phone"])
def test_a_snoozed_alert_still_shows_who_acknowledged_it(
    serve: Serve, open_page: OpenPage, bot: Bot, device: dict[str, object]
) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.alert(order)
    bot.call("acknowledge_alert", alert.id, "grace")
    bot.call("snooze_alert", alert.id, datetime.now(UTC) + timedelta(days=2), "ada")  # an end of another day has a date
    page = open_page(serve(), **device)
    shown = row_of(page, alert.id).locator(".wta-state > *")
    expect(shown).to_have_text(["snoozed", re.compile("until"), "ack. by grace", ""])
    assert (
        shown.evaluate_all("nodes => nodes.filter(node => node.scrollWidth > node.clientWidth).map(node => node.textContent)")
        == []
    )
    select_alert(page, alert.id)
    expect(page.locator("#alerts-panel-detail .wta-ending")).to_have_text(re.compile(r"Snoozed until .*, acknowledged by grace"))


def test_a_bulk_action_asks_with_the_count_in_the_question(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for symbol in ("WIF", "BONK", "PEPE", "GIGA"):
        bot.exhaust(bot.create("entry", token_symbol=symbol))
    alerts = bot.alerts()
    page = open_page(serve())
    wait_until_live(page)
    page.get_by_label("Select all alerts of the list").check()
    page.get_by_label("Select high alert GIGA").uncheck()
    page.locator("[data-checked='3']").wait_for()
    page.locator("#alerts-panel-bulk-acknowledge").click()
    dialog = page.get_by_role("dialog", name="Acknowledge 3 alerts?")
    expect(dialog).to_contain_text("ENTRY WIF, ENTRY BONK, ENTRY PEPE")
    dialog.get_by_role("button", name="Cancel").click()
    wait_for_counts(page, acknowledged=0, checked=3)
    bot.call("acknowledge_alert", alerts[1].id, "grace")
    page.locator("#alerts-panel-bulk-acknowledge").click()
    confirm(page, "Acknowledge 3 alerts")
    wait_for_counts(page, acknowledged=3, waiting=1)
    expect(page.locator("#alerts-panel-toast")).to_contain_text("Acknowledged: 2 of 3. grace acknowledged it at ")

    page.get_by_label("Select high alert WIF").check()
    page.get_by_label("Select high alert PEPE").check()
    page.locator("#alerts-panel-bulk-snooze").click()
    page.get_by_role("dialog", name="Snooze 2 alerts").get_by_role("button", name="1 hour").click()
    wait_for_counts(page, snoozed=2, unresolved=2, checked=0)
    page.get_by_label("Select all alerts of the list").check()
    page.locator("#alerts-panel-bulk-resolve").click()
    confirm(page, "Resolve 4 alerts")  # without a note the dialog sends nothing
    page.get_by_label("How were they solved?").fill("all sold")
    confirm(page, "Resolve 4 alerts")
    wait_for_counts(page, unresolved=0, snoozed=0, checked=0)
    assert {alert.resolution for alert in bot.alerts()} == {"all sold"}


def test_a_bulk_action_on_hundreds_completes(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(HUNDREDS.format(520))
    page = open_page(serve())
    wait_until_live(page)
    all_rows(page, 520)
    record_toasts(page)
    page.get_by_label("Select all alerts of the list").check()
    page.locator("#alerts-panel-bulk-acknowledge").click()
    confirm(page, "Acknowledge 520 alerts")
    # First: each expectation that fails blocks a long page for seconds.
    wait_for_counts(page, acknowledged=520, waiting=0, checked=0)
    wait_for_toast(page, "done: Acknowledged: 520 of 520.")
    assert {alert.acknowledged_by for alert in bot.alerts()} == {"ada"}


@pytest.mark.parametrize("away", ["server", "database"])
def test_a_bulk_action_stops_when_the_server_does_not_answer(
    serve: Serve, open_page: OpenPage, bot: Bot, database_url: str, away: str
) -> None:
    bot.execute(HUNDREDS.format(150))
    page = open_page(serve())
    wait_until_live(page)
    all_rows(page, 150)
    toast = page.locator("#alerts-panel-toast")
    with psycopg.connect(database_url) as holder:
        if away == "server":
            page.route("**/gradio_api/run/**", lambda _: None)
        else:
            holder.execute("select 1 from walltrack.alerts for update")
        page.get_by_label("Select all alerts of the list").check()
        page.locator("#alerts-panel-bulk-acknowledge").click()
        confirm(page, "Acknowledge 150 alerts")
        if away == "server":
            expect(toast).to_contain_text("The panel's server did not respond.")
            page.unroute_all(behavior="ignoreErrors")  # what is held goes on
        done = 100 if away == "server" else 0
        expect(toast).to_contain_text(f"Acknowledged: {done} of 150.")
        expect(toast).to_contain_text("The rest was not sent.", timeout=1000)
        expect(toast).to_have_attribute("data-outcome", "late")
        wait_until_settled(page)
    wait_for_counts(page, acknowledged=done, checked=150 - done)


def test_replacing_or_ending_a_snooze_names_who_set_it(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create("exit") for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    alerts = [bot.alert(order).id for order in orders]
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    bot.call("snooze_alert", alerts[0], until, "eve")
    page = open_page(serve(), timezone_id="Asia/Tokyo")
    wait_until_live(page)
    wait_for_counts(page, snoozed=1)
    select_alert(page, alerts[0])
    outcome = page.locator("#alerts-panel-outcome[data-outcome=done]")
    page.locator("#alerts-panel-snooze").click()
    page.get_by_role("button", name="1 hour").click()
    expect(outcome).to_contain_text("Snoozed. eve had snoozed it until ")
    expect(outcome).to_contain_text(f"{until.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M:%S}.")
    page.locator("#alerts-panel-snooze").click()
    page.get_by_role("button", name="End the snooze").click()
    expect(outcome).to_have_text("Snooze ended.")  # the snooze was ada's own
    wait_for_counts(page, snoozed=0)

    bot.call("snooze_alert", alerts[1], until, "eve")
    wait_for_counts(page, snoozed=1)
    page.get_by_label("Select all alerts of the list").check()
    page.locator("#alerts-panel-bulk-snooze").click()
    page.get_by_role("dialog", name="Snooze 2 alerts").get_by_role("button", name="End the snooze").click()
    expect(page.locator("#alerts-panel-toast[data-outcome=done]")).to_contain_text(
        "Snooze ended: 2 of 2. eve had snoozed it until"
    )
    wait_for_counts(page, snoozed=0, checked=0)


def test_a_host_triggers_warning_is_not_taken_for_a_conflict(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    bot.execute("""
      create function walltrack.talk() returns trigger language plpgsql as $$ begin raise warning 'careful'; return new; end $$;
      create trigger talk before update on walltrack.orders for each row execute function walltrack.talk()
    """)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-retry").click()
    confirm(page, "Retry the order")
    outcome = page.locator("#alerts-panel-outcome[data-outcome=done]")
    expect(outcome).to_have_text("The order is pending again, and the bot will retry it.")


def test_an_order_is_retried_and_cancelled(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.alert(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, alert.id)
    page.locator("#alerts-panel-retry").click()
    dialog = page.get_by_role("dialog", name="Retry this order?")
    expect(dialog).to_contain_text("goes back to pending")
    dialog.get_by_role("button", name="Not now").click()
    page.locator("#alerts-panel-order[data-order-status=failed]").wait_for()
    page.locator("#alerts-panel-retry").click()
    confirm(page, "Retry the order")
    page.locator("#alerts-panel-order[data-order-status=pending]").wait_for()
    expect(page.locator("#alerts-panel-events li").first).to_contain_text("order retried by ada")
    assert bot.execute("select status, attempt_count from walltrack.orders").fetchone() == ("pending", 3)

    page.locator("#alerts-panel-cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel this order?")
    expect(dialog).to_contain_text("The position stays open. Close it by hand.")
    dialog.get_by_label("Reason").fill("pool is empty")
    confirm(page, "Cancel the order")
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()
    assert bot.execute("select status, last_error from walltrack.orders").fetchone() == ("cancelled", "pool is empty")
    expect(page.locator("#alerts-panel-events")).to_contain_text("order cancelled by ada")
    expect(page.locator("#alerts-panel-events")).to_contain_text("pool is empty")


def test_a_simulated_order_is_retried_and_cancelled_as_simulated(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """A pending order that is never due, which no worker would take, is not refused either."""
    order = bot.create("exit", is_simulated=True)
    bot.exhaust(order)
    bot.retry(order)
    page = open_page(serve())
    wait_until_live(page)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-retry").click()
    expect(page.get_by_role("dialog", name="Retry this order?")).to_contain_text("It is simulated: no funds are at risk.")
    confirm(page, "Retry the order")
    expect(page.locator("#alerts-panel-events li").first).to_contain_text("order retried by ada")
    assert bot.poll() == [order]
    page.locator("#alerts-panel-cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel this order?")
    expect(dialog).to_contain_text("The simulated position stays open.")
    expect(dialog).not_to_contain_text("by hand")


def test_an_order_taken_by_the_worker_is_refused_with_reason(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    page = open_page(serve())
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-retry").click()
    bot.lock(order)
    confirm(page, "Retry the order")
    expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("worker-1")
    page.locator("#alerts-panel-retry[data-refusal=locked]").wait_for()
    bot.unlock(order)
    page.locator("#alerts-panel-retry[data-refusal='']").click()
    bot.fill(order)
    confirm(page, "Retry the order")
    expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("filled")
    assert bot.execute("select status from walltrack.orders").fetchone() == ("filled",)


def test_an_order_action_that_is_refused_for_now_is_disabled(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    bot.lock(order)
    page = open_page(serve())
    select_alert(page, bot.alert(order).id)
    for action in ("retry", "cancel"):
        button = page.locator(f"#alerts-panel-{action}[data-refusal=locked]")
        expect(button).to_be_visible()
        expect(button).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#alerts-panel-detail")).to_contain_text("Not possible: worker-1 is working on the order")
    expect(page.locator("#alerts-panel-order")).to_contain_text("by worker-1")


def test_an_order_action_that_can_never_work_is_hidden(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    bot.give_up(order)
    page = open_page(serve())
    select_alert(page, bot.alert(order).id)
    for action in ("retry", "cancel"):
        expect(page.locator(f"#alerts-panel-{action}[data-refusal=retries_exhausted]")).to_be_hidden()
    expect(page.locator("#alerts-panel-detail")).to_contain_text("Not possible: the retry worker gave up")
    expect(page.locator("#alerts-panel-acknowledge")).to_be_enabled()


@pytest.mark.usefixtures("patient_actions")
def test_an_action_shows_before_the_database_has_answered(serve: Serve, open_page: OpenPage, bot: Bot, database_url: str) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.alert(order)
    page = open_page(serve())
    select_alert(page, alert.id)
    with psycopg.connect(database_url) as holder:  # the answer has to wait
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (alert.id,))
        page.locator("#alerts-panel-acknowledge").click()
        page.locator("#alerts-panel-list li[data-pending][data-status=acknowledged]").wait_for()
        page.locator("#alerts-panel-detail[data-status=acknowledged]").wait_for()
        assert bot.alert(order).acknowledged_by is None
    wait_until_settled(page)
    wait_for_counts(page, acknowledged=1)
    with psycopg.connect(database_url) as holder:  # and the page reverts what the server refused
        holder.execute("select walltrack.resolve_alert(%s, 'mine', 'grace')", (alert.id,))
        page.locator("#alerts-panel-snooze").click()
        page.get_by_role("button", name="1 hour").click()
        page.locator("#alerts-panel-list li[data-pending][data-status=snoozed]").wait_for()
    wait_until_settled(page)
    expect(page.locator("#alerts-panel-outcome[data-outcome=failed]")).to_contain_text("resolved")
    page.locator("#alerts-panel-detail[data-status=resolved]").wait_for()


@pytest.mark.usefixtures("patient_actions")
def test_two_operators_acting_at_once_see_who_was_first(serve: Serve, open_page: OpenPage, bot: Bot, database_url: str) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    url = serve(operator=None)
    pages = [open_page(url, before=block_live_updates) for _ in range(2)]
    names = ["ada", "grace"]
    for page, name in zip(pages, names, strict=True):
        page.evaluate("name => localStorage.setItem('walltrack-alerts.name', name)", name)
        select_alert(page, bot.alert(order).id)
        page.evaluate(LISTEN)
    with psycopg.connect(database_url) as holder:  # both click before either has an answer
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (bot.alert(order).id,))
        for page in pages:
            page.locator("#alerts-panel-acknowledge").click()
            page.locator("[data-pending='1']").wait_for()
    for page in pages:
        page.wait_for_function("window.outcomes.length > 0")
    first = bot.alert(order).acknowledged_by
    assert first in names
    for page, name in zip(pages, names, strict=True):
        outcome = page.evaluate("window.outcomes[0]")
        assert outcome == "Acknowledged." if name == first else outcome.startswith(f"{first} acknowledged it at ")


def test_every_click_of_a_quick_series_counts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(8):
        bot.exhaust(bot.create("entry"))
    page = open_page(serve())
    wait_until_live(page)
    page.keyboard.press("j")
    for _ in range(8):
        page.keyboard.press("a")
        page.keyboard.press("j")
    wait_until_settled(page)
    wait_for_counts(page, acknowledged=8, waiting=0)
    assert {alert.acknowledged_by for alert in bot.alerts()} == {"ada"}
