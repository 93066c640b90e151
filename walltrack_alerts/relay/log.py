"""The log of the relay: one line per failed delivery and per change of state, as text or JSON, without secrets."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from walltrack_alerts.relay.placeholders import redact
from walltrack_alerts.text import one_line


class Level(StrEnum):
    """How much a line matters; `detail` is shown on demand."""

    DETAIL = "detail"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _write(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Log:
    """Writes lines. `secrets` are removed from every line; the relay adds the values that its targets use."""

    def __init__(self, *, as_json: bool = False, verbose: bool = False, write: Callable[[str], None] = _write) -> None:
        self.secrets: Collection[str] = ()
        self._as_json = as_json
        self._verbose = verbose
        self._write = write

    def line(self, level: Level, event: str, text: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        """Write a line: a sentence, or with JSON the name of the event and its fields."""
        if level is Level.DETAIL and not self._verbose:
            return
        now = datetime.now(UTC)
        if self._as_json:
            shown = {"at": now.isoformat(timespec="milliseconds"), "level": level, "event": event, "text": text, **fields}
            line = json.dumps({name: value for name, value in shown.items() if value is not None}, default=str)
        else:
            mark = "" if level in {Level.INFO, Level.DETAIL} else f"{level.upper()} "
            line = one_line(f"{now:%Y-%m-%d %H:%M:%S} {mark}{text}")
        self._write(redact(line, self.secrets))

    def fault(self, where: str, error: BaseException) -> None:
        """An error that no code expects: its type and position, not its text, which may contain anything."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "unknown place"
        self.line(Level.ERROR, "fault", f"{where}: {type(error).__name__} at {place}", where=where, place=place)
