"""The server is killed under load: PostgreSQL's own recovery restores each acknowledged write exactly once."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest

from bench.crash import WRITERS, Load, Server, verify
from tests.support.streams import Consumer, ids

pytestmark = pytest.mark.own_server

CRASHES = 3
WRITES = 400
"""Acknowledged before each crash, by all writers together."""


def test_no_crash_loses_or_doubles_an_alert(server: Server) -> None:
    with server.running() as url:
        with psycopg.connect(url) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                assert connection.execute(f"show {setting}").fetchone() == ("on",)
        with Load(url, seed=1).running() as load:
            for _ in range(CRASHES):
                load.wait_for_writes(WRITES)
                server.crash()
            load.wait_for_writes(WRITES)
        assert load.written >= (CRASHES + 1) * WRITES
        assert all(len(records) > 1 for records in load.records) and len(load.records) == WRITERS
        verdict = verify(url, load)
        assert (verdict.lost, verdict.doubled) == ([], [])
        assert verdict.alerts > WRITES // 10
        with psycopg.connect(url) as connection:
            assert connection.execute("select raised, resolved from walltrack.reconcile_orders(true)").fetchone() == (0, 0)
            assert connection.execute("select sqlstate, message from walltrack.alert_faults").fetchall() == []


def test_a_reader_outlives_the_crashes(server: Server) -> None:
    """The reader is never restarted and receives every event once."""
    with server.running() as url:
        consumer = Consumer(url)
        over = threading.Event()
        wanted: list[int] = []
        reader = threading.Thread(
            target=lambda: asyncio.run(consumer.until(lambda: over.is_set() and len(consumer.events) >= len(wanted), 120))
        )
        reader.start()
        with Load(url, seed=2).running() as load:
            for _ in range(CRASHES):
                load.wait_for_writes(WRITES)
                server.crash()
            load.wait_for_writes(WRITES)
        with psycopg.connect(url) as connection:
            wanted += ids(connection)
        over.set()
        reader.join()
        assert sorted(event.event_id for event in consumer.events) == wanted
