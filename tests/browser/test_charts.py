"""The charts in a real browser: the database's numbers, in the viewer's time, accessible to every viewer."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.contrast import LOW_CONTRAST
from tests.support.history import past_alert
from tests.support.page import wait_for_counts

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

HOSTILE = [
    "<script>window.hit=1</script>",
    "<img src=x onerror='window.hit=1'>",
    "<svg onload='window.hit=1'><a href='javascript:window.hit=1'>x</a></svg>",
    "${window.hit=1}",
    "{{value}} {{#each value}}{{/each}} {{{value}}}",
    "[x](javascript:window.hit=1) ![i](http://127.0.0.1:9/i.png)",
    "</style></script><iframe src='javascript:parent.hit=1'>",
    "</text></svg><script>window.hit=1</script>",
    "\u202egnp.exe \u0007",
]

SEVERITIES = ["critical", "high", "warning", "info"]
PLOTS = ("raised", "open", "acknowledge", "resolve")
CLICK = "node => { const reads = Number(node.closest('.wta').dataset.chartsRead ?? 0); node.click(); return reads; }"
DRAWN = """([days, reads]) => {
  const { view, charts, chartsRead } = document.querySelector('.wta').dataset;
  return view === 'charts' && charts === String(days) && Number(chartsRead) > reads;
}"""
TABLE = "node => [...node.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"


def show(page: Page, days: int = 7) -> None:
    """Open the charts of this many days and wait until they are drawn."""
    page.locator("#alerts-panel-nav-charts").click()
    reads = page.locator(f"#alerts-panel-range-{days}").evaluate(CLICK)
    page.wait_for_function(DRAWN, arg=[days, reads])


def table(page: Page, name: str) -> list[list[str]]:
    return page.locator(f"#alerts-panel-chart-{name} table").evaluate(TABLE)


def column(page: Page, name: str, number: int) -> list[int]:
    return [int(row[number]) for row in table(page, name)]


def a_week(bot: Bot) -> None:
    """20 alerts over five days."""
    for number in range(20):
        past_alert(
            bot,
            SEVERITIES[number % 4],
            number * 6 + 0.2,
            acknowledged_after=10 if number % 2 else None,
            resolved_after=120 if number > 3 else None,
            token=f"token{number % 3}",
            token_symbol=f"T{number % 3}",
            error=f"slippage {number}% > 1%",
        )


def test_the_charts_show_the_numbers_of_the_database(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    a_week(bot)
    page = open_page(serve(), timezone_id="Europe/Berlin")
    show(page)
    expect(page.locator("#alerts-panel-charts")).to_contain_text("Europe/Berlin")
    expect(page.locator("#alerts-panel-chart-raised tbody tr")).to_have_count(7)  # before the choice there are fewer
    assert [sum(column(page, "raised", each)) for each in range(1, 5)] == [5, 5, 5, 5]
    assert [int(number) for number in table(page, "open")[-1][1:]] == [1, 1, 1, 1]
    assert {row[1] for row in table(page, "acknowledge")} == {"10 min", "none"}
    assert {row[2] for row in table(page, "resolve")} == {"2 h", "none"}
    assert sum(column(page, "tokens", 1)) == 20
    assert table(page, "errors") == [["Slippage #% > #%", "20"]]
    assert page.locator("#alerts-panel-chart-raised header").inner_text().split("\n")[-1] == "20 by day"
    for name in PLOTS[:2]:
        assert page.locator(f"#alerts-panel-chart-{name} .wta-legend li").all_text_contents() == SEVERITIES
        labels = page.locator(f"#alerts-panel-chart-{name} svg text[text-anchor=end]").all_text_contents()
        assert labels[0] == "0" and all(int(label) > 0 for label in labels[1:])

    show(page, 1)
    assert len(table(page, "raised")) == 24
    assert sum(sum(column(page, "raised", each)) for each in range(1, 5)) == 4
    page.reload()  # the choice is remembered
    page.locator("#alerts-panel-nav-charts").click()
    page.locator("[data-charts='1']").wait_for()
    assert page.locator("#alerts-panel-range-1").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize(("hours", "days", "buckets"), [([0], 1, 1), ([2.5, 0], 1, 4), ([20, 1], 1, 21), ([50, 1], 7, 4)])
def test_a_short_history_starts_the_time_axis_at_its_data(
    serve: Serve, open_page: OpenPage, bot: Bot, hours: list[float], days: int, buckets: int
) -> None:
    for each in hours:
        past_alert(bot, "high", each, resolved_after=0)
    page = open_page(serve())
    page.locator("#alerts-panel-nav-charts").click()
    page.locator(f"[data-view=charts][data-charts='{days}']").wait_for()
    assert page.locator(f"#alerts-panel-range-{days}").get_attribute("aria-pressed") == "true"
    rows = table(page, "raised")
    assert abs(len(rows) - buckets) <= 1 and int(rows[0][2]) > 0  # an hour may have begun meanwhile
    assert sum(column(page, "raised", 2)) == len(hours)
    page.locator("#alerts-panel-range-7").click()
    expect(page.locator("#alerts-panel-chart-raised tbody tr")).to_have_count(7)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_times_are_in_the_viewers_zone(serve: Serve, open_page: OpenPage, bot: Bot, zone: str) -> None:
    past_alert(bot, "high", 2)
    page = open_page(serve(), timezone_id=zone, locale="en-GB")
    before = datetime.now(UTC).astimezone(ZoneInfo(zone))
    show(page, 1)
    after = datetime.now(UTC).astimezone(ZoneInfo(zone))
    last = table(page, "raised")[-1][0]
    assert any(f"{at.day} " in last and f"{at.hour:02}:00\u2013{(at.hour + 1) % 24:02}:00" in last for at in (before, after))
    hours = page.locator("#alerts-panel-chart-raised svg text[text-anchor=middle]").all_text_contents()
    assert hours and all(re.fullmatch(r"\d\d:00|\d+ \w+", hour) for hour in hours)


def test_a_zone_unknown_to_the_database_becomes_utc(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    past_alert(bot, "high", 2)
    strange = (
        "const plain = Intl.DateTimeFormat.prototype.resolvedOptions;"
        "Intl.DateTimeFormat.prototype.resolvedOptions = function () { return {...plain.call(this), timeZone: 'Mars/Phobos'}; }"
    )
    page = open_page(serve(), before=lambda page: page.add_init_script(strange))
    show(page)
    expect(page.locator(".wta-charts-head")).to_contain_text("UTC")


def test_pointer_and_arrow_keys_show_the_numbers(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    a_week(bot)
    page = open_page(serve())
    show(page)
    for name in PLOTS:
        card = page.locator(f"#alerts-panel-chart-{name}")
        plot, tip = card.locator("svg"), card.locator(".wta-tip")
        expect(tip).to_be_hidden()
        place = plot.bounding_box()
        assert place is not None
        page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
        expect(tip).to_be_visible()
        inside = card.bounding_box()
        box = tip.bounding_box()
        assert inside and box and box["x"] >= inside["x"] and box["x"] + box["width"] <= inside["x"] + inside["width"]
        page.mouse.move(0, 0)
        expect(tip).to_be_hidden()

    plot = page.locator("#alerts-panel-chart-raised svg")
    tip = page.locator("#alerts-panel-chart-raised .wta-tip")
    page.locator("#alerts-panel-range-30").focus()
    page.keyboard.press("Tab")
    expect(plot).to_be_focused()
    rows = table(page, "raised")
    for key, place in (("End", -1), ("ArrowLeft", -2), ("ArrowRight", -1), ("ArrowRight", -1), ("Home", 0)):
        page.keyboard.press(key)
        expect(tip.locator("> b")).to_have_text(rows[place][0])
        assert tip.locator("span > b").all_text_contents() == rows[place][1:]
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_a_new_alert_redraws_only_what_it_changes(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    a_week(bot)
    page = open_page(serve())
    show(page)
    plot = page.locator("#alerts-panel-chart-raised svg")
    kept = plot.evaluate_handle("node => node")
    plot.focus()
    page.keyboard.press("End")
    tip = page.locator("#alerts-panel-chart-raised .wta-tip")
    expect(tip).to_contain_text("critical")
    before = int(table(page, "raised")[-1][1])
    bot.exhaust(bot.create("exit"))
    expect(tip.locator("span > b").first).to_have_text(str(before + 1))
    assert plot.evaluate("(node, kept) => node === kept && node === document.activeElement", kept)

    page.evaluate("document.querySelector('#alerts-panel-chart-raised svg').firstChild.mark = true")
    with page.expect_response(lambda response: '"charts"' in (response.request.post_data or "")):
        page.locator("#alerts-panel-range-7").click()  # a further read changes nothing
    show(page, 7)
    assert page.evaluate("document.querySelector('#alerts-panel-chart-raised svg').firstChild.mark") is True


def test_charts_without_alerts_show_a_text(serve: Serve, open_page: OpenPage) -> None:
    page = open_page(serve())
    show(page, 30)
    for name, text in (
        ("raised", "No alerts were raised in the last 30 days."),
        ("open", "No alert was open in the last 30 days."),
        ("acknowledge", "No alert was acknowledged in the last 30 days."),
        ("resolve", "No alert was resolved in the last 30 days."),
        ("tokens", "No order failed permanently in the last 30 days."),
        ("errors", "No order failed permanently in the last 30 days."),
    ):
        card = page.locator(f"#alerts-panel-chart-{name}[data-some=false]")
        expect(card).to_contain_text(text)
        expect(card.locator("svg:visible")).to_have_count(0)


def test_charts_that_fail_to_load_stay_and_say_so(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    a_week(bot)
    page = open_page(serve())
    show(page)

    def fail(route: Route) -> None:
        if '"charts"' in (route.request.post_data or ""):
            route.fulfill(status=500, json={"error": None})
        else:
            route.continue_()

    page.route("**/component_server/**", fail)
    page.locator("#alerts-panel-range-1").click()
    expect(page.locator("#alerts-panel-charts")).to_contain_text("The charts could not be read")
    expect(page.locator("#alerts-panel-chart-raised svg")).to_be_visible()
    page.unroute_all()
    page.locator("#alerts-panel-range-1").click()
    page.locator("[data-charts='1']").wait_for()
    expect(page.locator("#alerts-panel-charts")).not_to_contain_text("could not be read")


def test_hostile_tokens_and_errors_are_shown_as_labels(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for text in HOSTILE:
        past_alert(bot, "critical", 1, token=text, token_symbol=text, error=text)
    page = open_page(serve())
    wait_for_counts(page, critical=len(HOSTILE))
    show(page)
    labels = page.locator("#alerts-panel-chart-tokens tbody bdi:first-child").all_text_contents()
    plain = {text for text in HOSTILE if text.isascii() and text.isprintable() and len(text) <= 60}
    assert plain <= set(labels)
    for label in page.locator(".wta-chart table:not(.wta-unseen) tbody th").all():
        label.hover()
    assert page.evaluate("window.hit") is None
    assert page.locator(".wta-charts").locator("script, img, iframe, a, link, object, embed, foreignObject").count() == 0
    assert page.locator(".wta-chart table svg").count() == 0


def test_the_charts_fit_a_phone(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    a_week(bot)
    past_alert(bot, "critical", 1, token="x" * 44, token_symbol="W" * 20, error="w" * 400)
    page = open_page(serve(), viewport={"width": 390, "height": 844}, has_touch=True)
    show(page, 30)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    right = "node => node.getBoundingClientRect().right - node.closest('.wta-chart').getBoundingClientRect().right"
    assert all(plot.evaluate(right) <= 0 for plot in page.locator(".wta-plot svg").all())
    assert min(page.locator(".wta-range").evaluate_all("nodes => nodes.map(node => node.offsetHeight)")) >= 40
    page.locator("#alerts-panel-chart-open svg").tap()
    expect(page.locator("#alerts-panel-chart-open .wta-tip")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_of_the_charts_has_sufficient_contrast(serve: Serve, open_page: OpenPage, bot: Bot, theme: str) -> None:
    a_week(bot)
    page = open_page(f"{serve()}/?__theme={theme}")
    show(page)
    page.locator("#alerts-panel-chart-raised svg").hover()
    assert page.evaluate(LOW_CONTRAST) == []
    # An axis label's colour is its fill.
    page.add_style_tag(content=".wta-plot text { color: var(--wta-muted) }")
    assert page.evaluate(LOW_CONTRAST) == []
