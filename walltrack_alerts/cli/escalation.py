"""`escalation ...`: when an alert that no operator acknowledges is notified again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from walltrack_alerts.cli.base import AsJson, confirm, err, errors, examples, print_json, print_text, run_query
from walltrack_alerts.cli.tables import Column, interval_text, print_rows
from walltrack_alerts.cli.values import interval
from walltrack_alerts.enums import AlertSeverity
from walltrack_alerts.errors import UsageError

if TYPE_CHECKING:
    from walltrack_alerts.escalation import EscalationStep

escalation = typer.Typer(
    name="escalation",
    help="Set when an alert that no operator acknowledges is escalated. Targets subscribe to a step with `targets add --step`.",
    no_args_is_help=True,
    epilog=examples(
        "escalation list",
        "escalation set critical 1 --after '5 min' --every '15 min' --times 32",
        "escalation remove high 1",
    ),
)

Severity = Annotated[AlertSeverity, typer.Argument(metavar="SEVERITY", help=f"The severity: {', '.join(AlertSeverity)}.")]
Step = Annotated[int, typer.Argument(metavar="STEP", help="The number of the step, from 1.", min=1)]
Status = Annotated[
    Literal["active", "acknowledged"],
    typer.Option(metavar="STATUS", help="active (not acknowledged), or acknowledged (and still open)."),
]


@escalation.command("list", epilog=examples("escalation list", "escalation list --json"))
def list_steps(as_json: AsJson = False) -> None:
    """List the steps of all severities."""
    from walltrack_alerts.escalation import escalation_steps

    found = run_query(escalation_steps)
    if as_json:
        for step in found:
            print_json(step)
    elif not found:
        err.print("No steps: alerts are not escalated.")
    else:
        columns = (
            Column("severity"), Column("status"), Column("step", justify="right"), Column("after", justify="right"),
            Column("every", justify="right"), Column("times", justify="right"),
        )  # fmt: skip
        print_rows(
            columns,
            [
                (s.severity, s.status, s.step, interval_text(s.after), interval_text(s.repeat_every), s.repeats or None)
                for s in found
            ],
        )


@escalation.command(
    "set",
    epilog=examples(
        "escalation set critical 1 --after '5 min' --every '15 min' --times 32",
        "escalation set critical 2 --after '20 min'",
        "escalation set high 1 --status acknowledged --after '4 h'",
    ),
)
def set_step(
    severity: Severity,
    step: Step,
    after: Annotated[str, typer.Option(metavar="INTERVAL", parser=interval, help="The time in this status, e.g. '5 min'.")],
    status: Status = "active",
    every: Annotated[
        str | None, typer.Option(metavar="INTERVAL", parser=interval, help="Repeat the step at this interval, e.g. '15 min'.")
    ] = None,
    times: Annotated[int | None, typer.Option(metavar="NUMBER", help="The maximum number of repeats.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Add or change a step. It also applies to alerts that are already open."""
    from walltrack_alerts.escalation import set_escalation_step

    with errors():
        if (every is None) != (times is None):
            raise UsageError("--every and --times go together, e.g. --every '15 min' --times 32")
    done = run_query(lambda service: set_escalation_step(service, severity, status, step, after, every, times or 0))
    _print_step(done, as_json, f"{interval_text(done.after)} after the alert was {_since(done)}{_repeats(done)}")


@escalation.command("remove", epilog=examples("escalation remove high 1 --dry-run", "escalation remove high 1 --yes"))
def remove_step(
    severity: Severity,
    step: Step,
    status: Status = "active",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a step. Targets with this --step get no more escalations from it."""
    from walltrack_alerts.escalation import escalation_step, remove_escalation_step

    found = run_query(lambda service: escalation_step(service, severity, status, step))
    if not dry_run:
        if not yes:
            with errors():
                confirm(f"Remove step {step} of {severity} alerts that are {status}?")
        run_query(lambda service: remove_escalation_step(service, severity, status, step), quiet=True)
    _print_step(found, as_json, "would be removed" if dry_run else "removed")


def _since(step: EscalationStep) -> str:
    return "raised" if step.status == "active" else "acknowledged"


def _repeats(step: EscalationStep) -> str:
    return f", then every {interval_text(step.repeat_every)}, {step.repeats} times" if step.repeats else ""


def _print_step(step: EscalationStep, as_json: bool, done: str) -> None:
    if as_json:
        print_json(step)
    else:
        print_text(f"Step {step.step} of {step.severity} alerts that are {step.status}: {done}.")
