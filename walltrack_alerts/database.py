"""Which database is used and how it is connected to. Everything else receives a libpq connection string."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from walltrack_alerts import embedded
from walltrack_alerts.errors import DatabaseUnavailableError, translate
from walltrack_alerts.settings import Settings

_DEFAULTS = {
    "fallback_application_name": "walltrack_alerts",
    "connect_timeout": "10",  # seconds; a server that is down has to be noticed, not waited for
}


@dataclass(frozen=True, slots=True)
class Database:
    """A database in use: `dsn` connects to it, `listen_dsn` hears its notifications, `label` names it without secrets."""

    dsn: str
    listen_dsn: str
    label: str


@contextmanager
def open_database(settings: Settings | None = None) -> Iterator[Database]:
    """The database of the settings; starts the embedded server when none is named and stops it with its last user."""
    settings = settings or Settings.load()
    if settings.database_url is not None:
        dsn = as_libpq(settings.database_url.get_secret_value())
        listen = as_libpq(settings.listen_url.get_secret_value()) if settings.listen_url else dsn
        yield Database(dsn, listen, describe(dsn))
        return
    data_dir = settings.data_dir or embedded.default_data_dir()
    with embedded.embedded_server(data_dir) as dsn:
        yield Database(dsn, dsn, f"embedded PostgreSQL in {data_dir}")


def as_libpq(url: str) -> str:
    """The URL without SQLAlchemy's driver name, checked: a libpq URI or key=value string (DatabaseUnavailableError)."""
    url = url.strip()
    for prefix in ("postgresql+psycopg://", "postgresql+asyncpg://", "postgresql+psycopg2://"):
        if url.startswith(prefix):
            url = "postgresql://" + url.removeprefix(prefix)
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise DatabaseUnavailableError(
            f"WALLTRACK_DATABASE_URL is no PostgreSQL connection string: {str(error).strip()}\n"
            "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE or host=... dbname=..."
        ) from error
    return url


def describe(dsn: str) -> str:
    """Host, port and database of a connection string, never the password."""
    parts = conninfo_to_dict(dsn)
    where = parts.get("host") or parts.get("hostaddr") or "local socket"
    port = f":{parts['port']}" if parts.get("port") and not str(where).startswith("/") else ""
    return f"{parts.get('dbname') or 'default database'} on {where}{port}"


def connect(dsn: str, *, autocommit: bool = True) -> psycopg.Connection:
    """A connection whatever the database, the role or the environment has set for its texts and times."""
    connection = psycopg.connect(_with_defaults(dsn), autocommit=True)
    for statement in _plain_formats(connection.info):
        connection.execute(statement)
    connection.autocommit = autocommit
    return connection


async def connect_async(dsn: str, **options: Any) -> psycopg.AsyncConnection[Any]:  # noqa: ANN401 - psycopg's own
    """The same in autocommit, for an event loop; `options` are psycopg's."""
    connection = await psycopg.AsyncConnection.connect(_with_defaults(dsn), autocommit=True, **options)
    for statement in _plain_formats(connection.info):
        await connection.execute(statement)
    return connection


def _with_defaults(dsn: str) -> str:
    """The connection string with our defaults for what it leaves open."""
    left_open = {name: value for name, value in _DEFAULTS.items() if name not in conninfo_to_dict(dsn)}
    return make_conninfo(dsn, client_encoding="utf8", **left_open)


def _plain_formats(info: psycopg.ConnectionInfo) -> Iterator[LiteralString]:
    """What psycopg can read is the default, so there is nothing to be set on most servers."""
    if not (info.parameter_status("DateStyle") or "ISO").startswith("ISO"):
        yield "set datestyle = 'ISO'"
    if (info.parameter_status("IntervalStyle") or "postgres") != "postgres":
        yield "set intervalstyle = 'postgres'"


def sync_engine(dsn: str) -> Engine:
    """An engine for migrations; connects through psycopg so that every libpq parameter works."""
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(dsn, autocommit=False),
    )


def async_engine(dsn: str, *, pool_size: int = 4) -> AsyncEngine:
    """A pooled engine in autocommit: each service call is one statement. Safe behind transaction poolers."""
    return create_async_engine(
        "postgresql+psycopg://",
        # Prepared statements do not survive a transaction pooler.
        async_creator=lambda: connect_async(dsn, prepare_threshold=None),
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        pool_pre_ping=True,
    )


@asynccontextmanager
async def listen_connection(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[object]]:
    """A direct autocommit connection for LISTEN; any other kind hears nothing until it commits."""
    try:
        connection = await connect_async(dsn)
    except psycopg.Error as error:
        raise translate(error) from error
    async with connection:
        yield connection
