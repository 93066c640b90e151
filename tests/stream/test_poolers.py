"""Between a listener and the primary: PgBouncer in transaction and session mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.poolers import pooled
from tests.support.streams import RAISE, Consumer, ids, read
from walltrack_alerts import reconciler, retention
from walltrack_alerts.errors import ListenError
from walltrack_alerts.listener import StreamState, Timing, listen
from walltrack_alerts.service import AlertService

pytestmark = pytest.mark.own_server


async def test_a_transaction_pooler_is_detected(pooled_url: str, db: psycopg.Connection) -> None:
    with pytest.raises(ListenError, match="WALLTRACK_LISTEN_URL"):
        await anext(listen(pooled_url, timing=Timing(heartbeat=1)))
    async with AlertService.from_url(pooled_url) as service:  # everything but LISTEN works there, repeatedly
        for number in range(12):
            await service.create_alert("test", "high", f"title {number}")
        assert len(await service.get_active_alerts()) == 12
    with psycopg.connect(pooled_url, autocommit=True) as pooled:
        assert [row[0] for row in read(pooled, None)] == ids(db)


def test_upkeep_through_a_transaction_pooler(pooled_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches, twice: statements prepared on one connection would conflict with the next."""
    monkeypatch.setattr(reconciler, "BATCH", 2)
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(20):
        bot.exhaust(bot.create("exit"))
    bot.execute("select walltrack.resolve_alert(id, 'done', 'ada') from walltrack.alerts")
    for _ in range(2):
        reconciler.reconcile(pooled_url, dry_run=False, progress=lambda seen, total: None)
        retention.purge(pooled_url, "1 s", dry_run=True, progress=lambda seen, total: None)


async def test_a_listener_works_through_session_pooling(database_url: str, db: psycopg.Connection) -> None:
    """Writes continue while the pooler's connections are cut, and the listener becomes live again."""
    with pooled(database_url, "session") as url:
        consumer = Consumer(url)
        written = 0

        def step() -> bool:
            nonlocal written
            if consumer.states[-1:] == [StreamState.LIVE] and len(consumer.events) == written < 20:
                if written == 10:
                    db.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity "
                        "where datname = current_database() and pid <> pg_backend_pid()"
                    )
                db.execute(RAISE, ("high", str(written)))
                written += 1
            return len(consumer.events) == 20

        await consumer.until(step)
        assert [event.event_id for event in consumer.events] == ids(db)


def test_the_command_listens_on_its_own_url(pooled_url: str, database_url: str, db: psycopg.Connection) -> None:
    db.execute(RAISE, ("high", "a"))
    command = [str(Path(sys.executable).with_name("walltrack-alerts")), "listen", "--json", "--after", "beginning"]
    environment = {**os.environ, "WALLTRACK_DATABASE_URL": pooled_url}
    alone = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert alone.returncode == 1 and "WALLTRACK_LISTEN_URL" in alone.stderr
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**environment, "WALLTRACK_LISTEN_URL": database_url},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event_id"] == ids(db)[0]
        finally:
            process.kill()


async def test_a_direct_listener_receives_writes_through_the_pooler(pooled_url: str, database_url: str) -> None:
    """The write goes through the pooler; the direct connection receives it."""
    consumer = Consumer(database_url)
    with psycopg.connect(pooled_url, autocommit=True) as pooled:
        pooled.execute(RAISE, ("high", "a"))
        await consumer.until(lambda: len(consumer.events) == 1)
