"""`alerts ...` and `orders ...`: list and show alerts, act on them and on their orders."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from walltrack_alerts.cli.base import (
    STYLES,
    AsJson,
    err,
    examples,
    is_terminal,
    out,
    print_facts,
    print_json,
    print_line,
    print_text,
    run_query,
)
from walltrack_alerts.cli.values import alert_id as as_alert_id
from walltrack_alerts.cli.values import future_time, snooze_interval
from walltrack_alerts.enums import AlertSeverity
from walltrack_alerts.text import format_local, one_line, printable

if TYPE_CHECKING:
    from walltrack_alerts.models import Alert, TimelineEntry
    from walltrack_alerts.service import AlertService

alerts = typer.Typer(
    name="alerts",
    help="List alerts and act on them.",
    no_args_is_help=True,
    epilog=examples(
        "alerts list --severity critical",
        "alerts show 4f1c2a9b",
        "alerts ack 4f1c2a9b",
        "alerts snooze 4f1c2a9b --for '15 min'",
        "alerts resolve 4f1c2a9b --note 'sold by hand'",
    ),
)
orders = typer.Typer(
    name="orders",
    help="Retry or cancel the order of an alert. Every action is recorded with its actor.",
    no_args_is_help=True,
    epilog=examples("orders retry 4f1c2a9b", "orders cancel 4f1c2a9b --reason 'the moment has passed'"),
)


def _login_name() -> str:
    """The login name of the user; in a container the user id may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


AlertId = Annotated[
    str, typer.Argument(metavar="ID", parser=as_alert_id, help="The id of the alert, or at least its first 4 characters.")
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="NAME",
        help="Your name, which is recorded with the action.",
        default_factory=_login_name,
        show_default="your login name",
    ),
]

_PAGE = 1000
"""Alerts per call of the service."""


@alerts.command(
    "list",
    epilog=examples(
        "alerts list --severity critical --severity high",
        "alerts list --status all --search bonk",
        "alerts list | grep critical | cut -f 1,4",
        "alerts list --json | jq -r .id",
    ),
)
def list_alerts(
    severity: Annotated[
        list[AlertSeverity] | None,
        typer.Option(metavar="SEVERITY", help=f"Only this severity; repeatable: {', '.join(AlertSeverity)}."),
    ] = None,
    status: Annotated[
        Literal["open", "active", "acknowledged", "snoozed", "resolved", "all"],
        typer.Option(
            metavar="STATUS",
            help="open (every unresolved alert), active or acknowledged (without snoozed ones), snoozed, resolved, or all.",
        ),
    ] = "open",
    search: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Only alerts with this text in their token, id, error or title."),
    ] = "",
    limit: Annotated[int, typer.Option(metavar="NUMBER", help="At most this many alerts.", min=1)] = 100,
    as_json: AsJson = False,
) -> None:
    """List alerts, by default the open ones: critical first, then oldest first. Resolved alerts follow, newest first.

    In the table, 'ack' means acknowledged and 'sim' a simulated order.
    A pipe or file gets complete lines, with tabs between the columns.
    """
    from walltrack_alerts.cli.alert_table import alert_table, tabbed_lines
    from walltrack_alerts.models import AlertFilter

    which = AlertFilter(severities=frozenset(severity or ()), status=status, text=search)

    async def query(service: AlertService) -> list[Alert]:
        alerts: list[Alert] = []
        place = None
        while len(alerts) < limit:
            page = await service.get_page(which, place, min(limit - len(alerts), _PAGE))
            alerts += page.alerts
            place = page.next
            if place is None:
                break
        return alerts

    found = run_query(query)
    if as_json:
        for alert in found:
            print_json(alert)
    elif not found:
        err.print(f"No {status} alerts." if status != "all" else "No alerts.")
    elif is_terminal():
        out.print(alert_table(found, out.width))
    else:
        for line in tabbed_lines(found):
            print_line(line)


