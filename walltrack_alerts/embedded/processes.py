"""Processes that share a folder: the lock that lets one in at a time, and whether a pid is alive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file: one process and one thread at a time; the kernel frees the lock of a process that dies."""
    import fcntl

    # Private, because a user who may read a file may lock it, and so keep every other user from starting.
    with open(path, "a", opener=partial(os.open, mode=0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def live_process(pid: int) -> Any | None:
    """The process of a pid; None when it is gone or a zombie."""
    import psutil  # type: ignore[import-untyped]

    try:
        process = psutil.Process(pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else process
    except psutil.NoSuchProcess:
        return None
