"""Changes of a watched table by an owner without rights on alerts, without a superuser, and by a restored dump."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.bot import Bot
from tests.support.databases import new_database
from tests.support.faults import collect_notices
from tests.support.writer import FREED, Writer
from walltrack_alerts import embedded, migrations
from walltrack_alerts.embedded.programs import installed_bin
from walltrack_alerts.errors import AdoptionError


@contextmanager
def role(connection: psycopg.Connection, attributes: str = "nosuperuser") -> Iterator[str]:
    """A role that is dropped afterwards."""
    name = f"wt_ddl_{uuid.uuid4().hex[:8]}"
    connection.execute(f"create role {name} {attributes}")  # type: ignore[arg-type]
    try:
        yield name
    finally:
        connection.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")  # type: ignore[arg-type]


def test_the_owner_of_the_table_needs_no_right_on_alerts(database_url: str, writer: Writer, admin: psycopg.Connection) -> None:
    with role(admin) as name:
        admin.execute(
            f"grant usage, create on schema walltrack to {name}; alter table walltrack.orders owner to {name}"  # type: ignore[arg-type]
        )
        with psycopg.connect(make_conninfo(database_url, options=f"-c role={name}"), autocommit=True) as owner:
            ddl_warnings = collect_notices(owner)
            owner.execute("alter table walltrack.orders rename column status to state")
            owner.execute("create temporary table mine (id int)")
            owner.execute("alter table mine rename column id to key")
        writer.names["status"] = "state"
        writer.assert_alerts()
        assert ddl_warnings == []


FOLLOWED: dict[str, Callable[[psycopg.Connection], object]] = {
    "by itself": lambda c: c.execute("alter table walltrack.orders rename column status to state"),
    "reported in the same transaction": lambda c: c.execute(
        "begin; alter table walltrack.orders rename column status to state;"
        """select walltrack.watch_orders('walltrack.orders', '{"status": "state"}'); commit"""
    ),
}


@pytest.mark.parametrize("change", FOLLOWED.values(), ids=FOLLOWED)
def test_without_a_superuser_the_guard_does_not_follow(
    server_url: str, caplog: pytest.LogCaptureFixture, change: Callable[..., object]
) -> None:
    """The limit: the guard does not follow, and order writes fail until watch_orders() is called with the new name."""
    with psycopg.connect(server_url, autocommit=True) as server, role(server) as name, new_database(server_url) as url:
        server.execute(f"alter database {conninfo_to_dict(url)['dbname']} owner to {name}")  # type: ignore[arg-type]
        mine = make_conninfo(url, options=f"-c role={name}")
        migrations.upgrade(mine)
        assert [record.levelname for record in caplog.records if "only a superuser" in record.getMessage()] == ["WARNING"]
        with psycopg.connect(mine, autocommit=True) as owner, psycopg.connect(mine, autocommit=True) as connection:
            writer = Writer(Bot(connection))
            owner.execute(FREED)
            change(owner)
            writer.names["status"] = "state"
            if change is FOLLOWED["by itself"]:
                with pytest.raises(psycopg.errors.UndefinedColumn):
                    writer.write(locked_by="worker-2")
                owner.execute("""select walltrack.watch_orders('walltrack.orders', '{"status": "state"}')""")
            writer.assert_alerts()
        with psycopg.connect(url, autocommit=True) as superuser:
            assert superuser.execute("select count(*) from pg_event_trigger").fetchone() == (0,)
        with pytest.raises(AdoptionError, match=f"schema walltrack belongs to {name}"):
            migrations.upgrade(url)  # an object that belonged to two roles would be safe from neither
        migrations.downgrade(mine)


@pytest.mark.own_server
def test_the_guard_follows_changes_after_a_restore(
    server_url: str, database_url: str, writer: Writer, admin: psycopg.Connection
) -> None:
    """A dump renumbers the columns, so the guard must not depend on their numbers."""
    admin.execute(
        "alter table walltrack.orders drop column signal_id; alter table walltrack.orders rename column attempt_count to tries"
    )
    writer.names["attempt_count"] = "tries"
    if not embedded.is_available():
        pytest.skip("needs the programs of the embedded PostgreSQL")
    programs = installed_bin()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(programs.parent / "lib")}
    with new_database(server_url) as url:
        script = subprocess.run(
            [programs / "pg_dump", "--dbname", database_url], check=True, capture_output=True, env=environment, timeout=120
        ).stdout
        subprocess.run(
            [programs / "psql", "--dbname", url, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"],
            check=True, capture_output=True, input=script, env=environment, timeout=120,
        )  # fmt: skip
        with psycopg.connect(url, autocommit=True) as connection, psycopg.connect(url, autocommit=True) as migrating:
            writer.bot = Bot(connection)
            writer.write(locked_by="worker-2")
            migrating.execute("alter table walltrack.orders rename column token_symbol to ticker")
            migrating.execute("alter table walltrack.orders rename column status to state")
            writer.names["status"] = "state"
            writer.assert_alerts()
