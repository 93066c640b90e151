"""Hostile input stays text: in a real browser it never runs, loads, hides or breaks the layout."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.hostile import PAYLOADS
from tests.support.page import select_alert, wait_for_counts, wait_until_live
from walltrack_alerts.ui import sanitize

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]


def check(page: Page) -> None:
    """Check that no payload ran and no layout broke; the fixture reports requests to other machines."""
    assert page.evaluate("window.__hit") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    strange = "script, img, iframe, object, embed, form[action], link, base, meta, video, audio, math, marquee, template"
    assert page.locator(".wta").locator(strange).count() == 0
    wide = """() => [...document.querySelectorAll('.wta *')].filter(node => node.checkVisibility() && !node.closest('.wta-json')
      && node.getBoundingClientRect().right > innerWidth + 1).map(node => node.className)"""
    assert page.evaluate(wide) == []


def raise_all(bot: Bot) -> None:
    """Put every payload into every field of an alert and its order that can hold it."""
    bot.execute(
        "alter table walltrack.orders alter token_symbol type text, alter token_address type text, alter last_error type text"
    )
    bot.execute("alter table walltrack.orders alter locked_by type text, alter tx_signature type text, alter side type text")
    bot.execute("alter table walltrack.orders drop constraint orders_side_is_known")
    for number, text in enumerate(PAYLOADS):
        kind = "exit" if number % 2 else "entry"
        order = bot.create(kind, token_symbol=text, token_address=text, side=text, tx_signature=text, locked_by=text)
        bot.exhaust(order, text)
        bot.execute("update walltrack.orders set locked_until = now() + interval '1 h' where id = %s", (order,))


def test_hostile_orders_and_their_alerts_stay_text(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    assert len(PAYLOADS) >= 60
    raise_all(bot)
    page = open_page(serve())
    wait_until_live(page)
    wait_for_counts(page, unresolved=len(PAYLOADS))
    check(page)
    alerts = bot.alerts()
    assert len(alerts) == len(PAYLOADS)
    for alert, text in zip(alerts, PAYLOADS, strict=True):
        page.evaluate("id => document.querySelector(`[data-alert-id='${id}'] .wta-row`).click()", str(alert.id))
        detail = page.locator(f"#alerts-panel-detail[data-alert-id='{alert.id}']:not([data-status=loading])")
        detail.wait_for()
        expected = sanitize.visible(text)
        shown = detail.locator("#alerts-panel-facts dd").all_text_contents()
        assert any(expected[:1000] in each for each in shown), text[:80]
        check(page)
    for locator in page.get_by_text("Context as JSON").all() + page.get_by_text("The whole row").all():
        locator.click()
    check(page)


def test_hostile_alerts_names_notes_and_health_stay_text(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for number, text in enumerate(PAYLOADS):
        data = json.dumps(
            {text[:2000]: text, "token": text, "error": text, "order_type": text, "attempts": text, "amount_sol": text}
        )
        bot.execute(
            "select walltrack.raise_alert(%s, 'warning', %s, %s, %s, false, %s)",
            (f"kind {number}", (text.strip() or "x")[:2000], text, data, f"key {number}"),
        )
    page = open_page(serve())
    wait_until_live(page)
    wait_for_counts(page, unresolved=len(PAYLOADS))
    check(page)
    for alert, text in zip(bot.alerts(), PAYLOADS, strict=True):
        by = text.strip()[:100] or "x"
        bot.execute("select walltrack.acknowledge_alert(%s, %s)", (alert.id, by))
        bot.execute("select walltrack.resolve_alert(%s, %s, %s)", (alert.id, text[:20_000], by))
    wait_for_counts(page, unresolved=0)
    page.get_by_label("Status", exact=True).select_option("resolved")
    page.locator(f"[data-shown='{len(PAYLOADS)}'][data-reading=false]").wait_for()
    check(page)
    for alert in bot.alerts():
        page.evaluate("id => document.querySelector(`[data-alert-id='${id}'] .wta-row`).click()", str(alert.id))
        page.locator(f"#alerts-panel-detail[data-alert-id='{alert.id}'][data-status=resolved]").wait_for()
        check(page)


def test_hostile_texts_in_dialogs_and_messages_stay_text(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    text = "<img src=x onerror='window.__hit=1'>${window.__hit=1}"
    order = bot.create("exit", token_symbol=text[:20])
    bot.exhaust(order, text)
    alert = bot.alert(order)
    page = open_page(f"{serve(operator=text[:100])}/?q=%3Cimg%20src%3Dx%20onerror%3D%27window.__hit%3D1%27%3E")
    wait_until_live(page)
    expect(page.locator("#alerts-panel-who")).to_have_text(text)
    select_alert(page, alert.id)
    for button in ("snooze", "retry", "cancel"):
        page.locator(f"#alerts-panel-{button}").click()
        expect(page.get_by_role("dialog").filter(has_text=text[:20])).to_be_visible()
        check(page)
        page.keyboard.press("Escape")
    page.locator("#alerts-panel-note").fill(text)
    page.locator("#alerts-panel-resolve").click()
    expect(page.locator("#alerts-panel-detail[data-status=resolved]")).to_contain_text(f"Resolved by {text}: {text}")
    check(page)
    assert page.title() == page.title().replace("<", "")


def test_hostile_texts_keep_the_layout_on_a_phone(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    raise_all(bot)
    page = open_page(serve(), viewport={"width": 390, "height": 844}, has_touch=True)
    wait_for_counts(page, unresolved=len(PAYLOADS))
    check(page)
    for alert in bot.alerts()[::6]:
        page.evaluate("id => document.querySelector(`[data-alert-id='${id}'] .wta-row`).click()", str(alert.id))
        page.locator(f"#alerts-panel-detail[data-mode=sheet][data-alert-id='{alert.id}']:not([data-status=loading])").wait_for()
        check(page)
        page.locator("#alerts-panel-back").click()


def test_invisible_characters_are_written_out() -> None:
    assert sanitize.visible("US\u200bDC") == "US⟨U+200B⟩DC"
    assert sanitize.visible("\u202egnp") == "⟨U+202E⟩gnp"
    assert sanitize.visible("a\nb\tc") == "a\nb\tc"
    assert sanitize.visible("猫 é 👨‍👩‍👧") == "猫 é 👨‍👩‍👧"
    assert sanitize.visible("a\u200db") == "a⟨U+200D⟩b"
    assert sanitize.address("javascript:alert(1)//0123456789abcd") == ""
    assert sanitize.address("O" * 40) == ""
    assert sanitize.number(1.42e-07) == "0.000000142"
