"""`silences ...`: rules that mute alerts for a while."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from walltrack_alerts.cli.alerts import By
from walltrack_alerts.cli.base import AsJson, err, errors, examples, print_json, print_text, run_query
from walltrack_alerts.cli.tables import Column, print_rows
from walltrack_alerts.cli.values import future_time, interval
from walltrack_alerts.enums import AlertSeverity
from walltrack_alerts.errors import UsageError
from walltrack_alerts.text import format_local, one_line

if TYPE_CHECKING:
    from walltrack_alerts.silences import Silence

silences = typer.Typer(
    name="silences",
    help="Mute alerts that match a rule: they are recorded and shown, but not delivered, and the panel makes no sound.",
    no_args_is_help=True,
    epilog=examples(
        "silences add --error 'RPC node timed out' --for '2 h' --reason 'the provider is being repaired'",
        "silences list",
        "silences end 3",
    ),
)


@silences.command(
    epilog=examples(
        "silences add --token BONK --for '30 min' --reason 'sold by hand'",
        "silences add --order-type entry --severity high --until 07:00 --reason 'no entries tonight'",
    )
)
def add(
    by: By,
    reason: Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="The reason, which the panel shows.")],
    token: Annotated[str | None, typer.Option(metavar="TOKEN", help="Alerts of this token, by symbol or address.")] = None,
    error: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Alerts with this text in their error, ignoring case.")
    ] = None,
    order_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Alerts of orders of this type, e.g. entry or exit.")
    ] = None,
    severity: Annotated[
        AlertSeverity | None, typer.Option(metavar="SEVERITY", help=f"Alerts of this severity: {', '.join(AlertSeverity)}.")
    ] = None,
    alert_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Alerts of this type, e.g. order_failed_permanently.")
    ] = None,
    how_long: Annotated[
        str | None,
        typer.Option("--for", metavar="INTERVAL", parser=interval, help="The duration, e.g. '15 min', '2 h', '1 day'."),
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
    """Mute the alerts that match all of the given matchers, until a time."""
    from walltrack_alerts.silences import add_silence

    given = {"token": token, "error": error, "order_type": order_type, "severity": severity, "alert_type": alert_type}
    matchers = {matcher: str(value) for matcher, value in given.items() if value is not None}
    with errors():
        if (how_long is None) == (until is None):
            raise UsageError("how long?\nGive either --for or --until, e.g. --for '2 h' or --until 18:00.")
        if not matchers:
            raise UsageError("which alerts?\nGive at least one of --token, --error, --order-type, --severity and --alert-type.")
    _print_silence(run_query(lambda service: add_silence(service, matchers, reason, until, how_long, by)), as_json)


@silences.command("list", epilog=examples("silences list", "silences list --all --json"))
def list_silences(
    every: Annotated[bool, typer.Option("--all", help="Include silences that have ended.")] = False, as_json: AsJson = False
) -> None:
    """List the active silences, the next one to end first."""
    from walltrack_alerts.silences import read_silences

    found = run_query(lambda service: read_silences(service, ended=every))
    if as_json:
        for silence in found:
            print_json(silence)
    elif not found:
        err.print("No silences." if every else "No silences are active.")
    else:
        columns = (Column("id", justify="right"), Column("ends", 16), Column("by", 12), Column("matches", 30), Column("reason"))
        print_rows(columns, [(s.silence_id, _end(s), s.created_by, _matchers(s), s.reason) for s in found])


@silences.command(epilog=examples("silences end 3"))
def end(
    silence_id: Annotated[int, typer.Argument(metavar="ID", help="The id of the silence, see `silences list`.")],
    by: By,
    as_json: AsJson = False,
) -> None:
    """End a silence now. Events that it has muted are not delivered later."""
    from walltrack_alerts.silences import end_silence

    _print_silence(run_query(lambda service: end_silence(service, silence_id, by)), as_json)


def _print_silence(silence: Silence, as_json: bool) -> None:
    if as_json:
        print_json(silence)
    else:
        state = "ended" if silence.ended_at else f"in force until {format_local(silence.ends_at)}"
        print_text(f"Silence {silence.silence_id} ({_matchers(silence)}) is {state}.".replace("is ended", "has ended"))


def _matchers(silence: Silence) -> str:
    return one_line(", ".join(f"{name}={value}" for name, value in silence.matchers.items()))


def _end(silence: Silence) -> tuple[str, str]:
    """When a silence ends or has ended: short for a terminal, and whole."""
    at = silence.ended_at or silence.ends_at
    return f"{at.astimezone():%Y-%m-%d %H:%M}", format_local(at)
