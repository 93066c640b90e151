"""The command `walltrack-alerts`: reads arguments, calls the package, prints. Nothing is decided here."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from walltrack_alerts import passwords
from walltrack_alerts.database import Database, open_database
from walltrack_alerts.errors import AlertsError, UsageError
from walltrack_alerts.models import Alert, AlertEvent, AlertFilter, AlertSeverity, EventKind
from walltrack_alerts.passwords import Role
from walltrack_alerts.service import AlertService
from walltrack_alerts.settings import Settings

Result = TypeVar("Result")

app = typer.Typer(
    name="walltrack-alerts",
    help="Alerts that the database raises itself when an order has finally failed.\n\n"
    "WALLTRACK_DATABASE_URL names the database (any libpq URI); without it the embedded PostgreSQL is used, "
    "started when needed and stopped with the last command.",
    epilog="Start with `walltrack-alerts demo`.  Exit codes: 0 done, 1 failed or ill, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
alerts = typer.Typer(name="alerts", help="List alerts and act on them.", no_args_is_help=True)
app.add_typer(alerts)
orders = typer.Typer(
    name="orders",
    help="Act on the order behind an alert. It is kept who did what; what cannot be done is refused with the reason.",
    no_args_is_help=True,
)
app.add_typer(orders)
users = typer.Typer(name="panel-user", help="The users of `panel --auth-file FILE`.", no_args_is_help=True)
app.add_typer(users)

STYLES = {"critical": "bold white on red", "high": "bold dark_orange", "warning": "yellow", "info": "cyan"}

out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AlertId = Annotated[str, typer.Argument(metavar="ID", help="The alert's id, or as many first characters as make it unique.")]
By = Annotated[
    str,
    typer.Option(
        "--by",
        help="Who acts; kept in the alert and its events.",
        default_factory=getpass.getuser,
        show_default="your login name",
    ),
]
Host = Annotated[str, typer.Option(help="The address to listen on; 127.0.0.1 is this machine only.")]
Port = Annotated[int, typer.Option(help="The port of the panel.", min=1, max=65535)]
AuthFilePath = Annotated[Path, typer.Argument(metavar="FILE", help="The file of users.", dir_okay=False)]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="The name to log in with; it is kept with what the user does.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the panel in the browser.")]


@contextmanager
def _database(*, quiet: bool = False) -> Iterator[Database]:
    """The database in use, named in one line; errors of the package end the command with exit code 1."""
    with _errors(), open_database() as database:
        if not quiet:
            err.print(Text(f"Using {database.label}", style="dim"))
        yield database


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except AlertsError as error:
        code = 2 if isinstance(error, UsageError) else 1
        first, _, rest = str(error).partition("\n")
        err.print(Text.assemble(("Error: ", "bold red"), first))
        if rest:
            err.print(Text(rest))
        raise typer.Exit(code) from None
    except BrokenPipeError:  # the reader went away, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _moment(value: str) -> datetime:
    """A time as a person writes it; in the time zone of this machine unless it names one."""
    try:
        return datetime.fromisoformat(value).astimezone()
    except ValueError:
        raise typer.BadParameter("write a time like 2026-01-31T09:00") from None


def _ask(question: Callable[[AlertService], Awaitable[Result]], *, quiet: bool = False) -> Result:
    """The answer of the service of the database in use."""

    async def run(dsn: str) -> Result:
        async with AlertService.from_url(dsn) as service:
            return await question(service)

    with _database(quiet=quiet) as database:
        return asyncio.run(run(database.dsn))


@app.command()
def demo(
    host: Host = "127.0.0.1",
    port: Port = 7860,
    pace: Annotated[float, typer.Option(help="How fast the bot trades; 10 is ten times as fast.", min=0.1, max=100)] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed trades the same orders.")] = 7,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds.", min=1)] = None,
    browser: Browser = True,
) -> None:
    """Watch it work: embedded PostgreSQL, a simulated bot writing real orders, the panel in the browser."""
    from walltrack_alerts.demo import run_demo

    with _errors():
        run_demo(
            lambda line: out.print(line, markup=False),
            host=host, port=port, pace=pace, seed=seed, duration=duration, open_browser=browser,
        )  # fmt: skip


@app.command()
def migrate() -> None:
    """Create or upgrade schema walltrack and put the guard on walltrack.orders. Again: changes nothing."""
    from walltrack_alerts import migrations

    with _database() as database:
        migrations.upgrade(database.dsn)
        out.print(f"Migrated to revision {migrations.head_revision()}.")


@app.command()
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare every order with its alert: raise what is missing, resolve what has ended, forget healed faults."""
    from rich.progress import Progress

    from walltrack_alerts.reconciler import reconcile as heal

    with _database() as database, Progress(console=err, transient=True, disable=as_json) as bar:
        task = bar.add_task("orders", total=None)
        done = heal(database.dsn, dry_run=dry_run, progress=lambda seen, total: bar.update(task, completed=seen, total=total))
    if as_json:
        print(json.dumps({**asdict(done), "dry_run": dry_run}))
    else:
        would = "would be " if dry_run else ""
        out.print(f"{done.scanned} orders looked at: {done.raised} alerts {would}raised, {done.resolved} {would}resolved.")
    if done.failed:
        err.print(f"{done.failed} could not be healed; walltrack.alert_faults says why.", style="bold red")
        raise typer.Exit(1)


