"""A browser, and panels that run in threads of this process, each on a free port."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, expect, sync_playwright

from walltrack_alerts.ui import launch_panel

PATIENCE = 30_000
"""Milliseconds; a busy machine is slow, not wrong."""

OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's chromium, or playwright's; ends with this folder's tests, because it holds the thread's event loop."""
    flags = [
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
        if program is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("these tests need a Chromium on the PATH; the gate installs one")
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open a URL and wait for a live panel; a page must not fail or contact another machine."""
    contexts = []
    trouble: list[str] = []

    def open_page(url: str, *, live: bool = True, before: Callable[[Page], None] | None = None, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]  # options of playwright's own
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        origin = "/".join(url.split("/")[:3])

        def refuse(dialog: Dialog) -> None:
            trouble.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        def watch(request: Request) -> None:
            if not request.url.startswith((origin, "data:", "blob:")):
                trouble.append(f"request to {request.url}")

        page.on("pageerror", lambda error: trouble.append(f"script error: {error}"))
        page.on("dialog", refuse)
        page.on("request", watch)
        if before is not None:
            before(page)
        page.goto(url)
        if live:
            page.locator("[data-state=live]").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


@pytest.fixture
def serve(database_url: str) -> Iterator[Callable[..., str]]:
    """Serve the panel of the test's database; returns its URL."""
    panels = []

    def serve(refresh_seconds: float = 0.3, operator: str | None = "ada") -> str:
        panel = launch_panel(database_url, port=0, block=False, operator=operator, refresh_seconds=refresh_seconds)
        panels.append(panel)
        return panel.url

    yield serve
    for panel in panels:
        panel.close()
