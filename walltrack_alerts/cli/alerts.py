"""`alerts ...` and `orders ...`: look at alerts, act on them and on the orders behind them."""

from __future__ import annotations

import getpass
import os
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from walltrack_alerts.cli.base import STYLES, AsJson, ask, out, print_json, printable
from walltrack_alerts.models import Alert, AlertFilter, AlertSeverity
from walltrack_alerts.service import AlertService

alerts = typer.Typer(name="alerts", help="List alerts and act on them.", no_args_is_help=True)
orders = typer.Typer(
    name="orders",
    help="Act on the order behind an alert. It is kept who did what; what cannot be done is refused with the reason.",
    no_args_is_help=True,
)


def _login_name() -> str:
    """The name of the user; a container may run as a number that nobody has named."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


AlertId = Annotated[str, typer.Argument(metavar="ID", help="The alert's id, or its first characters, at least 4.")]
By = Annotated[
    str,
    typer.Option(
        "--by",
        help="Who acts; kept in the alert and its events.",
        default_factory=_login_name,
        show_default="your login name",
    ),
]


def _moment(value: str) -> datetime:
    """A time as a person writes it; in the time zone of this machine unless it names one."""
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter("write a time like 2026-01-31T09:00") from None


@alerts.command("list")
def list_alerts(
    severity: Annotated[list[AlertSeverity] | None, typer.Option(help="Only this severity; may be repeated.")] = None,
    status: Annotated[
        Literal["open", "active", "acknowledged", "snoozed", "resolved", "all"],
        typer.Option(help="open: every unresolved one. active and acknowledged: without the snoozed ones."),
    ] = "open",
    search: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Only where token, id, error or title has this text; an exact id is found at once."),
    ] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    as_json: AsJson = False,
) -> None:
    """Alerts, the open ones by default: critical first, then oldest first. Resolved ones follow, the newest first."""
    which = AlertFilter(severities=frozenset(severity or ()), status=status, text=search)

    async def question(service: AlertService) -> list[Alert]:
        page = await service.get_page(which, limit=limit)
        alerts = page.alerts
        while page.next and len(alerts) < limit:
            page = await service.get_page(which, page.next, limit - len(alerts))
            alerts += page.alerts
        return alerts

    found = ask(question)
    if as_json:
        for alert in found:
            print_json(alert)
        return
    if not found:
        out.print(f"No {status} alerts." if status != "all" else "No alerts.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("id", "severity", "status", "token", "title", "error", "times", "age"):
        table.add_column(
            heading,
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if heading in ("title", "error") else None,
            justify="right" if heading in ("times", "age") else "left",
        )
    for alert in found:
        table.add_row(
            str(alert.id)[:8],
            Text(alert.severity, style=STYLES[alert.severity]),
            "snoozed" if alert.is_snoozed else alert.status,
            Text(printable(_token(alert))),
            Text(printable(alert.title)),
            Text(printable(str(alert.data.get("error") or alert.message))),
            str(alert.occurrences),
            _duration(alert.age.total_seconds()),
        )
    out.print(table)


@alerts.command()
def show(alert_id: AlertId, as_json: AsJson = False) -> None:
    """One alert with its message, its data and what happened to it and its order."""

    async def question(service: AlertService) -> tuple[Alert, list[Any]]:
        alert = await service.find_alert(alert_id)
        return alert, await service.get_timeline(alert.id)

    alert, timeline = ask(question)
    if as_json:
        print_json({**alert.model_dump(mode="json"), "timeline": [entry.model_dump(mode="json") for entry in timeline]})
        return
    out.print(Text.assemble((f" {alert.severity.upper()} ", STYLES[alert.severity]), " ", (printable(alert.title), "bold")))
    out.print(Text(printable(alert.message)))
    out.print()
    facts = {"id": alert.id, "status": alert.status, "occurrences": alert.occurrences, "raised": alert.created_at}
    facts |= {"snoozed until": alert.snoozed_until if alert.is_snoozed else None}
    facts |= {"acknowledged by": alert.acknowledged_by, "resolved by": alert.resolved_by, "resolution": alert.resolution}
    for name, value in {**facts, **alert.data}.items():
        if value is not None:
            out.print(Text.assemble((f"{name:>16}  ", "dim"), printable(str(value))))
    out.print()
    for entry in timeline:
        told = {"raised": "error", "repeated": "error", "resolved": "resolution", "snoozed": "snoozed_until"}.get(
            entry.kind, "reason"
        )
        note = entry.detail.get(told) or ""
        out.print(Text(printable(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.kind:<15} {entry.actor}  {note}".rstrip())))


@alerts.command()
def ack(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """Acknowledge an active alert: somebody has seen it and takes care."""

    async def question(service: AlertService) -> Alert:
        return await service.acknowledge_alert((await service.find_alert(alert_id)).id, by)

    _tell_alert(ask(question), as_json)


@alerts.command()
def resolve(
    alert_id: AlertId,
    by: By,
    note: Annotated[str, typer.Option("--note", "-m", help="How it ended.")],
    as_json: AsJson = False,
) -> None:
    """Resolve an open alert with a note."""

    async def question(service: AlertService) -> Alert:
        return await service.resolve_alert((await service.find_alert(alert_id)).id, note, by)

    _tell_alert(ask(question), as_json)


@alerts.command()
def snooze(
    alert_id: AlertId,
    by: By,
    how_long: Annotated[
        str | None, typer.Option("--for", metavar="INTERVAL", help="How long, e.g. '15 min', '1 h', '1 day'.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment, metavar="TIME", help="Until when, e.g. 2026-01-31T09:00, in your time zone unless it names one."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep an open alert quiet for a while. It wakes by itself then, and at once when its severity rises."""
    if (how_long is None) == (until is None):
        raise typer.BadParameter("say either --for or --until")

    async def question(service: AlertService) -> Alert:
        found = (await service.find_alert(alert_id)).id
        return await (service.snooze_alert(found, until, by) if until else service.snooze_alert_for(found, how_long or "", by))

    alert = ask(question)
    _tell_alert(alert, as_json, f"snoozed until {alert.snoozed_until:%Y-%m-%d %H:%M:%S} UTC")


