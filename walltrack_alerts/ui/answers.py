"""The encoding of responses to the page."""

from __future__ import annotations

import json

import gradio as gr

from walltrack_alerts.ui import params
from walltrack_alerts.ui.view import Json


def nonce_of(event: gr.EventData) -> str:
    """The nonce by which the page recognises the response."""
    return params.string(getattr(event, "nonce", None))


def encode(answer: Json) -> str:
    """The answer as a string, because Gradio searches dicts for files to serve; without '<', as Gradio warns of '<script'."""
    return json.dumps(answer).replace("<", "\\u003c")
