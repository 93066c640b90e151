"""Installing, upgrading and removing alerting, on an empty database and on one in use."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from alembic.config import CommandLine, Config

from tests.support.bot import Bot
from tests.support.catalogue import catalogue
from tests.support.databases import new_database
from tests.support.older_tables import HOST_ORDERS, run
from walltrack_alerts import migrations
from walltrack_alerts.errors import DatabaseUnavailableError, NotMigratedError

ROOT = Path(__file__).parent.parent.parent
REVISIONS = len(list(ROOT.glob("alembic/versions/*.py")))


def alembic_process(url: str, *arguments: str) -> None:
    """Run the command `alembic`."""
    subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        check=True, capture_output=True, cwd=ROOT, env={**os.environ, "WALLTRACK_DATABASE_URL": url},
    )  # fmt: skip


def alembic(url: str, *arguments: str) -> str:
    """The output of `alembic`, run in this process because starting it takes longer than most of its work."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALLTRACK_DATABASE_URL", url)
        patch.chdir(ROOT)
        line = CommandLine()
        options = line.parser.parse_args(arguments)
        line.run_cmd(Config("alembic.ini", stdout=printed, output_buffer=printed, cmd_opts=options), options)
    return printed.getvalue()


def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    before = catalogue(database_url)
    migrations.upgrade(database_url)
    assert catalogue(database_url) == before


