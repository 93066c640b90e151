"""Panels that a test launches, and their clients. Gradio is imported where it is needed, as in hubs.py."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import argon2
import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from walltrack_alerts import passwords
from walltrack_alerts.passwords import Role

if TYPE_CHECKING:
    from walltrack_alerts.ui import Access

PATIENCE = 60
"""Seconds; a busy machine is slow, not wrong."""


Launch = Callable[..., str]


@pytest.fixture
def guarded() -> Iterator[Launch]:
    """Serve a minimal app behind the panel's guard; returns its URL."""
    from walltrack_alerts.ui.auth.middleware import AccessMiddleware
    from walltrack_alerts.ui.calls import Calls

    with ExitStack() as stack:

        def guarded(access: Access, **options: object) -> str:
            return stack.enter_context(serving(AccessMiddleware(something, access, calls=Calls(), **options)))  # type: ignore[arg-type]

        yield guarded


async def something(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("inside")(scope, receive, send)


@contextmanager
def serving(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="warning", lifespan=lifespan, proxy_headers=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed and checked in a millisecond instead of a tenth of a second."""
    cheap = partial(argon2.PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(argon2, "PasswordHasher", cheap)
    monkeypatch.setattr(passwords, "_DUMMY_HASH", cheap().hash("nobody"))


@pytest.fixture
def users(tmp_path: Path, cheap_passwords: None) -> Path:
    """A file with an operator and a reader."""
    file = tmp_path / "users"
    passwords.add_user(file, "ada", Role.OPERATOR, "correct horse")
    passwords.add_user(file, "bob", Role.READER, "battery staple")
    return file


def client(url: str, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=PATIENCE, headers=headers)


@contextmanager
def logged_in(url: str, name: str = "ada", password: str = "correct horse") -> Iterator[httpx.Client]:
    with client(url) as session:
        assert session.post("/login", data={"username": name, "password": password}).status_code == 303
        yield session
