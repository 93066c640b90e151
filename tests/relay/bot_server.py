"""A Bot API server: the methods that the relay calls, as strict as Telegram, with faults that a test asks for."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.relay.samples import parse_html, utf16_length

TOKEN = "123456:AAF-fake_token-0123456789"
BOT_ID = 123456
CHAT = "-1001"

Json = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer
    """An answer of Telegram with ok = false."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        self.code, self.description, self.parameters = code, description, parameters


class BotServer:
    """The state of one bot. `faults[method]` are answers to the next calls: a Refused, raw bytes, or seconds of silence."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, Json]] = []
        self.messages: dict[tuple[str, int], Json] = {}
        self.answered: dict[str, Json] = {}
        self.faults: dict[str, deque[Refused | bytes | float]] = defaultdict(deque)
        self.migrated: dict[str, str] = {}
        self._updates: list[Json] = []
        self._ids = itertools.count(101)
        self._changed = asyncio.Event()
        self._pollers = 0

    def called(self, method: str) -> list[Json]:
        """The parameters of the calls of a method."""
        return [params for name, params in self.calls if name == method]

    def message(self, number: int, chat: str = CHAT) -> Json:
        return self.messages[chat, number]

    def buttons(self, number: int) -> list[str]:
        """The texts of the buttons of a message."""
        rows = self.message(number).get("reply_markup", {}).get("inline_keyboard", [])
        return [button["text"] for row in rows for button in row]

    def press(self, number: int, text: str, user: int = 7, data: str | None = None, repeat_id: str | None = None) -> str:
        """A user presses the button of a message; the id of the press."""
        rows = self.message(number).get("reply_markup", {}).get("inline_keyboard", [])
        data = data or next(button["callback_data"] for row in rows for button in row if text in button["text"])
        press = {
            "id": repeat_id or f"press{next(self._ids)}",
            "from": {"id": user, "is_bot": False, "first_name": "x"},
            "message": self.message(number),
            "data": data,
        }
        self.push({"callback_query": press})
        return str(press["id"])

    def write(self, text: str, user: int = 7, reply_to: Json | None = None) -> None:
        """A user writes a message."""
        message = {"message_id": next(self._ids), "from": {"id": user, "is_bot": False}, "chat": {"id": int(CHAT)}, "text": text}
        self.push({"message": message | ({} if reply_to is None else {"reply_to_message": reply_to})})

    def push(self, update: Json) -> None:
        self._updates.append({"update_id": next(self._ids)} | update)
        self._changed.set()

    @property
    def unconfirmed(self) -> int:
        return len(self._updates)

    # The methods.

    async def call(self, method: str, params: Json, fault: Refused | None) -> Any:
        if fault is not None:
            raise fault
        chat = str(params.get("chat_id"))
        if chat in self.migrated:
            moved = int(self.migrated[chat])
            raise Refused(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=moved)
        return await getattr(self, f"_{method}")(params)

    async def _sendMessage(self, params: Json) -> Json:  # noqa: N802 - the name of the method
        self._check_text(params)
        number = next(self._ids)
        self.messages[str(params["chat_id"]), number] = {
            "message_id": number,
            "from": {"id": BOT_ID, "is_bot": True, "first_name": "bot"},
            "chat": {"id": int(params["chat_id"])},
            **{
                name: params[name]
                for name in ("text", "reply_markup", "disable_notification", "reply_parameters")
                if name in params
            },
        }
        return self.messages[str(params["chat_id"]), number]

    async def _editMessageText(self, params: Json) -> Json:  # noqa: N802
        self._check_text(params)
        return self._edit(params, {"text": params["text"]})

    async def _editMessageReplyMarkup(self, params: Json) -> Json:  # noqa: N802
        return self._edit(params, {})

    async def _answerCallbackQuery(self, params: Json) -> bool:  # noqa: N802
        if len(params.get("text", "")) > 200:
            raise Refused(400, "Bad Request: MESSAGE_TOO_LONG")
        if params["callback_query_id"] in self.answered:
            raise Refused(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        self.answered[params["callback_query_id"]] = params
        return True

    async def _getUpdates(self, params: Json) -> list[Json]:  # noqa: N802
        if self._pollers:
            raise Refused(
                409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
            )
        self._pollers += 1
        try:
            offset = params.get("offset", 0)
            self._updates = [update for update in self._updates if update["update_id"] >= offset]
            if not self._updates and params["timeout"]:
                self._changed.clear()
                try:
                    async with asyncio.timeout(params["timeout"]):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            return self._updates[: params["limit"]]
        finally:
            self._pollers -= 1

    def _edit(self, params: Json, changes: Json) -> Json:
        message = self.messages.get((str(params["chat_id"]), params["message_id"]))
        if message is None:
            raise Refused(400, "Bad Request: message to edit not found")
        edited = {name: value for name, value in message.items() if name != "reply_markup"} | changes
        edited |= {"reply_markup": params["reply_markup"]} if "reply_markup" in params else {}
        if edited == message:
            raise Refused(
                400, "Bad Request: message is not modified: specified new message content and reply markup are the same"
            )
        self.messages[str(params["chat_id"]), params["message_id"]] = edited
        return edited

    def _check_text(self, params: Json) -> None:
        text = params["text"]
        if params.get("parse_mode") == "HTML":
            try:
                text = parse_html(text).text
            except (AssertionError, KeyError) as error:
                raise Refused(400, "Bad Request: can't parse entities") from error
        if not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        if utf16_length(text) > 4096:
            raise Refused(400, "Bad Request: message is too long")
        for row in params.get("reply_markup", {}).get("inline_keyboard", []):
            if any(len(button["callback_data"].encode()) > 64 for button in row):
                raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")

    # HTTP.

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the test ends
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length:"))
        params = json.loads(await reader.readexactly(length))
        path = head.split()[1]
        _, bot, method = path.split("/")
        fault = self.faults[method].popleft() if self.faults[method] else None
        if isinstance(fault, bytes):
            writer.write(fault)
            await writer.drain()
            return False
        if isinstance(fault, int | float):
            await asyncio.sleep(fault)
            return False
        self.calls.append((method, params))
        try:
            result = await self.call(method, params, Refused(401, "Unauthorized") if bot != f"bot{TOKEN}" else fault)
            status, content = 200, {"ok": True, "result": result}
        except Refused as error:
            content = {"ok": False, "error_code": error.code, "description": error.description, "parameters": error.parameters}
            status = error.code
        body = json.dumps(content).encode()
        writer.write(
            b"HTTP/1.1 %d x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body
        )
        await writer.drain()
        return True


@asynccontextmanager
async def bot_server() -> AsyncIterator[BotServer]:
    """A server on a free port of loopback."""
    served = BotServer()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
