"""The terminal: one line per event on the relay's own standard output, to see deliveries without an account anywhere."""

from __future__ import annotations

from datetime import UTC, datetime

from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target
from walltrack_alerts.relay.messages import alert_message
from walltrack_alerts.relay.richtext import ZERO_WIDTH
from walltrack_alerts.text import one_line


class Terminal:
    """Writes the events of one target."""

    def __init__(self, target: Target, context: Context) -> None:
        self._name = target.name
        self._context = context

    async def send(self, claim: Claim) -> Result:
        """Write one line."""
        assert claim.item is not None  # a terminal gets no digests
        now = datetime.now(UTC)
        message = alert_message(claim.item, self._context.panel_url, now)
        title = message.title.replace(ZERO_WIDTH, "")  # a terminal makes no links, and would show a replacement character
        self._context.write(one_line(f"{now:%H:%M:%S} [{self._name}] {title}"))
        return Result(Outcome.DELIVERED)


def open_channel(target: Target, context: Context) -> Terminal:
    """The channel of a target of kind terminal."""
    return Terminal(target, context)
