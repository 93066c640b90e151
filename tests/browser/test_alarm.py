"""What reaches an operator who looks elsewhere: the tab, a sound, a notification."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import wait_for_counts, wait_until_live
from tests.support.panel_servers import free_port
from walltrack_alerts.ui import create_alerts_panel

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

STUBS = """
  window.tones = 0;
  window.notes = [];
  window.asked = 0;
  window.AudioContext = class {
    constructor() { this.state = 'running'; this.currentTime = 0; this.destination = {}; }
    createOscillator() {
      window.tones += 1;
      return { frequency: {}, connect: (next) => next, start() {}, stop() {} };
    }
    createGain() {
      const gain = { setValueAtTime() {}, exponentialRampToValueAtTime() {} };
      return { gain, connect: (next) => next };
    }
    async resume() {}
    async close() {}
  };
  window.Notification = class {
    static permission = sessionStorage.getItem('permission') ?? 'PERMISSION';
    static async requestPermission() {
      window.asked += 1;
      sessionStorage.setItem('permission', 'granted');
      return (this.permission = 'granted');
    }
    constructor(title, options) { this.shown = { title, ...options }; window.notes.push(this.shown); }
    addEventListener(kind, handler) { this.shown.click = handler; }
    close() {}
  };
"""

FAVICON = """async () => {
  const links = document.querySelectorAll('link[rel~="icon"]');
  const image = new Image();
  image.src = links[0].href;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 64;
  const paint = canvas.getContext('2d');
  paint.drawImage(image, 0, 0);
  const pixels = paint.getImageData(0, 0, 64, 64).data;
  let white = 0;
  for (let at = 0; at < pixels.length; at += 4) white += pixels[at] > 200 && pixels[at + 1] > 200;
  return { links: links.length, edge: [...paint.getImageData(32, 3, 1, 1).data], white };
}"""
RED, GREY = [220, 38, 38, 255], [71, 85, 105, 255]


def stubbed(permission: str = "granted") -> Callable[[Page], None]:
    """Before the page opens, replace sounds and notifications with counters."""
    return lambda page: page.add_init_script(STUBS.replace("PERMISSION", permission))


def opened(open_page: OpenPage, url: str, **options: Any) -> Page:
    page = open_page(url, before=stubbed(options.pop("permission", "granted")), **options)
    wait_until_live(page)
    return page


def switch_on(page: Page, *names: str) -> None:
    page.locator("#alerts-panel-bell").click()
    for name in names:
        page.locator(f"#alerts-panel-bell-{name}").check()
    page.keyboard.press("Escape")
    expect(page.locator("#alerts-panel-bell-box")).to_be_hidden()
    expect(page.locator("#alerts-panel-bell")).to_be_focused()


def critical(bot: Bot, **columns: Any) -> Any:
    """The id of a new critical alert."""
    order = bot.create("exit", **columns)
    bot.exhaust(order)
    return bot.alert(order).id


def test_the_tab_counts_critical_alerts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = open_page(serve())
    wait_until_live(page)
    expect(page).to_have_title("Alerts")
    none = page.evaluate(FAVICON)
    assert (none["links"], none["edge"]) == (1, GREY)

    bot.exhaust(bot.create("entry"))
    wait_for_counts(page, unresolved=1, critical=0)
    expect(page).to_have_title("Alerts")
    alerts = [critical(bot) for _ in range(3)]
    expect(page).to_have_title("(3) Alerts")
    three = page.evaluate(FAVICON)
    assert (three["links"], three["edge"]) == (1, RED)
    assert three["white"] > 50

    bot.call("snooze_alert", alerts[0], datetime.now(UTC) + timedelta(hours=1), "ada")
    expect(page).to_have_title("(2) Alerts")
    bot.call("acknowledge_alert", alerts[1], "ada")
    wait_for_counts(page, waiting=2)
    expect(page).to_have_title("(2) Alerts")  # an operator has seen it, but it is still open
    for alert in alerts[1:]:
        bot.call("resolve_alert", alert, "sold", "ada")
    expect(page).to_have_title("Alerts")
    assert page.evaluate(FAVICON)["edge"] == GREY


def test_a_tab_behind_another_counts_without_timers(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = opened(open_page, serve(refresh_seconds=600))
    switch_on(page, "sound", "notification")
    page.context.new_page().bring_to_front()
    page.evaluate(
        "Object.defineProperty(document, 'hidden', { value: true });"
        "for (let each = 1; each < 10000; each += 1) { clearInterval(each); clearTimeout(each); }"
    )
    critical(bot)
    expect(page).to_have_title("(1) Alerts")
    assert page.evaluate(FAVICON)["edge"] == RED
    page.wait_for_function("window.tones > 0 && window.notes.length === 1", polling=100)  # a background tab has no frames


def test_sound_is_opt_in_and_only_for_new_critical_alerts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    critical(bot)
    page = opened(open_page, serve())
    wait_for_counts(page, critical=1, shown=1)
    critical(bot)
    wait_for_counts(page, critical=2, shown=2)  # the numbers come earlier
    assert page.evaluate("window.tones") == 0
    switch_on(page, "sound")
    bot.exhaust(bot.create("entry"))
    wait_for_counts(page, unresolved=3, shown=3)
    assert page.evaluate("window.tones") == 0
    critical(bot)
    page.wait_for_function("window.tones > 0")
    each = page.evaluate("window.tones")

    page.reload()  # the setting is remembered, and existing alerts make no sound
    wait_until_live(page)
    wait_for_counts(page, critical=3, shown=4)
    expect(page.locator("#alerts-panel-bell[data-alarm=on]")).to_be_visible()
    assert page.evaluate("window.tones") == 0
    critical(bot)
    page.wait_for_function(f"window.tones === {each}")
    assert page.evaluate("window.notes.length") == 0


def test_a_notification_appears_once_and_opens_its_alert(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = opened(open_page, serve())
    switch_on(page, "notification")
    hostile = "<img src=x onerror='window.hit=1'>"
    order = bot.create("exit", token_symbol=hostile[:20])
    bot.exhaust(order, hostile)
    page.wait_for_function("window.notes.length === 1")
    note = page.evaluate("window.notes[0]")
    assert note["title"] == f"{hostile[:20]}: EXIT Order Failed - Manual Action Required"
    assert note["body"] == hostile
    bot.retry(order)
    bot.update(order, status="submitted")
    bot.fail(order)  # the alert repeats
    first = bot.alert(order)
    second = critical(bot, is_simulated=True)
    page.wait_for_function("window.notes.length === 2")
    assert [note["tag"] for note in page.evaluate("window.notes")] == [str(first.id), str(second)]
    assert page.evaluate("window.notes[1].title").startswith("SIMULATED BONK: EXIT")

    page.evaluate("window.notes[0].click()")
    page.locator(f"#alerts-panel-detail[data-alert-id='{first.id}']").wait_for()
    assert page.evaluate("window.hit") is None


def test_acknowledged_and_earlier_alerts_send_no_notification(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    there = critical(bot)
    page = opened(open_page, serve())
    switch_on(page, "notification")
    with bot.connection.transaction():
        seen = critical(bot)
        bot.call("acknowledge_alert", seen, "ada")
    wait_for_counts(page, critical=2, waiting=1)
    bot.call("snooze_alert", there, datetime.now(UTC) + timedelta(hours=1), "ada")
    wait_for_counts(page, critical=1)
    bot.call("snooze_alert", there, None, "ada")
    wait_for_counts(page, critical=2, waiting=1)
    last = critical(bot)
    page.wait_for_function("window.notes.length > 0")
    assert [note["tag"] for note in page.evaluate("window.notes")] == [str(last)]


def test_many_alerts_at_once_share_one_notification(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = opened(open_page, serve())
    switch_on(page, "notification")
    with bot.connection.transaction():
        for _ in range(5):
            critical(bot)
    page.wait_for_function("window.notes.length > 0")
    wait_for_counts(page, critical=5)
    assert [note["title"] for note in page.evaluate("window.notes")] == ["5 new critical alerts"]


MANY = (
    "select walltrack.raise_alert('load', 'critical', 'Alert ' || n, '', '{}', true, 'k' || n) from generate_series(1, 130) as n"
)


def acknowledge(bot: Bot, order: str, limit: int = 1000) -> None:
    bot.execute(
        f"select walltrack.acknowledge_alert(a.id, 'grace') from (select id from walltrack.alerts where alert_type = 'load' "
        f"and status = 'active' order by created_at {order}, id {order} limit {limit}) as a"
    )


def test_a_new_alert_notifies_however_many_are_acknowledged(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.execute(MANY)
    acknowledge(bot, "asc")
    page = opened(open_page, serve())
    switch_on(page, "notification")
    wait_for_counts(page, critical=130, waiting=0)
    last = critical(bot)
    page.wait_for_function("window.notes.length > 0")
    wait_for_counts(page, critical=131, waiting=1)
    assert [note["tag"] for note in page.evaluate("window.notes")] == [str(last)]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("query", ["", "?severity=high"])
def test_of_many_waiting_alerts_only_a_new_one_notifies(
    serve: Serve, open_page: OpenPage, bot: Bot, order: str, query: str
) -> None:
    bot.execute(MANY)
    page = opened(open_page, f"{serve()}/{query}")
    switch_on(page, "notification")
    wait_for_counts(page, critical=130, waiting=130)
    first = critical(bot)
    page.wait_for_function("window.notes.length > 0")
    for waiting in (111, 91):  # as many as are read at once, then fewer
        acknowledge(bot, order, 20)
        wait_for_counts(page, critical=131, waiting=waiting)
    acknowledge(bot, order)
    wait_for_counts(page, critical=131, waiting=1)
    second = critical(bot)
    page.wait_for_function("window.notes.length > 1")
    assert [note["tag"] for note in page.evaluate("window.notes")] == [str(first), str(second)]


def test_the_test_button_shows_what_the_browser_allows(serve: Serve, open_page: OpenPage) -> None:
    url = serve()
    page = opened(open_page, url, permission="default")
    page.locator("#alerts-panel-bell").click()
    box = page.locator("#alerts-panel-bell-box")
    page.locator("#alerts-panel-bell-test").click()
    expect(box).to_contain_text("Enable sound or notifications first.")
    expect(box).to_contain_text("Your browser will ask")
    page.locator("#alerts-panel-bell-notification").check()
    page.wait_for_function("window.asked === 1")
    expect(box).not_to_contain_text("Your browser will ask")
    page.locator("#alerts-panel-bell-sound").check()
    page.locator("#alerts-panel-bell-test").click()
    expect(box).to_contain_text("Sent: a sound and a notification.")
    assert page.evaluate("[window.tones > 0, window.notes.map(note => note.title)]") == [True, ["Test"]]
    page.locator("#alerts-panel-unresolved").click()  # somewhere else
    expect(box).to_be_hidden()

    page.reload()
    wait_until_live(page)
    page.locator("#alerts-panel-bell").click()
    expect(page.locator("#alerts-panel-bell-notification")).to_be_checked()
    expect(page.locator("#alerts-panel-bell-sound")).to_be_checked()

    forbidden = opened(open_page, url, permission="denied")
    forbidden.locator("#alerts-panel-bell").click()
    expect(forbidden.locator("#alerts-panel-bell-notification")).to_be_disabled()
    expect(forbidden.locator("#alerts-panel-bell-box")).to_contain_text("Your browser blocks notifications")


def test_an_embedded_panel_leaves_the_tab_alone(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    critical(bot)
    with gr.Blocks(title="Mine") as host:
        create_alerts_panel(database_url, operator="ada")
    _, url, _ = host.launch(
        server_name="127.0.0.1", server_port=free_port(), prevent_thread_lock=True, quiet=True, footer_links=[], ssr_mode=False
    )
    try:
        page = open_page(url)
        wait_for_counts(page, critical=1)
        expect(page).to_have_title("Mine")
        assert page.locator("link[rel~=icon][href^='data:']").count() == 0
        expect(page.locator("#alerts-panel-bell")).to_be_visible()
    finally:
        host.close()


def test_a_notification_opens_its_alert_from_the_charts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = opened(open_page, serve())
    switch_on(page, "notification")
    page.locator("#alerts-panel-nav-charts").click()
    page.locator("[data-view=charts]").wait_for()
    alert = critical(bot)
    page.wait_for_function("window.notes.length === 1")
    page.evaluate("window.notes[0].click()")
    expect(page.locator(f"#alerts-panel-detail[data-alert-id='{alert}'][data-status=active]")).to_be_visible()
    assert page.url.endswith(f"/?alert={alert}")
