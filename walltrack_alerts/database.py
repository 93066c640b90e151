"""Selects the database and connects to it. All other modules receive a libpq connection string."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from walltrack_alerts import embedded
from walltrack_alerts.errors import ConnectionStringError, translate
from walltrack_alerts.settings import Settings

_DEFAULTS = {
    "fallback_application_name": "walltrack_alerts",
    "connect_timeout": "10",  # seconds, so that a server that is down is noticed
}
_VARIABLES = {
    "service": "PGSERVICE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


@dataclass(frozen=True, slots=True)
class Database:
    """A database in use: `dsn` connects to it, `listen_dsn` receives its notifications; the labels name both without secrets."""

    dsn: str
    listen_dsn: str
    label: str
    listen_label: str


@contextmanager
def open_database(settings: Settings | None = None) -> Iterator[Database]:
    """The database of the settings; by default the embedded server, which runs until its last user leaves."""
    settings = settings or Settings.load()
    if settings.database_url is not None:
        dsn = as_libpq(settings.database_url.get_secret_value())
        listen = as_libpq(settings.listen_url.get_secret_value(), "WALLTRACK_LISTEN_URL") if settings.listen_url else dsn
        yield Database(dsn, listen, describe(dsn), describe(listen))
        return
    data_dir = settings.data_dir or embedded.default_data_dir()
    with embedded.embedded_server(data_dir) as dsn:
        label = f"embedded PostgreSQL in {data_dir}"
        yield Database(dsn, dsn, label, label)


def as_libpq(url: str, name: str = "WALLTRACK_DATABASE_URL") -> str:
    """The URL without SQLAlchemy's driver name, checked: a libpq URI or key=value string (ConnectionStringError)."""
    url = url.strip()
    for prefix in ("postgresql+psycopg://", "postgresql+asyncpg://", "postgresql+psycopg2://"):
        if url.startswith(prefix):
            url = "postgresql://" + url.removeprefix(prefix)
    try:
        problem = "its user or password has an unescaped special character" if _is_misread(url) else _port_problem(url)
    except psycopg.ProgrammingError as error:
        # Most texts of libpq quote what they could not parse, which may be the password.
        option = re.match(r'invalid (?:connection option|URI query parameter:) "(\w+)"', str(error))
        problem = f"there is no option {option[1]}" if option else "it cannot be read"
    if problem:
        raise ConnectionStringError(
            f"{name} is not a PostgreSQL connection string: {problem}.\n"
            "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @, %2F for / and so on in user and password, "
            "or host=... dbname=..."
        )
    return url


def _is_misread(url: str) -> bool:
    """Whether libpq mistakes a part of the password for host, port or database, and would show it in messages."""
    _, is_url, rest = url.partition("://")
    parts = conninfo_to_dict(url)
    hosts = [host for host in str(parts.get("host") or "").split(",") if not host.startswith("/")]  # "@name" is a socket, too
    path = rest.partition("?")[0].partition("/")[2]
    return bool(is_url) and any("@" in part for part in (*(host[1:] for host in hosts), str(parts.get("port") or ""), path))


def _port_problem(url: str) -> str:
    """The problem with the port, or with one of the ports of several hosts; '' for none."""
    ports = str(conninfo_to_dict(url).get("port") or "").split(",")
    return "" if all(re.fullmatch(r"\d*", port, re.ASCII) for port in ports) else "its port is not a number"


def describe(dsn: str) -> str:
    """Host, port and database, from the connection string and the environment; never the password."""
    parts = _parameters(dsn)
    if parts.get("service") and not conninfo_to_dict(dsn).get("host"):
        return f"service {parts['service']}"
    where = parts.get("host") or parts.get("hostaddr") or "local socket"
    port = f":{parts['port']}" if parts.get("port") and not str(where).startswith("/") and where != "local socket" else ""
    return f"{parts.get('dbname') or 'default database'} on {where}{port}"


def _parameters(dsn: str) -> dict[str, Any]:
    """The parameters of a connection string, completed from the environment as libpq does."""
    environment = {name: os.environ[variable] for name, variable in _VARIABLES.items() if os.environ.get(variable)}
    return {**environment, **conninfo_to_dict(dsn)}


def connect(dsn: str, *, autocommit: bool = True) -> psycopg.Connection:
    """A connection with fixed formats of text and time, independent of settings of the database, the role and the environment.

    It prepares no statements, which would not survive a transaction pooler.
    """
    connection = psycopg.connect(_with_defaults(dsn), autocommit=True, prepare_threshold=None)
    for statement in _plain_formats(connection.info):
        connection.execute(statement)
    connection.autocommit = autocommit
    return connection


async def connect_async(dsn: str, **options: Any) -> psycopg.AsyncConnection[Any]:  # noqa: ANN401 - psycopg's own
    """Like connect(), in autocommit, for an event loop; `options` are psycopg's."""
    dsn = _with_defaults(dsn)
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None, **options)
    for statement in _plain_formats(connection.info):
        await connection.execute(statement)
    return connection


def _with_defaults(dsn: str) -> str:
    """The connection string, with our defaults for the parameters that it leaves open."""
    left_open = {name: value for name, value in _DEFAULTS.items() if name not in _parameters(dsn)}
    return make_conninfo(dsn, client_encoding="utf8", **left_open)


def _plain_formats(info: psycopg.ConnectionInfo) -> Iterator[LiteralString]:
    """The statements that set formats which psycopg can read; none on most servers, where they are the default."""
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


def async_engine(dsn: str) -> AsyncEngine:
    """A pooled engine in autocommit: each service call is one statement. Safe behind transaction poolers."""
    return create_async_engine(
        "postgresql+psycopg://",
        async_creator=lambda: connect_async(dsn),
        isolation_level="AUTOCOMMIT",
        pool_size=4,
        pool_pre_ping=True,
    )


@asynccontextmanager
async def listen_connection(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[object]]:
    """A direct autocommit connection for LISTEN; a transaction would receive no notification before its end."""
    try:
        connection = await connect_async(dsn)
    except psycopg.Error as error:
        raise translate(error) from error
    async with connection:
        yield connection