@app.command()
def purge(
    older_than: Annotated[str, typer.Option(metavar="INTERVAL", help="How long ago they were resolved, e.g. '90 days'.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete alerts that were resolved long ago, with their events. Open alerts stay, and what keeps a resolve in force."""
    from rich.progress import Progress

    from walltrack_alerts.purging import purge as forget

    with _database() as database, Progress(console=err, transient=True, disable=as_json) as bar:
        task = bar.add_task("resolved alerts", total=None)
        done = forget(
            database.dsn, older_than, dry_run=dry_run, progress=lambda seen, total: bar.update(task, completed=seen, total=total)
        )
    if as_json:
        print(json.dumps({**asdict(done), "dry_run": dry_run}))
    else:
        kept = f", {done.kept} kept: their orders still wait, or somebody holds them" if done.kept else ""
        out.print(f"{done.purged} resolved alerts {'would be ' if dry_run else ''}deleted{kept}.")


@app.command()
def panel(
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 is this machine only.")] = None,
    port: Annotated[int | None, typer.Option(help="The port of the panel.", min=1, max=65535)] = None,
    auth_file: Annotated[
        Path | None, typer.Option(help="Users with passwords; `walltrack-alerts panel-user` writes it.", dir_okay=False)
    ] = None,
    trusted_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="The header in which a proxy that logs people in names them.")
    ] = None,
    role_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="The header in which it names their role: operator, else read-only.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Where that proxy is; may be repeated. [default: this machine]")
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="The prefix that a proxy takes away before it asks, e.g. /alerts.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="How browsers know the panel, where a proxy changes the Host header.")
    ] = None,
    order_actions: Annotated[
        bool | None,
        typer.Option("--order-actions/--no-order-actions", help="Offer to retry and to cancel orders. [default: yes]"),
    ] = None,
    browser: Browser = False,
) -> None:
    """Serve the panel: alerts live, details, acknowledge, resolve, snooze, and the order behind an alert.

    Without a login only this machine may be listened on, and everybody there is an operator. Every option can be set by a
    variable as well: WALLTRACK_PANEL_HOST, WALLTRACK_PANEL_AUTH_FILE and so on.
    """
    with _errors():
        settings = Settings.load(
            panel_host=host, panel_port=port, panel_auth_file=auth_file, panel_trusted_header=trusted_header,
            panel_role_header=role_header, panel_trusted_proxy=trusted_proxy, panel_root_path=root_path, panel_origins=origin,
            panel_order_actions=order_actions,
        )  # fmt: skip
        from walltrack_alerts.ui import access_from, launch_panel

        access = access_from(settings)
    with _database() as database:
        running = launch_panel(
            database.dsn, listen_dsn=database.listen_dsn, host=settings.panel_host, port=settings.panel_port, access=access,
            order_actions=settings.panel_order_actions, explorer=settings.explorer, root_path=settings.panel_root_path,
            origins=settings.panel_origins, open_browser=browser, block=False,
        )  # fmt: skip
        try:
            out.print(f"Panel on {running.url}, {access.described}. Ctrl-C stops it.")
            running.wait()
        finally:
            running.close()


