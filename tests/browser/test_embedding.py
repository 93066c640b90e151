"""The panel in other apps: in a Gradio tab, below a FastAPI path, several at once, and after a server restart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import httpx
import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.databases import new_database
from tests.support.page import select_alert, wait_for_counts, wait_until_live
from tests.support.panel_servers import PATIENCE, free_port, separate_panel, unmeasured, wait_for_answer
from walltrack_alerts import AlertStatus, passwords
from walltrack_alerts.ui import Person, Role, create_alerts_panel, launch_panel

pytestmark = pytest.mark.own_server

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
STYLE = """(node) => {
  const style = getComputedStyle(node);
  return Object.fromEntries([...style].filter((name) => !name.startsWith('--')).map((name) => [name, style[name]]));
}"""


@contextmanager
def running(command: list[str], port: int, **variables: str) -> Iterator[str]:
    """Run a web server in its own process and wait until it answers; yields its URL."""
    process = subprocess.Popen(command, cwd=EXAMPLES, env=unmeasured(**variables), text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_answer(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


def log_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Log in").or_(page.get_by_role("button", name="Login")).click()


def test_the_panel_works_in_a_tab_of_another_gradio_app(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    port = free_port()
    users = json.dumps([["ada", "secret"], ["bob", "hidden"]])
    with running(
        [sys.executable, "embed_gradio.py"], port, WALLTRACK_DATABASE_URL=database_url, DESK_USERS=users, PORT=str(port)
    ) as url:
        page = open_page(url, live=False)
        log_in(page, "ada", "secret")
        page.locator("#trade").wait_for()
        hosts = ("#heading h1", "#trade", "#positions", "body", "h1")
        before = [page.locator(name).first.evaluate(STYLE) for name in hosts]
        title, address = page.title(), page.url
        page.get_by_role("tab", name="Alerts").click()
        wait_for_counts(page, unresolved=1, critical=1)
        wait_until_live(page)
        select_alert(page, bot.alert(order).id)
        page.locator("#alerts-panel-acknowledge").click()
        wait_for_counts(page, acknowledged=1)
        assert bot.alert(order).acknowledged_by == "ada"
        assert (page.title(), page.url) == (title, address)
        page.get_by_role("tab", name="Positions").click()
        page.locator("#trade").wait_for()
        page.mouse.move(0, 0)
        assert [page.locator(name).first.evaluate(STYLE) for name in hosts] == before

        reader = open_page(url, live=False)
        log_in(reader, "bob", "hidden")
        reader.get_by_role("tab", name="Alerts").click()
        select_alert(reader, bot.alert(order).id)
        wait_until_live(reader)
        expect(reader.locator("#alerts-panel-detail")).to_contain_text("You have read-only access")
        expect(reader.locator("#alerts-panel-resolve")).to_be_hidden()


def test_the_panel_works_below_a_path_of_a_fastapi_app(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    port = free_port()
    tokens = json.dumps({"one-secret": ["ada", "operator"], "other-secret": ["bob", "reader"]})
    command = [sys.executable, "-m", "uvicorn", "mount_fastapi:app", "--port", str(port), "--log-level", "warning"]
    with running(command, port, WALLTRACK_DATABASE_URL=database_url, DESK_TOKENS=tokens) as url:
        assert httpx.get(url).json() == {"alerts": "/alerts"}
        for path in ("/alerts/", "/alerts/config", "/alerts/gradio_api/info", "/alerts/walltrack-live/x"):
            assert httpx.get(url + path).status_code == 401
        page = open_page(f"{url}/enter/one-secret")
        wait_for_counts(page, unresolved=1, critical=1)
        wait_until_live(page)
        select_alert(page, bot.alert(order).id)
        page.locator("#alerts-panel-acknowledge").click()
        wait_for_counts(page, acknowledged=1)
        assert bot.alert(order).acknowledged_by == "ada"
        reader = open_page(f"{url}/enter/other-secret")
        select_alert(reader, bot.alert(order).id)
        wait_until_live(reader)
        expect(reader.locator("#alerts-panel-detail")).to_contain_text("You have read-only access")
        expect(reader.locator("#alerts-panel-resolve")).to_be_hidden()


def test_several_panels_on_one_page_stay_separate(
    server_url: str, template: str, database_url: str, open_page: OpenPage, bot: Bot, db: psycopg.Connection
) -> None:
    """Each panel shows its own database, has its own listener, and acts on its own database."""
    with new_database(server_url, template) as other_url, psycopg.connect(other_url, autocommit=True) as connection:
        other = Bot(connection)
        bot.exhaust(bot.create())
        with gr.Blocks() as host:
            create_alerts_panel(database_url, operator="ada", elem_id="one")
            create_alerts_panel(other_url, operator="bob", elem_id="two")
        _, url, _ = host.launch(
            server_name="127.0.0.1",
            server_port=free_port(),
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            ssr_mode=False,
        )
        try:
            page = open_page(url, live=False)
            one, two = page.locator("#one"), page.locator("#two")
            one.locator("[data-live=live][data-unresolved='1']").wait_for()
            two.locator("[data-live=live][data-unresolved='0']").wait_for()
            for _ in range(2):
                other.exhaust(other.create("entry"))
            two.locator("[data-unresolved='2']").wait_for()
            one.locator("[data-unresolved='1']").wait_for()
            alert = other.alerts()[0]
            two.locator(f"[data-alert-id='{alert.id}'] .wta-row").click()
            page.locator("#two-acknowledge").click()
            two.locator("[data-acknowledged='1']").wait_for()
            assert other.alerts()[0].acknowledged_by == "bob" and bot.alerts()[0].status is AlertStatus.ACTIVE
        finally:
            host.close()


def test_an_embedded_panel_reveals_nothing_without_a_login(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    """The surrounding page belongs to the app, but a client can call the panel's server functions without that page."""
    order = bot.create()
    bot.exhaust(order)
    keys = {"1"}
    with gr.Blocks() as host:
        create_alerts_panel(
            database_url, access=lambda connection: Person("ada") if connection.headers.get("x-key") in keys else None
        )
    _, url, _ = host.launch(
        server_name="127.0.0.1", server_port=free_port(), prevent_thread_lock=True, quiet=True, footer_links=[], ssr_mode=False
    )
    try:
        page = open_page(url, extra_http_headers={"X-Key": "1"})
        wait_until_live(page)
        wait_for_counts(page, unresolved=1)
        with page.expect_request("**/component_server/**") as asking:
            select_alert(page, bot.alert(order).id)
        asked = asking.value.post_data_json
        for name in ("snapshot", "read_page", "detail", "health", "charts", "targets"):
            answer = httpx.post(asking.value.url, json={**asked, "fn_name": name}, timeout=PATIENCE)
            assert json.loads(answer.json()) == {"problem": "You are not logged in"}
        keys.clear()
        page.locator("[data-live=signed-out]").wait_for()
        with page.expect_response(lambda answer: '"snapshot"' in (answer.request.post_data or "")):
            pass
        page.wait_for_timeout(500)
        expect(page.get_by_role("link", name="Sign in again")).to_be_visible(timeout=1)
    finally:
        host.close()


