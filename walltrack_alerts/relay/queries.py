"""The relay's calls to the database: each is one function of the schema. A connection that breaks is opened again."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from walltrack_alerts.database import connect_async
from walltrack_alerts.errors import DatabaseUnavailableError, translate
from walltrack_alerts.relay.channels import Claim, Result, Target
from walltrack_alerts.relay.metrics import Sample

_MOST_DIGITS = 300  # of an integer; a float holds numbers up to 1e308
_LONGEST_CALL = 30.0  # seconds; a server that hangs does not close its connections


class FannedOut(NamedTuple):
    """What fan_out_events() did for one target; `problem` describes what was wrong with its cursor."""

    target_id: int
    target: str
    read: int
    created: int
    has_more: bool
    problem: str | None


class Finished(NamedTuple):
    """The state of a delivery after a result; `due_at` is the next attempt of a pending one."""

    delivery_id: int
    state: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """A claim and its result, for finish_deliveries()."""

    claim: Claim
    result: Result


class Connection:
    """One connection in autocommit, opened at the first call and again after an error. One call at a time."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None

    async def call(self, query: LiteralString, parameters: Sequence[object] = ()) -> list[TupleRow]:
        """The rows of a statement (AlertsError). After an error that may have broken it, the connection is closed."""
        try:
            async with asyncio.timeout(_LONGEST_CALL):
                if self._connection is None:
                    self._connection = await connect_async(self._dsn)
                cursor = await self._connection.execute(query, parameters)
                return await cursor.fetchall()
        except psycopg.errors.ReadOnlySqlTransaction as error:
            await self.close()  # a new connection may reach the primary
            raise DatabaseUnavailableError("The server is read-only: a standby, or a primary that was replaced.") from error
        except psycopg.Error as error:
            if self._connection is not None and (self._connection.broken or self._connection.closed):
                await self.close()
            raise translate(error) from error
        except TimeoutError:
            await self.close()
            raise DatabaseUnavailableError("The server does not respond.") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()


async def enabled_targets(connection: Connection) -> dict[int, Target]:
    """The targets to deliver to, by their ids."""
    rows = await connection.call(
        "select target_id, name, kind, config from walltrack.notification_targets where disabled_at is null"
    )
    return {target_id: Target(target_id, name, kind, config) for target_id, name, kind, config in rows}


async def fan_out_events(connection: Connection, limit: int) -> list[FannedOut]:
    """Make deliveries of the next events, at most `limit` per target."""
    query: LiteralString = "select target_id, target, read, created, has_more, problem from walltrack.fan_out_events(%s)"
    return [FannedOut(*row) for row in await connection.call(query, (limit,))]


async def claim_deliveries(
    connection: Connection, relay: str, capacity: Mapping[int, int], lease: timedelta, limit: int, targets: Mapping[int, Target]
) -> list[Claim]:
    """Claim at most `limit` messages, for each target at most its capacity."""
    rows = await connection.call(
        "select lease, target_id, deliveries, item::text, digest::text from walltrack.claim_deliveries(%s, %s::jsonb, %s, %s)",
        (relay, json.dumps({str(target_id): free for target_id, free in capacity.items()}), lease, limit),
    )
    return [
        Claim(lease, targets[target_id], tuple(deliveries), _read_json(item), _read_json(digest))
        for lease, target_id, deliveries, item, digest in rows
    ]


def _read_json(text: str | None) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON value; a number that neither Python nor a receiver can calculate with is kept as its digits."""
    return None if text is None else json.loads(text, parse_int=_read_int, parse_float=_read_float)


def _read_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _read_float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


async def finish_deliveries(connection: Connection, relay: str, reports: Iterable[Report]) -> list[Finished]:
    """Report results; those of claims that have passed to another relay are ignored."""
    results = [
        {
            "lease": report.claim.lease,
            "deliveries": report.claim.deliveries,
            "outcome": report.result.outcome,
            "status": report.result.status,
            "response": report.result.response,
            "retry_after": report.result.retry_after,
            "reference": report.result.reference,
            "closed": report.result.is_closed,
        }
        for report in reports
    ]
    query: LiteralString = "select delivery_id, state, due_at from walltrack.finish_deliveries(%s, %s::jsonb)"
    return [Finished(*row) for row in await connection.call(query, (relay, json.dumps(results)))]


async def press_button(
    connection: Connection, target_id: int, reference: str, action: str, user: str, detail: str | None
) -> tuple[str, str]:
    """Handle a button press; returns the outcome and the reply to the user."""
    query: LiteralString = "select outcome, reply from walltrack.press_button(%s, %s, %s, %s, %s)"
    [(outcome, reply)] = await connection.call(query, (target_id, reference, action, user, detail))
    return outcome, reply


async def relay_stopped(connection: Connection, relay: str) -> None:
    """Unregister a relay that stops."""
    await connection.call("select walltrack.relay_stopped(%s)", (relay,))


async def relay_seen(connection: Connection, relay: str, host: str, pid: int, version: str) -> None:
    """Report that a relay is running."""
    await connection.call("select walltrack.relay_seen(%s, %s, %s, %s)", (relay, host, pid, version))


async def escalate_overdue(connection: Connection, limit: int) -> int:
    """Fire the escalation steps that are due, of at most `limit` alerts; how many have fired."""
    [(fired,)] = await connection.call("select walltrack.escalate_overdue(%s)", (limit,))
    return int(fired)


async def take_duty(connection: Connection, duty: str, relay: str, period: timedelta) -> bool:
    """Whether the relay has the duty from now on for a time, alone."""
    [(is_taken,)] = await connection.call("select walltrack.take_duty(%s, %s, %s)", (duty, relay, period))
    return bool(is_taken)


async def failed_checks(connection: Connection) -> list[str]:
    """The failed checks of health(), one text for each."""
    rows = await connection.call("select h.name, h.found from walltrack.health() as h where h.ok is false")
    return [f"{name}: {found}" for name, found in rows]


async def relay_metrics(connection: Connection) -> list[Sample]:
    """The metrics of the database."""
    return [Sample(*row) for row in await connection.call("select name, labels, value from walltrack.relay_metrics()")]