@alerts.command()
def wake(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """End the snooze of an alert now."""

    async def question(service: AlertService) -> Alert:
        return await service.snooze_alert((await service.find_alert(alert_id)).id, None, by)

    _tell_alert(ask(question), as_json, "awake")


@orders.command()
def retry(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """Put the failed order of an alert back to pending: the bot tries it once more, the alert stays open until it is filled."""

    async def question(service: AlertService) -> Alert:
        return await service.retry_order((await service.find_alert(alert_id)).id, by)

    _tell_alert(ask(question), as_json, "the order is pending again")


@orders.command()
def cancel(
    alert_id: AlertId,
    by: By,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; written to the order.")] = "Manually cancelled",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel the pending or failed order of an alert for good, which resolves the alert."""
    alert = ask(lambda service: service.find_alert(alert_id))
    if not yes:
        warning = "" if alert.data.get("order_type") == "entry" else " The position stays open: close it by hand."
        order = printable(f"{alert.data.get('order_type') or ''} order {alert.data.get('order_id')} for {_token(alert)}")
        typer.confirm(f"Cancel the {order}? It cannot be undone.{warning}", abort=True, err=True)
    _tell_alert(ask(lambda service: service.cancel_order(alert.id, reason, by), quiet=True), as_json, "the order is cancelled")


def _tell_alert(alert: Alert, as_json: bool, done: str = "") -> None:
    if as_json:
        print_json({**alert.model_dump(mode="json"), "notice": alert.notice})
    else:
        done = " · ".join(part for part in (done, alert.notice) if part)
        out.print(Text(printable(f"{alert.title}: {done or alert.status}")))


def _token(alert: Alert) -> str:
    return str(alert.data.get("token_symbol") or alert.data.get("token") or "")


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
