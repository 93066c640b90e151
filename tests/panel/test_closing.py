"""A closed panel leaves nothing behind: no request and no connection, whatever was in progress."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import gradio as gr
import httpx
import psycopg
import pytest

from tests.support.panel_servers import free_port
from walltrack_alerts.errors import DatabaseUnavailableError
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import create_alerts_panel, launch_panel

pytestmark = pytest.mark.own_server

PATIENCE = 60
"""Seconds; a busy machine is slow, not wrong."""
AT_ONCE = 8

SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
BLOCKED = SESSIONS + " and wait_event_type = 'Lock'"


def ask(url: str, name: str, number: int = 0) -> None:
    """Call a server function of the panel as its page does, whether it answers or not; the number varies the call."""
    page = httpx.get(f"{url}/config", timeout=PATIENCE).json()["components"][-1]["id"]
    asked = {"data": {"number": number}, "component_id": page, "fn_name": name, "session_hash": "a page"}
    httpx.post(f"{url}/gradio_api/component_server", json=asked, timeout=PATIENCE)


def count(connection: psycopg.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone() or (-1,)
    return int(number)


def until(true: Callable[[], bool]) -> None:
    """Wait for the server sessions, which end shortly after their clients."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The requests that hang end with the panel, not earlier."""
    monkeypatch.setattr("walltrack_alerts.ui.queries.TIMEOUT", PATIENCE)


@contextmanager
def hanging(url: str, name: str, database_url: str) -> Iterator[None]:
    """Requests that wait for a lock for longer than the block runs."""
    with (
        ThreadPoolExecutor(AT_ONCE) as asking,
        psycopg.connect(database_url, autocommit=True) as watcher,
        psycopg.connect(database_url) as holder,
    ):
        holder.execute("lock table walltrack.alerts in access exclusive mode")
        answers = [asking.submit(ask, url, name, number) for number in range(AT_ONCE)]
        until(lambda: count(watcher, BLOCKED) == AT_ONCE)
        yield
        until(lambda: count(watcher, SESSIONS) == 2)
        assert all(answer.exception(PATIENCE) is None for answer in answers)


def open_connections() -> int:
    gc.collect()  # a lost connection is a warning, and here a warning is an error
    return sum(isinstance(each, psycopg.AsyncConnection) and not each.closed for each in gc.get_objects())


@pytest.mark.parametrize("name", ["snapshot", "charts"])
def test_requests_that_hang_end_with_the_panel(database_url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    before = open_connections()
    panel = launch_panel(database_url, port=0, block=False)
    ask(panel.url, name)
    with hanging(panel.url, name, database_url):
        panel.close()
    assert open_connections() == before
    assert [record.message for record in caplog.records if record.name == "psycopg"] == []


async def test_a_panel_in_another_app_ends_with_its_server(database_url: str) -> None:
    before = open_connections()
    with gr.Blocks() as host:
        create_alerts_panel(database_url)
    _, url, _ = host.launch(server_port=free_port(), prevent_thread_lock=True, quiet=True, footer_links=[], ssr_mode=False)
    ask(url.rstrip("/"), "snapshot")
    assert open_connections() > before
    host.close()
    assert open_connections() == before


async def test_closing_a_service_ends_its_work_and_starts_nothing(database_url: str) -> None:
    before = open_connections()
    service = AlertService.from_url(database_url)
    await service.get_summary()
    under_way = [asyncio.create_task(service.get_summary()) for _ in range(3)]
    await asyncio.sleep(0)  # they begin
    await service.close()
    assert all(answer.unresolved == 0 for answer in await asyncio.gather(*under_way))
    with pytest.raises(DatabaseUnavailableError):
        await service.get_summary()
    assert open_connections() == before
    async with service:
        await service.get_summary()
    assert open_connections() == before
