"""Steps of the browser tests on the page, which wait on data-* attributes only."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import Error, Locator, Page, Route

from tests.support.deadline import Deadline

SERVER = "**/component_server/**"
"""Where the server functions answer."""


def row_of(page: Page, alert_id: object) -> Locator:
    return page.locator(f"[data-alert-id='{alert_id}'] .wta-row")


def wait_for_counts(page: Page, **numbers: int) -> None:
    """Wait until the page shows these numbers, by the names of its data-* attributes."""
    page.locator("".join(f"[data-{name}='{number}']" for name, number in numbers.items())).wait_for()


def select_alert(page: Page, alert_id: object) -> Locator:
    """Select a row and wait for its detail."""
    row_of(page, alert_id).click()
    detail = page.locator(f"#alerts-panel-detail[data-alert-id='{alert_id}']:not([data-status=loading])")
    detail.wait_for()
    return detail


def block_live_updates(page: Page) -> None:
    """Block the live connection before the page opens, so that it only polls."""
    page.route_web_socket("**/walltrack-live/**", lambda socket: socket.close())


def wait_until_live(page: Page) -> None:
    """Wait until the page is live."""
    page.locator("[data-live=live]").wait_for()


def wait_until_settled(page: Page) -> None:
    """Wait until no action is in flight."""
    page.locator("[data-pending='0']").wait_for()


def hold_requests(page: Page, name: str) -> list[Route]:
    """Hold all further requests for this server function in the returned list."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        if f'"{name}"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route(SERVER, keep)
    return held


def wait_for_requests(page: Page, held: list[Route], number: int = 1) -> None:
    """Wait until this many requests are held."""
    deadline = Deadline()
    while len(held) < number and deadline.is_ahead():
        page.wait_for_timeout(50)


def release_requests(page: Page, held: list[Route]) -> None:
    """Hold no further requests, and let those go on that have no answer yet."""
    page.unroute(SERVER)
    for route in held:
        with suppress(Error):  # it has an answer
            route.continue_()
    held.clear()


def wait_until_unmoved(node: Locator, offset: str, before: float) -> None:
    """Wait until this offset of a node is what it was before."""
    deadline = Deadline(30)
    while abs(node.evaluate(offset) - before) >= 2 and deadline.is_ahead():
        node.page.wait_for_timeout(50)


def record_toasts(page: Page) -> None:
    """Record all further toasts, each of which disappears after some seconds."""
    page.evaluate("""() => {
      window.toasts = [];
      const node = document.getElementById('alerts-panel-toast');
      const record = () => { if (node.textContent) window.toasts.push(`${node.dataset.outcome}: ${node.textContent}`); };
      new MutationObserver(record).observe(node, { childList: true, characterData: true, subtree: true });
    }""")


def wait_for_toast(page: Page, text: str) -> None:
    """Wait until a recorded toast, as "outcome: text", has contained this text."""
    page.wait_for_function("text => window.toasts.some((toast) => toast.includes(text))", arg=text)
