"""An event as one line for people: time, severity, kind, alert, token and cause."""

from __future__ import annotations

from datetime import datetime

from rich.text import Text

from walltrack_alerts.cli.base import STYLES
from walltrack_alerts.enums import EventKind
from walltrack_alerts.models import AlertEvent
from walltrack_alerts.text import one_line, set_cells, short_token, side_of, whole_token

_TOKEN_CELLS = 10


def event_line(event: AlertEvent, *, is_short: bool) -> Text:
    """The line of an event. A short one has today's times without the date, shortened tokens and columns of fixed width."""
    severity = str(event.detail.get("severity") or "info")
    at = event.at.astimezone()
    is_old = at.date() != datetime.now().astimezone().date()
    time = f"{at:%Y-%m-%d %H:%M:%S%z}" if not is_short else f"{at:%m-%d %H:%M:%S}" if is_old else f"{at:%H:%M:%S}"
    return Text.assemble(
        (time, "dim"),
        " ",
        (f"{severity.upper():<8}", STYLES.get(severity, "")),
        " ",
        (f"{event.kind:<12}", "bold"),
        f" {str(event.alert_id)[:8]} ",
        " ".join(part for part in (_subject(event, is_short=is_short), _note(event)) if part),
    )


def _subject(event: AlertEvent, *, is_short: bool) -> str:
    """Token and side of the order, or the title of an alert without one."""
    if event.order_id is None:
        return one_line(event.title or "")
    token = (short_token if is_short else whole_token)(event.token_symbol, event.token) or "-"
    side = side_of(event.side, is_simulated=event.is_simulated is True)
    return f"{set_cells(token, _TOKEN_CELLS) if is_short else token} {side:<4}"


def _note(event: AlertEvent) -> str:
    """The detail that matters for this kind of event."""
    detail = event.detail
    match event.kind:
        case EventKind.ACKNOWLEDGED:
            note = f"by {event.actor}"
        case EventKind.SNOOZED:
            until = detail.get("snoozed_until")
            note = f"by {event.actor}, until {_clock(until)}" if until else f"woken by {event.actor}"
        case EventKind.RESOLVED:
            note = f"{detail.get('resolution') or ''} (by {event.actor})"
        case EventKind.REPEATED:
            note = f"{detail.get('error') or ''} ({detail.get('occurrences') or 'several'} times)"
        case _:
            note = str(detail.get("error") or "")
    return one_line(note)


def _clock(until: object) -> str:
    """The end of a snooze, without the date where it is today; a text that is not a time stays as it is."""
    try:
        at = datetime.fromisoformat(str(until)).astimezone()
    except ValueError:
        return str(until)
    return f"{at:%H:%M}" if at.date() == datetime.now().astimezone().date() else f"{at:%Y-%m-%d %H:%M}"
