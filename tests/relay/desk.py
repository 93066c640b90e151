"""A chat with the message of a failed order, the database behind it, and the relays that serve it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from tests.relay.bot_server import CHAT, TOKEN, BotServer
from tests.support.bot import Bot
from walltrack_alerts import Alert
from walltrack_alerts.relay import queries
from walltrack_alerts.relay.button_polling import ButtonPoller
from walltrack_alerts.relay.channels import Context, attempt
from walltrack_alerts.relay.http import HttpClient
from walltrack_alerts.relay.log import Log
from walltrack_alerts.relay.queries import Connection, Report

ADA, BOB, STRANGER = 7, 8, 666


class Desk:
    """A chat with the message of one failed order, and the relays that serve it."""

    def __init__(self, database_url: str, bot: Bot, server: BotServer, http: HttpClient) -> None:
        self.database_url = database_url
        self.bot = bot
        self.server = server
        self.context = Context(http, {"TG_TOKEN": TOKEN})
        self.lines: list[str] = []
        self.order = uuid.UUID(int=0)

    def add_target(self, name: str = "desk", filters: dict[str, Any] | None = None, **config: Any) -> None:
        settings = {
            "chat": CHAT,
            "token": "${TG_TOKEN}",
            "api_url": self.server.url,
            "allow": {str(ADA): "ada", str(BOB): "bob"},
        } | config
        quick = {"min_gap": "100 ms", "digest_every": "100 ms"} | (filters or {})
        self.bot.execute("select walltrack.add_target(%s, 'telegram', %s, %s)", (name, Jsonb(settings), Jsonb(quick)))

    async def deliver(self) -> None:
        """What a relay does until nothing is due."""
        connection = Connection(self.database_url)
        while True:
            targets = await queries.enabled_targets(connection)
            await queries.fan_out_events(connection, 100)
            claims = await queries.claim_deliveries(
                connection, "sender", dict.fromkeys(targets, 9), timedelta(minutes=1), 9, targets
            )
            for claim in claims:
                result = await attempt(claim, self.context)
                await queries.finish_deliveries(connection, "sender", [Report(claim, result)])
            if not self.query("select count(*) from walltrack.deliveries"):
                break
            await asyncio.sleep(0.02)  # min_gap
        await connection.close()

    async def raise_alert(self) -> int:
        """An order fails; the id of its message."""
        self.order = self.bot.create()
        self.bot.exhaust(self.order)
        await self.deliver()
        return max(number for _, number in self.server.messages)

    @asynccontextmanager
    async def polling(self, relay: str = "relay") -> AsyncIterator[None]:
        log = Log(write=self.lines.append)
        task = asyncio.create_task(ButtonPoller(self.database_url, relay, self.context, log).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def answer(self, press: str) -> str:
        """The text that the user gets after a press."""
        await until(lambda: press in self.server.answered)
        return str(self.server.answered[press]["text"])

    @property
    def alert(self) -> Alert:
        return self.bot.alert(self.order)

    def query(self, query: str, *parameters: Any) -> Any:
        row = self.bot.execute(query, parameters).fetchone()
        assert row is not None
        return row[0]


async def until(is_true: Callable[[], object]) -> None:
    """Wait for something that happens soon."""
    async with asyncio.timeout(60):
        while not is_true():
            await asyncio.sleep(0.01)
