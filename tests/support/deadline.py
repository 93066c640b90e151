"""Ends a loop that waits for something that never comes."""

from __future__ import annotations

import threading
import time

GENEROUS = 120.0  # seconds; pytest itself ends a run in which one test takes 300


class Deadline:
    """A time from now at which a waiting test fails."""

    def __init__(self, seconds: float = GENEROUS) -> None:
        self.end = time.monotonic() + seconds

    def is_ahead(self) -> bool:
        """True; when the time is over, the test fails instead."""
        assert time.monotonic() < self.end, "what the test waits for has not happened in time"
        return True

    def join(self, *threads: threading.Thread) -> None:
        """Wait for threads to end."""
        for thread in threads:
            thread.join(max(self.end - time.monotonic(), 0.1))
            assert not thread.is_alive(), f"{thread.name} has not ended in time"
