"""The transitions: compare-and-set, harmless repeats, errors with a code, and the underlying constraints."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.support.bot import Bot
from walltrack_alerts import Alert, AlertStatus


@pytest.fixture
def alert(bot: Bot) -> Alert:
    alert = bot.call("raise_alert", "test", "warning", "Something is off", "Look at it", "{}", False, "key")
    assert alert is not None
    return alert


@pytest.fixture
def notices(db: psycopg.Connection) -> list[str]:
    heard: list[str] = []
    db.add_notice_handler(lambda diagnostic: heard.append(diagnostic.message_primary or ""))
    return heard


def refused(bot: Bot, function: str, *arguments: object) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        bot.call(function, *arguments)
    return caught.value


def test_raising_twice_makes_one_alert(bot: Bot, alert: Alert) -> None:
    again = bot.call("raise_alert", "test", "warning", "Still off", "Look again", '{"n": 2}', True, "key")
    assert again is not None
    assert (again.id, again.occurrences, again.title, again.data) == (alert.id, 2, "Still off", {"n": 2})
    assert bot.events() == ["raised", "repeated"]


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_dedupe_key_each_raise_is_an_alert(bot: Bot, key: str | None) -> None:
    for _ in range(2):
        bot.call("raise_alert", "test", "info", "One more", "", "{}", False, key)
    assert [a.dedupe_key for a in bot.alerts()] == [None, None]


def test_severity_is_case_insensitive_and_may_fall(bot: Bot, alert: Alert) -> None:
    bot.call("acknowledge_alert", alert.id, "ada")
    bot.call("raise_alert", "test", "INFO", "Less bad", "", "{}", False, "key")
    (after,) = bot.alerts()
    assert (after.severity, after.status) == ("info", "acknowledged")
    bot.call("raise_alert", "test", "Critical", "Worse", "", "{}", False, "key")
    (after,) = bot.alerts()
    assert (after.severity, after.status, after.acknowledged_at) == ("critical", "active", None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("test", "bad", "title"),
        ("test", None, "title"),
        ("", "high", "title"),
        (None, "high", "title"),
        ("test", "high", "  "),
        ("test", "high", None),
        ("test", "high", "title", "", "[1]"),
        ("test", "high", "title", "", "{}", False, "k" * 501),
    ],
)
def test_invalid_alerts_are_refused(bot: Bot, arguments: tuple[object, ...]) -> None:
    error = refused(bot, "raise_alert", *arguments)
    assert error.sqlstate == "WT003"
    assert bot.alerts() == []


def test_nulls_become_defaults(bot: Bot) -> None:
    alert = bot.call("raise_alert", "test", "high", "title", None, None, None, None)
    assert alert is not None
    assert (alert.message, alert.data, alert.requires_action) == ("", {}, False)


def test_the_first_acknowledgement_counts(bot: Bot, alert: Alert, notices: list[str]) -> None:
    acknowledged = bot.call("acknowledge_alert", alert.id, "ada")
    assert acknowledged is not None
    assert (acknowledged.status, acknowledged.acknowledged_by) == (AlertStatus.ACKNOWLEDGED, "ada")
    assert notices == []
    assert bot.call("acknowledge_alert", alert.id, "bob") == acknowledged
    assert len(notices) == 1 and notices[0].startswith("already acknowledged by ada")
    assert bot.events() == ["raised", "acknowledged"]


def test_an_alert_is_resolved_once(bot: Bot, alert: Alert, notices: list[str]) -> None:
    resolved = bot.call("resolve_alert", alert.id, "restarted it", "ada")
    assert resolved is not None
    assert (resolved.status, resolved.resolution, resolved.resolved_by) == (AlertStatus.RESOLVED, "restarted it", "ada")
    assert bot.call("resolve_alert", alert.id, "no, I did", "bob") == resolved
    assert len(notices) == 1 and notices[0].startswith("already resolved by ada")
    assert bot.events() == ["raised", "resolved"]


def test_a_resolved_alert_cannot_be_acknowledged(bot: Bot, alert: Alert) -> None:
    bot.call("resolve_alert", alert.id, "restarted it", "ada")
    error = refused(bot, "acknowledge_alert", alert.id, "bob")
    assert error.sqlstate == "WT002"
    assert "ada resolved it" in str(error)


@pytest.mark.parametrize("resolution", [None, "", " \t"])
def test_a_resolve_needs_a_resolution(bot: Bot, alert: Alert, resolution: str | None) -> None:
    assert refused(bot, "resolve_alert", alert.id, resolution, "ada").sqlstate == "WT003"
    assert bot.alerts() == [alert]


@pytest.mark.parametrize("missing", [uuid4(), None])
def test_a_missing_alert_is_an_error(bot: Bot, missing: object) -> None:
    assert refused(bot, "acknowledge_alert", missing, "ada").sqlstate == "WT001"
    assert refused(bot, "resolve_alert", missing, "done", "ada").sqlstate == "WT001"


def test_without_a_name_the_session_user_acts(bot: Bot, alert: Alert) -> None:
    acknowledged = bot.call("acknowledge_alert", alert.id, " ")
    assert acknowledged is not None
    (user,) = bot.execute("select session_user").fetchone() or ()
    assert acknowledged.acknowledged_by == user


def test_an_alert_is_resolved_by_its_dedupe_key(bot: Bot, alert: Alert, notices: list[str]) -> None:
    resolved = bot.call("resolve_by_dedupe_key", " key\n", "went away", "monitor")
    assert resolved is not None
    assert (resolved.id, resolved.status) == (alert.id, AlertStatus.RESOLVED)
    assert bot.call("resolve_by_dedupe_key", "key", "went away", "monitor") is None
    assert bot.call("resolve_by_dedupe_key", None, "went away", "monitor") is None
    assert all(notice.startswith("no alert is open") for notice in notices) and len(notices) == 2


def test_a_dedupe_key_is_matched_exactly(bot: Bot) -> None:
    """The key of an order contains its id, which may be padded."""
    for key in ("order_failed_a", "order_failed_a  "):
        bot.execute(
            "insert into walltrack.alerts (alert_type, severity, title, dedupe_key) values ('t', 'info', 't', %s)", (key,)
        )
        resolved = bot.call("resolve_by_dedupe_key", key, "gone", "ada")
        assert resolved is not None and resolved.dedupe_key == key


def test_the_order_alert_can_be_resolved_by_its_key(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.call("resolve_by_dedupe_key", f"order_failed_{order}", "sold by hand", "ada")
    assert bot.alert(order).resolution == "sold by hand"


def test_long_texts_are_cut_visibly(bot: Bot) -> None:
    alert = bot.call("raise_alert", "test", "high", "t" * 10_000, "m" * 1_000_000)
    assert alert is not None
    assert len(alert.title) == 200 and alert.title.endswith("…")
    assert len(alert.message) == 10_000 and alert.message.endswith("…")


@pytest.mark.parametrize(
    "change",
    [
        "status = 'resolved'",
        "status = 'resolved', resolved_at = now(), resolved_by = 'x'",
        "resolved_at = now()",
        "acknowledged_at = now()",
        "acknowledged_at = now(), acknowledged_by = 'x'",
        "status = 'acknowledged'",
        "severity = 'fatal'",
        "occurrences = 0",
        "data = '[]'",
    ],
)
def test_the_database_holds_alerting_to_the_lifecycle(bot: Bot, alert: Alert, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        bot.execute(f"update walltrack.alerts set {change}, own_writes = own_writes + 1")


def test_the_database_allows_one_open_alert_per_key(bot: Bot, alert: Alert) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        bot.execute(
            "insert into walltrack.alerts (alert_type, severity, title, dedupe_key, own_writes) "
            "values ('t', 'info', 't', 'key', 1)"
        )


def test_events_are_never_edited(bot: Bot, alert: Alert) -> None:
    with pytest.raises(psycopg.Error) as caught:
        bot.execute("update walltrack.alert_events set actor = 'nobody'")
    assert caught.value.sqlstate == "WT006"


def test_the_views_show_the_current_state(bot: Bot) -> None:
    for severity in ("info", "critical", "high", "warning", "critical"):
        bot.call("raise_alert", "test", severity, f"a {severity} one")
    critical = bot.execute("select id from walltrack.open_alerts limit 1").fetchone()
    assert critical is not None
    bot.call("acknowledge_alert", critical[0], "ada")
    rows = bot.execute("select severity, created_at from walltrack.open_alerts").fetchall()
    assert [row[0] for row in rows] == ["critical", "critical", "high", "warning", "info"]
    assert rows[0][1] < rows[1][1]
    assert bot.execute("select severity, active, acknowledged, total from walltrack.alert_counts").fetchall() == [
        ("critical", 1, 1, 2),
        ("high", 1, 0, 1),
        ("warning", 1, 0, 1),
        ("info", 1, 0, 1),
    ]


def test_without_alerts_every_count_is_zero(bot: Bot) -> None:
    assert bot.execute("select * from walltrack.alert_counts").fetchall() == [
        (severity, 0, 0, 0) for severity in ("critical", "high", "warning", "info")
    ]