def test_two_panels_in_one_process_stay_separate(database_url: str, open_page: OpenPage, bot: Bot) -> None:
    panels = [launch_panel(database_url, port=0, block=False, operator=name) for name in ("ada", "bob")]
    try:
        pages = [open_page(panel.url) for panel in panels]
        for page in pages:
            wait_until_live(page)
        bot.exhaust(bot.create())
        for page in pages:
            wait_for_counts(page, unresolved=1)
    finally:
        for panel in panels:
            panel.close()


def test_an_open_page_continues_after_a_restart(database_url: str, open_page: OpenPage, bot: Bot, tmp_path: Path) -> None:
    """The user stays logged in, drafts are kept, nothing is sent in between, and the page shows what happened meanwhile."""
    users = tmp_path / "users"
    passwords.add_user(users, "ada", Role.OPERATOR, "correct horse")
    order = bot.create()
    bot.exhaust(order)
    port = free_port()
    with separate_panel(database_url, port, users) as url:
        page = open_page(f"{url}/?alert={bot.alert(order).id}", live=False)
        expect(page).to_have_title("Log in - Alerts")
        log_in(page, "ada", "guess")
        expect(page.get_by_role("alert")).to_contain_text("Wrong name or password")
        log_in(page, "ada", "correct horse")
        wait_until_live(page)
        page.locator(f"#alerts-panel-detail[data-alert-id='{bot.alert(order).id}']").wait_for()
        page.locator("#alerts-panel-note").fill("half a no")
        page.evaluate("window.same = true")
    page.locator("[data-state=offline][data-live=reconnecting]").wait_for()
    expect(page.locator("#alerts-panel-banner")).to_contain_text("server cannot be reached")
    page.locator("#alerts-panel-acknowledge").click()
    expect(page.locator("#alerts-panel-outcome")).to_contain_text("Nothing was sent")
    bot.exhaust(bot.create())
    with separate_panel(database_url, port, users):
        page.locator("[data-state=live][data-live=live]").wait_for()
        wait_for_counts(page, unresolved=2)
        bot.exhaust(bot.create("exit"))
        wait_for_counts(page, unresolved=3)
        expect(page.locator("#alerts-panel-note")).to_have_value("half a no")
        page.locator("#alerts-panel-acknowledge").click()
        wait_for_counts(page, acknowledged=1)
        assert bot.alert(order).acknowledged_by == "ada"
        assert page.evaluate("window.same") is True  # not reloaded
        other = open_page(f"{url}/login", live=False)
        log_in(other, "ada", "correct horse")
        other.get_by_role("button", name="Log out").click()
        expect(other).to_have_title("Log in - Alerts")
        wait_until_live(page)
        passwords.remove_user(users, "ada")
        page.locator("[data-live=signed-out]").wait_for()
