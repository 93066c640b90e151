"""The only module that relies on undocumented parts of Gradio; static/gradio.js is its counterpart in the browser.

tests/panel/test_gradio_requests.py fails when Gradio changes any of this.
"""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

FUNCTION_ROUTE, EVENT_ROUTE = "/gradio_api/component_server", "/gradio_api/run/predict"
"""Where pages call server functions, and trigger events that are not queued."""

FILE_ROUTE = "/gradio_api/file="
"""Where Gradio serves files of static paths: the path of the file follows."""


def user_of_login(connection: HTTPConnection) -> str | None:
    """The name of the user logged in to the Gradio app of a request (`launch(auth=...)`)."""
    app = connection.scope["app"]
    for cookie in (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}"):
        name = app.tokens.get(connection.cookies.get(cookie))
        if name:
            return str(name)
    return None


def server_functions(blocks: gr.Blocks) -> dict[int, frozenset[str]]:
    """The names of the server functions of each component, by its number."""
    return {
        number: frozenset(name for name in dir(block) if getattr(getattr(block, name, None), "_is_server_fn", False))
        for number, block in blocks.blocks.items()
    }


def rest_idle_queue(blocks: gr.Blocks) -> None:
    """Gradio looks into its queue 1000 times a second: 6 % of a core without a user. No event of the panel is queued."""
    queue = blocks._queue  # noqa: SLF001
    queue.sleep_when_free = queue.progress_update_sleep_when_free = 0.5


def take_mounted(app: FastAPI) -> gr.routes.App:
    """The app that gr.mount_gradio_app() has just mounted, taken off the routes to be mounted elsewhere."""
    inner = app.routes.pop().app  # type: ignore[attr-defined]  # a Mount
    assert isinstance(inner, gr.routes.App)
    return inner


def add_inner_middleware(app: gr.routes.App, middleware: Callable[[ASGIApp], ASGIApp]) -> None:
    """Add a middleware behind Gradio's own: it sees pages before they are compressed."""
    app.user_middleware.append(Middleware(middleware))
