"""The undocumented parts of Gradio that static/gradio.js and the bootstrap rely on, in a real browser."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.panel_servers import free_port
from walltrack_alerts.ui import assets, create_alerts_panel

pytestmark = pytest.mark.own_server

Serve = Callable[..., str]

FRAMES = """async () => {
  const first = requestAnimationFrame(() => {});
  await new Promise((resolve) => { setTimeout(resolve, 1000); });
  return requestAnimationFrame(() => {}) - first;
}"""


def test_an_idle_page_requests_no_frames(serve: Serve, open_page: OpenPage) -> None:
    """Gradio's loading indicator would request sixty frames a second."""
    page = open_page(serve(refresh_seconds=600))
    deadline = time.monotonic() + 30
    while page.evaluate(FRAMES) > 2:
        assert time.monotonic() < deadline
    page.wait_for_function("performance.now === Performance.prototype.now")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_panel_follows_the_theme_of_gradio(serve: Serve, open_page: OpenPage, theme: str) -> None:
    page = open_page(f"{serve()}/?__theme={theme}")
    page.locator(f".wta[data-theme={theme}]").wait_for()


def test_every_request_stays_below_the_folder_of_the_page(serve: Serve, open_page: OpenPage) -> None:
    requested: list[str] = []
    url = serve()
    page = open_page(url, before=lambda page: page.on("request", lambda request: requested.append(request.url)))
    page.locator("[data-live=live]").wait_for()
    modules = {each.rpartition("/")[2] for each in requested if each.startswith(f"{url}/{assets.modules_path()}")}
    assert modules == set(assets.MODULES)


def test_a_page_loads_the_modules_of_an_upgraded_panel(
    monkeypatch: pytest.MonkeyPatch, database_url: str, open_page: OpenPage, tmp_path: Path
) -> None:
    """Gradio adds no version to file URLs, and browsers cache a file for a tenth of its age."""
    folder = tmp_path / "static"
    shutil.copytree(assets.FOLDER, folder)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    monkeypatch.setattr(assets, "FOLDER", folder)
    monkeypatch.setattr(assets, "MODULES_ROUTE", f"{assets.FILE_ROUTE}{folder}/")
    gr.set_static_paths([folder])
    port = free_port()
    requested: list[str] = []

    @contextmanager
    def served() -> Iterator[str]:
        with gr.Blocks() as host:
            create_alerts_panel(database_url, operator="ada")
        _, url, _ = host.launch(
            server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, footer_links=[], ssr_mode=False
        )
        try:
            yield url
        finally:
            host.close()

    with served() as url:
        page = open_page(url)
        assert page.evaluate("document.body.dataset.version") is None
        page.goto("about:blank")
        page.on("request", lambda request: requested.append(request.url))
        page.goto(url)
        page.locator("[data-state=live]").wait_for()
        assert len([each for each in requested if "/static/" in each and "file=" in each]) == len(assets.MODULES)
        page.goto("about:blank")
    module = folder / "format.js"
    module.write_text(module.read_text() + "document.body.dataset.version = 'next';\n")
    os.utime(module, (1, 1))
    with served() as url:
        page.goto(url)
        page.locator("[data-state=live]").wait_for()
        assert page.evaluate("document.body.dataset.version") == "next"
        page.goto("about:blank")


def test_a_panel_starts_when_its_modules_load_late(serve: Serve, open_page: OpenPage) -> None:
    def interrupt(page: Page) -> None:
        page.route("**/static/format.js", lambda route: route.abort())

    page = open_page(serve(), live=False, before=interrupt)
    expect(page.locator("#alerts-panel")).to_contain_text("retrying")
    page.unroute("**/static/format.js")
    page.locator("[data-state=live]").wait_for()
    expect(page.locator("#alerts-panel")).not_to_contain_text("retrying")
