"""A receiver of webhooks that accepts everything at once and records when each event arrived: `time event_id` per line.

    python bench/counting_sink.py RECORD

It prints its port.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from pathlib import Path
from typing import IO

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_EVENT = re.compile(rb'"event_id": *(\d+)')


class Sink(asyncio.Protocol):
    """One connection: as little work per request as possible, because sink and sender share the machine."""

    def __init__(self, record: IO[str]) -> None:
        self.record, self.buffer = record, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on it."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self.buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < whole:
                return
            event = _EVENT.search(self.buffer, end, whole)
            self.record.write(f"{time.time()} {int(event[1]) if event else 0}\n")
            self.buffer = self.buffer[whole:]
            self.transport.write(_ANSWER)


async def _main(record: Path) -> None:
    with record.open("a", buffering=1) as lines:
        server = await asyncio.get_running_loop().create_server(lambda: Sink(lines), "127.0.0.1", 0, backlog=1000)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(Path(sys.argv[1])))
