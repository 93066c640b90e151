"""SingleFlight: every caller gets an answer started after its call, and no caller hangs."""

from __future__ import annotations

import asyncio

import pytest

from walltrack_alerts.ui.single_flight import SingleFlight

pytestmark = pytest.mark.own_server


class Source:
    """Answers with the number of the read once the test allows it; read 13 fails."""

    def __init__(self) -> None:
        self.begun = 0
        self.let = 0

    async def read(self) -> str:
        self.begun += 1
        number = self.begun
        while self.let < 1:
            await asyncio.sleep(0)
        self.let -= 1
        if number == 13:
            raise ValueError
        return str(number)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_callers_during_a_read_share_the_next_one() -> None:
    source, sharing = Source(), SingleFlight()
    first = asyncio.create_task(sharing.get("a", source.read))
    await settle()
    others = [asyncio.create_task(sharing.get("a", source.read)) for _ in range(20)]
    another = asyncio.create_task(sharing.get("b", source.read))
    await settle()
    assert source.begun == 2  # one for each question
    source.let = 2
    assert await first == "1"
    assert await another == "2"
    await settle()
    assert source.begun == 3
    late = asyncio.create_task(sharing.get("a", source.read))
    await settle()
    source.let += 1
    assert {await each for each in others} == {"3"}
    await settle()
    source.let += 1
    assert await late == "4"


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_a_leader_that_ends_while_reading_is_replaced(end: str) -> None:
    source, sharing = Source(), SingleFlight()
    first = asyncio.create_task(sharing.get("a", source.read))
    await settle()
    leader, *others = [asyncio.create_task(sharing.get("a", source.read)) for _ in range(5)]
    await settle()
    if end == "failed":
        source.begun = 12
    source.let += 1
    assert await first == "1"
    await settle()
    if end == "cancelled":
        leader.cancel()
    source.let = 10
    with pytest.raises(asyncio.CancelledError if end == "cancelled" else ValueError):
        await leader
    assert all([int(await each) > 2 for each in others])


async def test_a_leader_that_ends_while_waiting_is_replaced() -> None:
    source, sharing = Source(), SingleFlight()
    first = asyncio.create_task(sharing.get("a", source.read))
    await settle()
    leader, other = [asyncio.create_task(sharing.get("a", source.read)) for _ in range(2)]
    await settle()
    leader.cancel()
    await settle()
    source.let = 2
    assert await first == "1"
    assert await other == "2"


async def test_a_waiting_page_that_ends_disturbs_no_other() -> None:
    source, sharing = Source(), SingleFlight()
    first = asyncio.create_task(sharing.get("a", source.read))
    await settle()
    leader, other = [asyncio.create_task(sharing.get("a", source.read)) for _ in range(2)]
    await settle()
    other.cancel()
    source.let = 2
    assert [await first, await leader] == ["1", "2"]
