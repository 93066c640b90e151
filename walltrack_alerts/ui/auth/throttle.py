"""Limits password guessing: per address, per user name, and per device that has logged in before.

Guessing cannot lock a user out: on a device or an address from which the user has logged in before, only guesses from there
count (the device cookies of OWASP). Everything is kept in this process.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field

WRONG_PASSWORDS = 10
"""From one address, or one known device, within WRONG_SECONDS; then it has to wait."""
WRONG_SECONDS = 300.0
LONGEST_DELAY = 60.0
"""Seconds between two guesses of unknown clients at one often guessed name; the delay starts at one second and doubles."""
MEMORY_SECONDS = 3600.0
KNOWN_ADDRESSES = 10_000

Key = tuple[str, str]


@dataclass(slots=True)
class Throttle:
    """Counts guesses. Each counts as wrong until it turns out to be right, so concurrent guesses gain nothing."""

    _guesses: dict[Key, deque[float]] = field(default_factory=dict)
    """When the last wrong ones were, the least recently guessed first."""
    _known: dict[Key, None] = field(default_factory=dict)
    """Names and the addresses from which they have logged in."""

    def wait(self, name: str, address: str, device: str) -> int:
        """Seconds until this guess may be made; 0 counts it."""
        now = time.monotonic()
        self._forget(now)
        keys = self._keys(name, address, device)
        wait = max(self._window(key, now) if key[0] != "name" else self._delay(key, now) for key in keys)
        if wait <= 0:
            for key in keys:
                times = self._guesses.pop(key, None) or deque(maxlen=100)
                self._guesses[key] = times
                times.append(now)
        return max(math.ceil(wait), 0)

    def right(self, name: str, address: str, device: str) -> None:
        """Record that the last guess was the password."""
        for key in self._keys(name, address, device):
            if times := self._guesses.get(key):
                times.pop()
                if not times:
                    del self._guesses[key]
        self._known.pop((name, address), None)
        self._known[name, address] = None
        while len(self._known) > KNOWN_ADDRESSES:
            del self._known[next(iter(self._known))]

    def _keys(self, name: str, address: str, device: str) -> list[Key]:
        if device:
            return [("device", device)]
        keys = [("address", address)]
        return keys if (name, address) in self._known else [*keys, ("name", name)]

    def _window(self, key: Key, now: float) -> float:
        times = self._guesses.get(key, ())
        return times[-WRONG_PASSWORDS] + WRONG_SECONDS - now if len(times) >= WRONG_PASSWORDS else 0.0

    def _delay(self, key: Key, now: float) -> float:
        times = [each for each in self._guesses.get(key, ()) if each > now - MEMORY_SECONDS]
        surplus = len(times) - WRONG_PASSWORDS
        return times[-1] + min(2.0**surplus, LONGEST_DELAY) - now if surplus >= 0 else 0.0

    def _forget(self, now: float) -> None:
        while self._guesses:
            key, times = next(iter(self._guesses.items()))
            if times and times[-1] > now - MEMORY_SECONDS:
                return
            del self._guesses[key]
