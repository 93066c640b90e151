"""Standard output of a command that follows something: a reader that pauses or leaves must not be able to hold it up."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 4096  # bytes that a pipe takes at once when it takes any


async def write(fd: int, data: bytes) -> None:
    """Write all of it as the reader takes it; the loop goes on meanwhile (BrokenPipeError)."""
    while data:
        if not _takes_more(fd):
            await _until_it_takes_more(fd)
        data = data[os.write(fd, data[:_CHUNK]) :]


@contextmanager
def ends_with_its_reader(fd: int) -> Iterator[None]:
    """Cancels the task inside when nobody can read the pipe any more, although nothing is written (BrokenPipeError)."""
    if os.name != "posix" or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    left = False

    def leave() -> None:
        nonlocal left
        loop.remove_reader(fd)
        left = task is not None and task.cancel()

    loop.add_reader(fd, leave)  # a pipe that is written has nothing to read: what is reported is its end
    try:
        yield
    except asyncio.CancelledError:
        if not left:
            raise
        raise BrokenPipeError from None
    finally:
        loop.remove_reader(fd)


def _takes_more(fd: int) -> bool:
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


async def _until_it_takes_more(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(fd)
