"""`migrate`, `watch`, `unwatch`, `reconcile`, `purge`, `doctor` and `downgrade`: installation and maintenance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from walltrack_alerts.cli.base import (
    AsJson,
    configured_database,
    confirm,
    err,
    is_terminal,
    out,
    print_facts,
    print_json,
    print_text,
)
from walltrack_alerts.cli.values import columns_of_facts, interval
from walltrack_alerts.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walltrack_alerts.migrations import Installed
    from walltrack_alerts.models import Check
    from walltrack_alerts.watching import WatchPlan


def migrate(as_json: AsJson = False) -> None:
    """Create or upgrade schema walltrack, and watch walltrack.orders. Running it again changes nothing."""
    from walltrack_alerts import migrations

    with configured_database() as database:
        migrations.upgrade(database.dsn)
        revision = migrations.head_revision()
    if as_json:
        print_json({"revision": revision})
    else:
        print_text(f"Migrated to revision {revision}.")


def downgrade(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Uninstall alerting: drop its tables, functions and guards, and revoke the privileges of roles. Orders stay."""
    from walltrack_alerts import migrations

    with configured_database() as database:
        installed = migrations.installed(database.dsn)
        if installed is None:
            print_text("Alerting is not installed in this database.")
            return
        if not yes:
            _confirm_deletion(installed)
        migrations.downgrade(database.dsn)
    print_text("Alerting is uninstalled. `walltrack-alerts migrate` installs it again.")


def _confirm_deletion(installed: Installed) -> None:
    """Continue only if the operator confirms; without a terminal --yes is required."""
    alerts = f"{counted(installed.alerts, 'alert')} ({installed.open_alerts} open)"
    kept = f"The older table walltrack.alerts stays, with {alerts}." if installed.adopted else ""
    events = counted(installed.events, "event")
    deleted = events if installed.adopted else f"{alerts} and {events}"
    print_text(f"This deletes {deleted}, the history of order actions, and all privileges on alerting. {kept}".rstrip())
    watched = ", ".join(installed.watched)
    print_text(f"Failed orders of {watched} will raise no alerts; the orders stay." if watched else "No orders table is watched.")
    confirm("Continue?")


TableName = Annotated[
    str, typer.Argument(metavar="TABLE", help="The orders table, named as in SQL: public.trades, '\"Trades\"'.")
]


