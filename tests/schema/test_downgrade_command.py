"""`walltrack-alerts downgrade`: announces what it deletes, and asks for confirmation."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.commands import COMMAND, run
from tests.support.older_tables import HOST_ORDERS, OLDER
from tests.support.older_tables import run as execute
from walltrack_alerts import migrations

pytestmark = pytest.mark.own_server


def is_installed(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("select to_regclass('walltrack.alert_events') is not null").fetchone() == (True,)


def answer(url: str, line: str, expect: int) -> str:
    """The output in a terminal where the operator answers the question with this line."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "WALLTRACK_DATABASE_URL": url, "NO_COLOR": "1", "COLUMNS": "200"}
    with subprocess.Popen([*COMMAND, "downgrade"], stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        os.write(leader, line.encode())
        seen = b""
        with suppress(OSError):  # the other side has gone
            while chunk := os.read(leader, 10_000):
                seen += chunk
    os.close(leader)
    assert process.returncode == expect, seen
    return " ".join(seen.decode().split())


@pytest.fixture
def url(empty_database_url: str) -> str:
    """A database with orders of a bot, an alert and its event."""
    execute(empty_database_url, HOST_ORDERS)
    migrations.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        Bot(connection).exhaust(Bot(connection).create())
    return empty_database_url


@pytest.mark.parametrize("line", ["\n", "n\n"])
def test_downgrade_asks_and_defaults_to_no(url: str, line: str) -> None:
    seen = answer(url, line, expect=1)
    assert "deletes 1 alert (1 open) and 1 event" in seen and "Failed orders of walltrack.orders will raise no alerts" in seen
    assert "[y/N]" in seen and "Nothing was changed." in seen and is_installed(url)


def test_yes_uninstalls_without_asking(url: str) -> None:
    assert "Alerting is uninstalled" in answer(url, "y\n", expect=0)
    assert not is_installed(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from walltrack.orders").fetchone() == (1,)


def test_downgrade_without_a_terminal_requires_yes(url: str) -> None:
    refused = run(url, "downgrade", expect=2)
    assert "--yes" in refused.stderr and "1 alert " in refused.stdout and is_installed(url)
    run(url, "downgrade", "--yes")
    assert not is_installed(url)
    assert "Alerting is not installed" in run(url, "downgrade").stdout


def test_downgrade_announces_that_adopted_tables_stay(empty_database_url: str) -> None:
    execute(empty_database_url, OLDER)
    migrations.upgrade(empty_database_url)
    said = " ".join(run(empty_database_url, "downgrade", expect=2).stdout.split())
    assert "deletes 0 events" in said and "The older table walltrack.alerts stays, with 0 alerts" in said
