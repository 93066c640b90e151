"""Escalation: an unanswered alert rings again, each step once, and never after an answer that was committed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.bot import Bot
from tests.support.commands import run
from tests.support.databases import new_database
from walltrack_alerts import Alert, AlertStatus, migrations

Step = tuple[int, int]


@pytest.fixture
def alert(bot: Bot) -> Alert:
    """A critical alert that has just begun to ring."""
    return rung(bot, "exit")


def rung(bot: Bot, order_type: str) -> Alert:
    order = bot.create(order_type, status="failed", attempt_count=3)
    return bot.alert(order)


def later(bot: Bot, minutes: float) -> None:
    """Let time pass: everything that happened moves into the past."""
    by = timedelta(minutes=minutes)
    with bot.connection.transaction():
        bot.execute("set local session_replication_role = replica")
        bot.execute("update walltrack.alert_events set at = at - %s", (by,))
        bot.execute(
            "update walltrack.alerts set created_at = created_at - %(by)s, snoozed_until = snoozed_until - %(by)s, "
            "acknowledged_at = acknowledged_at - %(by)s",
            {"by": by},
        )


def escalate(bot: Bot, limit: int = 500) -> int:
    (fired,) = bot.execute("select walltrack.escalate_overdue(%s)", (limit,)).fetchone() or (-1,)
    return fired


def fired(bot: Bot, alert: Alert) -> list[Step]:
    """(step, repeat) of each escalation of the alert, in order; a rise of the severity is none."""
    return [
        (detail["step"], detail["repeat"])
        for (detail,) in bot.execute(
            "select detail from walltrack.alert_events where alert_id = %s and kind = 'escalated' and detail ? 'step' "
            "order by event_id",
            (alert.id,),
        )
    ]


def state(bot: Bot, alert: Alert) -> Alert:
    (same,) = [each for each in bot.alerts() if each.id == alert.id]
    return same


def set_step(bot: Bot, *values: Any) -> None:
    bot.execute(sql.SQL("select walltrack.set_escalation_step({})").format(sql.SQL(", ").join(map(sql.Literal, values))))


def test_a_step_fires_once_its_time_has_come(bot: Bot, alert: Alert) -> None:
    later(bot, 4.9)
    assert escalate(bot) == 0
    later(bot, 0.2)
    assert escalate(bot) == 1
    assert [escalate(bot) for _ in range(3)] == [0, 0, 0]
    assert fired(bot, alert) == [(1, 0)]
    (event,) = bot.execute(
        "select actor, detail ->> 'severity', detail ->> 'status' from walltrack.alert_events where kind = 'escalated'"
    ).fetchall()
    assert event == ("system", "critical", "active")
    assert state(bot, alert).notified_at == bot.execute("select max(at) from walltrack.alert_events").fetchone()[0]  # type: ignore[index]


def test_a_step_repeats_as_often_as_it_says(bot: Bot, alert: Alert) -> None:
    set_step(bot, "critical", "active", 1, "5 min", "15 min", 3)
    later(bot, 5.1)
    for _ in range(6):
        escalate(bot)
        later(bot, 15)
    assert fired(bot, alert) == [(1, 0), (1, 1), (1, 2), (1, 3)]


def test_missed_repeats_do_not_pile_up(bot: Bot, alert: Alert) -> None:
    later(bot, 52)  # due after 5, 20, 35 and 50 minutes
    assert [escalate(bot), escalate(bot)] == [1, 0]
    later(bot, 14)
    assert escalate(bot) == 1
    assert fired(bot, alert) == [(1, 3), (1, 4)]


def test_an_alert_that_rang_long_ago_pages_once(bot: Bot, alert: Alert) -> None:
    later(bot, 60 * 24 * 90)
    for _ in range(4):
        escalate(bot)
        later(bot, 60)
    assert fired(bot, alert) == [(1, 32)]


def test_each_severity_has_its_own_steps(bot: Bot) -> None:
    high = rung(bot, "entry")
    warning = bot.call("raise_alert", "test", "warning", "t", "", "{}", False, "key")
    assert warning is not None
    later(bot, 29)
    assert escalate(bot) == 0
    later(bot, 2)
    assert escalate(bot) == 1
    later(bot, 59)
    assert escalate(bot) == 1
    assert fired(bot, high) == [(1, 0), (1, 1)] and fired(bot, warning) == []
    set_step(bot, "warning", "active", 2, "1 hour")
    assert escalate(bot) == 1
    assert fired(bot, warning) == [(2, 0)]


def test_several_steps_fire_one_after_another(bot: Bot, alert: Alert) -> None:
    set_step(bot, "critical", "active", 2, "10 min")
    later(bot, 6)
    escalate(bot)
    later(bot, 5)
    escalate(bot)
    later(bot, 10)
    escalate(bot)
    assert fired(bot, alert) == [(1, 0), (2, 0), (1, 1)]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("acknowledge_alert", ("ada",)),
        ("resolve_alert", ("sold by hand", "ada")),
        ("snooze_alert", (datetime.now(UTC) + timedelta(days=1), "ada")),
    ],
)
def test_an_answer_ends_the_ringing(bot: Bot, alert: Alert, function: str, arguments: tuple[Any, ...]) -> None:
    later(bot, 60)
    bot.call(function, alert.id, *arguments)
    assert escalate(bot) == 0
    later(bot, 60)
    assert escalate(bot) == 0


def test_a_filled_order_ends_the_ringing(bot: Bot) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    later(bot, 60)
    bot.fill(order)
    assert escalate(bot) == 0


def test_a_forgotten_acknowledgement_becomes_active_again(bot: Bot, alert: Alert) -> None:
    bot.call("acknowledge_alert", alert.id, "ada")
    later(bot, 239)
    assert escalate(bot) == 0
    later(bot, 2)
    assert escalate(bot) == 1
    again = state(bot, alert)
    assert (again.status, again.acknowledged_by, again.acknowledged_at) == (AlertStatus.ACTIVE, None, None)
    (detail,) = bot.execute("select detail from walltrack.alert_events order by event_id desc limit 1").fetchone() or ({},)
    assert (detail["status"], detail["step"]) == ("active", 1) and "ada acknowledged it at" in detail["reason"]
    later(bot, 4)
    assert escalate(bot) == 0  # it begins to ring anew
    later(bot, 2)
    assert escalate(bot) == 1
    assert fired(bot, alert) == [(1, 0), (1, 0)]
    bot.call("acknowledge_alert", alert.id, "bob")
    later(bot, 241)
    assert escalate(bot) == 1
    assert bot.events() == ["raised", "acknowledged", "escalated", "escalated", "acknowledged", "escalated"]


def test_only_one_step_brings_an_acknowledged_alert_back(bot: Bot, alert: Alert) -> None:
    set_step(bot, "critical", "acknowledged", 2, "5 hours")
    bot.call("acknowledge_alert", alert.id, "ada")
    later(bot, 600)
    assert [escalate(bot), escalate(bot)] == [1, 0]
    assert fired(bot, alert) == [(1, 0)]


def test_the_end_of_a_snooze_starts_the_ringing_again(bot: Bot, alert: Alert) -> None:
    later(bot, 6)
    assert escalate(bot) == 1
    bot.call("snooze_alert", alert.id, datetime.now(UTC) + timedelta(hours=1), "ada")
    later(bot, 59)
    assert escalate(bot) == 0
    later(bot, 5)  # awake for 4 minutes
    assert escalate(bot) == 0
    later(bot, 2)
    assert escalate(bot) == 1
    assert fired(bot, alert) == [(1, 0), (1, 0)]


def test_waking_an_alert_by_hand_starts_the_ringing_again(bot: Bot, alert: Alert) -> None:
    bot.call("snooze_alert", alert.id, datetime.now(UTC) + timedelta(hours=1), "ada")
    later(bot, 30)
    bot.call("snooze_alert", alert.id, None, "ada")
    later(bot, 4)
    assert escalate(bot) == 0
    later(bot, 2)
    assert escalate(bot) == 1


def test_a_snoozed_acknowledgement_counts_from_the_end_of_the_snooze(bot: Bot, alert: Alert) -> None:
    bot.call("snooze_alert", alert.id, datetime.now(UTC) + timedelta(hours=8), "ada")
    bot.call("acknowledge_alert", alert.id, "ada")
    later(bot, 60 * 8 + 5)
    assert escalate(bot) == 0
    later(bot, 60 * 4)
    assert escalate(bot) == 1


def test_a_rise_of_the_severity_starts_the_ringing_again(bot: Bot) -> None:
    high = bot.call("raise_alert", "test", "high", "t", "", "{}", False, "key")
    assert high is not None
    later(bot, 31)
    assert escalate(bot) == 1
    bot.call("acknowledge_alert", high.id, "ada")
    bot.call("raise_alert", "test", "critical", "t", "", "{}", False, "key")
    assert state(bot, high).is_active
    later(bot, 4)
    assert escalate(bot) == 0
    later(bot, 2)
    assert escalate(bot) == 1
    assert fired(bot, high) == [(1, 0), (1, 0)]


def test_a_further_failed_attempt_does_not_restart_the_steps(bot: Bot, alert: Alert) -> None:
    later(bot, 4)
    bot.fail(alert.data["order_id"])
    later(bot, 2)
    assert escalate(bot) == 1


def test_a_removed_step_fires_no_more(bot: Bot, alert: Alert) -> None:
    later(bot, 60)
    assert bot.execute("select walltrack.remove_escalation_step('critical', 'active', 1)").fetchone() == (True,)
    assert bot.execute("select walltrack.remove_escalation_step('critical', 'active', 1)").fetchone() == (False,)
    assert escalate(bot) == 0


@pytest.mark.parametrize(
    "values",
    [
        ("urgent", "active", 1, "5 min"),
        ("critical", "resolved", 1, "5 min"),
        ("critical", None, 1, "5 min"),
        ("critical", "active", 0, "5 min"),
        ("critical", "active", 1, "0"),
        ("critical", "active", 1, None),
        ("critical", "active", 1, "5 min", "1 min", 0),
        ("critical", "active", 1, "5 min", None, 3),
        ("critical", "active", 1, "5 min", "0", 3),
        ("critical", "active", 1, "5 min", "1 min", -1),
        ("critical", "acknowledged", 1, "5 min", "1 min", 3),
    ],
)
def test_impossible_steps_are_refused(bot: Bot, values: tuple[Any, ...]) -> None:
    with pytest.raises(psycopg.Error) as caught:
        set_step(bot, *values)
    assert caught.value.sqlstate == "WT003"


# Alerts from before


def test_adopted_alerts_do_not_page(server_url: str) -> None:
    """Those of an older table have no events of alerting; the rise of a severity at the installation pages once."""
    with new_database(server_url) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            create schema walltrack;
            create table walltrack.alerts (
              id uuid primary key default gen_random_uuid(), alert_type text not null, severity text not null,
              status text not null, title text not null, message text, data jsonb, requires_action boolean, dedupe_key text,
              created_at timestamptz, updated_at timestamptz, acknowledged_at timestamptz, acknowledged_by text,
              resolved_at timestamptz, resolution text, notified_at timestamptz
            );
            insert into walltrack.alerts (alert_type, severity, status, title, dedupe_key, created_at)
            select 'service_down', 'critical', 'active', 't', 'service ' || n, now() - interval '30 days'
            from generate_series(1, 50) as n;
            """
        )
        migrations.upgrade(url)
        bot = Bot(connection)
        assert len(bot.alerts()) == 50
        later(bot, 60)
        assert escalate(bot) == 0
        bot.call("raise_alert", "service_down", "critical", "t", "", "{}", False, "service 7")
        for _ in range(4):
            later(bot, 60)
            escalate(bot)
        (alert,) = [each for each in bot.alerts() if each.dedupe_key == "service 7"]
        assert fired(bot, alert) == [(1, 0)]
        assert bot.events() == ["repeated", "escalated"]


