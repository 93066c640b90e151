"""The order writer, the warnings it receives, and another session that breaks and mends alerting."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import collect_notices
from tests.support.writer import FREED, Writer


@pytest.fixture
def warnings(db: psycopg.Connection) -> list[str]:
    """The warnings that the order writer receives."""
    return collect_notices(db)


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    """Another session, which breaks and mends alerting: the writer's session must notice by itself."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def bounded(db: psycopg.Connection) -> None:
    """Fail the test if a write hangs, instead of hanging with it."""
    db.execute("set statement_timeout = '60s'")


@pytest.fixture
def writer(bot: Bot, admin: psycopg.Connection) -> Writer:
    writer = Writer(bot)
    admin.execute(FREED)
    return writer


@pytest.fixture
def ddl_warnings(admin: psycopg.Connection) -> list[str]:
    """The warnings from alerting that a migrating session receives."""
    return collect_notices(admin)
