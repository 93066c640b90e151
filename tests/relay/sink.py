"""A receiver of webhooks that behaves as real ones do: well, slowly, or not at all."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support.deadline import GENEROUS

SUCCESS = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Sink:
    """Answers each request with what `behaviour` returns for it: the bytes of an answer, or the name of a fault."""

    behaviour: Callable[[Received], bytes | str] = lambda _request: SUCCESS
    requests: list[Received] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    port: int = 0

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def received(self, count: int) -> list[Received]:
        """The requests, as soon as there are `count` of them."""
        async with asyncio.timeout(GENEROUS):
            while len(self.requests) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self.answer(await read_request(reader, number), reader, writer):
                    pass
        finally:
            self.serving.discard(task)
            writer.close()

    async def answer(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Record the request and answer it; whether the connection stays open."""
        self.requests.append(request)
        self.arrived.set()
        answer = self.behaviour(request)
        match answer:
            case bytes():
                writer.write(answer)
                await writer.drain()
                return True
            case "hang":
                await reader.read()  # until the client leaves
            case "cut":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
            case "trickle":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b".")
                    await writer.drain()
                    await asyncio.sleep(0.02)
            case "huge":
                writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b"x" * 65536)
                    await writer.drain()
            case "malformed":
                writer.write(b"220 smtp.example.org ESMTP\r\n\r\n")
        return False


async def read_request(reader: asyncio.StreamReader, connection: int) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) if ": " in line else (line, "") for line in head[1:] if line)
    exact = {name: line.split(": ", 1)[1] for line in head[1:] if line for name in [line.split(":")[0].lower()]}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(head[0].split(" ")[1], exact, body, connection)


def answer(status: int, body: str = "", **headers: str) -> bytes:
    """The bytes of an answer; `_` in a header's name stands for `-`."""
    lines = [f"HTTP/1.1 {status} Status", f"content-length: {len(body.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@asynccontextmanager
async def running_sink(
    behaviour: Callable[[Received], bytes | str] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Sink]:
    """A sink on a free port of 127.0.0.1."""
    sink = Sink() if behaviour is None else Sink(behaviour)
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        serving = list(sink.serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
