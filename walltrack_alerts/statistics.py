"""What the charts show: one statement per chart. `days` is 1 to 90, `timezone` an IANA name (InvalidAlertError otherwise)."""

from __future__ import annotations

from walltrack_alerts.models import UtcTime, _Row
from walltrack_alerts.service import AlertService


class Raised(_Row):
    """How many alerts were raised in one hour, beyond 3 days in one local day; the last one has not ended yet."""

    starts_at: UtcTime
    ends_at: UtcTime
    critical: int
    high: int
    warning: int
    info: int


class Open(_Row):
    """How many alerts were open at a moment."""

    at: UtcTime
    critical: int
    high: int
    warning: int
    info: int


class Response(_Row):
    """Seconds from raised to acknowledged and to resolved, of what was so in this hour or day; None of nothing."""

    starts_at: UtcTime
    ends_at: UtcTime
    acknowledged: int
    acknowledge_median: float | None
    acknowledge_p95: float | None
    resolved: int
    resolve_median: float | None
    resolve_p95: float | None


class TokenFailures(_Row):
    """How many orders of a token failed for good."""

    token: str | None
    token_symbol: str | None
    failures: int


class ErrorFailures(_Row):
    """How many orders failed for good with an error of this family, and one of these errors as it was."""

    family: str
    example: str
    failures: int


async def raised(service: AlertService, days: int, timezone: str) -> list[Raised]:
    """Alerts raised per hour or day, by severity; every bucket, the oldest first."""
    return [Raised(**row) for row in await service.rows(_SELECT.format("raised"), days=days, timezone=timezone)]


async def open_over_time(service: AlertService, days: int, timezone: str) -> list[Open]:
    """Open alerts at each hour (beyond 7 days: each 6 hours), at the bounds of days, and now; the oldest first."""
    return [Open(**row) for row in await service.rows(_SELECT.format("open"), days=days, timezone=timezone)]


async def response(service: AlertService, days: int, timezone: str) -> list[Response]:
    """Time to acknowledge and to resolve, median and p95 per hour or day; every bucket, the oldest first."""
    return [Response(**row) for row in await service.rows(_SELECT.format("response"), days=days, timezone=timezone)]


async def failures_by_token(service: AlertService, days: int, timezone: str) -> list[TokenFailures]:
    """The 10 tokens with the most failures, the worst first."""
    return [TokenFailures(**row) for row in await service.rows(_SELECT.format("tokens"), days=days, timezone=timezone)]


async def failures_by_error(service: AlertService, days: int, timezone: str) -> list[ErrorFailures]:
    """The 10 error families with the most failures, the worst first."""
    return [ErrorFailures(**row) for row in await service.rows(_SELECT.format("errors"), days=days, timezone=timezone)]


_SELECT = "select * from walltrack.chart_{}(:days, :timezone)"