@alerts.command(epilog=examples("alerts show 4f1c2a9b", "alerts show 4f1c2a9b --json | jq .data"))
def show(alert_id: AlertId, as_json: AsJson = False) -> None:
    """Show one alert: its message, its data, and the history of the alert, its order and its deliveries."""

    async def query(service: AlertService) -> tuple[Alert, list[TimelineEntry]]:
        alert = await service.find_alert(alert_id)
        return alert, await service.get_timeline(alert.id)

    alert, timeline = run_query(query)
    if as_json:
        print_json({**alert.model_dump(mode="json"), "timeline": [entry.model_dump(mode="json") for entry in timeline]})
        return
    print_text(Text.assemble((f" {alert.severity.upper()} ", STYLES[alert.severity]), " ", (printable(alert.title), "bold")))
    print_text(f"{alert.message}\n")
    print_facts([*_facts(alert), *_data(alert)])
    print_text("")
    print_facts((format_local(entry.at), _entry_text(entry)) for entry in timeline)


def _facts(alert: Alert) -> Iterator[tuple[str, object]]:
    """The columns of an alert, without its data."""
    yield "id", alert.id
    yield "status", alert.status
    yield "snoozed until", format_local(alert.snoozed_until) if alert.is_snoozed and alert.snoozed_until else None
    yield "occurrences", alert.occurrences
    yield "raised", format_local(alert.created_at)
    yield "acknowledged", _signed(alert.acknowledged_by, alert.acknowledged_at)
    yield "resolved", _signed(alert.resolved_by, alert.resolved_at)
    yield "resolution", alert.resolution


def _data(alert: Alert) -> Iterator[tuple[str, object]]:
    """The data of an alert; the keys that operators look for come first."""
    first = ("token_symbol", "token", "side", "amount_sol", "error", "attempts", "max_attempts", "order_type", "order_id")
    for name in (*(name for name in first if name in alert.data), *(name for name in alert.data if name not in first)):
        value = alert.data[name]
        if isinstance(value, bool):
            yield name, "yes" if value else "no"
        else:
            yield name, value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _signed(name: str | None, at: datetime | None) -> str | None:
    return f"by {name or 'unknown'}, {format_local(at)}" if at else None


def _entry_text(entry: TimelineEntry) -> str:
    """The kind of an entry, its actor and its detail."""
    if entry.kind.startswith("deliver"):
        return _delivery_text(entry)
    until = entry.detail.get("snoozed_until")
    if entry.kind == "snoozed":
        note = f"until {format_local(datetime.fromisoformat(until))}" if until else "woken"
    elif entry.kind == "escalated":
        note = entry.escalation
    else:
        note = (
            entry.detail.get({"raised": "error", "repeated": "error", "resolved": "resolution"}.get(entry.kind, "reason")) or ""
        )
    return one_line(f"{entry.kind} by {entry.actor}{': ' if note else ''}{note}")


def _delivery_text(entry: TimelineEntry) -> str:
    """The outcome of a delivery; its actor is the target."""
    detail = entry.detail
    by = f" by {detail['dropped_by']}" if detail.get("dropped_by") else ""
    notes = ["in a digest"] if detail.get("digest") else []
    notes += [f"attempt {detail['attempts']}"] if (detail.get("attempts") or 0) > 1 else []
    cause = detail.get("reason") or detail.get("response") or ""
    verb = entry.kind.removeprefix("delivery_")
    text = f"delivered to {entry.actor}" if verb == "delivered" else f"delivery to {entry.actor} {verb}{by}"
    return one_line(text + (f" ({', '.join(notes)})" if notes else "") + (f": {cause}" if cause else ""))


