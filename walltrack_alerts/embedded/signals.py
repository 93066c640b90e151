"""Signals around the life of the embedded server: termination unwinds the stack, and never interrupts a start or a stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_TERMINATION = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


def _unwind(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def termination_unwinds() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process like an exception, unless the program handles them itself."""
    ours = []
    if threading.current_thread() is threading.main_thread():
        ours = [number for number in _TERMINATION if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _unwind)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is _unwind:
                signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Signals that arrive inside are handled at the end, so that no start or stop stays half done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    arrived: list[int] = []
    previous = {}
    for number in (signal.SIGINT, *_TERMINATION):
        handler = signal.getsignal(number)
        if handler not in (signal.SIG_IGN, None):  # None: set by C code, cannot be put back
            previous[number] = handler
            signal.signal(number, lambda received, _frame: arrived.append(received))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for received in dict.fromkeys(arrived):
            signal.raise_signal(received)
