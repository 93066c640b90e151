"""Several relays at once, some of them killed: the order of each alert is kept, nothing is lost, nothing is made twice."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from tests.deliveries.relay import Claim, Desk, Relay, result_of
from tests.support.deadline import Deadline
from tests.support.faults import wait_until_blocked

EVENTS = 250
ALERTS = 6
LOST = (psycopg.OperationalError, psycopg.InterfaceError)


class Storm:
    """Relay threads that log what they send, a writer, and disturbances."""

    def __init__(self, url: str) -> None:
        self.url = make_conninfo(url, application_name="storm")
        self.sent: list[tuple[int, str, int]] = []
        self.log = threading.Lock()
        self.written = threading.Event()
        self.over = threading.Event()
        self.errors: list[BaseException] = []

    def send(self, claims: list[Claim], events: dict[int, tuple[str, int]]) -> None:
        """Log what is sent, but not what another relay has sent since, because the lease has expired."""
        with self.log:
            for claim in claims:
                self.sent += [(claim.target_id, *events[each]) for each in claim.deliveries if each in events]

    def relay(self, number: int) -> None:
        """Fan out, claim, send, and report at random; reconnect when the connection is killed."""
        rng = random.Random(number)
        while not self.over.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    self.work(Relay(connection, f"relay-{number}"), rng)
            except LOST as error:
                if not isinstance(error, psycopg.errors.AdminShutdown) and error.sqlstate is not None:
                    raise

    def work(self, relay: Relay, rng: random.Random) -> None:
        while not self.over.is_set():
            relay.fan_out(rng.choice([5, 50, 1000]))
            claims = relay.claim(rng.choice([1, 5, 50]))
            if not claims:
                continue
            rows = relay.connection.execute(
                "select delivery_id, alert_id::text, event_id from walltrack.deliveries where delivery_id = any (%s)",
                ([delivery for claim in claims for delivery in claim.deliveries],),
            )
            self.send(claims, {row[0]: (row[1], row[2]) for row in rows})
            rng.shuffle(claims)
            for outcome in ("delivered", "failed", "lost"):
                some = [claim for claim in claims if rng.choices(("delivered", "failed", "lost"), (8, 1, 1))[0] == outcome]
                claims = [claim for claim in claims if claim not in some]
                if outcome != "lost":
                    relay.finish(*some, outcome=outcome)

    def write(self, number: int) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for count in range(EVENTS // 2):
                Desk(connection).raise_alert(f"{(count * 7 + number) % ALERTS}")
        self.written.set()

    def disturb(self, kill: bool) -> None:
        """Let time pass: leases expire, retries become due; kill a connection now and then."""
        with psycopg.connect(self.url, autocommit=True, application_name="disturbance") as connection:
            while not self.over.is_set():
                time.sleep(0.02)
                connection.execute(
                    "update walltrack.deliveries set due_at = least(due_at, now()), "
                    "lease_until = case when lease is not null then now() end "
                    "where delivery_id = any (array(select delivery_id from walltrack.deliveries where random() < 0.3 "
                    "for no key update skip locked))"
                )
                connection.execute(
                    "update walltrack.chat_pace set next_message_at = '-infinity', next_digest_at = '-infinity' "
                    "where target_id in (select target_id from walltrack.chat_pace for update skip locked)"
                )
                if kill:
                    connection.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity "
                        "where application_name = 'storm' and datname = current_database() and random() < 0.05 "
                        "and query like %s",
                        ("%walltrack.%deliver%",),
                    )

    def guarded(self, task: Callable[..., None], *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                task(*arguments)
            except BaseException as error:
                self.errors.append(error)
                self.over.set()
                self.written.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


@pytest.mark.parametrize("kill", [False, True], ids=["alive", "killed"])
def test_relays_at_once_keep_the_order_and_lose_nothing(database_url: str, desk: Desk, kill: bool) -> None:
    targets = [desk.webhook("one"), desk.webhook("two"), desk.chat()]
    storm = Storm(database_url)
    threads = [storm.guarded(storm.write, number) for number in range(2)]
    threads += [storm.guarded(storm.relay, number) for number in range(3)]
    threads += [storm.guarded(storm.disturb, kill)]
    deadline = Deadline()
    try:
        deadline.join(*threads[:2])
        while deadline.is_ahead() and not storm.over.is_set() and not finished(desk, targets):
            time.sleep(0.05)
    finally:
        storm.over.set()
        Deadline().join(*threads)
    assert storm.errors == []
    events = desk.execute("select count(*) from walltrack.alert_events").fetchone()
    for target in targets:
        assert desk.execute(
            "select count(*), count(distinct event_id), min(state) from walltrack.finished_deliveries where target_id = %s",
            (target,),
        ).fetchone() == (*events, *events, "delivered")  # type: ignore[misc]
    first_sends: dict[tuple[int, str], list[int]] = defaultdict(list)
    for target, alert, event in storm.sent:
        if event not in first_sends[target, alert]:
            first_sends[target, alert].append(event)
    assert len(first_sends) == len(targets) * ALERTS
    for order in first_sends.values():
        assert order == sorted(order)


def finished(desk: Desk, targets: list[int]) -> bool:
    """Replay what is dead; whether each event has arrived at each target."""
    desk.execute(
        "select walltrack.replay_deliveries(array(select delivery_id from walltrack.deliveries where state = 'dead'), 'ada')"
    )
    row = desk.execute(
        "select (select count(*) from walltrack.finished_deliveries) = %s * (select count(*) from walltrack.alert_events)",
        (len(targets),),
    ).fetchone()
    return row == (True,)


def test_fan_out_beside_finishing_leaves_no_queue_without_a_head(database_url: str, desk: Desk) -> None:
    """One alert: each finish may empty the queue while the next event is inserted."""
    target = desk.webhook()
    over = threading.Event()

    def deliver() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            relay = Relay(connection)
            while not over.is_set():
                relay.finish(*relay.claim())

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    deadline = Deadline()
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            relay = Relay(connection, "reader")
            for _ in range(300):
                desk.raise_alert("seed")
                relay.fan_out_all()
            while deadline.is_ahead() and desk.states(target):
                relay.fan_out_all()
                time.sleep(0.01)
    finally:
        over.set()
        Deadline().join(thread)
    row = desk.execute("select count(*), bool_and(state = 'delivered') from walltrack.finished_deliveries").fetchone()
    assert row == (300, True)


def test_replays_beside_finishing_leave_no_queue_without_a_head(database_url: str, desk: Desk) -> None:
    target = desk.webhook()
    over = threading.Event()
    errors: list[BaseException] = []

    def deliver() -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                relay = Relay(connection)
                while not over.is_set():
                    connection.execute("update walltrack.deliveries set attempts = 8, due_at = now() where state = 'pending'")
                    relay.finish(*relay.claim(), outcome=random.choice(["delivered", "failed"]))
        except BaseException as error:
            errors.append(error)

    for number in range(60):
        desk.raise_alert(f"{number % 3}")
    thread = threading.Thread(target=deliver, daemon=True)
    with psycopg.connect(database_url, autocommit=True) as connection:
        Relay(connection, "reader").fan_out_all()
    thread.start()
    deadline = Deadline()
    try:
        while deadline.is_ahead() and desk.states(target) and not errors:
            dead = desk.execute("select array_agg(delivery_id) from walltrack.deliveries where state = 'dead'").fetchone()
            if dead and dead[0]:
                desk.execute("select walltrack.replay_deliveries(%s, 'ada')", dead)
    finally:
        over.set()
        Deadline().join(thread)
    assert errors == []


def test_a_removal_of_a_target_lets_relays_finish(database_url: str, desk: Desk) -> None:
    desk.webhook()
    with psycopg.connect(database_url) as finishing, psycopg.connect(database_url, autocommit=True) as removing:
        desk.raise_alert()
        Relay(removing).fan_out_all()
        (claim,) = Relay(removing).claim()
        results = Jsonb([result_of(claim, "delivered")])
        finishing.execute("select walltrack.lock_targets_of(%s)", (results,))  # as finish_deliveries() begins
        finishing.execute("select walltrack.hold_deliveries('relay-1', %s)", (results,))
        removal = threading.Thread(target=removing.execute, args=("select walltrack.remove_target('hook')",))
        removal.start()
        wait_until_blocked(desk.connection, removing, finishing)
        assert [state for _, state in Relay(finishing).finish(claim)] == ["delivered"]
        finishing.commit()
        Deadline().join(removal)
    assert desk.execute("select count(*) from walltrack.notification_targets").fetchone() == (0,)


def test_an_insert_behind_two_queues_lets_relays_finish_both(database_url: str, desk: Desk) -> None:
    """If a head has been claimed since the snapshot of the insert, PostgreSQL waits for it in spite of SKIP LOCKED."""
    target = desk.webhook()
    alerts = [desk.raise_alert(key) for key in ("one", "two")]
    with psycopg.connect(database_url) as finishing, psycopg.connect(database_url) as inserting:
        Relay(desk.connection).fan_out_all()
        inserting.execute("set transaction isolation level repeatable read")  # keeps the snapshot of its first statement
        inserting.execute("select from walltrack.deliveries")
        first, second = Relay(desk.connection).claim()
        Relay(finishing).finish(first)
        holding = threading.Thread(
            target=inserting.execute, args=("select walltrack.hold_queues(%s, %s)", (target, alerts[::-1]))
        )
        holding.start()
        wait_until_blocked(desk.connection, inserting, finishing)
        assert [state for _, state in Relay(finishing).finish(second)] == ["delivered"]
        finishing.rollback()
        Deadline().join(holding)


def test_a_replay_that_waits_for_one_queue_blocks_no_other(database_url: str, desk: Desk) -> None:
    target = desk.webhook()
    with psycopg.connect(database_url) as finishing, psycopg.connect(database_url, autocommit=True) as other:
        relay = Relay(other)
        for key in ("one", "two"):
            desk.raise_alert(key)
        relay.fan_out_all()
        desk.execute("update walltrack.deliveries set attempts = 8")
        relay.finish(*relay.claim(), outcome="failed")
        for key in ("one", "two"):
            desk.raise_alert(key)
        relay.fan_out_all()
        claims = relay.claim()
        assert desk.states(target) == ["dead", "dead", "sending", "sending"]

        finishing.execute("set lock_timeout = '10s'")
        Relay(finishing).finish(claims[0])
        replay = threading.Thread(
            target=desk.execute,
            args=(
                "select walltrack.replay_deliveries(array_agg(delivery_id), 'bob') from walltrack.deliveries where attempts = 9",
            ),
        )
        replay.start()
        deadline = Deadline()
        while deadline.is_ahead() and not other.execute("select 1 from pg_stat_activity where wait_event = 'PgSleep'").fetchone():
            time.sleep(0.01)
        Relay(finishing).finish(claims[1])
        finishing.commit()
        Deadline().join(replay)
    assert desk.states(target) == ["pending", "pending"]
