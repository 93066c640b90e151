"""The live hub: real WebSocket clients against a real web server and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from bench.crash import Server
from tests.support.hubs import PATIENCE, RAISE, Json, Site, is_live, serving, until
from tests.support.panel_servers import free_port
from walltrack_alerts.errors import DatabaseUnavailableError
from walltrack_alerts.ui import live
from walltrack_alerts.ui.live import Hub

pytestmark = pytest.mark.own_server

MANY = RAISE.replace("%s", "n::text") + " from generate_series(1, 200) as n"


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_change_reaches_every_page(site: Site, db: psycopg.Connection) -> None:
    async with site.page() as one, site.page() as other:
        first = json.loads(await one.recv())
        assert first.keys() == {"state", "since", "why", "changed", "counts"} and first["changed"] == []
        if first["state"] != "live":
            await is_live(one)
        await is_live(other)
        (alert,) = db.execute(RAISE, ("a",)).fetchone() or ()
        for page in (one, other):
            assert (await until(page, lambda message: bool(message["changed"])))["changed"] == [str(alert)]
        assert site.hub.clients == 2
    await eventually(lambda: site.hub.clients == 0)


@pytest.mark.parametrize("ended", [0, 1])
async def test_a_hub_restarts_tasks_that_have_ended(site: Site, db: psycopg.Connection, ended: int) -> None:
    async with site.page() as page:
        await is_live(page)
    old = site.hub._tasks
    assert site.hub._loop is not None
    site.hub._loop.call_soon_threadsafe(old[ended].cancel)
    await eventually(old[ended].done)
    async with site.page() as page:
        await is_live(page)
        await eventually(lambda: all(task.done() for task in old))  # no task runs twice
        (alert,) = db.execute(RAISE, ("a",)).fetchone() or ()
        assert (await until(page, lambda message: bool(message["changed"])))["changed"] == [str(alert)]


@pytest.mark.parametrize("how", ["read", "slow", "unreachable", "broken"])
async def test_changes_carry_the_numbers_but_never_wait_for_them(
    database_url: str, db: psycopg.Connection, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def counts() -> Json:
        if how == "slow":
            await asyncio.sleep(PATIENCE)
        if how == "unreachable":
            raise DatabaseUnavailableError("away")
        return {"critical": 1 // (how != "broken")}

    with serving(Hub(database_url, counts=counts)) as site:
        async with site.page() as page:
            await is_live(page)
            for key in "ab":
                db.execute(RAISE, (key,))
                message = await until(page, lambda message: bool(message["changed"]))
                assert message["counts"] == ({"critical": 1} if how == "read" else None)
    assert ("could not read the numbers" in caplog.text) == (how == "broken")


async def test_a_burst_is_one_message(site: Site, db: psycopg.Connection) -> None:
    async with site.page() as page:
        await is_live(page)
        alerts = {str(row[0]) for row in db.execute(MANY)}
        message = await until(page, lambda message: bool(message["changed"]))
        assert len(alerts) == 200 and set(message["changed"]) == alerts


async def test_single_commits_in_a_burst_are_few_messages(site: Site, db: psycopg.Connection) -> None:
    async with site.page() as page:
        await is_live(page)
        missing = {str(db.execute(RAISE, (str(n),)).fetchone()[0]) for n in range(200)}  # type: ignore[index]
        messages = 0
        while missing:
            missing -= set((await until(page, lambda message: bool(message["changed"])))["changed"])
            messages += 1
        assert messages < 200


async def test_another_thread_may_touch_an_alert(site: Site) -> None:
    async with site.page() as page:
        await is_live(page)
        site.hub.touch("00000000-0000-0000-0000-000000000001")
        message = await until(page, lambda message: bool(message["changed"]))
        assert message["changed"] == ["00000000-0000-0000-0000-000000000001"]


async def test_a_page_must_send_a_valid_ticket_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = site.hub.ticket("ada")
    name, until, signature = ticket.split(".")
    later = f"{name}.{int(until) + 1}.{signature}"
    other = f"{b'bob'.hex()}.{until}.{signature}"
    for wrong in ("", "guessed", "..", "a.b.c", ticket[:-1], f"{ticket}0", later, other, Hub("").ticket("ada")):
        assert await site.refused(ticket=wrong) == 401
    async with site.page(ticket=ticket) as page:
        await page.recv()
    monkeypatch.setattr(live, "TICKET_SECONDS", 0)
    assert await site.refused() == 401


async def test_hubs_with_one_key_accept_each_others_tickets(database_url: str) -> None:
    hubs = [Hub(database_url, key=b"shared") for _ in range(2)]
    assert hubs[0].path == hubs[1].path != Hub(database_url, key=b"another").path
    with serving(hubs[0]) as site:
        async with site.page(ticket=hubs[1].ticket("ada")) as page:
            await page.recv()


async def test_one_user_cannot_take_every_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_CLIENTS_OF_ONE", 2)
    async with site.page() as one, site.page() as other:
        await one.recv()
        await other.recv()
        assert await site.refused() == 503
        async with site.page(ticket=site.hub.ticket("bob")) as page:
            await page.recv()
        async with AsyncExitStack() as stack:
            for _ in range(3):  # without a user name
                page = await stack.enter_async_context(site.page(ticket=site.hub.ticket("")))
                await page.recv()


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
async def test_foreign_origins_are_refused(site: Site, origin: str | None) -> None:
    assert await site.refused(origin=origin) == 403


async def test_origins_behind_a_proxy_are_checked(database_url: str) -> None:
    with serving(Hub(database_url, origins=["https://alerts.example/"])) as site:
        async with site.page(origin="https://alerts.example") as page:
            await page.recv()
        async with site.page(origin="https://other.example", host="other.example") as page:
            await page.recv()
        assert await site.refused(origin="https://alerts.example.evil") == 403


async def test_a_ticket_belongs_to_one_login_and_ends_with_it(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.1)
    who: str | None = "ada"
    with serving(Hub(database_url, whoami=lambda _: who)) as site:
        assert await site.refused(ticket=site.hub.ticket("bob")) == 401
        async with site.page() as page:
            await until(page, lambda message: message["changed"] == [])
            who = None
            with pytest.raises(ConnectionClosed) as closed:
                await until(page, lambda _: False)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == live.LOGGED_OUT


async def test_a_login_ends_under_a_flood_of_changes(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 2.0)
    who: str | None = "ada"
    with serving(Hub(database_url, whoami=lambda _: who)) as site:
        async with site.page() as page:
            await is_live(page)
            who = None
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(PATIENCE):
                    while True:  # never silent for as long as a heartbeat
                        site.hub.touch("00000000-0000-0000-0000-000000000001")
                        await page.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == live.LOGGED_OUT


async def test_the_hub_sends_a_heartbeat(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.05)
    async with site.page() as page:
        first = await is_live(page)
        for _ in range(3):
            message = await until(page, lambda _: True)
            assert message == first


async def test_too_many_pages_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_CLIENTS", 2)
    async with site.page() as one, site.page() as other:
        await is_live(one)
        await other.recv()
        assert await site.refused() == 503


async def test_a_page_that_talks_is_disconnected(site: Site) -> None:
    async with site.page() as page:
        await page.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            await until(page, lambda _: False)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == live.POLICY


async def test_a_slow_browser_is_disconnected(site: Site) -> None:
    """The browser stops reading; other pages continue, and no messages pile up in the server."""
    hostile = "x" * 1000
    async with site.page() as quick:
        await is_live(quick)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        handshake = (
            f"GET {site.path}?ticket={site.hub.ticket('bob')} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
            f"Origin: http://127.0.0.1:{site.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        writer.write(handshake.encode())
        assert b"101" in await reader.readline()
        await eventually(lambda: site.hub.clients == 2)
        number = 0
        while site.hub.clients == 2:
            number += 1
            for part in range(1000):
                site.hub.touch(f"{number}/{part}/{hostile}")
            await until(quick, lambda message, last=f"{number}/999/{hostile}": last in message["changed"])
        assert number < 200
        writer.close()


async def test_a_page_reconnects_to_a_restarted_web_server(database_url: str, db: psycopg.Connection) -> None:
    hub = Hub(database_url)
    with serving(hub, free_port()) as site:
        async with site.page() as page:
            await is_live(page)
            site.stop()
            with pytest.raises(ConnectionClosed) as closed:
                await until(page, lambda _: False)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
        await asyncio.to_thread(gone, db)
    with serving(hub, site.port) as again:
        async with again.page() as page:
            await is_live(page)
            db.execute(RAISE, ("after",))
            await until(page, lambda message: bool(message["changed"]))


def gone(db: psycopg.Connection) -> None:
    """Wait until no session listens any more."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    for _ in range(PATIENCE * 100):
        if db.execute(query).fetchone() == (0,):
            return
        db.execute("select pg_sleep(0.01)")
    raise AssertionError("the listener is still connected")