# Many at once


def test_many_relays_fire_each_step_once(database_url: str, bot: Bot) -> None:
    alerts = [rung(bot, "exit") for _ in range(40)]
    later(bot, 6)
    barrier = threading.Barrier(8)

    def relay(_: int) -> int:
        with psycopg.connect(database_url, autocommit=True) as connection:
            barrier.wait()
            return sum(escalate(Bot(connection), limit=7) for _ in range(30))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(relay, range(8))) == 40
    assert [fired(bot, alert) for alert in alerts] == [[(1, 0)]] * 40


def test_a_call_is_bounded_and_takes_the_most_urgent_first(bot: Bot) -> None:
    high, critical = rung(bot, "entry"), rung(bot, "exit")
    later(bot, 60)
    assert escalate(bot, 1) == 1
    assert (fired(bot, critical), fired(bot, high)) == ([(1, 3)], [])
    assert [escalate(bot, 1), escalate(bot, 1), escalate(bot, 0)] == [1, 0, 0]


@pytest.mark.parametrize("answer", ["acknowledge_alert(%s, 'ada')", "resolve_alert(%s, 'sold', 'ada')",
                                    "snooze_alert(%s, now() + interval '1 hour', 'ada')"])  # fmt: skip
def test_escalation_skips_an_alert_that_is_being_acknowledged(database_url: str, bot: Bot, alert: Alert, answer: str) -> None:
    """Escalation neither blocks on the alert nor fires; after a rollback it fires, after the commit it never does."""
    later(bot, 6)
    with psycopg.connect(database_url) as operator:
        operator.execute(f"select walltrack.{answer}", (alert.id,))
        bot.execute("set statement_timeout = '20s'")
        assert escalate(bot) == 0
        operator.commit()
        assert escalate(bot) == 0
    assert fired(bot, alert) == []


