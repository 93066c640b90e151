"""The undocumented parts of Gradio the panel relies on. A failing test names what a Gradio upgrade has changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI

from walltrack_alerts.ui import assets, create_alerts_panel, gradio_internals, launch_panel
from walltrack_alerts.ui.page import Page

pytestmark = pytest.mark.own_server

NOWHERE = "host=/nowhere dbname=x"
"""A database that no panel reaches; these tests need none."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    panel = launch_panel(NOWHERE, port=0, block=False)
    yield panel.url
    panel.close()


async def test_gradio_keeps_names_of_server_functions() -> None:
    blocks = create_alerts_panel(NOWHERE)
    names = [functions for functions in gradio_internals.server_functions(blocks).values() if functions]
    assert names == [{"ping", "snapshot", "read_page", "detail", "health", "charts", "targets"}]


async def test_gradio_polls_its_queue_at_these_intervals() -> None:
    queue = gr.Blocks()._queue
    assert 0 < queue.sleep_when_free < 0.1 and 0 < queue.progress_update_sleep_when_free < 0.5


async def test_gradio_mounts_its_app_as_the_last_route() -> None:
    app = FastAPI()
    gr.mount_gradio_app(app, gr.Blocks(), path="/x", ssr_mode=False)
    routes = len(app.routes)
    inner = gradio_internals.take_mounted(app)
    assert isinstance(inner, gr.routes.App) and len(app.routes) == routes - 1
    gradio_internals.add_inner_middleware(inner, Page)
    assert inner.user_middleware[-1].cls is Page


async def test_gradio_names_users_by_its_login_cookie() -> None:
    with gr.Blocks() as blocks:
        gr.Markdown()
    app = gr.mount_gradio_app(FastAPI(), blocks, path="/x", auth=("ada", "secret"), ssr_mode=False)
    inner = app.routes[-1].app
    found = []

    @inner.get("/whoami")
    def whoami(request: gr.routes.fastapi.Request) -> None:
        found.append(gradio_internals.user_of_login(request))

    inner.router.routes.insert(0, inner.router.routes.pop())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        await client.get("/x/whoami")
        assert (await client.post("/x/login", data={"username": "ada", "password": "secret"})).status_code == 200
        await client.get("/x/whoami")
    assert found == [None, "ada"]


def test_gradio_serves_every_module_as_javascript(url: str) -> None:
    for name in assets.MODULES:
        answer = httpx.get(f"{url}/{assets.modules_path()}{name}")
        assert answer.status_code == 200 and "javascript" in answer.headers["content-type"]
        assert answer.headers["cache-control"] == assets.MODULES_CACHE


def test_gradio_writes_its_root_where_the_page_replaces_it(url: str) -> None:
    page = httpx.get(url).text
    assert page.count('new URL(".", location.href).href') >= 1 and "panel.invalid" not in page
    assert not re.search(r'"root":"https?://', page)


def test_gradio_answers_the_routes_that_the_page_calls(url: str) -> None:
    number = httpx.get(f"{url}/config").json()["components"][-1]["id"]
    call = {"session_hash": "x", "component_id": number, "fn_name": "ping", "data": {}}
    assert httpx.post(f"{url}{gradio_internals.FUNCTION_ROUTE}", json=call).json() == "{}"
    assert httpx.get(f"{url}/gradio_api/login_check").status_code == 200
