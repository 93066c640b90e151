"""Standard output of a long-running command, which a reader that pauses or leaves must not block."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 4096  # bytes that a writable pipe takes without blocking


async def write(fd: int, data: bytes) -> None:
    """Write all bytes at the pace of the reader, without blocking the event loop (BrokenPipeError)."""
    while data:
        if not _is_writable(fd):
            await _wait_until_writable(fd)
        data = data[os.write(fd, data[:_CHUNK]) :]


@contextmanager
def ends_with_its_reader(fd: int) -> Iterator[None]:
    """Cancel the task inside when the reader closes the pipe, even while nothing is written (BrokenPipeError)."""
    if os.name != "posix" or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    left = False

    def leave() -> None:
        nonlocal left
        loop.remove_reader(fd)
        left = task is not None and task.cancel()

    loop.add_reader(fd, leave)  # the writing end of a pipe becomes readable when the reading end is closed
    try:
        yield
    except asyncio.CancelledError:
        if not left:
            raise
        raise BrokenPipeError from None
    finally:
        loop.remove_reader(fd)


def _is_writable(fd: int) -> bool:
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


async def _wait_until_writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(fd)
