"""Channels: one per kind of target. A channel sends one claim and returns the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.relay import placeholders
from walltrack_alerts.relay.http import HttpClient, SendError, printable_line

RESPONSE_LENGTH = 500  # characters of a response that the database keeps
LONGEST_ATTEMPT = 30.0  # seconds; half of a lease


class Outcome(StrEnum):
    """The outcome of one attempt. The database decides what follows from it."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"
    """Only the operator can fix it: a private address, a missing variable, a message that the service does not accept."""
    GONE = "gone"
    """The receiver is gone (410)."""
    RELEASED = "released"
    """Not sent, e.g. because the relay stops: this was no attempt."""


@dataclass(frozen=True)
class Target:
    """One row of walltrack.notification_targets, as far as channels need it."""

    target_id: int
    name: str
    kind: str
    config: Mapping[str, Any]

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that the configuration names."""
        return placeholders.variables(self.config)

    def secrets(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """The values of these variables, which must not appear in any text."""
        return tuple(environ[name] for name in self.variables if environ.get(name))


@dataclass(frozen=True, slots=True)
class Claim:
    """One message to send, for one delivery or for several: `item` (one alert) or `digest` is set.

    `item`: event, alert, attempt, webhook_id, message ({reference, is_closed} or None). `digest`: total, groups, oldest_at.
    """

    lease: int
    target: Target
    deliveries: tuple[int, ...]
    item: Mapping[str, Any] | None = None
    digest: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of sending a claim. `retry_after` is in seconds; `reference` is the id of the sent message at its service.

    `is_closed`: the buttons of that message are gone.
    """

    outcome: Outcome
    status: int | None = None
    response: str = ""
    retry_after: float | None = None
    reference: str | None = None
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What channels share."""

    http: HttpClient
    environ: Mapping[str, str]
    panel_url: str | None = None
    write: Callable[[str], None] = field(default=print)
    """Writes one line for the terminal channel."""


class Channel(Protocol):
    """Sends the claims of one target."""

    async def send(self, claim: Claim) -> Result:
        """Send a claim. Errors of the network and of the configuration may be raised; attempt() turns them into results."""


_MODULES = {"webhook": "webhook", "telegram": "telegram", "apprise": "apprise", "terminal": "terminal"}


def channel_for(target: Target, context: Context) -> Channel:
    """The channel of a target: `open_channel(target, context)` of its module, which is imported only when it is needed."""
    if target.kind not in _MODULES:
        raise AlertsError(f"This version of the relay does not support targets of kind {target.kind}.")
    module = import_module(f"walltrack_alerts.relay.channels.{_MODULES[target.kind]}")
    channel: Channel = module.open_channel(target, context)
    return channel


async def attempt(claim: Claim, context: Context) -> Result:
    """Send a claim once. Never raises an error of a channel; the response is one printable line without secrets of the target."""
    secrets = claim.target.secrets(context.environ)
    try:
        async with asyncio.timeout(LONGEST_ATTEMPT):
            result = await channel_for(claim.target, context).send(claim)
    except SendError as error:
        result = Result(Outcome.REFUSED if error.is_permanent else Outcome.FAILED, response=str(error))
    except AlertsError as error:
        result = Result(Outcome.REFUSED, response=str(error))
    except TimeoutError:
        result = Result(Outcome.FAILED, response=f"no response within {LONGEST_ATTEMPT:.0f} s")
    except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others; its text may hold anything
        result = Result(Outcome.FAILED, response=f"{type(error).__name__} in the channel {claim.target.kind}")
    return replace(result, response=placeholders.redact(printable_line(result.response), secrets)[:RESPONSE_LENGTH])
