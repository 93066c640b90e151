"""The terminal: one line per event on the relay's own standard output, to see deliveries without an account anywhere."""

from __future__ import annotations

from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target


class Terminal:
    """Writes the events of one target."""

    def __init__(self, target: Target, context: Context) -> None:
        self._name = target.name
        self._write = context.write

    async def send(self, claim: Claim) -> Result:
        """Write one line."""
        assert claim.item is not None  # a terminal gets no digests
        event, alert = claim.item["event"], claim.item["alert"]
        self._write(f"{event['at']}  {self._name}  {event['kind']}  {alert['severity']}  {alert['title']}: {alert['message']}")
        return Result(Outcome.DELIVERED)


def open_channel(target: Target, context: Context) -> Terminal:
    """The channel of a target of kind terminal."""
    return Terminal(target, context)
