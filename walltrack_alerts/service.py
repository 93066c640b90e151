"""AlertService: each method runs one statement of schema walltrack. Errors are subclasses of AlertsError."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from walltrack_alerts.database import as_libpq, async_engine
from walltrack_alerts.enums import NoticeCode
from walltrack_alerts.errors import AlertNotFoundError, DatabaseUnavailableError, InvalidAlertError, translate
from walltrack_alerts.models import (
    Alert,
    AlertCounts,
    AlertEvent,
    AlertFilter,
    AlertPage,
    AlertSeverity,
    Check,
    SeverityCount,
    Summary,
    TimelineEntry,
)

CLOSING_SECONDS = 10
"""How long close() waits for running statements; a cancelled one ends as soon as the server has processed the cancel."""


_COLUMNS = ", ".join(name for name in Alert.model_fields if name not in ("notice", "notice_code"))
_NOTICE_CODES = frozenset(NoticeCode)


def _alerts(which: str) -> str:
    """A query of the table that names its columns: on a database that is not migrated, the error names what is missing."""
    return f"select {_COLUMNS} from walltrack.alerts where {which}"  # noqa: S608 - both are texts of this module


def _filter(which: AlertFilter | None) -> dict[str, object]:
    """The parameters of a filter."""
    which = which or AlertFilter()
    return {**which.model_dump(exclude={"severities"}), "severities": sorted(which.severities)}


class AlertService:
    """Queries and transitions of alerts over a pool of autocommit connections. Use as `async with`, or close()."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._under_way: set[asyncio.Future[None]] = set()
        self._closed = False

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A service for a libpq URI or key=value string; connects at the first call."""
        return cls(async_engine(as_libpq(url)))

    async def __aenter__(self) -> Self:
        self._closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pool after its running statements have finished. Later calls fail."""
        self._closed = True
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CLOSING_SECONDS)
        await self._engine.dispose()

    async def create_alert(
        self,
        alert_type: str,
        severity: AlertSeverity | str,
        title: str,
        message: str = "",
        *,
        data: dict[str, Any] | None = None,
        requires_action: bool = False,
        dedupe_key: str | None = None,
    ) -> Alert:
        """Open an alert, or update the open one of the dedupe key and count the occurrence (InvalidAlertError)."""
        return await self._alert(
            "select * from walltrack.raise_alert(:alert_type, :severity, :title, :message, cast(:data as jsonb), "
            ":requires_action, :dedupe_key)",
            alert_type=alert_type,
            severity=str(severity),
            title=title,
            message=message,
            data=json.dumps(data or {}, default=str),
            requires_action=requires_action,
            dedupe_key=dedupe_key,
        )

    async def acknowledge_alert(self, alert_id: UUID | str, by: str) -> Alert:
        """active -> acknowledged; a repeat returns the alert unchanged with a notice (AlertTransitionError if resolved)."""
        return await self._alert("select * from walltrack.acknowledge_alert(:id, :by)", id=alert_id, by=by)

    async def resolve_alert(self, alert_id: UUID | str, resolution: str, by: str) -> Alert:
        """active or acknowledged -> resolved; a repeat returns the alert unchanged with a notice."""
        return await self._alert(
            "select * from walltrack.resolve_alert(:id, :resolution, :by)", id=alert_id, resolution=resolution, by=by
        )

    async def snooze_alert(self, alert_id: UUID | str, until: datetime | None, by: str) -> Alert:
        """Snooze an open alert until an aware time within a year; None ends the snooze.

        A notice names the other operator whose snooze was replaced or ended. Raises AlertTransitionError for a resolved alert,
        InvalidAlertError for any other time.
        """
        if until is not None and until.tzinfo is None:
            raise InvalidAlertError("the end of a snooze needs a time zone")
        return await self._alert(
            "select * from walltrack.snooze_alert(:id, cast(:until as timestamptz), :by)", id=alert_id, until=until, by=by
        )

    async def acknowledge_alerts(self, alert_ids: Sequence[UUID | str], by: str) -> list[Alert]:
        """acknowledge_alert() for many in one transaction; returns those that it changed.

        Leaves out alerts that are not active, and alerts that another transaction has locked. acknowledge_alert() reports the
        reason for one of them.
        """
        return await self._many("select * from walltrack.acknowledge_alerts(cast(:ids as uuid[]), :by)", alert_ids, by=by)

    async def resolve_alerts(self, alert_ids: Sequence[UUID | str], resolution: str, by: str) -> list[Alert]:
        """resolve_alert() for many, as in acknowledge_alerts(); leaves out resolved alerts."""
        return await self._many(
            "select * from walltrack.resolve_alerts(cast(:ids as uuid[]), :resolution, :by)",
            alert_ids,
            resolution=resolution,
            by=by,
        )

    async def snooze_alerts(self, alert_ids: Sequence[UUID | str], until: datetime | None, by: str) -> list[Alert]:
        """snooze_alert() for many, as in acknowledge_alerts(); leaves out resolved and snoozed alerts."""
        return await self._many(
            "select * from walltrack.snooze_alerts(cast(:ids as uuid[]), cast(:until as timestamptz), :by)",
            alert_ids,
            until=until,
            by=by,
        )

    async def snooze_alert_for(self, alert_id: UUID | str, how_long: str, by: str) -> Alert:
        """Like snooze_alert(), for a PostgreSQL interval from now, e.g. '15 min' or '1 day'."""
        return await self._alert(
            "select * from walltrack.snooze_alert(:id, now() + cast(:how_long as interval), :by)",
            id=alert_id,
            how_long=how_long,
            by=by,
        )

    async def resolve_by_dedupe_key(self, dedupe_key: str, resolution: str, by: str) -> Alert | None:
        """Resolve the open alert of a dedupe key; None when none is open."""
        rows, notice = await self._fetch(
            "select * from walltrack.resolve_by_dedupe_key(:dedupe_key, :resolution, :by) where id is not null",
            dedupe_key=dedupe_key,
            resolution=resolution,
            by=by,
        )
        return Alert(**rows[0], **notice) if rows else None

    async def get_active_alerts(self, severity: AlertSeverity | str | None = None, limit: int = 100) -> list[Alert]:
        """Open alerts (active and acknowledged): critical first, oldest first within a severity."""
        rows, _ = await self._fetch(
            "select * from walltrack.open_alerts where cast(:severity as text) is null or severity = :severity limit :limit",
            severity=None if severity is None else str(severity),
            limit=limit,
        )
        return [Alert(**row) for row in rows]

    async def get_resolved_alerts(self, limit: int = 100) -> list[Alert]:
        """Resolved alerts, newest resolution first."""
        rows, _ = await self._fetch(_alerts("status = 'resolved' order by resolved_at desc limit :limit"), limit=limit)
        return [Alert(**row) for row in rows]

    async def get_page(self, which: AlertFilter | None = None, after: str | None = None, limit: int = 100) -> AlertPage:
        """One page of a list: open alerts critical first, then oldest first; resolved ones after them, newest first.

        `after` is the `next` of the previous page (InvalidCursorError). A page has 1 to 1,000 alerts and examines at most 20,000
        resolved ones, so a rare match may take several pages.
        """
        rows, _ = await self._fetch(
            "select (p.alert).*, p.place from walltrack.list_alerts("
            "cast(:severities as text[]), :status, :order_type, cast(:simulated as boolean), :text, :after, :limit) as p",
            **_filter(which),
            after=after,
            limit=limit,
        )
        places = [row.pop("place") for row in rows]
        return AlertPage(
            alerts=[Alert(**row) for row in rows if row["id"] is not None],
            next=places[-1] if places else None,
        )

    async def get_changed(self, which: AlertFilter | None, ids: Sequence[UUID | str]) -> list[Alert]:
        """The alerts among `ids` that match the filter now, in list order."""
        rows, _ = await self._fetch(
            "select * from walltrack.changed_alerts(cast(:ids as uuid[]), "
            "cast(:severities as text[]), :status, :order_type, cast(:simulated as boolean), :text)",
            **_filter(which),
            ids=[str(alert_id) for alert_id in ids],
        )
        return [Alert(**row) for row in rows]

    async def get_summary(self) -> Summary:
        """Counts of open alerts by severity and status, and when the next snooze ends."""
        rows, _ = await self._fetch("select * from walltrack.alert_summary")
        return Summary(**rows[0], by_severity={severity: rows[0][severity.value] for severity in AlertSeverity})

    async def get_ringing_alerts(self, limit: int = 100) -> list[Alert]:
        """Critical alerts that ring in the panel: active, not snoozed, not silenced; the newest cause comes first."""
        rows, _ = await self._fetch(
            "select a.* from walltrack.alerts as a "
            "where walltrack.is_open(a.status) and walltrack.is_ringing(a.severity, a.status, a.snoozed_until) and ("
            "not exists (select from walltrack.active_silences) or (walltrack.silence_of(a)).silence_id is null) "
            "order by greatest(a.created_at, a.notified_at, a.snoozed_until) desc, a.id desc limit :limit",
            limit=limit,
        )
        return [Alert(**row) for row in rows]

    async def get_median_seconds_to_acknowledge(self) -> float | None:
        """The median over the newest 1,000 acknowledgements of the last 7 days; None without any."""
        rows, _ = await self._fetch("select walltrack.median_seconds_to_acknowledge() as median")
        median: float | None = rows[0]["median"]
        return median

    async def get_active_count(self) -> AlertCounts:
        """Open alerts per severity (always all four) and in total."""
        rows, _ = await self._fetch("select * from walltrack.alert_counts")
        counts = [SeverityCount(**row) for row in rows]
        return AlertCounts(by_severity={count.severity: count for count in counts})

    async def get_alert(self, alert_id: UUID | str) -> Alert:
        """One alert by its id (AlertNotFoundError)."""
        rows, _ = await self._fetch(_alerts("id = :id"), id=alert_id)
        if not rows:
            raise AlertNotFoundError(f"there is no alert {alert_id}")
        return Alert(**rows[0])

    async def find_alert(self, prefix: str) -> Alert:
        """The alert whose id has this prefix of at least 4 digits (AlertNotFoundError; InvalidAlertError for several)."""
        digits = prefix.strip().lower().replace("-", "")
        if not re.fullmatch("[0-9a-f]{4,32}", digits):
            raise InvalidAlertError(f"{prefix!r} is not the id of an alert\nGive the id, or at least its first 4 characters.")
        rows, _ = await self._fetch(
            _alerts("id between cast(:first as uuid) and cast(:last as uuid) limit 2"),
            first=digits.ljust(32, "0"),
            last=digits.ljust(32, "f"),
        )
        if not rows:
            raise AlertNotFoundError(f"there is no alert {prefix}\n`walltrack-alerts alerts list` shows the open ones.")
        if len(rows) > 1:
            raise InvalidAlertError(f"several alerts begin with {prefix}\nGive more characters of the id.")
        return Alert(**rows[0])

    async def get_events(self, alert_id: UUID | str, limit: int = 1000) -> list[AlertEvent]:
        """The events of an alert, oldest first; none for an alert that does not exist."""
        rows, _ = await self._fetch(
            "select event_id, xid::text as xid, alert_id, kind, actor, at, detail from walltrack.alert_events "
            "where alert_id = :id order by event_id limit :limit",
            id=alert_id,
            limit=limit,
        )
        return [AlertEvent(**row) for row in rows]

    async def get_timeline(self, alert_id: UUID | str, limit: int = 1000) -> list[TimelineEntry]:
        """The newest `limit` events of an alert and actions on its order, oldest first."""
        rows, _ = await self._fetch(
            "select at, kind, actor, detail, event_id from (select t.* from walltrack.alert_timeline as t where t.alert_id = :id "
            "order by t.at desc, t.event_id desc limit :limit) as newest order by at, event_id",
            id=alert_id,
            limit=limit,
        )
        return [TimelineEntry(**row) for row in rows]

    async def get_order(self, alert_id: UUID | str) -> dict[str, Any] | None:
        """The order of the alert as it is stored now, by column and by fact; None if there is none."""
        rows, _ = await self._fetch("select walltrack.order_of_alert(:id) as row", id=alert_id)
        row: dict[str, Any] | None = rows[0]["row"]
        return row

    async def rows(self, statement: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of one statement with :named parameters (AlertsError); for other modules of this package."""
        rows, _ = await self._fetch(statement, **parameters)
        return rows

    async def get_health(self) -> list[Check]:
        """The checks of alerting itself, which `doctor` and the banner of the panel show."""
        rows, _ = await self._fetch("select * from walltrack.health()")
        return [Check(**row) for row in rows]

    async def retry_order(self, alert_id: UUID | str, by: str) -> Alert:
        """Put the failed order of an alert back to pending; the alert stays open (OrderActionRefusedError)."""
        return await self._alert("select * from walltrack.retry_order(:id, :by)", id=alert_id, by=by)

    async def cancel_order(self, alert_id: UUID | str, reason: str | None, by: str) -> Alert:
        """Cancel the pending or failed order of an alert, which resolves the alert (OrderActionRefusedError)."""
        return await self._alert("select * from walltrack.cancel_order(:id, :reason, :by)", id=alert_id, reason=reason, by=by)

    async def _alert(self, statement: str, **parameters: object) -> Alert:
        rows, notice = await self._fetch(statement, **parameters)
        return Alert(**rows[0], **notice)

    async def _many(self, statement: str, alert_ids: Sequence[UUID | str], **parameters: object) -> list[Alert]:
        rows, _ = await self._fetch(statement, ids=[str(alert_id) for alert_id in alert_ids], **parameters)
        return [Alert(**row) for row in rows]

    async def _fetch(self, statement: str, **parameters: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The rows of a statement, and `notice` and `notice_code` for an alert: the last notice of alerting itself, if any."""
        notice: dict[str, Any] = {}

        def remember(diagnostic: psycopg.errors.Diagnostic) -> None:
            code = diagnostic.sqlstate or ""
            if code.startswith("WT"):
                notice["notice"] = diagnostic.message_primary
                notice["notice_code"] = code if code in _NOTICE_CODES else None

        try:
            async with self._connection() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                driver.add_notice_handler(remember)
                try:
                    rows = (await connection.execute(text(statement), parameters)).mappings().all()
                finally:
                    driver.remove_notice_handler(remember)
        except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error) as error:
            raise translate(error) from error
        except UnicodeEncodeError as error:
            raise InvalidAlertError("a text holds bytes that are not UTF-8") from error
        return [dict(row) for row in rows], notice

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool; close() waits until it is returned."""
        if self._closed:
            raise DatabaseUnavailableError("The service is closed.")
        given_back = asyncio.get_running_loop().create_future()
        self._under_way.add(given_back)
        try:
            async with self._engine.connect() as connection:
                yield connection
        finally:
            self._under_way.discard(given_back)
            given_back.set_result(None)
