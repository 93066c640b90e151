"""What the browser tests do on the page, waiting on data-* attributes only."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


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


def deaf(page: Page) -> None:
    """Before the page is opened: it gets no live connection and reads by itself only."""
    page.route_web_socket("**/walltrack-live/**", lambda socket: socket.close())


def live(page: Page) -> None:
    """Wait until the page hears of changes by itself."""
    page.locator("[data-live=live]").wait_for()


def answered(page: Page) -> None:
    """Wait until no action is on its way."""
    page.locator("[data-pending='0']").wait_for()
