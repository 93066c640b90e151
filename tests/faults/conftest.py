"""The writer of orders, what it hears, and somebody else who breaks and mends."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.bot import Bot
from tests.faults.helpers import listen_to
from tests.faults.writer import FREED, Writer


@pytest.fixture
def heard(db: psycopg.Connection) -> list[str]:
    """The warnings that the writer of orders hears."""
    return listen_to(db)


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    """Somebody else, who breaks and mends: the writer's session has to notice by itself."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def bounded(db: psycopg.Connection) -> None:
    """A write that hangs is a failure of the test, not its end."""
    db.execute("set statement_timeout = '20s'")


@pytest.fixture
def writer(bot: Bot, admin: psycopg.Connection) -> Writer:
    writer = Writer(bot)
    admin.execute(FREED)
    return writer


@pytest.fixture
def told(admin: psycopg.Connection) -> list[str]:
    """What the migrating person hears of us."""
    return listen_to(admin)
