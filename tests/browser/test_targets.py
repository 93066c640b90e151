"""The view of targets: dead letters and silences that operators deal with, and deliveries in the timeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_alarm import stubbed
from tests.support.bot import Bot
from tests.support.contrast import LOW_CONTRAST
from tests.support.hostile import PAYLOADS
from tests.support.page import record_toasts, row_of, select_alert, wait_for_counts, wait_for_toast, wait_until_live
from tests.support.panel_deliveries import SECRETS, add_targets, deliver_due, fan_out, make_dead_letters, silence_alerts
from walltrack_alerts.ui import PasswordAccess, launch_panel

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def show(page: Page, targets: int, dead: int) -> None:
    """Open the view of targets and wait until it shows these."""
    page.locator("#alerts-panel-nav-targets").click()
    page.locator(f"[data-view=targets][data-targets='{targets}'][data-dead='{dead}']").wait_for()


def confirm(page: Page, name: str) -> None:
    """Confirm the question of this name and wait for the answer."""
    page.locator(f"[data-dialog={name}] #alerts-panel-dialog-yes").click()
    page.locator("[data-changes='0']").wait_for()


def test_without_targets_the_view_says_how_to_add_one(serve: Serve, open_page: OpenPage) -> None:
    page = open_page(serve())
    show(page, 0, 0)
    assert "view=targets" in page.url
    expect(page.locator("#alerts-panel-target-list")).to_contain_text("walltrack-alerts targets add")
    expect(page.locator("#alerts-panel-target-list")).to_contain_text("No relay is running")
    page.reload()
    page.locator("[data-view=targets][data-targets='0']").wait_for()


def test_dead_letters_are_replayed_and_dropped(serve: Serve, open_page: OpenPage, bot: Bot, db: psycopg.Connection) -> None:
    add_targets(db)
    for symbol in ("BONK", "WIF", "POPCAT"):
        bot.exhaust(bot.create(token_symbol=symbol))
    fan_out(db)
    first, second, third = make_dead_letters(db)
    deliver_due(db)
    page = open_page(serve())
    show(page, 2, 3)
    assert [secret for secret in SECRETS if secret in page.content()] == []
    hook = page.locator("[data-target=hook]")
    expect(hook).to_contain_text("Last error")
    expect(hook).to_contain_text("500 Internal Server Error")
    expect(page.locator("[data-target=telegram-ada]")).to_have_attribute("data-state", "enabled")

    record_toasts(page)
    page.locator(f"#alerts-panel-replay-{first}").click()
    page.keyboard.press("Escape")
    page.locator(f"#alerts-panel-replay-{first}").click()
    confirm(page, "replay")
    page.locator("[data-dead='2']").wait_for()
    wait_for_toast(page, "Replayed: 1 delivery")
    page.locator(f"#alerts-panel-drop-{second}").click()
    confirm(page, "drop")
    page.locator("[data-dead='1']").wait_for()
    rows = db.execute(
        "select delivery_id, state from walltrack.deliveries where delivery_id = any(%s)", ([first, second, third],)
    )
    assert dict(rows.fetchall()) == {first: "pending", third: "dead"}
    rows = db.execute("select finished_by from walltrack.finished_deliveries where delivery_id = %s", (second,))
    assert rows.fetchall() == [("ada",)]

    page.locator(f"#alerts-panel-drop-{third}").click()
    db.execute("select walltrack.replay_deliveries(array[%s::bigint], 'grace')", (third,))  # another operator is first
    confirm(page, "drop")
    expect(page.locator("#alerts-panel-toast")).to_have_attribute("data-outcome", "failed")
    page.locator("[data-dead='0']").wait_for()


def test_all_dead_letters_are_replayed_at_once(serve: Serve, open_page: OpenPage, bot: Bot, db: psycopg.Connection) -> None:
    add_targets(db)
    for _ in range(4):
        bot.exhaust(bot.create())
    fan_out(db)
    make_dead_letters(db)
    page = open_page(serve())
    show(page, 2, 4)
    page.locator("#alerts-panel-replay-all").click()
    confirm(page, "replay")
    page.locator("[data-dead='0']").wait_for()
    expect(page.locator("#alerts-panel-dead-letters")).to_contain_text("No dead letters")


def test_a_reader_sees_dead_letters_without_buttons(
    open_page: OpenPage, bot: Bot, db: psycopg.Connection, users: Path, database_url: str
) -> None:
    add_targets(db)
    for _ in range(2):
        bot.exhaust(bot.create())
    fan_out(db)
    make_dead_letters(db)
    silence_alerts(db, token="WIF")
    panel = launch_panel(database_url, port=0, block=False, access=PasswordAccess(users))
    try:
        page = open_page(panel.url, live=False)
        page.get_by_label("name").fill("bob")
        page.get_by_label("password").fill("battery staple")
        page.get_by_role("button", name="Log in").click()
        page.locator("[data-role=reader]").wait_for()
        show(page, 2, 2)
        expect(page.locator("[data-delivery]")).to_have_count(2)
        for button in page.locator("#alerts-panel-targets .wta-box-buttons").all():
            expect(button).to_be_hidden()
    finally:
        panel.close()


def test_the_timeline_shows_deliveries(serve: Serve, open_page: OpenPage, bot: Bot, db: psycopg.Connection) -> None:
    add_targets(db)
    order = bot.create()
    bot.exhaust(order)
    fan_out(db)
    (dead,) = make_dead_letters(db)
    deliver_due(db)
    page = open_page(serve())
    timeline = select_alert(page, bot.alert(order).id).locator("#alerts-panel-events")
    expect(timeline).to_contain_text("Delivered to telegram-ada")
    expect(timeline).to_contain_text("Delivery to hook failed: 500")
    show(page, 2, 1)
    page.locator(f"#alerts-panel-dead-{dead}").click()  # leads to the alert
    page.locator(f"[data-view=alerts] #alerts-panel-detail[data-alert-id='{bot.alert(order).id}']").wait_for()


def test_a_silenced_alert_is_marked_and_makes_no_sound(
    serve: Serve, open_page: OpenPage, bot: Bot, db: psycopg.Connection
) -> None:
    silence_alerts(db, token="WIF")
    page = open_page(serve(), before=stubbed())
    wait_until_live(page)
    page.evaluate("localStorage.setItem('walltrack-alerts.sound', 'on')")
    quiet = bot.create(token_symbol="WIF")
    bot.exhaust(quiet)
    wait_for_counts(page, critical=1)
    expect(row_of(page, bot.alert(quiet).id)).to_contain_text("silenced until")
    detail = select_alert(page, bot.alert(quiet).id)
    expect(detail).to_contain_text("by grace: the pool is being moved")
    assert page.evaluate("window.tones") == 0
    bot.exhaust(bot.create(token_symbol="BONK"))
    page.wait_for_function("window.tones === 3")

    show(page, 0, 0)
    page.locator("[data-silence] button").click()
    confirm(page, "end-silence")
    expect(page.locator("#alerts-panel-silences")).to_contain_text("No alert is silenced")
    page.locator("#alerts-panel-nav-alerts").click()
    expect(row_of(page, bot.alert(quiet).id)).not_to_contain_text("silenced")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_hostile_texts_stay_text_and_readable(
    serve: Serve, open_page: OpenPage, bot: Bot, db: psycopg.Connection, scheme: str, width: int
) -> None:
    add_targets(db)
    for number, text in enumerate(PAYLOADS[:40]):
        db.execute("select walltrack.raise_alert('x', 'high', %s, '', '{}', true, %s)", (text, f"key {number}"))
    db.execute("select walltrack.disable_target('telegram-ada', %s, 'ada')", (PAYLOADS[0],))
    fan_out(db)
    for delivery, text in zip(make_dead_letters(db), PAYLOADS[:40], strict=True):
        db.execute("update walltrack.deliveries set last_response = %s where delivery_id = %s", (text[:500], delivery))
    silence_alerts(db, PAYLOADS[1], token=PAYLOADS[2][:200])
    page = open_page(f"{serve()}/?view=targets&__theme={scheme}", viewport={"width": width, "height": 844})
    page.locator("[data-targets='2'][data-dead='40']").wait_for()
    assert page.evaluate("window.__hit") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(LOW_CONTRAST) == []
