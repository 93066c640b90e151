"""Random histories against a model of the rules: whatever bot and operators do, the alerts follow the rules.

Two connections write in turns, inside and outside transactions. The model is pure: a life is an order with its alerts,
and a transaction is a dictionary of lives that is kept or thrown away.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support.bot import Bot
from tests.support.databases import new_database
from tests.support.life import Alert, Life, Order

GAVE_UP = "Max retries reached (3 attempts)"


class Session:
    """A connection, and the changes that only its open transaction sees."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.open = False
        self.changed: dict[uuid.UUID, Life] = {}
        self.savepoints: list[dict[uuid.UUID, Life]] = []

    def end(self, statement: str) -> dict[uuid.UUID, Life]:
        """Commit or roll back; return the changes of the transaction."""
        self.bot.execute(statement)
        changed, self.changed, self.savepoints, self.open = self.changed, {}, [], False
        return changed


sessions = st.integers(0, 1)
picks = st.integers(0, 5)
types = st.sampled_from(["exit", "entry", "EXIT", "Entry"])
statuses = st.sampled_from(["pending", "submitted", "confirming", "failed", "filled", "cancelled", "FAILED", "Cancelled"])
errors = st.sampled_from(["slippage", "rpc timeout", "blockhash", "", "  ", None, GAVE_UP])
attempts = st.integers(0, 5)
maxima = st.integers(0, 4)
people = st.sampled_from(["ada", "bob"])
WAKES = [datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) for days in (1, 2)]
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "order_type": types,
    "status": statuses,
    "attempt_count": attempts,
    "max_attempts": maxima,
    "last_error": errors,
    "locked_by": st.just("worker-2"),
}
WATCHED = list(COLUMNS)[:5]


