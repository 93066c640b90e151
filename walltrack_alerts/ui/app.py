"""launch_panel(): the panel as a web server of its own."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
import webbrowser
from collections.abc import AsyncIterator
from dataclasses import dataclass

import gradio as gr
import uvicorn
from fastapi import FastAPI

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui.panel import create_alerts_panel

# Gradio's overflow: hidden would keep the buttons from sticking to the lower edge of a phone. No @media: Gradio
# would move what is in it to where it finds nothing.
_PAGE = """
.gradio-container { overflow: clip }
.gradio-container > .main { max-width: 1440px; margin: 0 auto; padding: 16px clamp(14px, 3vw, 32px) !important }
"""


class PanelStartError(AlertsError):
    """The panel cannot listen where it was told to; its text says what to do."""


@dataclass(frozen=True, slots=True)
class RunningPanel:
    """A panel that runs in a thread of its own."""

    url: str
    _server: uvicorn.Server
    _thread: threading.Thread

    def wait(self) -> None:
        """Return when the panel was closed."""
        self._thread.join()

    def close(self) -> None:
        """Stop the server and close its database connections; harmless when repeated."""
        self._server.should_exit = True
        self._thread.join()


def launch_panel(
    dsn: str,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = False,
    block: bool = True,
    operator: str | None = None,
    refresh_seconds: float = 2.0,
) -> RunningPanel:
    """Serve the panel of a database (libpq URI or key=value string); port 0: any free one (PanelStartError).

    With `block` this returns after Ctrl+C, otherwise at once; then close() stops it.
    """
    service = AlertService.from_url(dsn)  # connects when it is first asked
    listening = _listen(host, port)
    app = _web_app(service, dsn, operator, refresh_seconds)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],), name="alert panel", daemon=True)
    panel = RunningPanel(_url(host, listening.getsockname()[1]), server, thread)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise PanelStartError("the panel did not start; the log says why")
        time.sleep(0.02)
    if open_browser:
        webbrowser.open(panel.url)
    if block:
        with contextlib.suppress(KeyboardInterrupt):
            panel.wait()
        panel.close()
    return panel


def _web_app(service: AlertService, dsn: str, operator: str | None, refresh_seconds: float) -> FastAPI:
    @contextlib.asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(lifespan=closing, docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        create_alerts_panel(service, listen_dsn=dsn, operator=operator, own_page=True, refresh_seconds=refresh_seconds),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        theme=_theme(),
        css=_PAGE,
    )
    return app


def _theme() -> gr.themes.Base:
    """System fonts only, so that the page loads nothing from elsewhere."""
    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="md",
        spacing_size="sm",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(body_background_fill="#f5f6f8", body_background_fill_dark="#0b1120")


def _url(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - all addresses; this machine reaches it by this one
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything is built: whoever chose a busy port hears it at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OverflowError as error:
        raise PanelStartError(f"there is no port {port}: a port is a number from 0 to 65535") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PanelStartError(
                f"port {port} on {host} is in use. Stop what runs there, or choose another port with --port "
                "(0 takes any free one)."
            ) from error
        reason = error.strerror or str(error)
        raise PanelStartError(f"the panel cannot listen on {host}:{port}: {reason}") from error
