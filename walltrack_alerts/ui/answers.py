"""Responses to the page: their encoding, and the refusals that all actions share."""

from __future__ import annotations

import json
from dataclasses import dataclass

import gradio as gr

from walltrack_alerts.ui import params
from walltrack_alerts.ui.auth.access import Person
from walltrack_alerts.ui.view import Json

UNEXPECTED = "Something unexpected went wrong; the log of the panel's server has the details."


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is refused."""

    text: str
    outcome: str = "refused"

    @property
    def identity(self) -> Json:
        """The role that the page has now, if it has been signed out."""
        return {"role": "anonymous"} if self.outcome == "signed-out" else {}


def check_actor(event: gr.EventData, person: Person | None) -> str | Refusal:
    """The name under which a person acts: that of the login, else the one given in the page."""
    if person is None:
        return Refusal("You have been signed out. Nothing was done.", "signed-out")
    if not person.may_act:
        return Refusal("You have read-only access. Ask the administrator of this panel for the operator role.")
    return person.name or params.parse_string(getattr(event, "actor", None)) or Refusal("Enter your name first.")


def nonce_of(event: gr.EventData) -> str:
    """The nonce by which the page recognises the response."""
    return params.parse_string(getattr(event, "nonce", None))


def encode(answer: Json) -> str:
    """The answer as a string, because Gradio searches dicts for files to serve; without '<', as Gradio warns of '<script'."""
    return json.dumps(answer).replace("<", "\\u003c")
