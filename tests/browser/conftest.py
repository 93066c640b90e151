"""A browser, and panels that run in threads of this process, each on a free port."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Error, Page, Request, expect, sync_playwright

from bench.chromium import launch_chromium
from tests.support.home_page import HomePage
from walltrack_alerts.ui import PanelStartError, RunningPanel, launch_panel

PATIENCE = 30_000
"""Milliseconds; a busy machine is slow, not wrong."""

OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's chromium, or playwright's; ends with this folder's tests, because it holds the thread's event loop."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        if browser is None:
            pytest.skip("these tests need a Chromium on the PATH; the gate installs one")
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def home(browser: Browser) -> Iterator[HomePage]:
    home = HomePage(browser)
    yield home
    home.close()


def watch(page: Page, origin: str, trouble: list[str]) -> Callable[[], None]:
    """Note script errors, dialogs and requests to other machines; returns what ends it."""

    def fail(error: Error) -> None:
        trouble.append(f"script error: {error}")

    def refuse(dialog: Dialog) -> None:
        trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def request(request: Request) -> None:
        if not request.url.startswith((origin, "data:", "blob:")):
            trouble.append(f"request to {request.url}")

    page.on("pageerror", fail)
    page.on("dialog", refuse)
    page.on("request", request)

    def end() -> None:
        page.remove_listener("pageerror", fail)
        page.remove_listener("dialog", refuse)
        page.remove_listener("request", request)

    return end


@pytest.fixture
def open_page(browser: Browser, home: HomePage) -> Iterator[OpenPage]:
    """Open a URL and wait for a live panel; a page must not fail or contact another machine.

    It is the page that stays if the URL is at its address; otherwise, and with anything special but a size, it has a browser
    context of its own.
    """
    contexts = []
    trouble: list[str] = []
    watching = []

    def open_page(url: str, *, live: bool = True, before: Callable[[Page], None] | None = None, **options: object) -> Page:
        if home.has(url) and before is None and options.keys() <= {"viewport"} and not home.is_lent:
            page = home.lend(**options)  # type: ignore[arg-type]
        else:
            contexts.append(browser.new_context(**options))  # type: ignore[arg-type]  # options of playwright's own
            page = contexts[-1].new_page()
        page.context.set_default_timeout(PATIENCE)
        watching.append(watch(page, "/".join(url.split("/")[:3]), trouble))
        if before is not None:
            before(page)
        page.goto(url)
        if live:
            page.locator("[data-state=live]").wait_for()
        return page

    yield open_page
    for end in watching:
        end()
    for context in contexts:
        context.close()
    home.take_back()
    assert not trouble


@pytest.fixture
def patient_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actions wait for a locked alert as long as a test takes."""
    monkeypatch.setattr("walltrack_alerts.ui.actions.TIMEOUT", 60)


@pytest.fixture
def serve(database_url: str, home: HomePage) -> Iterator[Callable[..., str]]:
    """Serve the panel of the test's database, the first one at the address of the page that stays; returns its URL."""
    panels: list[RunningPanel] = []

    def launch(port: int, refresh_seconds: float, operator: str | None) -> RunningPanel:
        return launch_panel(database_url, port=port, block=False, operator=operator, refresh_seconds=refresh_seconds)

    def serve(refresh_seconds: float = 0.3, operator: str | None = "ada") -> str:
        try:
            panels.append(launch(0 if panels else home.port, refresh_seconds, operator))
        except PanelStartError:  # some connection has taken the port
            panels.append(launch(0, refresh_seconds, operator))
        return panels[-1].url

    yield serve
    for panel in panels:
        panel.close()
