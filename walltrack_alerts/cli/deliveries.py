"""`deliveries ...`: lists undelivered events, replays and drops dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from walltrack_alerts.cli.alerts import By
from walltrack_alerts.cli.base import AsJson, confirm, err, errors, examples, print_json, print_text, run_query
from walltrack_alerts.cli.tables import Column, age, print_rows
from walltrack_alerts.cli.values import delivery_id
from walltrack_alerts.errors import UnknownTargetError, UsageError
from walltrack_alerts.text import counted

if TYPE_CHECKING:
    from walltrack_alerts.targets import Delivery

deliveries = typer.Typer(
    name="deliveries",
    help="List undelivered events. Replay or drop dead letters.",
    no_args_is_help=True,
    epilog=examples("deliveries list", "deliveries list --dead", "deliveries replay --target ops", "deliveries drop 1207 1208"),
)

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="ID", parser=delivery_id, help="The ids of dead letters, see `deliveries list`.")
]
OfTarget = Annotated[str | None, typer.Option("--target", metavar="NAME", help="All dead letters of this target.")]
OfAll = Annotated[bool, typer.Option("--all", help="All dead letters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count; change nothing.")]


@deliveries.command(
    "list",
    epilog=examples(
        "deliveries list --target ops",
        "deliveries list --dead | cut -f 1,2,8",
        "deliveries list --dead --json | jq -r .delivery_id",
    ),
)
def list_deliveries(
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters, which the relay no longer retries.")] = False,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this target.")] = None,
    limit: Annotated[int, typer.Option(metavar="NUMBER", help="At most this many deliveries.", min=1)] = 100,
    as_json: AsJson = False,
) -> None:
    """List what has not arrived, and why; oldest first.

    A dead delivery has failed nine times and waits for `deliveries replay` or `deliveries drop`.
    """
    from walltrack_alerts.targets import undelivered

    found = run_query(lambda service: undelivered(service, dead=dead, target=target, limit=limit))
    if as_json:
        for delivery in found:
            print_json(delivery)
    elif not found:
        err.print("No dead letters." if dead else "Everything has been delivered.")
    else:
        columns = (
            Column("id", justify="right"), Column("target", 14), Column("alert", 8), Column("event", 12), Column("state", 7),
            Column("tries", justify="right"), Column("age", justify="right"), Column("reason"),
        )  # fmt: skip
        print_rows(columns, map(_row, found))


def _row(delivery: Delivery) -> tuple[object, ...]:
    """The columns of the list."""
    alert = (str(delivery.alert_id)[:8], delivery.alert_id)
    first = (delivery.delivery_id, delivery.target, alert, delivery.kind, delivery.state)
    reason = delivery.last_response or delivery.reason, ": ".join(filter(None, (delivery.reason, delivery.last_response)))
    return (*first, delivery.attempts, age(delivery.created_at), reason)


@deliveries.command(
    epilog=examples("deliveries replay 1207", "deliveries replay --target ops --dry-run", "deliveries replay --all")
)
def replay(
    by: By, ids: Ids = None, target: OfTarget = None, every: OfAll = False, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Send dead letters again, with as many attempts as new deliveries."""
    from walltrack_alerts.targets import replay_deliveries

    chosen = _chosen(ids, target, every=every)
    done = len(chosen) if dry_run or not chosen else run_query(lambda service: replay_deliveries(service, chosen, by), quiet=True)
    _print_count(done, "sent again", dry_run=dry_run, as_json=as_json, will="will be ")


@deliveries.command(
    epilog=examples("deliveries drop 1207", "deliveries drop --target old --yes", "deliveries drop --all --dry-run")
)
def drop(
    by: By,
    ids: Ids = None,
    target: OfTarget = None,
    every: OfAll = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Drop dead letters. They stay in the history of their alerts, with the name of the operator."""
    from walltrack_alerts.targets import drop_deliveries

    chosen = _chosen(ids, target, every=every)
    done = len(chosen)
    if chosen and not dry_run:
        if not yes:
            with errors():
                confirm(
                    f"Drop {_count(done)}? {'Its target' if done == 1 else 'Their targets'} will never receive what is dropped."
                )
        done = run_query(lambda service: drop_deliveries(service, chosen, by), quiet=True)
    _print_count(done, "dropped", dry_run=dry_run, as_json=as_json)


def _chosen(ids: list[int] | None, target: str | None, *, every: bool) -> list[int]:
    """The ids of the chosen dead letters (UsageError unless they are chosen in exactly one way, UnknownTargetError)."""
    from walltrack_alerts.targets import undelivered

    with errors():
        if sum((bool(ids), target is not None, every)) != 1:
            raise UsageError("which deliveries?\nGive their ids, or --target NAME, or --all.")

    found = run_query(lambda service: undelivered(service, dead=True, target=target, limit=None))
    dead = [delivery.delivery_id for delivery in found]
    with errors():
        if unknown := sorted(set(ids or ()) - set(dead)):
            raise UnknownTargetError(
                f"no dead delivery has the id {', '.join(map(str, unknown))}; nothing was changed\n"
                "`walltrack-alerts deliveries list --dead` shows them all."
            )
    return ids or dead


def _print_count(done: int, what: str, *, dry_run: bool, as_json: bool, will: str = "") -> None:
    if as_json:
        print_json({"deliveries": done, "dry_run": dry_run})
    else:
        print_text(f"{_count(done)} {'would be ' if dry_run else will}{what}.")


def _count(number: int) -> str:
    return counted(number, "dead letter")
