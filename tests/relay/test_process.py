"""`relay` as a process: it starts, says what it does, and stops cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.relay.running import add_target, until
from tests.relay.sink import SUCCESS, Received, running_sink
from tests.support.bot import Bot
from walltrack_alerts.relay.process import Printer

pytestmark = pytest.mark.own_server

DELIVERED = "select count(*) from walltrack.finished_deliveries where state = 'delivered'"
SECRET = "whsec_aHVudGVyMiBodW50ZXIyIGh1bnRlcjI="


@asynccontextmanager
async def relay_process(url: str, *options: str, **environ: str) -> AsyncIterator[Process]:
    """A running `walltrack-alerts relay`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from walltrack_alerts.cli import app; app()", "relay", *options,
        env={**os.environ, "WALLTRACK_DATABASE_URL": url, **environ}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: Process, text: str) -> str:
    """The next line on standard error with a text."""
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        if text in line:
            return line
    raise AssertionError(text)


def process_title(pid: int) -> bytes:
    """What every user of the machine sees of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes() if sys.platform == "linux" else b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_cleanly(db: psycopg.Connection, database_url: str, bot: Bot, number: signal.Signals) -> None:
    release = asyncio.Event()
    async with running_sink() as sink:
        serve = sink.answer

        async def hold(*arguments):
            sink.arrived.set()
            await release.wait()
            return await serve(*arguments)

        sink.answer = hold  # type: ignore[method-assign]
        add_target(db, "ops", sink.url(), secrets=["${S}"])
        async with relay_process(database_url, S=SECRET) as process:
            await line_with(process, "has started")
            bot.exhaust(bot.create())
            await sink.arrived.wait()
            process.send_signal(number)
            await line_with(process, "waiting for 1 message in flight")
            release.set()
            await line_with(process, "has stopped")
            assert await process.wait() == 0
    assert db.execute(DELIVERED).fetchone() == (1,)
    assert db.execute("select count(*) from walltrack.relays").fetchone() == (0,)


async def test_a_second_signal_ends_it_at_once(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with running_sink(lambda _: "hang") as sink:
        add_target(db, "ops", sink.url())
        async with relay_process(database_url) as process:
            await line_with(process, "has started")
            bot.exhaust(bot.create())
            await sink.received(1)
            process.terminate()
            await line_with(process, "waiting for 1 message in flight")
            process.terminate()
            assert await process.wait() == 1
            assert process.stderr is not None
            assert b"Traceback" not in await process.stderr.read()
    assert db.execute("select state from walltrack.deliveries").fetchone() == ("sending",)


async def test_logs_are_json_on_demand_and_show_no_secret(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    def behaviour(request: Received) -> bytes | str:
        return SUCCESS if "alert.resolved" in request.body.decode() else "cut"

    async with running_sink(behaviour) as sink:
        add_target(db, "ops", sink.url("/${TOKEN}"), secrets=["${S}"])
        async with relay_process(database_url, "--json-logs", S=SECRET, TOKEN="hunter2-in-the-path") as process:
            first = json.loads(await line_with(process, "started"))
            bot.exhaust(bot.create())
            line = await line_with(process, "failed")
            title = str(process_title(process.pid))
    assert first["event"] == "started"
    assert {"target": "ops", "outcome": "failed", "state": "pending", "event_id": 1}.items() <= json.loads(line).items()
    assert "hunter2" not in line + title and SECRET not in line + title


async def test_a_terminal_target_writes_lines(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    db.execute("select walltrack.add_target('screen', 'terminal', %s)", (Jsonb({}),))
    async with relay_process(database_url) as process:
        assert process.stdout is not None
        bot.exhaust(bot.create(token_symbol="\x1b[2J@everyone"))
        line = (await process.stdout.readline()).decode()
        assert "[screen]" in line and "CRITICAL" in line and "@everyone" in line and "\x1b" not in line
        await until(db, DELIVERED, 1)


async def test_the_relay_works_through_a_reader_that_pauses() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "w") as stream:
        stdout, sys.stdout = sys.stdout, stream
        try:
            async with Printer() as printer:
                for _ in range(1000):
                    printer.write("x" * 1000)
                await asyncio.sleep(0)
                with pytest.raises(asyncio.QueueFull):
                    for _ in range(1000):
                        printer.write("x" * 1000)
        finally:
            sys.stdout = stdout


async def test_without_a_schema_the_relay_names_the_remedy(empty_database_url: str) -> None:
    async with relay_process(empty_database_url) as process:
        _, said = await process.communicate()
    assert process.returncode == 1
    assert "walltrack-alerts migrate" in said.decode()
    assert "Traceback" not in said.decode()
