"""The data of the charts: one statement per chart. `days` is 1 to 90, `timezone` an IANA name (InvalidAlertError otherwise)."""

from __future__ import annotations

from walltrack_alerts.models import UtcTime, _Row
from walltrack_alerts.service import AlertService


class Raised(_Row):
    """Alerts raised in one hour or, beyond 3 days, in one local day; the last period has not ended yet."""

    starts_at: UtcTime
    ends_at: UtcTime
    critical: int
    high: int
    warning: int
    info: int


class Open(_Row):
    """Alerts that were open at a point in time."""

    at: UtcTime
    critical: int
    high: int
    warning: int
    info: int


class Response(_Row):
    """Seconds from raised to acknowledged and to resolved, for the alerts of this hour or day; None without any."""

    starts_at: UtcTime
    ends_at: UtcTime
    acknowledged: int
    acknowledge_median: float | None
    acknowledge_p95: float | None
    resolved: int
    resolve_median: float | None
    resolve_p95: float | None


class TokenFailures(_Row):
    """Permanently failed orders of a token."""

    token: str | None
    token_symbol: str | None
    failures: int


class ErrorFailures(_Row):
    """Permanently failed orders with an error of this family, and one of these errors verbatim."""

    family: str
    example: str
    failures: int


async def raised(service: AlertService, days: int, timezone: str) -> list[Raised]:
    """Alerts raised per hour or day, by severity; every bucket, oldest first."""
    return [Raised(**row) for row in await service.rows(_SELECT.format("raised"), days=days, timezone=timezone)]


async def open_over_time(service: AlertService, days: int, timezone: str) -> list[Open]:
    """Open alerts at each hour (beyond 7 days, every 6 hours), at midnight, and now; oldest first."""
    return [Open(**row) for row in await service.rows(_SELECT.format("open"), days=days, timezone=timezone)]


async def response(service: AlertService, days: int, timezone: str) -> list[Response]:
    """Time to acknowledge and to resolve, median and p95 per hour or day; every bucket, oldest first."""
    return [Response(**row) for row in await service.rows(_SELECT.format("response"), days=days, timezone=timezone)]


async def failures_by_token(service: AlertService, days: int, timezone: str) -> list[TokenFailures]:
    """The 10 tokens with the most failures, worst first."""
    return [TokenFailures(**row) for row in await service.rows(_SELECT.format("tokens"), days=days, timezone=timezone)]


async def failures_by_error(service: AlertService, days: int, timezone: str) -> list[ErrorFailures]:
    """The 10 error families with the most failures, worst first."""
    return [ErrorFailures(**row) for row in await service.rows(_SELECT.format("errors"), days=days, timezone=timezone)]


_SELECT = "select * from walltrack.chart_{}(:days, :timezone)"
