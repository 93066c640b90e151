"""health() and doctor name a missing relay, failing targets and dead letters, and say what to do."""

from __future__ import annotations

import pytest

from tests.deliveries.rows import add_delivery, add_finished, add_relay, add_target, ago, newest_event, read_all
from tests.support.bot import Bot
from tests.support.commands import run
from tests.support.health import failed_checks, health
from walltrack_alerts import Alert, Check


@pytest.fixture
def alert(bot: Bot) -> Alert:
    return bot.alert(bot.create("exit", status="failed", attempt_count=3))


def only(checks: list[Check]) -> Check:
    (check,) = checks
    return check


def test_without_targets_no_relay_is_missed(bot: Bot) -> None:
    assert failed_checks(bot) == []
    assert health(bot)["relay"].found == "no target is enabled, so no relay is needed"


def test_targets_need_a_relay(bot: Bot) -> None:
    add_target(bot.connection, "phone")
    add_target(bot.connection, "hook")
    check = only(failed_checks(bot))
    assert (check.name, check.found) == ("relay", "no relay is running: nothing is delivered to hook, phone")
    assert "`walltrack-alerts relay`" in check.advice
    add_relay(bot.connection, seen_at=ago(bot.connection, seconds=119))
    assert failed_checks(bot) == [] and health(bot)["relay"].found.startswith("1 seen in the last 2 minutes")
    bot.execute("update walltrack.relays set seen_at = now() - interval '3 hours'")
    check = only(failed_checks(bot))
    assert check.found == "no relay has been seen for 3 h: nothing is delivered to hook, phone"
    assert "log of the relay on trading-1" in check.advice


def test_disabled_targets_need_no_relay(bot: Bot) -> None:
    add_target(bot.connection, "hook", disabled_at=ago(bot.connection), disabled_reason="holidays")
    assert failed_checks(bot) == []


def test_failing_targets_are_named_with_their_last_response(bot: Bot, alert: Alert) -> None:
    db = bot.connection
    add_relay(db)
    target = add_target(db, "phone")
    add_target(db, "hook")
    add_delivery(
        db, target, alert, attempts=4, created_at=ago(db, minutes=34), last_status=503, last_response="no\x1b[31m upstream"
    )
    check = only(failed_checks(bot))
    assert check.name == "target phone"
    assert check.found.startswith("1 undelivered, the oldest for 34 min; last response: 503 no")
    assert "`walltrack-alerts targets test phone`" in check.advice
    add_finished(db, target, alert.id, newest_event(db, alert) + 1)
    assert failed_checks(bot) == []  # something else has arrived: the target works


@pytest.mark.parametrize(
    "columns",
    [
        {"attempts": 0, "minutes": 60},  # quiet hours, or never tried
        {"attempts": 2, "last_response": "503", "minutes": 9},
    ],
)
def test_young_and_untried_deliveries_are_no_failure(bot: Bot, alert: Alert, columns: dict[str, object]) -> None:
    db = bot.connection
    add_relay(db)
    minutes = columns.pop("minutes")
    add_delivery(db, add_target(db, "phone"), alert, created_at=ago(db, minutes=minutes), **columns)  # type: ignore[arg-type]
    assert failed_checks(bot) == []


def test_dead_letters_wait_for_a_decision(bot: Bot, alert: Alert) -> None:
    db = bot.connection
    add_relay(db)
    assert health(bot)["dead letters"].found == "none"
    target = add_target(db, "phone")
    add_delivery(
        db, target, alert, state="dead", attempts=9, failed_at=ago(db, days=3), last_status=400, last_response="chat not found"
    )
    check = only(failed_checks(bot))
    assert (check.name, check.found) == (
        "dead letters", "1 dead letter for phone, the first 3 days ago; last response: 400 chat not found"
    )  # fmt: skip
    for command in ("deliveries list --dead", "deliveries replay --target phone"):
        assert f"`walltrack-alerts {command}`" in check.advice
    bot.execute("delete from walltrack.deliveries")
    assert failed_checks(bot) == []


def test_events_that_a_running_relay_does_not_read_are_reported(bot: Bot) -> None:
    db = bot.connection
    add_target(db, "phone")
    add_relay(db)
    alert = bot.alert(bot.create("exit", status="failed", attempt_count=3))
    assert failed_checks(bot) == []
    with db.transaction():
        bot.execute("set local session_replication_role = replica")
        bot.execute("update walltrack.alert_events set at = at - interval '3 min' where alert_id = %s", (alert.id,))
    check = only(failed_checks(bot))
    assert (check.name, check.found) == ("stream", "events for phone have not been read for 3 min")
    read_all(db, "phone")
    assert failed_checks(bot) == []


def test_deliveries_that_no_running_relay_sends_are_reported(bot: Bot, alert: Alert) -> None:
    db = bot.connection
    add_delivery(db, add_target(db, "phone"), alert, due_at=ago(db, minutes=4))
    add_relay(db)
    assert failed_checks(bot) == []
    bot.execute("update walltrack.deliveries set due_at = due_at - interval '2 min'")
    check = only(failed_checks(bot))
    assert check.name == "deliveries"
    assert check.found == "deliveries to phone have been due for 6 min, and no relay sends them"


def test_advice_names_the_role_that_may_act(bot: Bot, alert: Alert) -> None:
    """A reader may not test a target: it learns which role may."""
    db = bot.connection
    add_relay(db)
    add_delivery(db, add_target(db, "phone"), alert, attempts=4, created_at=ago(db, hours=1), last_response="refused")
    (owner,) = db.execute("select nspowner::regrole::text from pg_namespace where nspname = 'walltrack'").fetchone() or ("",)
    role = f"reader_{alert.id.hex}"
    db.execute(f"create role {role}; select walltrack.grant_access('{role}', 'reader')")
    try:
        db.execute(f"set role {role}")
        assert f"ask {owner} to run `walltrack-alerts targets test phone`" in only(failed_checks(bot)).advice
    finally:
        db.execute("reset role")
        db.execute(f"drop owned by {role}; drop role {role}")


@pytest.mark.own_server
def test_doctor_names_what_is_not_delivered_and_what_to_do(database_url: str, bot: Bot, alert: Alert) -> None:
    db = bot.connection
    target = add_target(db, "phone")
    add_delivery(db, target, alert, attempts=4, created_at=ago(db, hours=1), last_status=503, last_response="busy")
    db.execute(
        "insert into walltrack.deliveries (target_id, event_id, alert_id, state, failed_at) values (%s, 0, %s, 'dead', now())",
        (target, alert.id),
    )
    said = " ".join(run(database_url, "doctor", expect=1).stdout.split())
    for part in (
        "FAIL relay: no relay is running: nothing is delivered to phone",
        "`walltrack-alerts relay`",
        "FAIL target phone: 1 undelivered, the oldest for 60 min; last response: 503 busy",
        "`walltrack-alerts targets test phone`",
        "FAIL dead letters: 1 dead letter",
        "`walltrack-alerts deliveries replay --target phone`",
    ):
        assert part in said
