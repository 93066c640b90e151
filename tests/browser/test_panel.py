"""The panel in a real browser, on alerts that real order writes raised."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import gradio as gr
import psycopg
import pytest
from playwright.sync_api import Locator, Page, expect
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.bot import Bot
from tests.browser.conftest import OpenPage
from walltrack_alerts import AlertStatus
from walltrack_alerts.ui import PanelStartError, create_alerts_panel, launch_panel

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

HOSTILE = [
    "<script>window.hit=1</script>",
    "<img src=x onerror='window.hit=1'>",
    "<svg onload='window.hit=1'><a href='javascript:window.hit=1'>x</a></svg>",
    "${window.hit=1}",
    "`${window.hit=1}`",
    "{{value}} {{#each value}}{{/each}} {{{value}}}",
    "[x](javascript:window.hit=1) **bold** ![i](http://127.0.0.1:9/i.png)",
    "</style></script><iframe src='javascript:parent.hit=1'>",
    "\u202egnp.exe \u0007",
]


def row(page: Page, alert_id: object) -> Locator:
    return page.locator(f"[data-alert-id='{alert_id}'] .wta-row")


def badge(page: Page, **numbers: int) -> None:
    """Wait until the badge shows these numbers."""
    page.locator("".join(f"[data-{name}='{number}']" for name, number in numbers.items())).wait_for()


def select(page: Page, alert_id: object) -> Locator:
    """Select a row and wait for its detail."""
    row(page, alert_id).click()
    detail = page.locator(f"#alerts-panel-detail[data-alert-id='{alert_id}']:not([data-status=loading])")
    detail.wait_for()
    return detail


def test_an_alert_appears_by_itself_is_acknowledged_and_resolved(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = open_page(serve())
    badge(page, unresolved=0, critical=0)
    expect(page.locator("#alerts-panel-empty")).to_contain_text("No open alerts")

    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.fail(order, "RPC error: blockhash not found")
    badge(page, unresolved=1, critical=1, waiting=1, acknowledged=0)
    expect(page.locator("#alerts-panel-critical")).to_have_text("1critical open")
    alert = bot.alert(order)
    detail = select(page, alert.id)
    expect(detail).to_contain_text(str(order))
    expect(detail.locator("#alerts-panel-message")).to_have_text(alert.message)
    expect(detail.locator("#alerts-panel-events li")).to_have_count(1)

    page.locator("#alerts-panel-acknowledge").click()
    badge(page, unresolved=1, critical=1, waiting=0, acknowledged=1)
    expect(page.locator("#alerts-panel-acknowledge")).to_be_disabled()
    expect(detail.locator("#alerts-panel-events li").first).to_contain_text("acknowledged by ada")

    page.locator("#alerts-panel-note").fill("Sold by hand")
    page.locator("#alerts-panel-resolve").click()
    badge(page, unresolved=0, critical=0, acknowledged=0)
    expect(page.locator("#alerts-panel-detail[data-status=resolved]")).to_contain_text("Resolved by ada: Sold by hand")
    expect(page.locator("#alerts-panel-resolve")).to_be_hidden()
    alert = bot.alert(order)
    assert (alert.acknowledged_by, alert.resolved_by, alert.resolution) == ("ada", "ada", "Sold by hand")


def test_critical_ones_come_first_and_the_filter_shows_one_severity(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for order_type in ("entry", "exit", "entry", "exit"):
        bot.exhaust(bot.create(order_type))
    page = open_page(serve())
    badge(page, unresolved=4, critical=2)
    items = page.locator("#alerts-panel-list li")
    assert [item.get_attribute("data-severity") for item in items.all()] == [
        "critical",
        "critical",
        "high",
        "high",
    ]
    style = "(node) => { const s = getComputedStyle(node); return [s.backgroundColor, s.borderLeftColor]; }"
    assert items.nth(0).locator("button").evaluate(style) != items.nth(3).locator("button").evaluate(style)

    page.locator("#alerts-panel-filter-high").click()
    page.locator("[data-filter=high][data-shown='2'][data-unresolved='4']").wait_for()
    assert {item.get_attribute("data-severity") for item in items.all()} == {"high"}
    page.locator("#alerts-panel-filter-info").click()
    expect(page.locator("#alerts-panel-empty")).to_contain_text("No open info alerts")
    page.locator("#alerts-panel-filter-all").click()
    page.locator("[data-filter=all][data-shown='4']").wait_for()


def test_hostile_symbols_and_errors_show_as_text(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    page = open_page(serve())
    for text in HOSTILE:
        bot.exhaust(bot.create("exit", token_symbol=text[:20]), text)
    badge(page, unresolved=len(HOSTILE))
    for alert in bot.alerts():
        expect(row(page, alert.id)).to_contain_text(alert.data["error"], use_inner_text=False)
        detail = select(page, alert.id)
        assert detail.locator("h3").text_content() == alert.data["token_symbol"]
        assert detail.locator("#alerts-panel-message").text_content() == alert.message
        assert alert.data["error"] in detail.locator("#alerts-panel-facts dd").all_text_contents()
    note = "<img src=x onerror='window.hit=1'> ${window.hit=1} <script>window.hit=1</script>"
    page.locator("#alerts-panel-note").fill(note)
    page.locator("#alerts-panel-resolve").click()
    expect(page.locator("#alerts-panel-detail")).to_contain_text(f"Resolved by ada: {note}")
    assert page.evaluate("window.hit") is None
    assert page.locator(".wta").locator("script, img, svg, iframe, a, link, object, embed").count() == 0


def test_resolving_needs_a_note_and_acting_a_name(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    page = open_page(serve(operator=None))
    select(page, bot.alert(order).id)
    said = page.locator("#alerts-panel-said")

    page.locator("#alerts-panel-note").fill("   ")
    page.locator("#alerts-panel-resolve").click()
    expect(said).to_contain_text("Write a note first")
    page.locator("#alerts-panel-acknowledge").click()
    expect(said).to_contain_text("Say who you are first")
    assert bot.alert(order).status is AlertStatus.ACTIVE

    page.locator("#alerts-panel-name").fill("grace")
    page.locator("#alerts-panel-acknowledge").click()
    badge(page, acknowledged=1)
    assert bot.alert(order).acknowledged_by == "grace"
    page.reload()
    select(page, bot.alert(order).id)
    expect(page.locator("#alerts-panel-name")).to_have_value("grace")


def test_who_comes_second_reads_who_was_first(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    alert = bot.alert(order)
    page = open_page(serve(refresh_seconds=600))
    select(page, alert.id)
    bot.call("acknowledge_alert", alert.id, "<b>grace</b>")
    page.locator("#alerts-panel-acknowledge").click()
    said = page.locator("#alerts-panel-said[data-outcome=late]")
    expect(said).to_contain_text("acknowledged by <b>grace</b>")
    badge(page, acknowledged=1)  # the last turn of reading before the next step

    bot.call("resolve_alert", alert.id, "done", "linus")
    page.locator("#alerts-panel-note").fill("mine")
    page.locator("#alerts-panel-resolve").click()
    expect(said).to_contain_text("resolved by linus")
    assert bot.alert(order).resolution == "done"


def test_a_resolved_alert_cannot_be_acknowledged(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    page = open_page(serve(refresh_seconds=600))
    select(page, bot.alert(order).id)
    bot.fill(order)
    page.locator("#alerts-panel-acknowledge").click()
    expect(page.locator("#alerts-panel-said[data-outcome=failed]")).to_contain_text("resolved")
    badge(page, unresolved=0)


def test_selection_scroll_focus_and_notes_survive_new_alerts(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for _ in range(25):
        bot.exhaust(bot.create("entry"))
    alerts = bot.alerts()
    page = open_page(serve())
    badge(page, unresolved=25)
    select(page, alerts[3].id)
    page.locator("#alerts-panel-note").fill("half a no")
    select(page, alerts[20].id)
    expect(page.locator("#alerts-panel-note")).to_have_value("")
    page.locator("#alerts-panel-note").fill("another no")
    row(page, alerts[20].id).focus()
    offset = "(node) => node.getBoundingClientRect().top - node.closest('ol').getBoundingClientRect().top"
    before = row(page, alerts[20].id).evaluate(offset)

    bot.exhaust(bot.create("exit"))
    badge(page, unresolved=26, critical=1)
    expect(page.locator("#alerts-panel-list li").first).to_have_attribute("data-severity", "critical")
    expect(row(page, alerts[20].id)).to_be_focused()
    expect(row(page, alerts[20].id)).to_have_attribute("aria-current", "true")
    assert abs(row(page, alerts[20].id).evaluate(offset) - before) < 2
    expect(page.locator("#alerts-panel-note")).to_have_value("another no")
    select(page, alerts[3].id)
    expect(page.locator("#alerts-panel-note")).to_have_value("half a no")


def test_the_age_keeps_counting_without_a_refresh(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    bot.exhaust(bot.create())
    page = open_page(serve(refresh_seconds=600))
    age = page.locator("#alerts-panel-list time")
    before = age.text_content()
    assert before is not None
    expect(age).not_to_have_text(before)


def test_a_lost_database_shows_and_comes_back(
    serve: Serve, open_page: OpenPage, bot: Bot, database_url: str, server_url: str
) -> None:
    order = bot.create()
    bot.exhaust(order)
    page = open_page(serve())
    select(page, bot.alert(order).id)
    name = str(conninfo_to_dict(database_url)["dbname"])
    allow = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        page.locator("[data-state=database-unreachable]").wait_for()
        expect(page.locator("#alerts-panel-banner")).to_contain_text("Database unreachable since")
        expect(page.locator("#alerts-panel-banner")).not_to_contain_text(name)
        page.locator("#alerts-panel-acknowledge").click()
        expect(page.locator("#alerts-panel-said[data-outcome=failed]")).to_contain_text("cannot be reached")
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    page.locator("[data-state=live]").wait_for()
    expect(page.locator("#alerts-panel-banner")).to_be_hidden()
    page.locator("#alerts-panel-acknowledge").click()
    badge(page, acknowledged=1)


def test_a_database_without_the_schema_says_what_to_do(empty_database_url: str, open_page: OpenPage) -> None:
    panel = launch_panel(empty_database_url, port=0, block=False)
    try:
        page = open_page(panel.url, live=False)
        page.locator("[data-state=problem]").wait_for()
        expect(page.locator("#alerts-panel-banner")).to_contain_text("walltrack-alerts migrate")
    finally:
        panel.close()


def test_a_restarted_server_is_noticed_and_found_again(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    port = free_port()
    with separate_panel(database_url, port) as url:
        page = open_page(url)
        select(page, bot.alert(order).id)
        page.locator("#alerts-panel-note").fill("half a no")
    page.locator("[data-state=offline]").wait_for()
    expect(page.locator("#alerts-panel-banner")).to_contain_text("server cannot be reached")
    page.locator("#alerts-panel-acknowledge").click()
    expect(page.locator("#alerts-panel-said")).to_contain_text("Nothing was sent")
    with separate_panel(database_url, port):
        page.locator("[data-state=live]").wait_for()
        expect(page.locator("#alerts-panel-note")).to_have_value("half a no")
        page.locator("#alerts-panel-acknowledge").click()
        badge(page, acknowledged=1)


@contextmanager
def separate_panel(database_url: str, port: int) -> Iterator[str]:
    """The panel in a process of its own, which Ctrl+C ends without complaint."""
    code = (
        "import sys; from walltrack_alerts.ui import launch_panel; "
        "launch_panel(sys.argv[1], port=int(sys.argv[2]), operator='ada', refresh_seconds=0.3)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, database_url, str(port)], stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")


def test_the_panel_in_a_tab_of_another_app(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    plain = "(node) => { const s = getComputedStyle(node); return [s.font, s.color, s.padding, s.margin]; }"
    with gr.Blocks() as host:
        gr.Textbox(label="Mine", elem_id="mine")
        gr.HTML("<h2 id='heading'>Mine</h2><ol><li>one</li></ol>")
        with gr.Tabs():
            with gr.Tab("Trading"):
                gr.Button("Trade", elem_id="trade")
            with gr.Tab("Alerts"):
                inner = create_alerts_panel(database_url, operator="ignored", refresh_seconds=0.3)
    assert isinstance(inner, gr.Blocks)
    _, url, _ = host.launch(
        server_name="127.0.0.1",
        server_port=free_port(),
        prevent_thread_lock=True,
        quiet=True,
        auth=("grace", "secret"),
        footer_links=[],
        ssr_mode=False,
    )
    try:
        page = open_page(url, live=False)
        page.get_by_label("username").fill("grace")
        page.get_by_label("password").fill("secret")
        page.get_by_role("button", name="Login").click()
        page.locator("#trade").wait_for()
        names = ("#heading", "#trade", "#mine textarea", "#mine")
        before = [page.locator(name).evaluate(plain) for name in names]
        page.get_by_role("tab", name="Alerts").click()
        badge(page, unresolved=1, critical=1)
        select(page, bot.alert(order).id)
        page.locator("#alerts-panel-acknowledge").click()
        badge(page, acknowledged=1)
        assert bot.alert(order).acknowledged_by == "grace"
        page.locator("#alerts-panel-note").fill("half a no")
        page.get_by_role("tab", name="Trading").click()
        assert [page.locator(name).evaluate(plain) for name in names] == before
        page.get_by_role("tab", name="Alerts").click()
        expect(page.locator("#alerts-panel-note")).to_have_value("half a no")
    finally:
        host.close()


def test_a_phone(serve: Serve, open_page: OpenPage, bot: Bot) -> None:
    for number in range(12):
        bot.exhaust(bot.create("entry" if number % 3 else "exit"), "slippage tolerance exceeded " * 4)
    page = open_page(serve(), viewport={"width": 390, "height": 844}, has_touch=True)
    badge(page, unresolved=12)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    select(page, bot.alerts()[4].id)
    page.wait_for_function("document.querySelector('#alerts-panel-detail').getBoundingClientRect().top < 100")
    heights = page.locator(".wta button:visible").evaluate_all("nodes => nodes.map(n => n.offsetHeight)")
    assert min(heights) >= 40
    expect(page.locator("#alerts-panel-acknowledge")).to_be_in_viewport()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read(serve: Serve, open_page: OpenPage, bot: Bot, theme: str) -> None:
    for order_type in ("exit", "entry", "entry"):
        bot.exhaust(bot.create(order_type, is_simulated=order_type == "entry"))
    for severity in ("warning", "info"):
        bot.execute("select walltrack.raise_alert('x', %s, 'Title', 'Message', '{}', true, null)", (severity,))
    alerts = bot.alerts()
    bot.call("acknowledge_alert", alerts[1].id, "ada")
    bot.call("resolve_alert", alerts[2].id, "done", "ada")
    page = open_page(f"{serve(operator=None)}/?__theme={theme}")
    badge(page, unresolved=4)
    for alert in (alerts[0], alerts[1], alerts[3], alerts[4]):
        select(page, alert.id)
        page.locator("#alerts-panel-resolve").click()
        page.mouse.move(0, 0)
        assert page.evaluate(LOW_CONTRAST) == []


LOW_CONTRAST = """() => {
  // The visible texts whose contrast is below WCAG AA (4.5), disabled controls excepted as there.
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  const walker = document.createTreeWalker(document.querySelector('.wta'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (node.closest('style, :disabled')) continue;
    const layers = [];
    for (let up = node; up; up = up.parentElement) layers.unshift(getComputedStyle(up).backgroundColor);
    const [a, b] = [rgb(layers), rgb([...layers, getComputedStyle(node).color])].map(luminance);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push([node.className, walker.currentNode.data, contrast.toFixed(2)]);
  }
  return found;
}"""


def test_a_busy_port_is_named(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PanelStartError, match=rf"port {port} on 127\.0\.0\.1 is in use.*--port"):
            launch_panel(database_url, port=port, block=False)
    panel = launch_panel(database_url, port=port, block=False)
    panel.close()
    panel.close()
    with socket.create_server(("127.0.0.1", port)):
        pass


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
