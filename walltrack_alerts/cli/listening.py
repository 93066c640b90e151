"""`listen`: the event stream in a terminal, a pipe or a command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from walltrack_alerts.cli.base import AsJson, encode, err, is_terminal, json_line, out, the_database
from walltrack_alerts.cli.text import printable
from walltrack_alerts.enums import AlertSeverity, EventKind

if TYPE_CHECKING:
    from walltrack_alerts.models import AlertEvent


def listen(
    after: Annotated[
        str | None,
        typer.Option(
            help="Where to start: a cursor, beginning or now. Without it the cursor file's, else now.", metavar="CURSOR"
        ),
    ] = None,
    cursor_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the place here after each event; a restart goes on from it.", dir_okay=False),
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
    kind: Annotated[
        list[EventKind] | None,
        typer.Option(metavar="KIND", help=f"Only this kind of event, may be repeated: {', '.join(EventKind)}."),
    ] = None,
    min_severity: Annotated[
        AlertSeverity | None, typer.Option(metavar="SEVERITY", help=f"Only this severity and worse: {', '.join(AlertSeverity)}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print each event of every alert: what was missed since the cursor, then live, until Ctrl-C."""
    import asyncio

    from walltrack_alerts.cli.event_line import event_line
    from walltrack_alerts.listen_command import Follower
    from walltrack_alerts.listener import StreamState

    def render(event: AlertEvent) -> bytes:
        if as_json:
            return encode(json_line(event) + "\n")
        with out.capture() as line:
            if is_terminal():
                out.print(event_line(event, is_short=True), no_wrap=True, overflow="ellipsis")
            else:
                out.print(event_line(event, is_short=False), soft_wrap=True)
        return encode(line.get())

    told = ""

    def tell(state: StreamState, why: str) -> None:
        nonlocal told
        if told and (why == told or state is StreamState.CONNECTING):
            return  # it is still away: no news
        told = why
        err.print(Text(printable(f"{state}{': ' if why else ''}{why}"), style="dim"))

    with the_database(listening=True) as database:
        follower = Follower(
            database.listen_dsn, sys.stdout.fileno(), render=render, tell=tell, cursor_file=cursor_file, command=execute
        )
        asyncio.run(follower.run(after, kinds=kind or (), min_severity=min_severity))
