"""`migrate`, `downgrade`, `reconcile`, `purge` and `doctor`: what keeps alerting well, and takes it away."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from walltrack_alerts.cli.base import AsJson, err, is_terminal, out, print_json, say, the_database
from walltrack_alerts.cli.text import printable
from walltrack_alerts.cli.values import interval
from walltrack_alerts.errors import UsageError

if TYPE_CHECKING:
    from walltrack_alerts.migrations import Installed
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


def downgrade(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take alerting away: its tables with their rows, its functions, the guards and the rights of roles. Orders stay."""
    from walltrack_alerts import migrations

    with the_database() as database:
        installed = migrations.installed(database.dsn)
        if installed is None:
            say("Nothing is installed here.")
            return
        if not yes:
            _ask_whether_to_delete(installed)
        migrations.downgrade(database.dsn)
    say("Alerting is gone. `walltrack-alerts migrate` installs it again.")


def _ask_whether_to_delete(installed: Installed) -> None:
    """Go on only if the operator says so; without a terminal only with --yes."""
    alerts = f"{installed.alerts} alerts ({installed.open_alerts} open)"
    kept = f"The older table walltrack.alerts stays, with {alerts}." if installed.adopted else ""
    deleted = f"{installed.events} events" if installed.adopted else f"{alerts} and {installed.events} events"
    say(f"This deletes {deleted}, what operators did to orders, and every right on alerting. {kept}".rstrip())
    watched = ", ".join(installed.watched)
    say(f"Failed orders of {watched} raise no alerts any more; the orders stay." if watched else "No table of orders is watched.")
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask: nothing was changed\nSay --yes.")
    if not typer.confirm("Go on?"):
        say("Nothing was changed.")
        raise typer.Exit(1)


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
    """Find out whether alerting works, and what to do where it does not. Exit code 1 when something is ill."""
    from walltrack_alerts.doctor import examine

    with the_database(quiet=True) as database:
        checks = list(examine(database))
    if as_json:
        print_json([{"name": c.name, "ok": c.ok, "found": c.found, "advice": c.advice if not c.ok else ""} for c in checks])
    else:
        _print_checks(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _print_checks(checks: list[Check]) -> None:
    """One check a line, the advice below what is ill; a terminal wraps both behind the mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for check in checks:
        mark = ("ok ", "green") if check.ok else ("ILL", "bold red")
        line = Text.assemble((f"{check.name}: ", "bold"), printable(check.found))
        advice = printable(check.advice) if not check.ok else ""
        grid.add_row(Text.assemble(mark), line)
        if advice:
            grid.add_row("", Text(advice))
        if not is_terminal():
            say(Text.assemble(mark, " ", line, f"\n    {advice}" if advice else ""))
    if is_terminal():
        out.print(grid)
