"""Which queries a relay has called, to wait for a further round of its work."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.relay.desk import until
from walltrack_alerts.relay import queries


def calls_of(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    """The arguments of the calls of a query, from now on."""
    calls: list[tuple[Any, ...]] = []
    query = getattr(queries, name)

    async def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return await query(*arguments)

    monkeypatch.setattr(queries, name, call)
    return calls


async def further_rounds(calls: list[tuple[Any, ...]], relays: int = 1) -> None:
    """Wait until this many relays, each with a connection of its own, have called again and have finished that call."""
    before = len(calls)

    def have_finished() -> bool:
        rounds = Counter(id(connection) for connection, *_ in calls[before:])
        return sum(count > 1 for count in rounds.values()) >= relays

    await until(have_finished)
