"""The trading bot as the database sees it: the statements it really sends, and the state of its alerts."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from walltrack_alerts import Alert

TOKEN = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"


class Bot:
    """Writes orders over one connection, each call one statement."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def execute(self, query: str, parameters: Any = None) -> psycopg.Cursor:
        return self.connection.execute(query, parameters)  # type: ignore[arg-type]

    def create(self, order_type: str = "exit", **columns: Any) -> uuid.UUID:
        """INSERT of an order, pending unless said otherwise."""
        values = {
            "id": uuid.uuid4(),
            "order_type": order_type,
            "side": "sell" if order_type.lower() == "exit" else "buy",
            "token_address": TOKEN,
            "token_symbol": "BONK",
            "amount_sol": "1.5",
            "expected_price": "0.000021",
            **columns,
        }
        self.connection.execute(
            sql.SQL("insert into walltrack.orders ({}) values ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Placeholder, values))
            ),
            values,
        )
        return values["id"]

    def update(self, order: uuid.UUID, **columns: Any) -> None:
        """UPDATE of the named columns."""
        self.connection.execute(
            sql.SQL("update walltrack.orders set {} where id = %(order)s").format(
                sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in columns)
            ),
            {**columns, "order": order},
        )

    def fail(self, order: uuid.UUID, error: str | None = "slippage tolerance exceeded") -> None:
        """An attempt fails: one UPDATE."""
        self.execute(
            "update walltrack.orders set status = 'failed', attempt_count = attempt_count + 1, last_error = %s, "
            "next_retry_at = now() + interval '5 s' where id = %s",
            (error, order),
        )

    def exhaust(self, order: uuid.UUID, error: str | None = "slippage tolerance exceeded") -> None:
        """Every attempt of a new order fails."""
        for attempt in range(3):
            if attempt:
                self.update(order, status="pending")
            self.update(order, status="submitted")
            self.fail(order, error)

    def poll(self, table: str = "walltrack.orders", due: str = "next_retry_at") -> list[Any]:
        """The retry worker looks for work: the ids of the orders that it would take now."""
        return [
            order
            for (order,) in self.execute(
                f"select id from {table} where lower(status::text) in ('pending', 'failed') and {due} <= now() "
                "and (locked_until is null or locked_until < now()) order by id"
            )
        ]

    def lock(self, order: uuid.UUID) -> None:
        self.execute(
            "update walltrack.orders set locked_until = now() + interval '1 min', locked_by = 'worker-1' where id = %s", (order,)
        )

    def unlock(self, order: uuid.UUID) -> None:
        self.execute("update walltrack.orders set locked_until = null, locked_by = null where id = %s", (order,))

    def give_up(self, order: uuid.UUID) -> None:
        """The retry worker's automatic cancel after the last attempt."""
        self.update(order, status="cancelled", last_error="Max retries reached (3 attempts)")

    def cancel(self, order: uuid.UUID, reason: str = "Manually cancelled") -> None:
        self.update(order, status="cancelled", last_error=reason)

    def retry(self, order: uuid.UUID) -> None:
        """A person puts an exhausted order back; attempt_count stays."""
        self.update(order, status="pending", next_retry_at=None)

    def fill(self, order: uuid.UUID) -> None:
        self.execute("update walltrack.orders set status = 'filled', filled_at = now() where id = %s", (order,))

    def save(self, order: uuid.UUID, **changes: Any) -> None:
        """The repository layer: reads the row and writes ALL of its columns back."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute("select * from walltrack.orders where id = %s", (order,)).fetchone()
        assert row is not None
        row.update(changes)
        del row["id"]
        self.update(order, **row)

    def delete(self, order: uuid.UUID) -> None:
        self.execute("delete from walltrack.orders where id = %s", (order,))

    # What became of it

    def alerts(self, order: uuid.UUID | None = None) -> list[Alert]:
        """All alerts of an order (of all orders), the oldest first."""
        with self.connection.cursor(row_factory=class_row(Alert)) as cursor:
            return cursor.execute(
                "select * from walltrack.alerts where %(key)s::text is null or dedupe_key = %(key)s order by created_at, id",
                {"key": None if order is None else f"order_failed_{order}"},
            ).fetchall()

    def alert(self, order: uuid.UUID) -> Alert:
        """The only alert of an order."""
        (alert,) = self.alerts(order)
        return alert

    def events(self, order: uuid.UUID | None = None) -> list[str]:
        """The kinds of the events of an order's alerts (of all), in order."""
        return [
            kind
            for (kind,) in self.execute(
                "select e.kind from walltrack.alert_events as e join walltrack.alerts as a on a.id = e.alert_id "
                "where %(key)s::text is null or a.dedupe_key = %(key)s order by e.event_id",
                {"key": None if order is None else f"order_failed_{order}"},
            )
        ]

    def call(self, function: str, *arguments: Any) -> Alert | None:
        """Call a function of schema walltrack that returns an alert."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(
                sql.SQL("select * from walltrack.{}({})").format(
                    sql.Identifier(function), sql.SQL(", ").join(sql.Placeholder() * len(arguments))
                ),
                arguments,
            ).fetchone()
        return None if row is None or row["id"] is None else Alert(**row)

    def faults(self) -> list[tuple[str, str]]:
        """(sqlstate, message) of each fault in alerting."""
        return self.execute("select sqlstate, message from walltrack.alert_faults order by fault_id").fetchall()
