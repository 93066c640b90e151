"""Accessibility: contrast in both themes, axe-core's rules, touch targets, reduced motion."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.contrast import LOW_CONTRAST
from tests.support.page import row_of, select_alert, wait_for_counts, wait_until_live
from tests.support.panel_deliveries import add_targets, fan_out, make_dead_letters, silence_alerts

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

NODE = os.environ.get("WALLTRACK_TEST_NODE_FOLDER")
AXE = Path(NODE or "/nowhere") / "node_modules/axe-core/axe.min.js"

SERIOUS = """async () => {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  return found.violations
    .filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => [each.id, each.help, each.nodes.slice(0, 5).map(node => node.html.slice(0, 200))]);
}"""

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
WIDE = {"viewport": {"width": 1440, "height": 900}}


def fill(bot: Bot) -> None:
    """Alerts of every severity and status, dead letters of some of them, and a silence of one."""
    add_targets(bot.connection)
    for order_type in ("exit", "exit", "entry", "entry", "exit"):
        bot.exhaust(bot.create(order_type, is_simulated=order_type == "entry"))
    for severity in ("warning", "info"):
        bot.execute("select walltrack.raise_alert('x', %s, 'Title', 'Message', '{}', true, null)", (severity,))
    alerts = bot.alerts()
    bot.call("acknowledge_alert", alerts[1].id, "ada")
    bot.call("resolve_alert", alerts[2].id, "done", "ada")
    bot.execute("select walltrack.snooze_alert(%s, now() + interval '1 h', 'ada')", (alerts[4].id,))
    fan_out(bot.connection)
    make_dead_letters(bot.connection)
    silence_alerts(bot.connection, severity="warning")


def every_state(page: Page, bot: Bot, check: Callable[[str], None]) -> None:
    """The page with nothing selected, each alert, each dialog, several selected, nothing found, the charts, the targets."""
    wide = page.viewport_size["width"] > 620  # type: ignore[index]
    check("list")
    for alert in bot.alerts():
        select_alert(page, alert.id)
        check(f"detail of a {alert.severity} one that is {alert.status}")
        if not wide:
            page.locator("#alerts-panel-back").click()
    select_alert(page, bot.alerts()[0].id)
    page.get_by_text("Context as JSON").click()
    page.locator("#alerts-panel-resolve").click()  # refused: there is no note
    expect(page.locator("#alerts-panel-outcome")).to_be_visible()
    check("refused")
    for button in ("snooze", "retry", "cancel"):
        page.locator(f"#alerts-panel-{button}").click()
        page.locator(f"[data-dialog={button}]").first.wait_for()
        check(button)
        page.keyboard.press("Escape")
    page.locator("#alerts-panel-back" if not wide else "#alerts-panel-close").click()
    if wide:
        page.locator("#alerts-panel-help-button").click()
        check("help")
        page.keyboard.press("Escape")
        page.get_by_label("Select all alerts of the list").check()
    else:
        page.locator("#alerts-panel-more-filters").click()
        page.locator("#alerts-panel-list .wta-tick-box").first.check()
    page.locator("#alerts-panel-bulk").wait_for()
    check("several selected")
    page.locator("#alerts-panel-bulk-resolve").click()
    check("question about several")
    page.keyboard.press("Escape")
    page.locator("#alerts-panel-bulk-clear").click()
    page.get_by_role("searchbox").fill("nothing has this")
    page.locator("[data-shown='0'][data-reading=false]").wait_for()
    check("nothing found")
    page.locator("#alerts-panel-nav-charts").click()
    page.locator("[data-view=charts]").wait_for()
    check("charts")
    page.locator("#alerts-panel-nav-targets").click()
    page.locator("[data-view=targets][data-targets='2']").wait_for()
    check("targets")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("device", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_state_has_contrast_and_no_serious_violation(
    serve: Serve, open_page: OpenPage, bot: Bot, theme: str, device: dict[str, object]
) -> None:
    fill(bot)
    page = open_page(f"{serve()}/?__theme={theme}&status=all", bypass_csp=True, **device)
    wait_until_live(page)
    wait_for_counts(page, unresolved=5, snoozed=1)
    if AXE.exists():
        page.add_script_tag(path=AXE)
    found: list[object] = []

    def check(where: str) -> None:
        page.mouse.move(0, 0)
        assert page.evaluate(LOW_CONTRAST) == [], where
        if AXE.exists():
            found.extend((where, *each) for each in page.evaluate(SERIOUS))

    every_state(page, bot, check)
    assert found == [], found
    if not AXE.exists():
        pytest.skip("WALLTRACK_TEST_NODE_FOLDER names no folder with npm's axe-core; the gate installs it")


def test_touch_targets_on_a_phone_are_large_enough(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    fill(bot)
    page = open_page(serve(), **PHONE)
    wait_until_live(page)
    small = """() => [...document.querySelectorAll('.wta :is(button, select, input:not([type=checkbox]), textarea, .wta-check)')]
      .filter(node => node.checkVisibility()).map(node => [node, node.getBoundingClientRect()])
      .filter(([, box]) => box.height < 40 || box.width < 40)
      .map(([node, box]) => [node.id || node.className, box.width, box.height])"""
    assert page.evaluate(small) == []
    page.locator("#alerts-panel-more-filters").click()
    assert page.evaluate(small) == []
    row_of(page, bot.alerts()[0].id).tap()
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    assert page.evaluate(small) == []
    page.locator("#alerts-panel-snooze").tap()
    assert page.evaluate(small) == []
    page.keyboard.press("Escape")
    page.locator("#alerts-panel-back").tap()
    page.locator("#alerts-panel-nav-targets").tap()
    page.locator("[data-view=targets][data-targets='2']").wait_for()
    assert page.evaluate(small) == []


def test_reduced_motion_disables_every_animation(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = open_page(serve(), reduced_motion="reduce")
    wait_until_live(page)
    bot.exhaust(bot.create())
    row_of(page, bot.alerts()[0].id).click()
    page.locator("#alerts-panel-detail[data-status=active]").wait_for()
    moving = """() => document.getAnimations().filter(each => document.querySelector('.wta').contains(each.effect.target))
      .map(each => each.animationName ?? each.transitionProperty)"""
    assert page.evaluate(moving) == []


def test_the_text_of_a_tile_fits_on_one_line(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    """Checks the widths around the breakpoint at which tiles switch to the long words."""
    fill(bot)
    page = open_page(serve())
    wait_for_counts(page, unresolved=5, snoozed=1)
    broken = """() => [...document.querySelectorAll('.wta-tile span')].filter(node => node.checkVisibility()).filter(node => {
      const words = document.createRange();
      words.selectNodeContents(node);
      const box = words.getBoundingClientRect();
      return box.height > 24 || box.right > node.parentElement.getBoundingClientRect().right - 4;
    }).map(node => node.textContent)"""
    for width in (700, 920, 1000, 1024, 1040, 1100):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => innerWidth === width", arg=width)
        assert page.evaluate(broken) == [], width
