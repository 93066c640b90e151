"""One page that stays from test to test, at an address of its own: its browser compiles the scripts of the panel only once."""

from __future__ import annotations

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize
from playwright.sync_api import Error as PlaywrightError

from tests.support.panel_servers import free_port

# The page remembers which modules it has loaded; that is no test's.
_FORGET = """() => {
  sessionStorage.clear();
  for (const key of Object.keys(localStorage)) if (key !== 'walltrack-alerts.modules') localStorage.removeItem(key);
}"""
_USUAL_SIZE = ViewportSize(width=1280, height=720)


class HomePage:
    """Lends the page to one test after another; afterwards it is as new."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._context: BrowserContext | None = None
        self.port = free_port()
        self.is_lent = False

    def has(self, url: str) -> bool:
        """Whether this is a URL of the panel at the page's address."""
        return url.startswith(f"http://127.0.0.1:{self.port}/") or url == f"http://127.0.0.1:{self.port}"

    def lend(self, viewport: ViewportSize = _USUAL_SIZE) -> Page:
        self.is_lent = True
        if self._context is None:
            self._context = self._browser.new_context()
            self._context.new_page()
        self._context.pages[0].set_viewport_size(viewport)
        return self._context.pages[0]

    def take_back(self) -> None:
        if not self.is_lent:
            return
        self.is_lent = False
        assert self._context is not None
        page, *others = self._context.pages
        if not self.has(page.url):
            self.close()
            return
        try:
            page.unroute_all(behavior="ignoreErrors")
            self._context.set_offline(False)
            self._context.clear_cookies()
            page.evaluate(_FORGET)
            page.goto("about:blank")
            page.mouse.move(0, 0)
            for other in others:
                other.close()
        except PlaywrightError:
            self.close()

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
        self._context = None