def test_an_upgrade_reads_new_facts(database_url: str) -> None:
    """The tables were watched by an older release without these facts."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        bot = Bot(connection)
        settings = "select columns, column_types, cancel_pattern from walltrack.watched_tables"
        before = bot.execute(settings).fetchall()
        bot.execute("update walltrack.watched_tables set columns = columns - '{token_symbol,next_retry_at}'::text[]")
        bot.execute("select walltrack.write_guard('walltrack.orders')")
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).data["token_symbol"] is None

        migrations.upgrade(database_url)
        assert bot.execute(settings).fetchall() == before
        assert bot.alert(order).data["token_symbol"] == "BONK"
        later = bot.create()
        bot.exhaust(later)
        assert bot.alert(later).data["token_symbol"] == "BONK"
        bot.call("retry_order", bot.alert(later).id, "ada")
        assert later in bot.poll()


def test_an_upgrade_keeps_the_named_columns(database_url: str) -> None:
    run(database_url, "select walltrack.watch_orders('walltrack.orders', '{\"token_symbol\": \"signal_id\"}')")
    migrations.upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        named = connection.execute("select columns ->> 'token_symbol' from walltrack.watched_tables").fetchone()
    assert named == ("signal_id",)


def test_alembic_makes_the_same_catalogue(database_url: str, empty_database_url: str) -> None:
    assert "(head)" not in alembic(empty_database_url, "current")
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regnamespace('walltrack')").fetchone() == (None,)  # it only looks
    alembic_process(empty_database_url, "upgrade", "head")
    assert catalogue(empty_database_url) == catalogue(database_url)
    assert "(head)" in alembic(empty_database_url, "current")


@pytest.mark.parametrize("target", ["heads", f"+{REVISIONS}", migrations.head_revision()])
def test_every_target_at_the_head_is_complete(database_url: str, empty_database_url: str, target: str) -> None:
    alembic(empty_database_url, "upgrade", target)
    assert catalogue(empty_database_url) == catalogue(database_url)


@pytest.mark.parametrize("target", ["head", "heads"])
def test_the_printed_script_makes_the_same_catalogue(database_url: str, empty_database_url: str, target: str) -> None:
    run(empty_database_url, alembic(empty_database_url, "upgrade", target, "--sql"))
    assert catalogue(empty_database_url) == catalogue(database_url)


def test_existing_orders_get_their_alerts(empty_database_url: str) -> None:
    run(empty_database_url, HOST_ORDERS)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        failed = bot.create("exit", status="failed", attempt_count=3, last_error="old trouble")
        retried = bot.create("entry", status="pending", attempt_count=4)
        for status, attempts, error in (
            ("filled", 3, None), ("cancelled", 3, "Manually cancelled"), ("pending", 0, None), ("failed", 2, "rpc"),
            ("cancelled", 3, "Max retries reached (3 attempts)"),
        ):  # fmt: skip
            bot.create("exit", status=status, attempt_count=attempts, last_error=error)
        before = catalogue(empty_database_url)
        rows = bot.execute("select o.xmin, o.* from walltrack.orders as o order by id").fetchall()

        for _ in range(2):
            migrations.upgrade(empty_database_url)
            # Orders that the worker had given up before raise no alert; the two that still fail raise one each.
            assert {alert.dedupe_key for alert in bot.alerts()} == {f"order_failed_{failed}", f"order_failed_{retried}"}
            assert bot.events() == ["raised", "raised"]
        assert bot.alert(failed).data["error"] == "old trouble"

        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open
        bot.delete(order)
        after = {(row[0], row[1]) for row in catalogue(empty_database_url)}
        assert {(row[0], row[1]) for row in before} <= after

        migrations.downgrade(empty_database_url)
        assert catalogue(empty_database_url) == before
        assert bot.execute("select o.xmin, o.* from walltrack.orders as o order by id").fetchall() == rows
        bot.exhaust(bot.create())

        migrations.upgrade(empty_database_url)
        assert len(bot.alerts()) == 3


def test_a_dropped_watched_table_blocks_no_migration(database_url: str) -> None:
    run(
        database_url,
        "create table walltrack.other (like walltrack.orders including all); select walltrack.watch_orders('walltrack.other'); "
        "drop table walltrack.other",
    )
    migrations.upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open
    migrations.downgrade(database_url)


@pytest.mark.parametrize("target", ["base", f"-{REVISIONS}"])
def test_downgrade_removes_everything_it_installed(database_url: str, target: str) -> None:
    alembic(database_url, "downgrade", migrations.head_revision())  # which is where it is
    run(database_url, "select walltrack.raise_alert('t', 'info', 't')")
    alembic(database_url, "downgrade", target)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select to_regnamespace('walltrack')").fetchone() == (None,)
    alembic(database_url, "downgrade", "base")


def test_a_further_revision_is_run(empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    (folder / "versions" / "9999_next.py").write_text(
        "from walltrack_alerts.migrations import run_script\n"
        f"revision, down_revision = '9999', '{migrations.head_revision()}'\n"
        "def upgrade(): run_script('alter table if exists walltrack.alerts add column next int')\n"
        "def downgrade():\n"
        "    run_script('drop view walltrack.open_alerts; alter table walltrack.alerts drop column if exists next')\n"
    )
    migrations.upgrade(empty_database_url)
    monkeypatch.setattr(migrations, "_folder", lambda name: folder if name == "alembic" else ROOT / name)
    assert migrations.head_revision() == "9999"
    for _ in range(2):
        migrations.upgrade(empty_database_url)
        with psycopg.connect(empty_database_url) as connection:
            assert connection.execute("select version_num from walltrack.alerts_version").fetchone() == ("9999",)
            connection.execute("select next from walltrack.alerts")
    migrations.downgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regnamespace('walltrack')").fetchone() == (None,)


def test_downgrade_can_print_its_script(database_url: str) -> None:
    run(database_url, alembic(database_url, "downgrade", "head:base", "--sql"))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select to_regclass('walltrack.alerts')").fetchone() == (None,)


def test_two_upgrades_at_once_both_succeed(empty_database_url: str) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            alembic_process(empty_database_url, "upgrade", "head")
        except subprocess.CalledProcessError as error:
            failures.append(error)
            print(error.stderr)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_migration_creates_its_triggers_beside_a_busy_writer(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long transaction holds orders: the migration waits briefly, lets writers through, and retries."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.2)
    run(empty_database_url, HOST_ORDERS)
    with psycopg.connect(empty_database_url) as holder:
        Bot(holder).create()
        thread = threading.Thread(target=migrations.upgrade, args=(empty_database_url,))
        thread.start()
        with psycopg.connect(empty_database_url, autocommit=True) as writer:
            for _ in range(20):
                Bot(writer).create()
        holder.commit()
        thread.join()
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open


def test_an_unwatchable_table_is_refused(empty_database_url: str) -> None:
    run(empty_database_url, "create schema walltrack; create table walltrack.orders (id int, status text)")
    with pytest.raises(Exception, match="attempt_count, last_error, max_attempts, order_type") as caught:
        migrations.upgrade(empty_database_url)
    assert type(caught.value).__name__ == "UnwatchableTableError"


def test_a_missing_server_is_reported() -> None:
    with pytest.raises(DatabaseUnavailableError, match="WALLTRACK_DATABASE_URL"):
        migrations.upgrade("postgresql://nobody@127.0.0.1:1/nothing")


def test_an_unmigrated_database_is_reported(server_url: str) -> None:
    import asyncio

    from walltrack_alerts import AlertService

    async def ask(url: str) -> None:
        async with AlertService.from_url(url) as service:
            await service.get_active_alerts()

    with new_database(server_url) as url, pytest.raises(NotMigratedError, match="walltrack-alerts migrate"):
        asyncio.run(ask(url))