def test_a_rolled_back_acknowledgement_does_not_end_the_escalation(database_url: str, bot: Bot, alert: Alert) -> None:
    later(bot, 6)
    with psycopg.connect(database_url) as operator:
        operator.execute("select walltrack.acknowledge_alert(%s, 'ada')", (alert.id,))
        operator.rollback()
    assert escalate(bot) == 1


def test_no_escalation_follows_a_committed_acknowledgement(database_url: str, bot: Bot) -> None:
    """Relays escalate as fast as they can while operators acknowledge: each alert's events end with its acknowledgement."""
    alerts = [rung(bot, "exit") for _ in range(60)]
    later(bot, 4.98)  # the steps come due in about a second, while the operators are at work
    done = threading.Event()

    def relay(_: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not done.is_set():
                escalate(Bot(connection), limit=5)

    with ThreadPoolExecutor(3) as pool, psycopg.connect(database_url, autocommit=True) as operator:
        relays = [pool.submit(relay, number) for number in range(3)]
        for alert in alerts:
            later(bot, 0.02)
            operator.execute("select walltrack.acknowledge_alert(%s, 'ada')", (alert.id,))
        done.set()
        for each in relays:
            each.result()
    last = bot.execute(
        "select distinct on (alert_id) kind from walltrack.alert_events order by alert_id, event_id desc"
    ).fetchall()
    assert last == [("acknowledged",)] * 60
    assert {len(fired(bot, alert)) for alert in alerts} <= {0, 1}


# Rights and trouble


def test_a_plain_role_may_schedule_escalation(database_url: str, bot: Bot, alert: Alert) -> None:
    later(bot, 6)
    role = f"scheduler_{alert.id.hex}"
    bot.execute(f"create role {role} login")
    try:
        bot.execute(f"grant usage on schema walltrack to {role}")
        bot.execute(f"grant execute on function walltrack.escalate_overdue(int) to {role}")
        bot.execute("select walltrack.narrow_grants()")  # every migrate
        bot.execute(f"set role {role}")
        assert escalate(bot) == 1
        for forbidden in ("select walltrack.set_escalation_step('critical', 'active', 1, '1 h')",
                          "select * from walltrack.overdue_escalations()"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                bot.execute(forbidden)
    finally:
        bot.execute("reset role")
        bot.execute(f"drop owned by {role}; drop role {role}")


def test_one_refused_alert_does_not_silence_the_others(bot: Bot) -> None:
    refused, other = rung(bot, "exit"), rung(bot, "exit")
    later(bot, 6)
    bot.execute(
        """
        create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
        """
    )
    bot.execute(
        sql.SQL(
            "create trigger a_refuse before update on walltrack.alerts for each row when (old.id = {}) "
            "execute function public.refuse()"
        ).format(sql.Literal(str(refused.id)))
    )
    assert [escalate(bot), escalate(bot)] == [1, 0]
    assert (fired(bot, refused), fired(bot, other)) == ([], [(1, 0)])
    assert bot.faults() == [("P0001", f"alert {refused.id} cannot be escalated: not this one")]
    bot.execute("drop trigger a_refuse on walltrack.alerts; drop function public.refuse()")
    assert escalate(bot) == 1


def test_escalations_notify_like_every_event(database_url: str, bot: Bot, alert: Alert) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen walltrack_alerts")
        later(bot, 6)
        escalate(bot)
        (note,) = list(listener.notifies(timeout=20, stop_after=1))
    assert '"kind": "escalated"' in note.payload and str(alert.id) in note.payload


@pytest.mark.own_server
def test_the_timeline_says_why_an_alert_was_escalated(database_url: str, bot: Bot) -> None:
    alert = bot.call("raise_alert", "test", "high", "t", "", "{}", False, "key")
    assert alert is not None
    bot.call("raise_alert", "test", "critical", "t", "", "{}", False, "key")
    later(bot, 21)
    escalate(bot)
    bot.call("acknowledge_alert", alert.id, "ada")
    later(bot, 241)
    escalate(bot)
    shown = " ".join(run(database_url, "alerts", "show", str(alert.id)).stdout.split())
    for note in (
        "escalated by postgres: critical",
        "escalated by system: step 1, repeat 1",
        "escalated by system: still open: ada ack",
    ):
        assert note in shown
