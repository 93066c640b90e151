"""Answers to the events of the page."""

from __future__ import annotations

import json

import gradio as gr

from walltrack_alerts.ui import params
from walltrack_alerts.ui.view import Json


def nonce_of(event: gr.EventData) -> str:
    """What the page knows the answer by."""
    return params.string(getattr(event, "nonce", None))


def encode(answer: Json) -> str:
    """The answer as a string, because Gradio looks into dicts for files to serve; without '<', because it warns of '<script'."""
    return json.dumps(answer).replace("<", "\\u003c")