@users.command("add")
def add_panel_user(
    file: AuthFilePath,
    name: UserName,
    role: Annotated[Role, typer.Option(help="An operator acts on alerts and orders, a reader looks.")],
) -> None:
    """Add a user, or give one a new password and role. The password is asked for, or is the first line of standard input."""
    with _errors():
        if sys.stdin.isatty():
            password = getpass.getpass("Password: ")
            if getpass.getpass("Again: ") != password:
                raise AlertsError("The passwords differ; nothing was changed.")
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        is_new = passwords.add_user(file, name, role, password)
        out.print(Text(f"{name} is {'now' if is_new else 'still'} in {file}, as {role}; a running panel knows at once."))


@users.command("remove")
def remove_panel_user(file: AuthFilePath, name: UserName) -> None:
    """Remove a user, who is logged out at the next request."""
    with _errors():
        passwords.remove_user(file, name)
        out.print(Text(f"{name} is removed from {file}."))


@users.command("list")
def list_panel_users(file: AuthFilePath, as_json: AsJson = False) -> None:
    """The users and their roles."""
    with _errors():
        found = passwords.list_users(file)
        if as_json:
            print(json.dumps([{"name": user.name, "role": user.role} for user in found]))
        else:
            for user in found:
                out.print(Text(f"{user.role:<9} {_printable(user.name)}"))


