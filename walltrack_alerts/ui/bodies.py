"""Request bodies, with limits on size and time."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

BODY_SECONDS = 20.0


class BodyError(Exception):
    """A rejected body; the text is for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def read_body(receive: Receive, most: int) -> bytes:
    """The whole body, at most so many bytes (BodyError)."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BodyError(400, "The request ended before its body.")
                body += message.get("body", b"")
                if len(body) > most:
                    raise BodyError(413, "The request is too large.")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BodyError(408, "The request took too long to arrive.") from None


def replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read once more."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return waiting.pop() if waiting else await receive()

    return receiving
