"""`migrate`, `reconcile`, `purge` and `doctor`: what keeps alerting well."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from walltrack_alerts.cli.base import AsJson, err, is_terminal, out, print_json, say, the_database
from walltrack_alerts.cli.text import printable
from walltrack_alerts.cli.values import interval

if TYPE_CHECKING:
    from walltrack_alerts.models import Check


def migrate(as_json: AsJson = False) -> None:
    """Create or upgrade schema walltrack and put the guard on walltrack.orders. Repeating it changes nothing."""
    from walltrack_alerts import migrations

    with the_database() as database:
        migrations.upgrade(database.dsn)
        revision = migrations.head_revision()
    if as_json:
        print_json({"revision": revision})
    else:
        say(f"Migrated to revision {revision}.")


def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare every order with its alert: raise what is missing, resolve what has ended, forget healed faults."""
    from rich.progress import Progress

    from walltrack_alerts.reconciler import reconcile as heal

    with the_database() as database, Progress(console=err, transient=True, disable=as_json) as bar:
        task = bar.add_task("orders", total=None)
        done = heal(database.dsn, dry_run=dry_run, progress=lambda seen, total: bar.update(task, completed=seen, total=total))
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        say(f"{done.scanned} orders looked at: {done.raised} alerts {would}raised, {done.resolved} {would}resolved.")
    if done.failed:
        err.print(f"{done.failed} could not be healed; walltrack.alert_faults says why.", style="bold red")
        raise typer.Exit(1)


def purge(
    older_than: Annotated[
        str,
        typer.Option(metavar="INTERVAL", parser=interval, help="How long ago they were resolved, e.g. '90 days', '6 months'."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete alerts that were resolved long ago, with their events. Open alerts stay, and what keeps a resolve in force."""
    from rich.progress import Progress

    from walltrack_alerts.purging import purge as forget

    with the_database() as database, Progress(console=err, transient=True, disable=as_json) as bar:
        task = bar.add_task("resolved alerts", total=None)
        done = forget(
            database.dsn, older_than, dry_run=dry_run, progress=lambda seen, total: bar.update(task, completed=seen, total=total)
        )
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        kept = f", {done.kept} kept: their orders still wait, or another session holds them" if done.kept else ""
        say(f"{done.purged} resolved alerts {'would be ' if dry_run else ''}deleted{kept}.")


def doctor(as_json: AsJson = False) -> None:
    """Find out whether alerting works, and what to do where it does not. Exit code 1 when something is ill.

    'n/a' stands before what is not possible here.
    """
    from walltrack_alerts.doctor import examine

    with the_database(quiet=True) as database:
        checks = list(examine(database))
    if as_json:
        print_json([{"name": c.name, "ok": c.ok, "found": c.found, "advice": c.advice if not c.ok else ""} for c in checks])
    else:
        _print_checks(checks)
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


_MARKS = {True: ("ok ", "green"), False: ("ILL", "bold red"), None: ("n/a", "dim")}


def _print_checks(checks: list[Check]) -> None:
    """One check a line, the advice below what is ill; a terminal wraps both behind the mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for check in checks:
        mark = _MARKS[check.ok]
        line = Text.assemble((f"{check.name}: ", "bold"), printable(check.found))
        advice = printable(check.advice) if not check.ok else ""
        grid.add_row(Text.assemble(mark), line)
        if advice:
            grid.add_row("", Text(advice))
        if not is_terminal():
            say(Text.assemble(mark, " ", line, f"\n    {advice}" if advice else ""))
    if is_terminal():
        out.print(grid)
