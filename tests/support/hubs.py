"""The hub of live views. Gradio is imported where it is needed: the process that only distributes tests loads this, too."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

if TYPE_CHECKING:
    from walltrack_alerts.ui.live import Hub

RAISE = "select (walltrack.raise_alert('test', 'high', 'a title', 'a message', '{}', true, %s)).id"


PATIENCE = 60
"""Seconds; a busy machine is slow, not wrong."""


Json = dict[str, Any]


class Site:
    """A web server that serves only a hub."""

    def __init__(self, hub: Hub, port: int = 0) -> None:
        from fastapi import FastAPI

        self.hub = hub
        app = FastAPI()
        self.path = hub.attach(app)
        assert hub.attach(app) == self.path
        assert sum(getattr(route, "path", None) == self.path for route in app.routes) == 1
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._socket.close()

    def page(self, *, ticket: str | None = None, origin: str | None = "", host: str | None = None) -> connect:
        """A browser's connection: by default with a new ticket, from the page's own origin."""
        ticket = self.hub.ticket("ada") if ticket is None else ticket
        return connect(
            f"ws://127.0.0.1:{self.port}{self.path}?ticket={ticket}",
            origin=f"http://127.0.0.1:{self.port}" if origin == "" else origin,  # type: ignore[arg-type]
            additional_headers={"X-Forwarded-Host": host} if host else None,
            open_timeout=PATIENCE,
        )

    async def refused(self, **options: Any) -> int:
        with pytest.raises(InvalidStatus) as caught:
            async with self.page(**options):
                pass
        return caught.value.response.status_code


@contextmanager
def serving(hub: Hub, port: int = 0) -> Iterator[Site]:
    site = Site(hub, port)
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    from walltrack_alerts.ui.live import Hub

    with serving(Hub(database_url)) as site:
        yield site


async def until(page: ClientConnection, done: Callable[[Json], bool]) -> Json:
    """Read messages until one matches."""
    async with asyncio.timeout(PATIENCE):
        while not done(message := json.loads(await page.recv())):
            pass
        return message


async def is_live(page: ClientConnection) -> Json:
    return await until(page, lambda message: message["state"] == "live")