class Histories(RuleBasedStateMachine):
    """One example: an empty database, two sessions, and the model beside them."""

    def __init__(self, bots: list[Bot]) -> None:
        super().__init__()
        self.sessions = [Session(bot) for bot in bots]
        self.committed: dict[uuid.UUID, Life] = {}
        clean(bots[0])

    def teardown(self) -> None:
        for session in self.sessions:
            session.end("rollback" if session.open else "select")

    # What a session sees and may touch without waiting for the other one

    def visible(self, session: Session) -> dict[uuid.UUID, Life]:
        return self.committed | session.changed

    def free(self, session: Session) -> dict[uuid.UUID, Life]:
        (other,) = (s for s in self.sessions if s is not session)
        return {order: life for order, life in self.visible(session).items() if order not in other.changed}

    def keep(self, session: Session, order: uuid.UUID, life: Life) -> None:
        (session.changed if session.open else self.committed)[order] = life

    def picked(self, number: int, pick: int) -> tuple[Session, uuid.UUID | None, Life]:
        """A session, and an existing order that it may write."""
        session = self.sessions[number]
        orders = [(order, life) for order, life in self.free(session).items() if life.order]
        return (session, *orders[pick % len(orders)]) if orders else (session, None, Life())

    def picked_alert(self, number: int, pick: int) -> tuple[Session, uuid.UUID | None, Life]:
        """A session, and an order that has an alert, the open ones first."""
        session = self.sessions[number]
        orders = [(order, life) for order, life in self.free(session).items() if life.alerts]
        orders.sort(key=lambda entry: entry[1].open is None)
        return (session, *orders[pick % len(orders)]) if orders else (session, None, Life())

    def write(self, number: int, pick: int, statement: Any, *arguments: Any, **changes: Any) -> None:
        """Call a method of the bot, and apply its changes to the model."""
        session, order, life = self.picked(number, pick)
        if order and life.order:
            statement(session.bot, order, *arguments)
            self.keep(session, order, life.written(replace(life.order, **changes)))

    # The bot

    @initialize(order_type=types)
    def begins_with_an_order_before_its_last_attempt(self, order_type: str) -> None:
        self.insert(0, order_type, "submitted", 2, 3, None)

    @rule(number=sessions, order_type=types, status=statuses, count=attempts, maximum=maxima, error=errors)
    def insert(self, number: int, order_type: str, status: str, count: int, maximum: int, error: str | None) -> None:
        session = self.sessions[number]
        new = Order(order_type, status, count, maximum, error)
        order = session.bot.create(**{column: getattr(new, column) for column in WATCHED})
        self.keep(session, order, Life().written(new))

    @rule(number=sessions, pick=picks, error=errors)
    def fail(self, number: int, pick: int, error: str | None) -> None:
        session, order, life = self.picked(number, pick)
        if order and life.order:
            session.bot.fail(order, error)
            self.keep(session, order, life.written(failed(life.order, error)))

    @rule(number=sessions, error=errors)
    def fail_all(self, number: int, error: str | None) -> None:
        """One statement for every order."""
        session = self.sessions[number]
        orders = {order: life for order, life in self.free(session).items() if life.order}
        session.bot.execute(
            "update walltrack.orders set status = 'failed', attempt_count = attempt_count + 1, last_error = %s "
            "where id = any(%s)",
            (error, list(orders)),
        )
        for order, life in orders.items():
            assert life.order
            self.keep(session, order, life.written(failed(life.order, error)))

    @rule(number=sessions, pick=picks, unlock=st.booleans())
    def lock(self, number: int, pick: int, unlock: bool) -> None:
        self.write(number, pick, Bot.unlock if unlock else Bot.lock)

    @rule(number=sessions, pick=picks, changes=st.fixed_dictionaries({}, optional=COLUMNS))
    def save(self, number: int, pick: int, changes: dict[str, Any]) -> None:
        """The whole row, with any changes at once."""
        watched = {column: value for column, value in changes.items() if column in WATCHED}
        self.write(number, pick, lambda bot, order: bot.save(order, **changes), **watched)

    @rule(number=sessions, pick=picks, status=statuses)
    def move(self, number: int, pick: int, status: str) -> None:
        self.write(number, pick, lambda bot, order: bot.update(order, status=status), status=status)

    @rule(number=sessions, pick=picks)
    def retry(self, number: int, pick: int) -> None:
        self.write(number, pick, Bot.retry, status="pending")

    @rule(number=sessions, pick=picks)
    def give_up(self, number: int, pick: int) -> None:
        self.write(number, pick, Bot.give_up, status="cancelled", last_error=GAVE_UP)

    @rule(number=sessions, pick=picks)
    def cancel(self, number: int, pick: int) -> None:
        self.write(number, pick, Bot.cancel, status="cancelled", last_error="Manually cancelled")

    @rule(number=sessions, pick=picks)
    def fill(self, number: int, pick: int) -> None:
        self.write(number, pick, Bot.fill, status="filled")

    @rule(number=sessions, pick=picks, order_type=types)
    def change_type(self, number: int, pick: int, order_type: str) -> None:
        self.write(number, pick, lambda bot, order: bot.update(order, order_type=order_type), order_type=order_type)

    @rule(number=sessions, pick=picks, maximum=maxima)
    def change_maximum(self, number: int, pick: int, maximum: int) -> None:
        self.write(number, pick, lambda bot, order: bot.update(order, max_attempts=maximum), max_attempts=maximum)

    @rule(number=sessions, pick=picks, error=errors)
    def change_error(self, number: int, pick: int, error: str | None) -> None:
        self.write(number, pick, lambda bot, order: bot.update(order, last_error=error), last_error=error)

    @rule(number=sessions, pick=picks)
    def delete(self, number: int, pick: int) -> None:
        session, order, life = self.picked(number, pick)
        if order:
            session.bot.delete(order)
            self.keep(session, order, life.written(None))

    # The people

    @rule(number=sessions, pick=picks, by=people)
    def acknowledge(self, number: int, pick: int, by: str) -> None:
        session, order, life = self.picked_alert(number, pick)
        if order is None:
            return
        newest = session.bot.alerts(order)[-1].id
        if life.open is None:
            with pytest.raises(psycopg.Error) as caught, session.bot.connection.transaction():
                session.bot.call("acknowledge_alert", newest, by)
            assert caught.value.sqlstate == "WT002"
            return
        session.bot.call("acknowledge_alert", newest, by)
        # A repeat changes nothing, but holds the alert until its transaction ends.
        self.keep(session, order, life.with_newest(life.open.acknowledged(by)) if life.open.status == "active" else life)

    @rule(number=sessions, pick=picks, by=people, until=st.sampled_from([None, *WAKES]))
    def snooze(self, number: int, pick: int, by: str, until: datetime | None) -> None:
        """Snoozed until one of two times, or awake."""
        session, order, life = self.picked_alert(number, pick)
        if order is None:
            return
        newest = session.bot.alerts(order)[-1].id
        if life.open is None:
            with pytest.raises(psycopg.Error) as caught, session.bot.connection.transaction():
                session.bot.call("snooze_alert", newest, until, by)
            assert caught.value.sqlstate == "WT002"
            return
        session.bot.call("snooze_alert", newest, until, by)
        self.keep(session, order, life.with_newest(life.open.snoozed(until)))

    @rule(number=sessions, pick=picks, by=people, by_key=st.booleans())
    def resolve(self, number: int, pick: int, by: str, by_key: bool) -> None:
        session, order, life = self.picked_alert(number, pick)
        if order is None:
            return
        if by_key:
            session.bot.call("resolve_by_dedupe_key", f"order_failed_{order}", "by hand", by)
        else:
            session.bot.call("resolve_alert", session.bot.alerts(order)[-1].id, "by hand", by)
        self.keep(session, order, life.resolved_by_hand("by hand", by))

    @rule(number=sessions, dry_run=st.booleans())
    def reconcile(self, number: int, dry_run: bool) -> None:
        session = self.sessions[number]
        wrong = {order: life for order, life in self.visible(session).items() if life.reconciled() != life}
        if not wrong.keys() <= self.free(session).keys():
            return  # it would wait for the other session
        counts = session.bot.execute("select raised, resolved from walltrack.reconcile_orders(%s)", (dry_run,)).fetchone()
        assert counts == (0, len(wrong))
        if not dry_run:
            for order, life in wrong.items():
                self.keep(session, order, life.reconciled())

    # Transactions

    @rule(number=sessions)
    def begin(self, number: int) -> None:
        session = self.sessions[number]
        if not session.open:
            session.bot.execute("begin")
            session.open = True

    @rule(number=sessions)
    def savepoint(self, number: int) -> None:
        session = self.sessions[number]
        if session.open:
            session.bot.execute("savepoint s")
            session.savepoints.append(dict(session.changed))

    @rule(number=sessions, release=st.booleans())
    def end_savepoint(self, number: int, release: bool) -> None:
        session = self.sessions[number]
        if session.savepoints:
            session.bot.execute("release savepoint s" if release else "rollback to savepoint s; release savepoint s")
            before = session.savepoints.pop()
            session.changed = session.changed if release else before

    @rule(number=sessions, commit=st.booleans())
    def end(self, number: int, commit: bool) -> None:
        session = self.sessions[number]
        if session.open:
            changed = session.end("commit" if commit else "rollback")
            self.committed |= changed if commit else {}

    # What has to be so after each of them

    @invariant()
    def alerts_are_what_the_rules_say(self) -> None:
        for session in self.sessions:
            if session.open or session is self.sessions[0]:
                expected = {order: life for order, life in self.visible(session).items() if life.order or life.alerts}
                assert found(session.bot) == {order: (life.order, life.alerts) for order, life in expected.items()}


