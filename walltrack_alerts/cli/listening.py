"""`listen`: the event stream in a terminal, a pipe or a command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from walltrack_alerts.cli.base import STYLES, AsJson, err, out, printable, the_database
from walltrack_alerts.models import AlertEvent, AlertSeverity, EventKind


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
                    printable(f"{event.title or event.alert_id}  {note} ({event.actor})").replace("\n", " "),
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
        err.print(Text(printable(f"{state}{': ' if why else ''}{why}"), style="dim"))

    with the_database(listening=True) as database:
        follower = Follower(
            database.listen_dsn, sys.stdout.fileno(), render=render, tell=tell, cursor_file=cursor_file, command=execute
        )
        asyncio.run(follower.run(after, kinds=kind or (), min_severity=min_severity))
