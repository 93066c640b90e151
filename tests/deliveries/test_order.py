"""Whatever relays do in whatever order: no event overtakes an earlier one of its alert, none is lost, none is made twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deliveries.relay import Claim, Desk, Relay

TABLES = "deliveries, finished_deliveries, notification_targets, chat_pace, sent_messages, button_presses"
OVERTAKEN = """
select count(*)
from walltrack.deliveries as d
join walltrack.deliveries as o on o.target_id = d.target_id and o.alert_id = d.alert_id and o.event_id < d.event_id
where d.delivery_id = any (%s) and o.delivery_id <> all (%s) and o.state <> 'dead' and o.event_id <> all (%s)
"""
HEADLESS = """
select count(*)
from (
  select
    count(*) filter (where d.state in ('pending', 'sending')) as heads,
    count(*) filter (where d.state = 'pending') as pending
  from walltrack.deliveries as d where d.state <> 'dead' group by d.target_id, d.alert_id
) as q
where q.heads = 0 or q.pending > 1
"""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("raise"), st.integers(0, 2)),
        st.tuples(st.just("fan_out"), st.sampled_from([1, 2, 1000])),
        st.tuples(st.just("claim"), st.tuples(st.integers(0, 1), st.sampled_from([1, 2, 100]))),
        st.tuples(st.just("deliver"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 5)),
        st.tuples(st.just("fail_finally"), st.integers(0, 5)),
        st.tuples(st.just("expire"), st.none()),
        st.tuples(st.just("replay"), st.none()),
        st.tuples(st.just("wait"), st.none()),
    ),
    min_size=10,
    max_size=50,
)


@dataclass
class History:
    """Runs the steps, and checks the order of each claim and the heads of the queues after each step."""

    desk: Desk
    relays: tuple[Relay, Relay]
    claims: list[tuple[Relay, Claim]] = field(default_factory=list)
    replayed: set[int] = field(default_factory=set)

    def run(self, name: str, value: object) -> None:
        getattr(self, f"do_{name}")(value)
        assert self.desk.execute(HEADLESS).fetchone() == (0,)

    def do_raise(self, key: int) -> None:
        self.desk.raise_alert(f"{key}")

    def do_fan_out(self, limit: int) -> None:
        self.relays[0].fan_out(limit)

    def do_claim(self, value: tuple[int, int]) -> None:
        relay, slots = self.relays[value[0]], value[1]
        for claim in relay.claim(slots):
            ids = claim.deliveries
            assert self.desk.execute(OVERTAKEN, (ids, ids, list(self.replayed))).fetchone() == (0,)
            self.claims.append((relay, claim))

    def finish(self, place: int, outcome: str) -> None:
        if self.claims:
            relay, claim = self.claims.pop(place % len(self.claims))
            relay.finish(claim, outcome=outcome)

    def do_deliver(self, place: int) -> None:
        self.finish(place, "delivered")

    def do_fail(self, place: int) -> None:
        self.finish(place, "failed")

    def do_fail_finally(self, place: int) -> None:
        if self.claims:
            self.desk.execute(
                "update walltrack.deliveries set attempts = 9 where lease = %s", (self.claims[place % len(self.claims)][1].lease,)
            )
        self.finish(place, "failed")

    def do_expire(self, _: None) -> None:
        self.desk.expire()

    def do_replay(self, _: None) -> None:
        rows = self.desk.execute("select delivery_id, event_id from walltrack.deliveries where state = 'dead'").fetchall()
        self.desk.execute("select walltrack.replay_deliveries(%s::bigint[], 'ada')", ([row[0] for row in rows],))
        self.replayed |= {row[1] for row in rows}

    def do_wait(self, _: None) -> None:
        self.desk.due_now()
        self.desk.execute("update walltrack.chat_pace set next_digest_at = '-infinity'")

    def drain(self) -> None:
        """Everything is delivered in the end."""
        self.do_replay(None)
        self.do_expire(None)
        self.claims.clear()
        self.relays[0].fan_out_all()
        for _ in range(1000):
            if not self.desk.states():
                return
            self.do_wait(None)
            self.do_claim((0, 100))
            while self.claims:
                self.do_deliver(0)
        raise AssertionError(self.desk.states())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_history_overtakes_loses_or_doubles(db: psycopg.Connection, relay: Relay, other_relay: Relay, steps: list) -> None:
    desk = Desk(db)
    desk.execute("set session_replication_role = replica")
    for table in f"alerts, alert_events, {TABLES}".split(", "):
        desk.execute(f"delete from walltrack.{table}")
    desk.execute("reset session_replication_role")
    targets = [desk.webhook(), desk.chat()]
    history = History(desk, (relay, other_relay))
    for name, value in steps:
        history.run(name, value)
    history.drain()
    events = desk.execute("select count(*) from walltrack.alert_events").fetchone()
    assert events is not None
    for target in targets:
        assert desk.finished(target) == ["delivered"] * events[0]
