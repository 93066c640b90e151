"""The command `listen`: prints each event, runs a command for it, stores the cursor."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from walltrack_alerts import output
from walltrack_alerts.errors import AlertsError, InvalidCursorError, UsageError
from walltrack_alerts.files import replace_file
from walltrack_alerts.listener import StreamState, current_cursor, listen
from walltrack_alerts.models import AlertEvent, AlertSeverity, EventKind

_TERMINATE_SECONDS = 5  # between SIGTERM and SIGKILL to the command of --exec
_PLACE = re.compile(r"\{(alert_id|event_id|kind|severity)\}")


class CommandFailedError(AlertsError):
    """The command of --exec failed; a restart reads the event again."""


@dataclass(frozen=True, slots=True)
class Follower:
    """Follows the event stream at `url`; writes what `render` returns to the open file `fd`, passes states to `on_state`."""

    url: str
    fd: int
    render: Callable[[AlertEvent], bytes]
    on_state: Callable[[StreamState, str], None]
    cursor_file: Path | None = None
    command: str | None = None

    async def run(
        self, after: str | None, *, kinds: Collection[EventKind | str], min_severity: AlertSeverity | str | None
    ) -> None:
        """Run until cancelled or SIGTERM (SystemExit). `after` wins over the cursor file (AlertsError, BrokenPipeError)."""
        words = split_command(self.command) if self.command is not None else None
        with _ends_on_sigterm(), output.ends_with_its_reader(self.fd):
            start = await self._start(after)
            try:
                async with aclosing(
                    listen(self.url, start, kinds=kinds, min_severity=min_severity, on_state=self.on_state)
                ) as events:
                    async for event in events:
                        await self._handle(event, words)
            except InvalidCursorError as error:
                if after is None:
                    raise
                problem = str(error).partition("\n")[0]
                advice = "Give the cursor of an event, as `listen --json` prints it, or beginning, or now."
                raise UsageError(f"--after: {problem}\n{advice}") from error

    async def _handle(self, event: AlertEvent, words: list[str] | None) -> None:
        """Print the event, run the command, then store the cursor."""
        await output.write(self.fd, self.render(event))
        if words is not None:
            await run_command(words, event)
        if self.cursor_file is not None and event.cursor is not None:
            store_cursor(self.cursor_file, event.cursor)

    async def _start(self, after: str | None) -> str:
        """The cursor to start from. `now` is stored at once, so that a restart before the first event misses nothing."""
        kept = load_cursor(self.cursor_file) if self.cursor_file is not None else None
        start = after or kept or "now"
        if self.cursor_file is not None and start == "now":
            start = await current_cursor(self.url)
            store_cursor(self.cursor_file, start)
        return start


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """SIGTERM cancels the task inside, which closes its resources, and ends the process with exit code 143."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    before = signal.getsignal(signal.SIGTERM)
    is_terminated = False

    def end() -> None:
        nonlocal is_terminated
        is_terminated = task is not None and task.cancel()

    with suppress(NotImplementedError, RuntimeError):  # not on Windows, not outside the main thread
        loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    except asyncio.CancelledError:
        if not is_terminated:
            raise
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        with suppress(NotImplementedError, RuntimeError):
            if loop.remove_signal_handler(signal.SIGTERM):
                signal.signal(signal.SIGTERM, before)


def split_command(command: str) -> list[str]:
    """The words of a command line (UsageError)."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--exec: {error}") from error
    if not words:
        raise UsageError("--exec: the command is empty")
    return words


async def run_command(words: list[str], event: AlertEvent) -> None:
    """Run the command with the event as JSON on standard input; only ids and fixed words of the event become arguments."""
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
    try:
        await process.communicate(event.model_dump_json().encode())
    except asyncio.CancelledError:
        await _end(process)
        raise
    if process.returncode != 0:
        raise CommandFailedError(
            f"--exec: {words[0]} ended with exit code {process.returncode} for event {event.event_id}.\n"
            "With --cursor-file a restart resumes at this event."
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process, because a restart runs the command for the same event again."""
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(_TERMINATE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()


def load_cursor(path: Path) -> str | None:
    """The cursor of a file; None where there is no file yet (AlertsError, also if the file could not be written later)."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise AlertsError(f"The cursor file {path} cannot be written: {error.strerror}") from error
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise AlertsError(f"The cursor file {path} cannot be read: {error}") from error


def store_cursor(path: Path, cursor: str) -> None:
    """Replace the file atomically: a crash leaves the old cursor or the new one, never half of one (AlertsError)."""
    try:
        replace_file(path, cursor + "\n")
    except OSError as error:
        raise AlertsError(f"The cursor file {path} cannot be written: {error.strerror}") from error
