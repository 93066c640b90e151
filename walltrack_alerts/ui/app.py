"""launch_panel(): the panel as a web server of its own. mount(): the panel below a path of another FastAPI app."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import socket
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Unpack

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui.auth.access import Access, OpenAccess, Person, access_of, check_exposure
from walltrack_alerts.ui.auth.login import query_of, redirect
from walltrack_alerts.ui.auth.middleware import AccessMiddleware
from walltrack_alerts.ui.calls import Calls
from walltrack_alerts.ui.connections import PatientProtocol
from walltrack_alerts.ui.gradio_internals import add_inner_middleware, rest_idle_queue, take_mounted
from walltrack_alerts.ui.options import PanelOptions
from walltrack_alerts.ui.page import Page
from walltrack_alerts.ui.panel import build_panel

MAX_SOCKET_BYTES = 1000
"""Largest message from a page; pages send none."""

# Gradio's overflow: hidden would keep the buttons from sticking to the lower edge of a phone. No @media: Gradio
# would move what is in it to where it finds nothing.
_PAGE = """
.gradio-container { overflow: clip }
.gradio-container > .main { max-width: 1440px; margin: 0 auto; padding: 16px clamp(14px, 3vw, 32px) !important }
"""


class PanelStartError(AlertsError):
    """The panel cannot listen on its address; the text says what to do."""


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
    access: Access | None = None,
    root_path: str = "",
    open_browser: bool = False,
    block: bool = True,
    **options: Unpack[PanelOptions],
) -> RunningPanel:
    """Serve the panel of a database (libpq URI or key=value string); port 0: any free one.

    Without `access` every visitor is an operator, and the panel listens on this machine only. `root_path` is a prefix that a
    proxy leaves in the path. With `block` this returns after Ctrl+C, otherwise at once; then close() stops it (PanelStartError,
    AccessError).
    """
    access = access or OpenAccess(host)
    check_exposure(host, access)
    listening = _listen(host, port)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount(app, "/", dsn, access=access, root_path=root_path, **options)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
            http=PatientProtocol.of_one_server(),
            ws_max_size=MAX_SOCKET_BYTES,
            proxy_headers=False,  # the access decides which proxies to trust
        )
    )
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


def mount(
    app: FastAPI,
    path: str,
    service_or_dsn: AlertService | str,
    *,
    access: Access | Callable[[HTTPConnection], Person | None] | None,
    root_path: str = "",
    **options: Unpack[PanelOptions],
) -> FastAPI:
    """Put the panel below a path of a FastAPI app, before the app is started.

    `access` may be a function that returns the person behind a request, e.g. by the app's own session; None leaves the login to
    the app or its proxy. Proxies that strip a prefix need no setting; for one that keeps it, pass `root_path`. If `access`
    evaluates proxy headers, run uvicorn with --no-proxy-headers. All processes of a server accept each other's pages. A service
    that is given stays open; one made for a connection string is closed with the app.
    """
    if isinstance(service_or_dsn, AlertService):
        service = service_or_dsn
    else:
        service = AlertService.from_url(service_or_dsn)
        options["listen_dsn"] = options.get("listen_dsn") or service_or_dsn
    access = access_of(access)
    # Known to every process of the server; where this mounts, access is asked of each WebSocket, too.
    live_key = hashlib.sha256(f"live {options.get('listen_dsn')}".encode()).digest()

    def build() -> None:
        blocks, live = build_panel(service, access=access, own_page=True, live_key=live_key, **options)
        gr.mount_gradio_app(
            app,
            blocks,
            path=path,
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            theme=_theme(),
            css=_PAGE,
        )
        rest_idle_queue(blocks)
        inner = take_mounted(app)
        live.attach(inner)
        origins = options.get("origins", ())
        inner.add_middleware(AccessMiddleware, access=access, calls=Calls.of(blocks), origins=origins)
        add_inner_middleware(inner, Page)
        for prefix in dict.fromkeys(each.rstrip("/") for each in (root_path + path, path)):
            if prefix:
                app.routes.append(Route(prefix, _with_slash))
            app.routes.append(Mount(prefix, inner))

    _in_a_loop(build)
    if service is not service_or_dsn:
        _close_with(app, service)
    return app


async def _with_slash(request: Request) -> Response:
    """To the page: its own addresses are relative to its folder."""
    return redirect(request.url.path.rpartition("/")[2] + "/" + query_of(request))


def _in_a_loop(build: Callable[[], None]) -> None:
    """Where no event loop runs Gradio makes some, sets them as the thread's and never closes them."""

    async def building() -> None:
        build()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(building())
        loop.close()
    else:
        build()


def _close_with(app: FastAPI, service: AlertService) -> None:
    before = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - Starlette's own type
        async with before(app) as state, service:
            yield state

    app.router.lifespan_context = lifespan


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
    """Bind before anything is built, so that a busy port fails at once."""
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
