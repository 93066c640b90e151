"""`migrate`, `watch`, `unwatch`, `reconcile`, `purge`, `doctor` and `downgrade`: what keeps alerting well, and takes it away."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from walltrack_alerts.cli.base import AsJson, err, is_terminal, out, print_facts, print_json, say, the_database
from walltrack_alerts.cli.text import printable
from walltrack_alerts.cli.values import columns_of_facts, interval
from walltrack_alerts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walltrack_alerts.migrations import Installed
    from walltrack_alerts.models import Check
    from walltrack_alerts.watching import WatchPlan


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


TableName = Annotated[
    str, typer.Argument(metavar="TABLE", help="The table of orders, with its schema, as in SQL: public.trades, '\"Trades\"'.")
]


def watch(
    table: TableName,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACT=COLUMN",
            help="The column of a fact, where it has another name: attempt_count=retry_count; may be repeated.",
        ),
    ] = None,
    cancel_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="A cancel whose last_error matches is the retry worker giving up; '^Max retries reached' at first.",
        ),
    ] = None,
    order_actions: Annotated[
        bool | None,
        typer.Option(
            "--order-actions/--no-order-actions",
            help="Whether operators may retry and cancel its orders; yes at first, if possible.",
        ),
    ] = None,
    notify: Annotated[
        Literal["event", "transaction", "off"] | None,
        typer.Option(metavar="HOW", help="Notify each event (at first), the first event of a transaction, or nothing: off."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done; change and lock nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Guard a table of orders: its writes raise, update and resolve alerts. Orders that have failed already get theirs.

    Again for the same table: changes what is given and puts back what is missing.
    """
    from walltrack_alerts.reconciler import reconcile as heal
    from walltrack_alerts.watching import watch as guard

    columns = columns_of_facts(column or [])
    with the_database() as database:
        plan = guard(
            database.dsn, table, columns,
            cancel_pattern=cancel_pattern, order_actions=order_actions, notify=notify, dry_run=dry_run,
        )  # fmt: skip
        done = None if dry_run else heal(database.dsn, dry_run=False, progress=lambda _seen, _total: None)
    if as_json:
        print_json({**asdict(plan), "dry_run": dry_run, "raised": done and done.raised, "resolved": done and done.resolved})
    else:
        again = " again" if plan.is_watched else ""
        say(f"{plan.table} {'would be' if dry_run else 'is'} watched{again}.")
        print_facts(_watch_facts(plan, dry_run))
        if done:
            say(f"{done.scanned} orders looked at: {done.raised} alerts raised, {done.resolved} resolved.")
    if done and done.failed:
        err.print(f"{done.failed} could not be healed; walltrack.alert_faults says why.", style="bold red")
        raise typer.Exit(1)


def _watch_facts(plan: WatchPlan, dry_run: bool) -> Iterator[tuple[str, str]]:
    """How a table is watched, a line each."""
    yield "triggers", f"{', '.join(plan.triggers)} {'would be ' if dry_run else ''}created" if plan.triggers else "all there"
    yield "order actions", "on" if plan.order_actions else "off"
    yield "notify", plan.notify
    yield "cancel pattern", plan.cancel_pattern
    yield from ((fact, name) for fact, name in plan.columns.items() if fact != name)
    yield "by their names", ", ".join(fact for fact, name in plan.columns.items() if fact == name)
    if plan.missing:
        yield "no column for", ", ".join(plan.missing)


def unwatch(
    table: TableName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done; change and lock nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take the guard off a table: its orders raise no alerts any more. Its open alerts stay until an operator resolves them."""
    from walltrack_alerts.watching import unwatch as release

    with the_database() as database:
        done = release(database.dsn, table, dry_run=dry_run)
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        would = "would be " if dry_run else ""
        say(f"{done.table} {'would not be' if dry_run else 'is not'} watched any more.")
        print_facts(
            [("triggers", f"{', '.join(done.triggers) or 'none'} {would}dropped"), ("open alerts", f"{done.open_alerts} stay")]
        )
        if done.table == "walltrack.orders":
            say("The next `walltrack-alerts migrate` watches it again.")


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

    from walltrack_alerts.retention import purge as forget

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