def watch(
    table: TableName,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACT=COLUMN",
            help="Read an order fact from a column of another name, e.g. attempt_count=retry_count; repeatable.",
        ),
    ] = None,
    cancel_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="A cancelled order whose last_error matches was given up by the retry worker; default '^Max retries reached'.",
        ),
    ] = None,
    order_actions: Annotated[
        bool | None,
        typer.Option(
            "--order-actions/--no-order-actions",
            help="Let operators retry and cancel its orders; default: yes, if the schema owner owns the table.",
        ),
    ] = None,
    notify: Annotated[
        Literal["event", "transaction", "off"] | None,
        typer.Option(
            metavar="HOW",
            help="Notify listeners of each event (event, the default), once per transaction (transaction), or not at all (off).",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; change and lock nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch an orders table: its writes raise, update and resolve alerts. Orders that have already failed get alerts at once.

    Repeated for the same table, it changes the given settings and restores missing triggers.
    """
    from walltrack_alerts import reconciler, watching

    columns = columns_of_facts(column or [])
    with configured_database() as database:
        plan = watching.watch(
            database.dsn, table, columns,
            cancel_pattern=cancel_pattern, order_actions=order_actions, notify=notify, dry_run=dry_run,
        )  # fmt: skip
        done = None if dry_run else reconciler.reconcile(database.dsn, dry_run=False, progress=lambda _seen, _total: None)
    if as_json:
        print_json({**asdict(plan), "dry_run": dry_run, "raised": done and done.raised, "resolved": done and done.resolved})
    else:
        again = " again" if plan.is_watched else ""
        print_text(f"{plan.table} {'would be' if dry_run else 'is'} watched{again}.")
        print_facts(_watch_facts(plan, dry_run))
        if done:
            print_text(
                f"{counted(done.scanned, 'order')} checked: {counted(done.raised, 'alert')} raised, {done.resolved} resolved."
            )
    if done and done.failed:
        err.print(f"{counted(done.failed, 'order')} could not be healed; see walltrack.alert_faults.", style="bold red")
        raise typer.Exit(1)


def _watch_facts(plan: WatchPlan, dry_run: bool) -> Iterator[tuple[str, str]]:
    """How a table is watched, one setting per line."""
    yield "triggers", f"{', '.join(plan.triggers)} {'would be ' if dry_run else ''}created" if plan.triggers else "all present"
    yield "order actions", "on" if plan.order_actions else "off"
    yield "notify", plan.notify
    yield "cancel pattern", plan.cancel_pattern
    yield from ((fact, name) for fact, name in plan.columns.items() if fact != name)
    yield "same name", ", ".join(fact for fact, name in plan.columns.items() if fact == name)
    if plan.missing:
        yield "no column for", ", ".join(plan.missing)


def unwatch(
    table: TableName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; change and lock nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop watching an orders table. Its open alerts stay until an operator resolves them."""
    from walltrack_alerts import watching

    with configured_database() as database:
        done = watching.unwatch(database.dsn, table, dry_run=dry_run)
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        print_text(f"{done.table} {'would no longer be' if dry_run else 'is no longer'} watched.")
        print_facts(
            [("triggers", f"{', '.join(done.triggers) or 'none'} {would}dropped"), ("open alerts", f"{done.open_alerts} stay")]
        )
        if done.table == "walltrack.orders":
            print_text("The next `walltrack-alerts migrate` watches it again.")


def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare every order with its alert: raise missing alerts, resolve those of finished orders, clear healed faults."""
    from rich.progress import Progress

    from walltrack_alerts import reconciler

    with configured_database() as database, Progress(console=err, transient=True, disable=as_json) as bar:
        task = bar.add_task("orders", total=None)
        done = reconciler.reconcile(
            database.dsn, dry_run=dry_run, progress=lambda seen, total: bar.update(task, completed=seen, total=total)
        )
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        raised = counted(done.raised, "alert")
        print_text(f"{counted(done.scanned, 'order')} checked: {raised} {would}raised, {done.resolved} {would}resolved.")
    if done.failed:
        err.print(f"{counted(done.failed, 'order')} could not be healed; see walltrack.alert_faults.", style="bold red")
        raise typer.Exit(1)


def purge(
    older_than: Annotated[
        str,
        typer.Option(metavar="INTERVAL", parser=interval, help="The minimum age of the resolution, e.g. '90 days', '6 months'."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete alerts that were resolved long ago, with their events. Open alerts, and alerts that are still needed, stay."""
    from rich.progress import Progress

    from walltrack_alerts import retention

    with configured_database() as database, Progress(console=err, transient=True, disable=as_json) as bar:
        task = bar.add_task("resolved alerts", total=None)
        done = retention.purge(
            database.dsn, older_than, dry_run=dry_run, progress=lambda seen, total: bar.update(task, completed=seen, total=total)
        )
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        kept = (
            f", {done.kept} kept: their order is still exhausted, a target has not received them, or they are locked"
            if done.kept
            else ""
        )
        print_text(f"{counted(done.purged, 'resolved alert')} {'would be ' if dry_run else ''}deleted{kept}.")


def doctor(as_json: AsJson = False) -> None:
    """Check whether alerting works, and show how to fix what does not. Exit code 1 if a check fails.

    'n/a' marks a check that does not apply here.
    """
    from walltrack_alerts.doctor import examine

    with configured_database(quiet=True) as database:
        checks = list(examine(database))
    if as_json:
        print_json([{"name": c.name, "ok": c.ok, "found": c.found, "advice": c.advice if not c.ok else ""} for c in checks])
    else:
        _print_checks(checks)
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


_MARKS = {True: ("ok  ", "green"), False: ("FAIL", "bold red"), None: ("n/a ", "dim")}


def _print_checks(checks: list[Check]) -> None:
    """One line per check, with the advice below a failed one; a terminal wraps both behind the mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for check in checks:
        mark = _MARKS[check.ok]
        line = Text.assemble((f"{check.name}: ", "bold"), printable(check.found))
        advice = printable(check.advice) if not check.ok else ""
        grid.add_row(Text.assemble(mark), line)
        if advice:
            grid.add_row("", Text(advice))
        if not is_terminal():
            print_text(Text.assemble(mark, " ", line, f"\n     {advice}" if advice else ""))
    if is_terminal():
        out.print(grid)