async def test_close_ends_every_task_and_connection(database_url: str, db: psycopg.Connection) -> None:
    hub = Hub(database_url)
    with serving(hub) as site:
        async with site.page() as page:
            await is_live(page)
            loop = hub._loop
            assert loop is not None
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(hub.close(), loop))
            with pytest.raises(ConnectionClosed) as closed:
                await until(page, lambda _: False)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == live.GOING_AWAY
        await asyncio.to_thread(gone, db)


async def test_the_hub_survives_a_database_restart(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.1)
    with server.running() as url, serving(Hub(url)) as site:
        async with site.page() as page:
            before = await is_live(page)
            await asyncio.to_thread(server.crash)
            stale = await until(page, lambda message: message["state"] == "stale")
            assert stale["since"] >= before["since"] and stale["why"] == "The database cannot be reached."
            after = await until(page, lambda message: message["state"] != "stale")
            assert after["state"] in {"catching up", "live"}
            await is_live(page)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(RAISE, ("after",))
            await until(page, lambda message: bool(message["changed"]))


async def test_the_hub_waits_for_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.05)
    with serving(Hub("host=/nowhere user=secret dbname=x")) as site:
        async with site.page() as page:
            stale = await until(page, lambda message: message["state"] == "stale")
            assert "nowhere" not in stale["why"] and "secret" not in stale["why"]


async def test_the_hub_recovers_once_the_schema_is_installed(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from walltrack_alerts import migrations

    monkeypatch.setattr(live, "RETRY_SECONDS", 0.05)
    with serving(Hub(empty_database_url)) as site:
        async with site.page() as page:
            stale = await until(page, lambda message: message["state"] == "stale")
            assert "walltrack-alerts migrate" in stale["why"]
            await asyncio.to_thread(migrations.upgrade, empty_database_url)
            await is_live(page)


async def test_a_pooler_is_reported_with_advice(pooled_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TIMING", live.Timing(heartbeat=1))
    with serving(Hub(pooled_url)) as site:
        async with site.page() as page:
            stale = await until(page, lambda message: message["state"] == "stale")
            assert "WALLTRACK_LISTEN_URL" in stale["why"]
