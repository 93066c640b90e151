"""The data of the charts for the page: plain numbers, times in milliseconds, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walltrack_alerts import statistics
from walltrack_alerts.errors import InvalidAlertError
from walltrack_alerts.service import AlertService
from walltrack_alerts.text import short_address
from walltrack_alerts.ui import sanitize, view

DAYS = (7, 1, 30)
"""What the page can choose from, in days. Until a range is chosen: the first one, or the second where it shows as much."""


async def read_charts(service: AlertService, days: object, timezone: object) -> dict[str, Any]:
    """Every chart for the last `days` in an IANA time zone; in UTC if the database does not know the zone."""
    length = next((each for each in DAYS if each == days), DAYS[0])
    zone = timezone if isinstance(timezone, str) and 0 < len(timezone) <= 64 else "UTC"
    try:
        raised = await statistics.raised(service, length, zone)
    except InvalidAlertError:
        zone = "UTC"
        raised = await statistics.raised(service, length, zone)
    if days is None:
        shorter = await statistics.raised(service, DAYS[1], zone)
        if _total(shorter) == _total(raised):
            length, raised = DAYS[1], shorter
    seen = await statistics.open_over_time(service, length, zone)
    response = await statistics.response(service, length, zone)
    return {
        "days": length,
        "timezone": zone,
        "raised": [_bucket(each, _severities(each)) for each in raised],
        "open": [{"at": view.to_epoch_ms(each.at), "values": _severities(each)} for each in seen],
        "acknowledge": [
            _bucket(each, [each.acknowledge_median, each.acknowledge_p95]) | {"count": each.acknowledged} for each in response
        ],
        "resolve": [_bucket(each, [each.resolve_median, each.resolve_p95]) | {"count": each.resolved} for each in response],
        "tokens": [_token(each) for each in await statistics.failures_by_token(service, length, zone)],
        "errors": [_error(each) for each in await statistics.failures_by_error(service, length, zone)],
    }


def _bucket(each: statistics.Raised | statistics.Response, values: Sequence[float | None]) -> dict[str, Any]:
    return {"from": view.to_epoch_ms(each.starts_at), "to": view.to_epoch_ms(each.ends_at), "values": values}


def _total(raised: list[statistics.Raised]) -> int:
    return sum(sum(_severities(each)) for each in raised)


def _severities(each: statistics.Raised | statistics.Open) -> list[int]:
    return [each.critical, each.high, each.warning, each.info]


def _error(each: statistics.ErrorFailures) -> dict[str, Any]:
    family, example = sanitize.line(sanitize.text(each.family)), sanitize.line(sanitize.text(each.example))
    return {"label": family, "aside": "", "more": example, "count": each.failures}


def _token(each: statistics.TokenFailures) -> dict[str, Any]:
    token, symbol = sanitize.line(sanitize.text(each.token)), sanitize.line(sanitize.text(each.token_symbol), 60)
    aside = short_address(token) if symbol else ""
    return {"label": symbol or short_address(token), "aside": aside, "more": token, "count": each.failures}