@app.command()
def listen(
    after: Annotated[
        str | None,
        typer.Option(help="Where to start: a cursor, beginning or now. [default: the cursor file's, else now]", metavar="CURSOR"),
    ] = None,
    cursor_file: Annotated[
        Path | None, typer.Option(help="Keep the place here after each event; a restart goes on from it.", dir_okay=False)
    ] = None,
    execute: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="COMMAND",
            help="Run this for each event, which it gets as JSON on standard input. {alert_id}, {event_id}, {kind} and "
            "{severity} are filled in. There is no shell. The place is kept only when it succeeds.",
        ),
    ] = None,
    kind: Annotated[list[EventKind] | None, typer.Option(help="Only these kinds of events; may be repeated.")] = None,
    min_severity: Annotated[AlertSeverity | None, typer.Option(help="Only this severity and worse.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print each event of every alert: what was missed since the cursor, then live, until Ctrl-C."""
    from walltrack_alerts.following import Follower
    from walltrack_alerts.listener import StreamState

    def render(event: AlertEvent) -> str:
        if as_json:
            return event.model_dump_json() + "\n"
        severity = str(event.detail.get("severity") or "info")
        note = event.detail.get("resolution") or event.detail.get("error") or ""
        with out.capture() as line:
            out.print(
                Text.assemble(
                    (f"{event.at.astimezone():%H:%M:%S} ", "dim"),
                    (f" {severity.upper()} ", STYLES.get(severity, "")),
                    (f" {event.kind:<12} ", "bold"),
                    _printable(f"{event.title or event.alert_id}  {note} ({event.actor})").replace("\n", " "),
                ),
                soft_wrap=True,
            )
        return line.get()

    told = ""

    def tell(state: StreamState, why: str) -> None:
        nonlocal told
        if told and (why == told or state is StreamState.CONNECTING):
            return  # it is still away: no news
        told = why
        err.print(Text(_printable(f"{state}{': ' if why else ''}{why}"), style="dim"))

    with _database() as database:
        follower = Follower(
            database.listen_dsn, sys.stdout.fileno(), render=render, tell=tell, cursor_file=cursor_file, command=execute
        )
        asyncio.run(follower.run(after, kinds=kind or (), min_severity=min_severity))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Find out whether alerting works, and what to do where it does not. Exit code 1 when something is ill."""
    from walltrack_alerts.doctor import examine

    with _database(quiet=True) as database:
        checks = list(examine(database))
    if as_json:
        print(
            json.dumps([{"name": c.name, "ok": c.ok, "found": c.found, "advice": c.advice if not c.ok else ""} for c in checks])
        )
    else:
        for check in checks:
            mark = ("ok  ", "green") if check.ok else ("ILL ", "bold red")
            out.print(Text.assemble(mark, (f"{check.name}: ", "bold"), check.found))
            if not check.ok and check.advice:
                out.print(Text(f"    {check.advice}"))
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


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

    found = _ask(question)
    if as_json:
        for alert in found:
            print(alert.model_dump_json())
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
            Text(_printable(_token(alert))),
            Text(_printable(alert.title)),
            Text(_printable(str(alert.data.get("error") or alert.message))),
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

    alert, timeline = _ask(question)
    if as_json:
        print(json.dumps({**alert.model_dump(mode="json"), "timeline": [entry.model_dump(mode="json") for entry in timeline]}))
        return
    out.print(Text.assemble((f" {alert.severity.upper()} ", STYLES[alert.severity]), " ", (_printable(alert.title), "bold")))
    out.print(Text(_printable(alert.message)))
    out.print()
    facts = {"id": alert.id, "status": alert.status, "occurrences": alert.occurrences, "raised": alert.created_at}
    facts |= {"snoozed until": alert.snoozed_until if alert.is_snoozed else None}
    facts |= {"acknowledged by": alert.acknowledged_by, "resolved by": alert.resolved_by, "resolution": alert.resolution}
    for name, value in {**facts, **alert.data}.items():
        if value is not None:
            out.print(Text.assemble((f"{name:>16}  ", "dim"), _printable(str(value))))
    out.print()
    for entry in timeline:
        told = {"raised": "error", "repeated": "error", "resolved": "resolution", "snoozed": "snoozed_until"}.get(
            entry.kind, "reason"
        )
        note = entry.detail.get(told) or ""
        out.print(Text(_printable(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.kind:<15} {entry.actor}  {note}".rstrip())))


@alerts.command()
def ack(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """Acknowledge an active alert: somebody has seen it and takes care."""

    async def question(service: AlertService) -> Alert:
        return await service.acknowledge_alert((await service.find_alert(alert_id)).id, by)

    _tell(_ask(question), as_json)


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

    _tell(_ask(question), as_json)


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

    alert = _ask(question)
    _tell(alert, as_json, f"snoozed until {alert.snoozed_until:%Y-%m-%d %H:%M:%S} UTC")


@alerts.command()
def wake(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """End the snooze of an alert now."""

    async def question(service: AlertService) -> Alert:
        return await service.snooze_alert((await service.find_alert(alert_id)).id, None, by)

    _tell(_ask(question), as_json, "awake")


@orders.command()
def retry(alert_id: AlertId, by: By, as_json: AsJson = False) -> None:
    """Put the failed order of an alert back to pending: the bot tries it once more, the alert stays open until it is filled."""

    async def question(service: AlertService) -> Alert:
        return await service.retry_order((await service.find_alert(alert_id)).id, by)

    _tell(_ask(question), as_json, "the order is pending again")


@orders.command()
def cancel(
    alert_id: AlertId,
    by: By,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; written to the order.")] = "Manually cancelled",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel the pending or failed order of an alert for good, which resolves the alert."""
    alert = _ask(lambda service: service.find_alert(alert_id))
    if not yes:
        warning = "" if alert.data.get("order_type") == "entry" else " The position stays open: close it by hand."
        order = _printable(f"{alert.data.get('order_type') or ''} order {alert.data.get('order_id')} for {_token(alert)}")
        typer.confirm(f"Cancel the {order}? It cannot be undone.{warning}", abort=True, err=True)
    _tell(_ask(lambda service: service.cancel_order(alert.id, reason, by), quiet=True), as_json, "the order is cancelled")


def _tell(alert: Alert, as_json: bool, done: str = "") -> None:
    if as_json:
        print(json.dumps({**alert.model_dump(mode="json"), "notice": alert.notice}))
    else:
        done = " · ".join(part for part in (done, alert.notice) if part)
        out.print(Text(_printable(f"{alert.title}: {done or alert.status}")))


def _token(alert: Alert) -> str:
    return str(alert.data.get("token_symbol") or alert.data.get("token") or "")


def _printable(value: str) -> str:
    """Without control characters: a token's name must not be able to drive the terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in value)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
