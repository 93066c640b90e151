"""From an escalation to the phone: which targets are notified at which step; no message follows a committed acknowledgement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from tests.deliveries.relay import Desk, Relay
from tests.deliveries.test_escalation import escalate
from tests.support.bot import Bot
from walltrack_alerts import AlertStatus


def come_due(bot: Bot, status: str = "active", step: int = 1) -> None:
    """Let a step be due at once. Time that passed would make the cursors of targets foreign to their events."""
    bot.execute("update walltrack.escalation_steps set after = '1 us' where status = %s and step = %s", (status, step))


def claimed_events(relay: Relay) -> list[tuple[int, str]]:
    """(target, kind) of each message that the relay sends now."""
    return sorted((claim.target_id, claim.kind) for claim in relay.deliver())


def test_the_phone_rings_only_if_no_operator_has_answered(bot: Bot, desk: Desk, relay: Relay) -> None:
    hook, phone = desk.webhook("hook"), desk.webhook("phone", step=1)
    answered, unanswered = desk.raise_alert("a", "critical"), desk.raise_alert("b", "critical")
    assert claimed_events(relay) == [(hook, "raised")] * 2
    desk.acknowledge(answered)
    come_due(bot)
    assert escalate(bot) == 1
    assert claimed_events(relay) == [(hook, "acknowledged"), (hook, "escalated"), (phone, "escalated")]
    desk.acknowledge(unanswered)
    assert claimed_events(relay) == [(hook, "acknowledged"), (phone, "acknowledged")]  # the answer goes to those who were paged


def test_high_alerts_are_paged_too(bot: Bot, desk: Desk, relay: Relay) -> None:
    phone = desk.webhook("phone", step=1)
    desk.raise_alert("a", "high")
    come_due(bot)
    assert escalate(bot) == 1
    assert claimed_events(relay) == [(phone, "escalated")]


def test_a_later_step_reaches_earlier_targets_as_well(bot: Bot, desk: Desk, relay: Relay) -> None:
    first, second = desk.webhook("first", step=1), desk.webhook("second", step=2)
    bot.execute("select walltrack.set_escalation_step('critical', 'active', 2, '20 min')")
    desk.raise_alert("a", "critical")
    come_due(bot)
    escalate(bot)
    assert claimed_events(relay) == [(first, "escalated")]
    come_due(bot, step=2)
    escalate(bot)
    assert claimed_events(relay) == [(first, "escalated"), (second, "escalated")]


def test_a_forgotten_acknowledgement_is_escalated_to_all_targets(bot: Bot, desk: Desk, relay: Relay) -> None:
    hook, phone = desk.webhook("hook"), desk.webhook("phone", step=1)
    alert = desk.raise_alert("a", "critical")
    desk.acknowledge(alert)
    assert claimed_events(relay) == [(hook, "raised")] and claimed_events(relay) == [(hook, "acknowledged")]
    come_due(bot, "acknowledged")
    assert escalate(bot) == 1
    assert claimed_events(relay) == [(hook, "escalated"), (phone, "escalated")]
    assert bot.alerts()[0].status is AlertStatus.ACTIVE


@pytest.mark.parametrize("answer", [Desk.acknowledge, Desk.snooze, Desk.resolve])
def test_an_answer_before_the_claim_cancels_the_page(bot: Bot, desk: Desk, relay: Relay, answer: object) -> None:
    phone = desk.webhook("phone", step=1)
    alert = desk.raise_alert("a", "critical")
    come_due(bot)
    escalate(bot)
    relay.fan_out_all()
    answer(desk, alert)  # type: ignore[operator]
    assert relay.claim() == []
    assert desk.finished(phone) == ["cancelled"]


@pytest.mark.parametrize("answer", [Desk.acknowledge, Desk.snooze, Desk.resolve])
@pytest.mark.parametrize("kind", ["webhook", "chat"])
def test_a_cancelled_page_is_not_followed_by_its_answer(
    bot: Bot, desk: Desk, relay: Relay, kind: str, answer: Callable[[Desk, UUID], None]
) -> None:
    phone = getattr(desk, kind)("phone", step=1)
    alert = desk.raise_alert("a", "critical")
    come_due(bot)
    escalate(bot)
    answer(desk, alert)
    assert claimed_events(relay) == [] and claimed_events(relay) == []
    assert desk.finished(phone) == ["cancelled"] * 2 and desk.states(phone) == []


def test_a_repeated_escalation_follows_the_acknowledgement_before_it(bot: Bot, desk: Desk, relay: Relay) -> None:
    hook = desk.webhook("phone", step=1)
    alert = desk.raise_alert("a", "critical")
    come_due(bot)
    escalate(bot)
    desk.acknowledge(alert)
    come_due(bot, "acknowledged")
    escalate(bot)
    assert [claimed_events(relay) for _ in range(3)] == [[(hook, kind)] for kind in ("escalated", "acknowledged", "escalated")]


def test_no_page_is_claimed_after_a_committed_acknowledgement(database_url: str, bot: Bot, desk: Desk) -> None:
    """Relays escalate and claim as fast as they can while an operator acknowledges: no claim that began later is a page."""
    desk.webhook("phone", step=1)
    come_due(bot)
    acknowledged: dict[str, float] = {}
    paged: list[tuple[str, float]] = []
    done = threading.Event()

    def work(number: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            relay = Relay(connection, f"relay-{number}")
            while not done.is_set():
                escalate(Bot(connection), limit=5)
                relay.fan_out()
                began = time.monotonic()
                claims = relay.claim(slots=5)
                paged.extend((claim.alert_id, began) for claim in claims if claim.kind == "escalated")
                relay.finish(*claims)

    with ThreadPoolExecutor(3) as pool:
        relays = [pool.submit(work, number) for number in range(3)]
        ringing: list[UUID] = []
        for number in range(120):
            ringing.append(desk.raise_alert(str(number), "critical"))
            if number >= 4:
                answered = ringing.pop(0)
                desk.acknowledge(answered)
                acknowledged[str(answered)] = time.monotonic()
        done.set()
        for each in relays:
            each.result()
    assert [page for page in paged if page[1] > acknowledged.get(page[0], page[1])] == []
    assert len(paged) == len({alert for alert, _ in paged})
