"""`listen`: the event stream for a terminal, a pipe or a command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from walltrack_alerts.cli.base import AsJson, configured_database, encode, err, is_terminal, json_line, out
from walltrack_alerts.enums import AlertSeverity, EventKind
from walltrack_alerts.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from walltrack_alerts.listener import StreamState
    from walltrack_alerts.models import AlertEvent


def listen(
    after: Annotated[
        str | None,
        typer.Option(
            help="The start: a cursor, beginning or now. Default: the cursor in the cursor file, else now.",
            metavar="CURSOR",
        ),
    ] = None,
    cursor_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Store the cursor in this file after each event; resume from it.",
            dir_okay=False,
        ),
    ] = None,
    execute: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="COMMAND",
            help="Run this command for each event, with the event as JSON on standard input and {alert_id}, {event_id}, {kind} "
            "and {severity} replaced. No shell is involved. The cursor is stored only when the command succeeds.",
        ),
    ] = None,
    kind: Annotated[
        list[EventKind] | None,
        typer.Option(metavar="KIND", help=f"Only this kind of event; repeatable: {', '.join(EventKind)}."),
    ] = None,
    min_severity: Annotated[
        AlertSeverity | None, typer.Option(metavar="SEVERITY", help=f"Only this severity or worse: {', '.join(AlertSeverity)}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the events of all alerts until Ctrl-C: first those since the cursor, then new ones as they happen."""
    import asyncio

    from walltrack_alerts.listen_command import Follower

    with configured_database(listening=True) as database:
        follower = Follower(
            database.listen_dsn,
            sys.stdout.fileno(),
            render=_render_json if as_json else _render_line,
            on_state=_state_reporter(),
            cursor_file=cursor_file,
            command=execute,
        )
        asyncio.run(follower.run(after, kinds=kind or (), min_severity=min_severity))


def _render_json(event: AlertEvent) -> bytes:
    return encode(json_line(event) + "\n")


def _render_line(event: AlertEvent) -> bytes:
    from walltrack_alerts.cli.event_line import event_line

    with out.capture() as line:
        if is_terminal():
            out.print(event_line(event, is_short=True), no_wrap=True, overflow="ellipsis")
        else:
            out.print(event_line(event, is_short=False), soft_wrap=True)
    return encode(line.get())


def _state_reporter() -> Callable[[StreamState, str], None]:
    """A function that prints the state of the stream; while the database is away, each reason once."""
    from walltrack_alerts.listener import StreamState

    reported = ""

    def report(state: StreamState, reason: str) -> None:
        nonlocal reported
        if reported and (reason == reported or state is StreamState.CONNECTING):
            return
        reported = reason
        err.print(Text(printable(f"{state}{': ' if reason else ''}{reason}"), style="dim"))

    return report
