"""Hears the notifications of channel walltrack_alerts. A notification is a wake-up; the tables are the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg

from walltrack_alerts.database import listen_connection
from walltrack_alerts.errors import translate

CHANNEL = "walltrack_alerts"


async def notifications(dsn: str) -> AsyncIterator[str]:
    """The payload of each notification, one JSON text each, until cancelled (DatabaseUnavailableError when cut off)."""
    async with listen_connection(dsn) as connection:
        try:
            await connection.execute(f"listen {CHANNEL}")
            async for notification in connection.notifies():
                yield notification.payload
        except psycopg.Error as error:
            raise translate(error) from error
