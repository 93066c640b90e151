"""Pages of a slow server: held answers, and what the list showed."""

from __future__ import annotations

from playwright.sync_api import Page, Route

from tests.support.page import SERVER, wait_for_counts, wait_until_live

MANY = (
    "select walltrack.raise_alert('load', 'high', 'Alert ' || n, 'Text', jsonb_build_object('token', n), true, 'k' || n) "
    "from generate_series(1, {}) as n"
)


# The number of rows at each rendering of the list.
LISTEN = """() => {
  window.seen = [];
  const root = document.querySelector('.wta');
  new MutationObserver(() => window.seen.push(Number(root.dataset.shown))).observe(root, { attributeFilter: ['data-shown'] });
}"""


# Everything is read again.
COME_BACK = """() => {
  const now = Date.now;
  Date.now = () => now() + 6000; // the operator was elsewhere for so long
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def hold_responses(page: Page, name: str) -> tuple[list[Route], list[str]]:
    """Hold all further answers of this server function as they were when the page asked."""
    held: list[Route] = []
    bodies: list[str] = []

    def keep(route: Route) -> None:
        if f'"{name}"' not in (route.request.post_data or ""):
            route.continue_()
            return
        bodies.append(route.fetch().text())
        held.append(route)

    page.route(SERVER, keep)
    return held, bodies


def wait_for_first_rows(page: Page) -> Page:
    """Wait until the page is live and shows its first rows."""
    wait_until_live(page)
    wait_for_counts(page, shown=100)
    return page


def scroll_to_end(page: Page) -> None:
    page.locator(".wta-scroll").evaluate("node => node.scrollTo(0, node.scrollHeight)")
