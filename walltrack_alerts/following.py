"""What the command `listen` does with each event: show it, run a command for it, keep the place."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.listener import StreamState, listen
from walltrack_alerts.models import AlertEvent, AlertSeverity, EventKind

_PLACE = re.compile(r"\{(alert_id|event_id|kind|severity)\}")


class CommandFailedError(AlertsError):
    """The command of --exec did not succeed; the event will come again."""


@dataclass(frozen=True, slots=True)
class Follower:
    """Follows the event stream at `url`. `show` prints an event, `tell` hears the stream's states."""

    url: str
    show: Callable[[AlertEvent], None]
    tell: Callable[[StreamState, str], None]
    cursor_file: Path | None = None
    command: str | None = None

    async def run(
        self, after: str | None, *, kinds: Collection[EventKind | str], min_severity: AlertSeverity | str | None
    ) -> None:
        """Until cancelled. `after` wins over the cursor file (AlertsError, CommandFailedError)."""
        words = split_command(self.command) if self.command is not None else None
        start = after or (self.cursor_file and load_cursor(self.cursor_file)) or "now"
        events = listen(self.url, start, kinds=kinds, min_severity=min_severity, on_state=self.tell)
        async with aclosing(events):
            async for event in events:
                self.show(event)
                if words is not None:
                    await run_command(words, event)
                if self.cursor_file is not None and event.cursor is not None:
                    store_cursor(self.cursor_file, event.cursor)


def split_command(command: str) -> list[str]:
    """The words of a command line (AlertsError)."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise AlertsError(f"--exec: {error}") from error
    if not words:
        raise AlertsError("--exec: the command is empty")
    return words


async def run_command(words: list[str], event: AlertEvent) -> None:
    """Run it with the event as JSON on standard input; only ids and fixed words of the event become arguments."""
    values = {
        "alert_id": str(event.alert_id),
        "event_id": str(event.event_id),
        "kind": str(event.kind),
        "severity": str(event.detail.get("severity") or ""),
    }
    filled = [_PLACE.sub(lambda match: values[match[1]], word) for word in words]
    try:
        process = await asyncio.create_subprocess_exec(*filled, stdin=asyncio.subprocess.PIPE)
    except OSError as error:
        raise CommandFailedError(f"--exec: {words[0]} cannot be run: {error.strerror}") from error
    await process.communicate(event.model_dump_json().encode())
    if process.returncode != 0:
        raise CommandFailedError(
            f"--exec: {words[0]} ended with exit code {process.returncode} for event {event.event_id}.\n"
            "With --cursor-file a restart goes on with this event."
        )


def load_cursor(path: Path) -> str | None:
    """The cursor kept in a file; None where there is no file yet (AlertsError)."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise AlertsError(f"The cursor file {path} cannot be read: {error}") from error


def store_cursor(path: Path, cursor: str) -> None:
    """Replace the file at once: a crash leaves the old cursor or the new one, never half of one (AlertsError)."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(cursor + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AlertsError(f"The cursor file {path} cannot be written: {error.strerror}") from error
