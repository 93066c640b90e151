"""A relay as the database sees it: the calls that it makes over one connection."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from tests.support.deadline import Deadline

MANY = 1000


@dataclass(frozen=True)
class Claim:
    """One message that a relay has claimed."""

    lease: int
    target_id: int
    deliveries: list[int]
    digest: dict[str, Any] | None
    item: dict[str, Any] | None

    @property
    def kind(self) -> str:
        """The kind of the event."""
        assert self.item is not None
        return str(self.item["event"]["kind"])

    @property
    def event_id(self) -> int:
        assert self.item is not None
        return int(self.item["event"]["event_id"])

    @property
    def alert_id(self) -> str:
        assert self.item is not None
        return str(self.item["alert"]["id"])


class Relay:
    """Claims and finishes, each call one statement."""

    def __init__(self, connection: psycopg.Connection, name: str = "relay-1") -> None:
        self.connection = connection
        self.name = name

    def fan_out(self, limit: int = MANY) -> list[dict[str, Any]]:
        """fan_out_events() once: its rows."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute("select * from walltrack.fan_out_events(%s)", (limit,)).fetchall()

    def fan_out_all(self, limit: int = MANY) -> None:
        """fan_out_events() until nothing is left."""
        deadline = Deadline()
        while deadline.is_ahead() and any(row["has_more"] for row in self.fan_out(limit)):
            pass

    def claim(self, slots: int = MANY, lease: str = "60 seconds", targets: list[int] | None = None) -> list[Claim]:
        """Claim from all targets, or from some."""
        if targets is None:
            targets = [row[0] for row in self.connection.execute("select target_id from walltrack.notification_targets")]
        with self.connection.cursor(row_factory=class_row(Claim)) as cursor:
            return cursor.execute(
                "select * from walltrack.claim_deliveries(%s, %s, %s::interval)",
                (self.name, Jsonb({str(target): slots for target in targets}), lease),
            ).fetchall()

    def finish(self, *claims: Claim, outcome: str = "delivered", **result: Any) -> list[tuple[int, str]]:
        """Report the same outcome for some claims: (delivery, state) of what the relay still held."""
        return self.report([result_of(claim, outcome, **result) for claim in claims])

    def report(self, results: list[dict[str, Any]]) -> list[tuple[int, str]]:
        """Report outcomes in one call: (delivery, state) of what the relay still held."""
        rows = self.connection.execute(
            "select delivery_id, state from walltrack.finish_deliveries(%s, %s) order by delivery_id",
            (self.name, Jsonb(results)),
        )
        return rows.fetchall()

    def deliver(self) -> list[Claim]:
        """Fan out, claim what is due, and report it as delivered: the claims."""
        self.fan_out_all()
        claims = self.claim()
        self.finish(*claims)
        return claims


def result_of(claim: Claim, outcome: str, **result: Any) -> dict[str, Any]:
    """One outcome, as finish_deliveries() reads it."""
    return {"lease": claim.lease, "deliveries": claim.deliveries, "outcome": outcome, **result}


class Desk:
    """An operator's and the owner's side: targets, alerts, and what became of deliveries."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def execute(self, query: str, parameters: Any = None) -> psycopg.Cursor:
        return self.connection.execute(query, parameters)  # type: ignore[arg-type]

    def webhook(self, name: str = "hook", since: str | None = None, **filters: Any) -> int:
        """Add a webhook: its id."""
        return self.add(name, "webhook", {"url": "https://hooks.example/in"}, since, **filters)

    def chat(self, name: str = "chat", **filters: Any) -> int:
        """Add a Telegram chat: its id."""
        return self.add(name, "telegram", {"chat": "-100", "token": "${TOKEN}", "allow": {"12345": "ada"}}, **filters)

    def add(self, name: str, kind: str, config: dict[str, Any], since: str | None = None, **filters: Any) -> int:
        (target,) = self.execute(
            "select target_id from walltrack.add_target(%s, %s, %s, %s, %s, 'ada')",
            (name, kind, Jsonb(config), Jsonb(filters), since),
        ).fetchone()  # type: ignore[misc]
        return int(target)

    def raise_alert(self, key: str = "feed", severity: str = "high", alert_type: str = "feed", **data: Any) -> uuid.UUID:
        """Raise or repeat an alert: its id."""
        (alert,) = self.execute(
            "select id from walltrack.raise_alert(%s, %s, 'Feed is silent', 'm', %s, false, %s)",
            (alert_type, severity, Jsonb(data), key),
        ).fetchone()  # type: ignore[misc]
        return alert  # type: ignore[no-any-return]

    def acknowledge(self, alert: uuid.UUID) -> None:
        self.execute("select walltrack.acknowledge_alert(%s, 'ada')", (alert,))

    def resolve(self, alert: uuid.UUID) -> None:
        self.execute("select walltrack.resolve_alert(%s, 'done', 'ada')", (alert,))

    def snooze(self, alert: uuid.UUID) -> None:
        self.execute("select walltrack.snooze_alert(%s, now() + interval '1 hour', 'ada')", (alert,))

    def escalate(self, alert: uuid.UUID, step: int = 1) -> None:
        """Append the event of an escalation, as escalate_overdue() does."""
        self.execute(
            "insert into walltrack.alert_events (alert_id, kind, actor, detail) "
            "select id, 'escalated', 'system', walltrack.build_event_detail(severity, status, occurrences, data) "
            "|| jsonb_build_object('step', %s::int, 'repeat', 0) from walltrack.alerts where id = %s",
            (step, alert),
        )

    def states(self, target: int | None = None) -> list[str]:
        """The states of the deliveries that are not finished, in the order of their events."""
        rows = self.execute(
            "select state from walltrack.deliveries where %(target)s::bigint is null or target_id = %(target)s "
            "order by target_id, event_id",
            {"target": target},
        )
        return [state for (state,) in rows]

    def finished(self, target: int | None = None) -> list[str]:
        """The states of the finished deliveries, in the order of their events."""
        rows = self.execute(
            "select state from walltrack.finished_deliveries where %(target)s::bigint is null or target_id = %(target)s "
            "order by target_id, event_id",
            {"target": target},
        )
        return [state for (state,) in rows]

    def due_now(self) -> None:
        """Let the time pass until each delivery is due and each chat may get its next message."""
        self.execute("update walltrack.deliveries set due_at = least(due_at, now())")
        self.execute("update walltrack.chat_pace set next_message_at = '-infinity'")

    def expire(self) -> None:
        """Let the time pass until each lease has expired."""
        self.execute("update walltrack.deliveries set lease_until = now() where state = 'sending'")
