"""Rows of targets, deliveries and relays as tests need them, written directly: without a relay and without waiting."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from walltrack_alerts import Alert


def _insert(db: psycopg.Connection, table: str, values: dict[str, Any], returning: str) -> Any:
    row = db.execute(
        sql.SQL("insert into walltrack.{} ({}) values ({}) returning {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
            sql.Identifier(returning),
        ),
        values,
    ).fetchone()
    assert row is not None
    return row[0]


def ago(db: psycopg.Connection, **time: float) -> Any:
    """A time in the past by the clock of the database."""
    (at,) = db.execute("select clock_timestamp() - %s", (timedelta(**time),)).fetchone() or (None,)
    return at


def add_target(db: psycopg.Connection, name: str, **columns: Any) -> int:
    """A webhook that has read every event; returns its id."""
    (cursor,) = db.execute("select walltrack.event_cursor()").fetchone() or (None,)
    values = {
        "name": name, "kind": "webhook", "address": "https://sink.example", "config": "{}", "created_by": "ada", "cursor": cursor,
        "read_at": ago(db), "starts_at": ago(db, days=400), **columns,
    }  # fmt: skip
    return int(_insert(db, "notification_targets", values, "target_id"))


def read_all(db: psycopg.Connection, name: str) -> None:
    """The relay reads the stream for a target."""
    db.execute("update walltrack.notification_targets set cursor = walltrack.event_cursor() where name = %s", (name,))


def newest_event(db: psycopg.Connection, alert: Alert) -> int:
    (event,) = db.execute("select max(event_id) from walltrack.alert_events where alert_id = %s", (alert.id,)).fetchone() or (0,)
    return int(event)


def add_delivery(db: psycopg.Connection, target: int, alert: Alert, **columns: Any) -> int:
    """A pending delivery of the newest event of the alert; returns its id."""
    values = {"target_id": target, "event_id": newest_event(db, alert), "alert_id": alert.id, "state": "pending", **columns}
    if "last_response" in values:
        values["tried_at"] = ago(db)
    return int(_insert(db, "deliveries", values, "delivery_id"))


def add_finished(db: psycopg.Connection, target: int, alert_id: uuid.UUID, event: int, **columns: Any) -> None:
    """A delivery that has arrived."""
    (number,) = db.execute("select coalesce(max(delivery_id), 1000) + 1 from walltrack.finished_deliveries").fetchone() or (1,)
    values = {
        "delivery_id": number, "target_id": target, "event_id": event, "alert_id": alert_id, "state": "delivered", "attempts": 1,
        "created_at": ago(db), **columns,
    }  # fmt: skip
    _insert(db, "finished_deliveries", values, "delivery_id")


def add_relay(db: psycopg.Connection, relay: str = "relay-1", **columns: Any) -> None:
    """A relay that has just been seen."""
    _insert(db, "relays", {"relay": relay, "host": "trading-1", "pid": 7, "version": "1.0.0", **columns}, "relay")
