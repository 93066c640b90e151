"""Parses the values of options: intervals, times, ids. An error shows examples and ends with exit code 2."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, time, timedelta

import typer

_UNITS = {
    "second": (1, "s sec secs second seconds"),
    "minute": (60, "m min mins minute minutes"),
    "hour": (3600, "h hr hrs hour hours"),
    "day": (86400, "d day days"),
    "week": (604800, "w week weeks"),
    "month": (2592000, "mon mons month months"),
    "year": (31536000, "y yr yrs year years"),
}
_NAMES = {name: unit for unit, (_, names) in _UNITS.items() for name in names.split()}
_PART = re.compile(r"\s*(?:(?P<hours>\d{1,4}):(?P<minutes>[0-5]\d)|(?P<number>\d{1,9}(?:\.\d{1,6})?)\s*(?P<unit>[a-z]+))[\s,]*")
_YEAR = 31536000  # seconds
_LONGEST = 100 * _YEAR


def interval(value: str) -> str:
    """An interval such as '15 min', '1h30m', '1 day 2 hours' or '1:30' as PostgreSQL reads it (BadParameter)."""
    return _interval(value, _LONGEST)


def snooze_interval(value: str) -> str:
    """An interval of at most a year, the longest snooze that the database accepts (BadParameter)."""
    return _interval(value, _YEAR)


def _interval(value: str, longest: float) -> str:
    text, place, seconds = value.strip().lower(), 0, 0.0
    parts: list[str] = []
    while place < len(text):
        part = _PART.match(text, place)
        unit = "minute" if part and part["hours"] else _NAMES.get(part["unit"]) if part else None
        if part is None or unit is None:
            break
        number = int(part["hours"]) * 60 + int(part["minutes"]) if part["hours"] else float(part["number"])
        seconds += number * _UNITS[unit][0]
        parts.append(f"{number:.6f} {unit}s")
        place = part.end()
    else:
        if 0 < seconds <= longest:
            return " ".join(parts)
        if parts:
            limit = "a year at most" if longest == _YEAR else "100 years at most"
            raise typer.BadParameter(f"{value!r} is {f'too long: {limit}' if seconds else 'zero'}.{_INTERVAL_EXAMPLES}")
    raise typer.BadParameter(f"{value!r} is not an interval.{_INTERVAL_EXAMPLES}")


_INTERVAL_EXAMPLES = " Write a number with its unit, e.g. '15 min', '1 h', '1h30m', '7 days'."


def future_time(value: str) -> datetime:
    """A time within the next year, in the local time zone unless it names another; '18:00' is the next one (BadParameter)."""
    at = _time(value)
    if not timedelta(0) < at - datetime.now(UTC) <= timedelta(days=366):
        raise typer.BadParameter(f"{value!r} is not within the next year.{_TIME_EXAMPLES}")
    return at


def past_time(value: str) -> datetime:
    """A time that has passed, in the local time zone unless it names another; '18:00' is the last one (BadParameter)."""
    at = _time(value)
    if at > datetime.now(UTC) and ":" in value and len(value) <= len("18:00:00"):
        at -= timedelta(days=1)
    if at > datetime.now(UTC):
        raise typer.BadParameter(f"{value!r} is in the future.{_TIME_EXAMPLES}")
    return at


_TIME_EXAMPLES = " Write a time like 18:00 or 2026-01-31T09:00."


def _time(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        clock = time.fromisoformat(value)
        now = datetime.now(clock.tzinfo).astimezone(clock.tzinfo)
        today = datetime.combine(now.date(), clock)
        return (today if today.astimezone() > now else today + timedelta(days=1)).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{value!r} is not a time.{_TIME_EXAMPLES}") from None


def alert_id(value: str) -> str:
    """An alert's id or its first characters, at least 4 (BadParameter)."""
    if not re.fullmatch("[0-9a-f]{4,32}", value.strip().lower().replace("-", ""), re.ASCII):
        raise typer.BadParameter(f"{value!r} is not the id of an alert. Give the id, or at least its first 4 characters.")
    return value


def delivery_id(value: str) -> int:
    """The id of a delivery (BadParameter)."""
    if not re.fullmatch("[0-9]{1,18}", value, re.ASCII):
        raise typer.BadParameter(f"{value!r} is not the id of a delivery. `walltrack-alerts deliveries list` shows the ids.")
    return int(value)


def columns_of_facts(values: list[str]) -> dict[str, str]:
    """Fact -> column from texts such as 'attempt_count=retry_count' (BadParameter)."""
    columns: dict[str, str] = {}
    for value in values:
        fact, _, column = (part.strip() for part in value.partition("="))
        if not (fact and column):
            raise typer.BadParameter(f"{value!r} is not a mapping. Write a fact and its column, e.g. attempt_count=retry_count.")
        if columns.setdefault(fact, column) != column:
            raise typer.BadParameter(f"{fact} has two columns: {columns[fact]} and {column}.")
    return columns


def words(value: str) -> list[str]:
    """The parts of a list with commas, each once (BadParameter if there is none)."""
    found = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not found:
        raise typer.BadParameter("The list is empty. Leave the option out to restrict nothing.")
    return found


def placeholder(value: str) -> str:
    """A placeholder such as ${NAME} (BadParameter).

    The database refuses anything else, too, but its log could keep a secret that was given by mistake. The refusal hides it.
    """
    if not re.fullmatch(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", value):
        raise typer.BadParameter(
            "Give the name of an environment variable of the relay in single quotes, e.g. '${WT_SECRET}', not the secret itself."
        )
    return value


def allowed_user(value: str) -> tuple[str, str]:
    """The id of a user at the service, and the operator's name, from a text such as '12345=ada' (BadParameter)."""
    user, _, name = (part.strip() for part in value.partition("="))
    if not (re.fullmatch("[0-9]+", user, re.ASCII) and name):
        raise typer.BadParameter(f"{value!r} is not a user. Write the id at the service and the operator's name, e.g. 12345=ada.")
    return user, name


def quiet_hours(value: str) -> dict[str, str]:
    """Two clock times and a time zone from a text such as '22:00-07:00 Europe/Berlin' (BadParameter)."""
    hours = re.fullmatch(r"\s*(\d{1,2}:\d\d)\s*-\s*(\d{1,2}:\d\d)\s+(\S+)\s*", value, re.ASCII)
    if hours is None:
        raise typer.BadParameter(f"{value!r} is not an hour range with a zone. Write e.g. '22:00-07:00 Europe/Berlin'.")
    return dict(zip(("from", "until", "zone"), hours.groups(), strict=True))


def finite(value: float | None) -> float | None:
    """A finite number: neither nan nor inf (BadParameter)."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value