@alerts.command("acknowledge", hidden=True, epilog=examples("alerts acknowledge 4f1c2a9b"))
@alerts.command(epilog=examples("alerts ack 4f1c2a9b", "alerts ack 4f1c2a9b --by ada"))
def ack(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """Acknowledge an active alert: you are taking care of it. `alerts acknowledge` is the same command."""

    async def query(service: AlertService) -> Alert:
        return await service.acknowledge_alert((await service.find_alert(alert_id)).id, by)

    _print_alert(run_query(query), as_json)


@alerts.command(epilog=examples("alerts resolve 4f1c2a9b --note 'sold by hand'"))
def resolve(
    alert_id: AlertId,
    by: By,
    note: Annotated[str, typer.Option("--note", "-m", metavar="TEXT", help="How the problem was solved.")],
    as_json: AsJson = False,
) -> None:
    """Resolve an open alert with a note."""

    async def query(service: AlertService) -> Alert:
        return await service.resolve_alert((await service.find_alert(alert_id)).id, note, by)

    _print_alert(run_query(query), as_json)


@alerts.command(epilog=examples("alerts snooze 4f1c2a9b --for '15 min'", "alerts snooze 4f1c2a9b --until 18:00"))
def snooze(
    alert_id: AlertId,
    by: By,
    how_long: Annotated[
        str | None,
        typer.Option("--for", metavar="INTERVAL", parser=snooze_interval, help="The duration, e.g. '15 min', '1 h', '1 day'."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=future_time,
            metavar="TIME",
            help="The end, e.g. 18:00 or 2026-01-31T09:00, in your time zone unless it contains another.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Snooze an open alert. The snooze ends after the given time, or at once if the severity rises."""
    if (how_long is None) == (until is None):
        raise typer.BadParameter("Give either --for or --until, e.g. --for '15 min' or --until 18:00.")

    async def query(service: AlertService) -> Alert:
        found = (await service.find_alert(alert_id)).id
        return await (service.snooze_alert(found, until, by) if until else service.snooze_alert_for(found, how_long or "", by))

    alert = run_query(query)
    _print_alert(alert, as_json, f"snoozed until {format_local(alert.snoozed_until)}" if alert.snoozed_until else "")


@alerts.command(epilog=examples("alerts wake 4f1c2a9b"))
def wake(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """End the snooze of an alert now."""

    async def query(service: AlertService) -> Alert:
        return await service.snooze_alert((await service.find_alert(alert_id)).id, None, by)

    _print_alert(run_query(query), as_json, "awake")


@orders.command(epilog=examples("orders retry 4f1c2a9b"))
def retry(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """Put the failed order of an alert back to pending, for another attempt. The alert stays open until the order is filled."""

    async def query(service: AlertService) -> Alert:
        return await service.retry_order((await service.find_alert(alert_id)).id, by)

    _print_alert(run_query(query), as_json, "the order is pending again")


@orders.command(epilog=examples("orders cancel 4f1c2a9b --reason 'the moment has passed'", "orders cancel 4f1c2a9b --yes"))
def cancel(
    alert_id: AlertId,
    by: By,
    reason: Annotated[
        str, typer.Option("--reason", "-m", metavar="TEXT", help="The reason, which is stored in the order.")
    ] = "Manually cancelled",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel the pending or failed order of an alert for good, which resolves the alert."""
    alert = run_query(lambda service: service.find_alert(alert_id))
    if not yes:
        is_simulated = alert.data.get("is_simulated") is True
        stays = " The simulated position stays open." if is_simulated else " The position stays open: close it by hand."
        warning = "" if alert.data.get("order_type") == "entry" else stays
        order = one_line(f"{alert.data.get('order_type') or ''} order {alert.data.get('order_id')} for {_token(alert)}")
        typer.confirm(f"Cancel the {order}? It cannot be undone.{warning}", abort=True, err=True)
    _print_alert(
        run_query(lambda service: service.cancel_order(alert.id, reason, by), quiet=True), as_json, "the order is cancelled"
    )


def _print_alert(alert: Alert, as_json: bool, done: str = "") -> None:
    if as_json:
        print_json({**alert.model_dump(mode="json"), "notice": alert.notice, "notice_code": alert.notice_code})
    else:
        done = " · ".join(part for part in (done, alert.notice) if part)
        print_text(f"{str(alert.id)[:8]} {_token(alert)} {alert.title}: {done or alert.status}".replace("  ", " "))


def _token(alert: Alert) -> str:
    from walltrack_alerts.cli.alert_table import token

    return token(alert)
