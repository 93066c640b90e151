"""Validates the parameters of requests: the page is under the control of the user, so nothing it sends is trusted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

from walltrack_alerts.models import AlertFilter, AlertSeverity
from walltrack_alerts.ui.view import Json

MOST = 500
"""Alerts in one request."""

_SIMULATED = {"yes": True, "no": False}


def parse_mapping(asked: object) -> Json:
    """The parameters; none if the page sent anything but an object."""
    return asked if isinstance(asked, dict) else {}


def parse_filter(asked: object) -> AlertFilter:
    """Which alerts the list shows; invalid parts are ignored."""
    wanted = parse_mapping(asked)
    severities = wanted.get("severities")
    status, order_type = parse_string(wanted.get("status")), parse_string(wanted.get("type"))
    return AlertFilter.model_validate(
        {
            "severities": [each for each in AlertSeverity if isinstance(severities, list) and each.value in severities],
            "status": status if status in get_args(AlertFilter.model_fields["status"].annotation) else "open",
            "order_type": order_type if order_type in ("entry", "exit") else None,
            "simulated": _SIMULATED.get(parse_string(wanted.get("simulated"))),
            "text": parse_string(wanted.get("text"), 200).replace("\0", ""),
        }
    )


def parse_string(value: object, longest: int = 100) -> str:
    """A text without surrounding blanks; empty if the value is not a text."""
    return value[: longest * 2].strip()[:longest] if isinstance(value, str) else ""


def parse_uuid(value: object) -> UUID | None:
    """An id; None if the value is not one."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def parse_uuids(values: object) -> list[UUID]:
    """The ids in a list, each once."""
    several: Iterable[object] = values if isinstance(values, list) else ()
    found = (parse_uuid(value) for value in several)
    return list(dict.fromkeys(each for each in found if each is not None))


def parse_numbers(values: object, most: int) -> list[int]:
    """The ids from 1 up in a list, each once; of a longer list the first ones."""
    several: list[object] = values[:most] if isinstance(values, list) else []
    return list(dict.fromkeys(each for each in several if type(each) is int and 0 < each < 2**63))


def parse_number(value: object, least: int, most: int) -> int:
    """A whole number within bounds."""
    return min(max(value, least), most) if isinstance(value, int) else least


def parse_time(value: object) -> datetime | None:
    """Milliseconds since 1970 as an aware time; None when invalid."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None
