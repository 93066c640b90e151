"""Restricts Gradio's API to what the page calls: the server functions and events of its one component."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from walltrack_alerts.ui.bodies import BodyError
from walltrack_alerts.ui.gradio_internals import EVENT_ROUTE, server_functions

MAX_CALL_BYTES = 100_000
"""The largest is a request for 500 alerts by their ids: 20 kB."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What can be called, by the numbers that Gradio gave it."""

    functions: Mapping[int, frozenset[str]] = field(default_factory=dict)
    events: frozenset[int] = frozenset()

    @classmethod
    def of(cls, blocks: gr.Blocks) -> Calls:
        """The calls of a panel."""
        return cls(server_functions(blocks), frozenset(blocks.fns))

    def checked(self, route: str, body: bytes) -> bytes:
        """The validated call to pass to Gradio, which trusts its input (BodyError)."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BodyError(400, "This is not JSON.") from error
        if not isinstance(asked, dict):
            raise BodyError(400, "This is not a call.")
        call: dict[str, Any] = {"session_hash": _session(asked)}
        if route != EVENT_ROUTE:
            number, name = asked.get("component_id"), asked.get("fn_name")
            if type(number) is not int or not isinstance(name, str) or name not in self.functions.get(number, ()):
                raise BodyError(404, "There is no such function.")
            call |= {"component_id": number, "fn_name": name, "data": asked.get("data")}
        else:
            number, data = asked.get("fn_index"), asked.get("event_data")
            if type(number) is not int or number not in self.events:
                raise BodyError(404, "There is no such event.")
            call |= {"fn_index": number, "data": [], "event_data": data if isinstance(data, dict) else {}}
        try:
            return json.dumps(call, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:  # half of a surrogate pair, or a number that is none
            raise BodyError(400, "This is not JSON.") from error


def _session(asked: dict[str, Any]) -> str:
    session = asked.get("session_hash")
    if not isinstance(session, str) or len(session) > 100:
        raise BodyError(400, "This call names no session.")
    return session