def failed(order: Order, error: str | None) -> Order:
    """The order after one more failed attempt."""
    return replace(order, status="failed", attempt_count=order.attempt_count + 1, last_error=error)


def found(bot: Bot) -> dict[uuid.UUID, tuple[Order | None, tuple[Alert, ...]]]:
    """Compare the model with the database, and check that no fault occurred."""
    orders = {
        row[0]: Order(*row[1:])
        for row in bot.execute("select id, order_type, status, attempt_count, max_attempts, last_error from walltrack.orders")
    }
    alerts: dict[uuid.UUID, tuple[Alert, ...]] = {}
    for order, *values, events in bot.execute(
        """
        select (a.data ->> 'order_id')::uuid, a.severity, (a.data ->> 'attempts')::int, a.data ->> 'error', a.status,
          a.occurrences, a.acknowledged_by, a.resolution, a.resolved_by, a.snoozed_until,
          array(select e.kind from walltrack.alert_events as e where e.alert_id = a.id order by e.event_id)
        from walltrack.alerts as a order by a.created_at, a.id
        """
    ):
        alerts[order] = (*alerts.get(order, ()), Alert(*values, tuple(events)))
    assert bot.faults() == []
    return {order: (orders.get(order), alerts.get(order, ())) for order in orders.keys() | alerts.keys()}


def clean(bot: Bot) -> None:
    """Delete everything that the previous example left."""
    bot.execute(
        "set session_replication_role = replica;"
        "truncate walltrack.orders, walltrack.alerts, walltrack.alert_events, walltrack.order_actions, walltrack.alert_faults;"
        "reset session_replication_role"
    )


@pytest.fixture(scope="module")
def bots(server_url: str, template: str) -> Iterator[list[Bot]]:
    """Two connections to one database; a statement that would wait for the other connection fails instead."""
    with (
        new_database(server_url, template) as url,
        psycopg.connect(url, autocommit=True, options="-c statement_timeout=20s") as one,
        psycopg.connect(url, autocommit=True, options="-c statement_timeout=20s") as two,
    ):
        yield [Bot(one), Bot(two)]


def test_any_history_follows_the_rules(bots: list[Bot]) -> None:
    run_state_machine_as_test(
        lambda: Histories(bots),
        settings=settings(deadline=None, stateful_step_count=30, suppress_health_check=list(HealthCheck)),
    )


def test_a_resolve_with_attempts_left_holds_nothing(bots: list[Bot]) -> None:
    """Found above: an operator grants an attempt and resolves the alert, then takes the attempt back."""
    bot, _ = bots
    clean(bot)
    order = bot.create("exit", status="failed", attempt_count=3)
    bot.update(order, max_attempts=4)
    bot.call("resolve_alert", bot.alert(order).id, "it gets one more", "ada")
    bot.update(order, max_attempts=3)
    assert [alert.status for alert in bot.alerts(order)] == ["resolved", "active"]


def test_a_failure_with_attempts_left_ends_the_hold(bots: list[Bot]) -> None:
    """Found above: an operator who resolved an alert and granted one more attempt must hear when it fails."""
    bot, _ = bots
    clean(bot)
    order = bot.create("exit", status="failed", attempt_count=3)
    bot.call("resolve_alert", bot.alert(order).id, "one more attempt", "ada")
    bot.update(order, attempt_count=1, status="submitted")
    bot.fail(order)  # 2 of 3
    assert [alert.status for alert in bot.alerts(order)] == ["resolved"]
    bot.update(order, max_attempts=2)
    assert [alert.status for alert in bot.alerts(order)] == ["resolved", "active"]
