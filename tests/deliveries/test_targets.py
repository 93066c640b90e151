"""Targets: what is accepted, what is refused with a hint, and which events a target gets."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.deliveries.relay import Desk, Relay
from tests.support.bot import TOKEN, Bot

HOOK = {"url": "https://hooks.example/in/${KEY}?x=literal", "secrets": ["${NEW}", "${OLD}"], "allow_private": True}
CHAT = {"chat": -100123, "token": "${TOKEN}", "api_url": "http://localhost:8081", "allow": {"12345": "ada"}}


def refused(desk: Desk, kind: str, config: Any, filters: Any = None, name: str = "t") -> str:
    """The message and the hint of a refusal (WT013)."""
    with pytest.raises(psycopg.Error) as caught:
        desk.execute("select walltrack.add_target(%s, %s, %s, %s)", (name, kind, Jsonb(config), Jsonb(filters or {})))
    assert caught.value.sqlstate == "WT013"
    assert desk.execute("select count(*) from walltrack.notification_targets").fetchone() == (0,)
    return f"{caught.value.diag.message_primary}\n{caught.value.diag.message_hint}"


@pytest.mark.parametrize(
    ("kind", "config", "address", "paced"),
    [
        ("webhook", HOOK, "https://hooks.example/…", False),
        ("webhook", {"url": "${URL}"}, "${URL}", False),
        ("webhook", {"url": "${BASE}/path/secret"}, "${BASE}", False),
        ("telegram", CHAT, "chat -100123", True),
        ("telegram", {"chat": "@traders", "token": "${T}"}, "chat @traders", True),
        ("apprise", {"url": "ntfys://user:${PASSWORD}@ntfy.example/topic"}, "ntfys://…", True),
        ("apprise", {"url": "tgram://${TOKEN}/123"}, "tgram://…", True),
        ("terminal", {}, "terminal", False),
    ],
)
def test_targets_of_every_kind_are_added(desk: Desk, kind: str, config: dict[str, Any], address: str, paced: bool) -> None:
    target = desk.add(" Night-Shift ", kind.upper(), config)
    row = desk.execute(
        "select name, kind, address, min_gap is not null, digest_every is not null, created_by, config from "
        "walltrack.notification_targets"
    ).fetchone()
    assert row is not None and row[:6] == ("night-shift", kind, address, paced, paced, "ada")
    assert row[6].keys() >= config.keys() - {"api_url"}
    assert (desk.execute("select target_id from walltrack.chat_pace").fetchall() == [(target,)]) == paced


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("pigeon", {}, "unknown kind of target: 'pigeon'"),
        ("webhook", {}, "must be a URL"),
        ("webhook", {"url": "ftp://hooks.example/"}, "must begin with https:// or http://"),
        ("webhook", {"url": "https://"}, "must begin with"),
        ("webhook", {"url": "https://ho st/"}, "without white space"),
        ("webhook", {"url": "https://u:p@hooks.example/"}, "must not contain a user or a password"),
        ("webhook", {"url": "https://h/", "secrets": ["whsec_literal"]}, "must be a placeholder"),
        ("webhook", {"url": "https://h/", "secrets": "${A}"}, "a list"),
        ("webhook", {"url": "https://h/", "verify": False}, "unknown key in the configuration of a webhook: verify"),
        ("webhook", [], "must be a JSON object"),
        ("telegram", {"chat": "-100", "token": "123:literal"}, "must be a placeholder"),
        ("telegram", {"chat": "my chat", "token": "${T}"}, "a number or an @name"),
        ("telegram", {"chat": "1", "token": "${T}", "allow": {"ada": "ada"}}, "must map the ids of users"),
        ("telegram", {"chat": "1", "token": "${T}", "allow": {"1": " "}}, "must map the ids of users"),
        ("apprise", {"url": "mailto://ada:geheim@example.com"}, "must be a placeholder"),
        ("terminal", {"color": True}, "unknown key"),
    ],
)
def test_a_bad_configuration_is_refused(desk: Desk, kind: str, config: Any, said: str) -> None:
    answer = refused(desk, kind, config)
    assert said in answer and "literal" not in answer and "geheim" not in answer


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"severity": "high"}, "unknown key in the filters: severity"),
        ({"min_severity": "urgent"}, "unknown severity"),
        ({"kinds": ["raised", "closed"]}, "unknown value in the filter kinds: closed"),
        ({"kinds": []}, "a list of 1 to 100 texts"),
        ({"tokens": [" "]}, "a blank text"),
        ({"include_simulated": "yes"}, "true or false"),
        ({"step": -1}, "a number from 0 to 99"),
        ({"quiet": {"from": "22:00", "until": "07:00"}}, "the name of a time zone"),
        ({"quiet": {"from": "22:00", "until": "07:00", "zone": "Mars/Olympus"}}, "the name of a time zone"),
        ({"quiet": {"from": "22:00", "until": "22:00", "zone": "UTC"}}, "two different times"),
        ({"quiet": {"from": "25:00", "until": "22:00", "zone": "UTC"}}, "two different times"),
        ({"min_gap": "1 second"}, "for chats"),
    ],
)
def test_bad_filters_are_refused(desk: Desk, filters: dict[str, Any], said: str) -> None:
    assert said in refused(desk, "webhook", {"url": "https://h/"}, filters)


@pytest.mark.parametrize("filters", [{"min_gap": "never"}, {"min_gap": "0"}, {"min_gap": None}, {"digest_every": "1 second"}])
def test_bad_paces_are_refused(desk: Desk, filters: dict[str, Any]) -> None:
    refused(desk, "telegram", CHAT, filters)


@pytest.mark.parametrize("name", ["", "Bad name", "x" * 61, "-x", "ünïcode"])
def test_a_bad_name_is_refused(desk: Desk, name: str) -> None:
    assert "the name of a target" in refused(desk, "terminal", {}, name=name)


def test_a_second_target_of_a_name_is_refused(desk: Desk) -> None:
    desk.webhook("hook")
    with pytest.raises(psycopg.Error, match="exists already"):
        desk.webhook("HOOK")


def changed(desk: Desk, name: str, config: Any = None, filters: Any = None) -> dict[str, Any]:
    """set_target(): the row of the target."""
    row = desk.execute(
        "select to_jsonb(t) from walltrack.set_target(%s, %s, %s, 'bob') as t",
        (name, None if config is None else Jsonb(config), None if filters is None else Jsonb(filters)),
    ).fetchone()
    assert row is not None
    return dict(row[0])


def test_a_change_keeps_what_is_not_given(desk: Desk) -> None:
    quiet = {"from": "22:00", "until": "07:30", "zone": "Europe/Zurich"}
    filters = {
        "min_severity": "high", "kinds": ["raised"], "order_types": ["exit"], "tokens": ["BONK"], "alert_types": ["feed"],
        "include_simulated": True, "step": 2, "quiet": quiet, "min_gap": "1 second", "digest_every": "90 seconds",
    }  # fmt: skip
    desk.add("chat", "telegram", CHAT, **filters)
    (before,) = desk.execute("select to_jsonb(t) from walltrack.notification_targets as t").fetchone() or ({},)
    after = changed(desk, "CHAT ", {"token": "${NEW}"}, {"step": 1})
    assert after.pop("changed_at") is not None and after["config"] == {**before["config"], "token": "${NEW}"}
    assert {key for key in after if after[key] != before[key]} == {"config", "step", "changed_by"}
    assert changed(desk, "chat", {"api_url": None, "chat": "7"}, {"quiet": None, "kinds": None})["address"] == "chat 7"
    row = desk.execute("select config ? 'api_url', quiet_zone, kinds, tokens from walltrack.notification_targets").fetchone()
    assert row == (False, None, None, ["BONK"])


def test_a_change_keeps_the_queue_and_tries_again(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    desk.raise_alert("one")
    relay.fan_out_all()
    relay.finish(*relay.claim(), outcome="failed")
    desk.raise_alert("two")
    (cursor,) = desk.execute("select cursor from walltrack.notification_targets").fetchone() or (None,)
    assert relay.claim() == []
    assert changed(desk, "hook", filters={"min_severity": "info"})["cursor"] == cursor and relay.claim() == []
    assert changed(desk, "hook", {"url": "https://moved.example/in"})["cursor"] == cursor
    relay.fan_out_all()
    relay.finish(*relay.claim())
    assert desk.finished(target) == ["delivered", "delivered"]


@pytest.mark.parametrize(
    ("config", "filters", "said"),
    [
        ({"secrets": ["literal"]}, None, "must be a placeholder"),
        ({"url": None}, None, "must be a URL"),
        ({"chat": "1"}, None, "unknown key"),
        ([], None, "must be a JSON object"),
        ("url", None, "must be a JSON object"),
        (None, {"kinds": ["closed"]}, "unknown value"),
        (None, {"digest_every": "1 minute"}, "for chats"),
        (None, [], "must be a JSON object"),
        ({"kind": "telegram"}, None, "the name and the kind of a target cannot change"),
        (None, {"name": "new"}, "the name and the kind of a target cannot change"),
    ],
)
def test_a_bad_change_is_refused(desk: Desk, config: Any, filters: Any, said: str) -> None:
    desk.webhook()
    (before,) = desk.execute("select to_jsonb(t) from walltrack.notification_targets as t").fetchone() or ({},)
    with pytest.raises(psycopg.Error) as caught:
        changed(desk, "hook", config, filters)
    assert caught.value.sqlstate == "WT013" and said in str(caught.value) and "literal" not in str(caught.value)
    assert desk.execute("select to_jsonb(t) from walltrack.notification_targets as t").fetchone() == (before,)


@pytest.mark.parametrize("call", ["set_target('x')", "remove_target('x')", "disable_target('x', 'why')", "enable_target('x')"])
def test_an_unknown_target_is_named(desk: Desk, call: str) -> None:
    desk.webhook("hook")
    with pytest.raises(psycopg.Error) as caught:
        desk.execute(f"select walltrack.{call}")
    assert caught.value.sqlstate == "WT014" and caught.value.diag.message_hint == "There are: hook"


def test_removing_a_target_removes_its_deliveries(desk: Desk, relay: Relay) -> None:
    desk.webhook("hook")
    kept = desk.chat("chat")
    desk.raise_alert()
    relay.fan_out()
    relay.finish(*relay.claim(), reference="77")
    desk.raise_alert("other")
    relay.fan_out()
    desk.execute("select walltrack.remove_target('hook')")
    assert desk.execute("select distinct target_id from walltrack.deliveries").fetchall() == [(kept,)]
    assert desk.execute("select distinct target_id from walltrack.finished_deliveries").fetchall() == [(kept,)]
    desk.execute("select walltrack.remove_target('chat')")
    for table in ("deliveries", "finished_deliveries", "sent_messages", "chat_pace"):
        assert desk.execute(f"select count(*) from walltrack.{table}").fetchone() == (0,)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, ["exit", "entry", "feed"]),
        ({"min_severity": "high"}, ["exit", "entry"]),
        ({"min_severity": "critical"}, ["exit"]),
        ({"order_types": ["EXIT"]}, ["exit"]),
        ({"order_types": ["exit", "entry"]}, ["exit", "entry"]),
        ({"alert_types": ["feed"]}, ["feed"]),
        ({"tokens": ["bonk"]}, ["exit", "entry"]),
        ({"tokens": [TOKEN]}, ["exit", "entry"]),
        ({"tokens": ["WIF"]}, []),
        ({"include_simulated": True}, ["exit", "entry", "feed", "simulated"]),
    ],
)
def test_filters_choose_alerts(desk: Desk, relay: Relay, bot: Bot, filters: dict[str, Any], wanted: list[str]) -> None:
    desk.webhook(**filters)
    bot.exhaust(bot.create("exit"))
    bot.exhaust(bot.create("entry"))
    desk.raise_alert(severity="warning")
    bot.exhaust(bot.create("exit", is_simulated=True))
    claims = relay.deliver()
    found = []
    for claim in claims:
        assert claim.item is not None
        data = claim.item["alert"]["data"]
        found.append("simulated" if data.get("is_simulated") else data.get("order_type", claim.item["alert"]["alert_type"]))
    assert found == wanted


def test_filters_choose_kinds_of_event(desk: Desk, relay: Relay) -> None:
    desk.webhook(kinds=["raised", "resolved"])
    alert = desk.raise_alert()
    desk.acknowledge(alert)
    desk.resolve(alert)
    kinds = [claim.kind for _ in range(2) for claim in relay.deliver()]
    assert kinds == ["raised", "resolved"] and relay.deliver() == []


def test_a_later_step_hears_of_escalations_and_their_answers(desk: Desk, relay: Relay) -> None:
    phone = desk.webhook("phone", step=2)
    quiet, loud = desk.raise_alert("quiet"), desk.raise_alert("loud")
    desk.escalate(quiet, 1)
    desk.escalate(loud, 1)
    desk.escalate(loud, 2)
    relay.fan_out()
    (page,) = relay.claim()
    assert (page.kind, page.alert_id) == ("escalated", str(loud))
    relay.finish(page)
    for alert in (quiet, loud):
        desk.acknowledge(alert)
        desk.resolve(alert)
    kinds = []
    while claims := relay.deliver():
        assert {claim.alert_id for claim in claims} == {str(loud)}
        kinds += [claim.kind for claim in claims]
    assert kinds == ["acknowledged", "resolved"]
    assert desk.finished(phone) == ["delivered"] * 3


def test_a_step_target_gets_the_resolution_of_the_same_batch(desk: Desk, relay: Relay) -> None:
    phone = desk.webhook("phone", step=1)
    alert = desk.raise_alert()
    desk.escalate(alert, 1)
    desk.resolve(alert)
    relay.fan_out()
    assert desk.states(phone) == ["pending", "waiting"]


def test_quiet_hours_delay_what_is_not_critical(desk: Desk, relay: Relay) -> None:
    """The whole day but the hour before now is quiet, in a zone whose days all have 24 hours."""
    (start, end) = desk.execute(
        "select to_char(now() at time zone 'Asia/Kathmandu', 'HH24:MI'), "
        "to_char(now() at time zone 'Asia/Kathmandu' - interval '1 hour', 'HH24:MI')"
    ).fetchone() or ("", "")
    target = desk.webhook(quiet={"from": start, "until": end, "zone": "asia/kathmandu"})
    desk.raise_alert("one", "high")
    desk.raise_alert("two", "critical")
    (claim,) = relay.deliver()
    assert claim.item is not None and claim.item["alert"]["severity"] == "critical"
    (hours,) = desk.execute("select extract(epoch from due_at - now()) / 3600 from walltrack.deliveries").fetchone() or (0,)
    assert 22.9 < hours <= 23
    # When it becomes critical, what waits of its alert goes ahead of it.
    desk.raise_alert("one", "critical")
    relay.fan_out()
    assert [claim.kind for _ in range(3) for claim in relay.deliver()] == ["raised", "repeated", "escalated"]
    assert desk.states(target) == []


@pytest.mark.parametrize(
    ("quiet", "now", "due"),
    [
        (("22:00", "07:00", "UTC"), "2026-03-01 21:59Z", "2026-03-01 21:59Z"),
        (("22:00", "07:00", "UTC"), "2026-03-01 22:00Z", "2026-03-02 07:00Z"),
        (("22:00", "07:00", "UTC"), "2026-03-02 06:59Z", "2026-03-02 07:00Z"),
        (("22:00", "07:00", "UTC"), "2026-03-02 07:00Z", "2026-03-02 07:00Z"),
        (("09:00", "17:00", "UTC"), "2026-03-02 12:00Z", "2026-03-02 17:00Z"),
        (("09:00", "17:00", "UTC"), "2026-03-02 17:00Z", "2026-03-02 17:00Z"),
        (("22:00", "07:00", "Europe/Zurich"), "2026-03-28 22:30Z", "2026-03-29 05:00Z"),
        (("22:00", "07:00", "America/New_York"), "2026-07-01 03:00Z", "2026-07-01 11:00Z"),
    ],
)
def test_quiet_hours_end_in_their_time_zone(desk: Desk, quiet: tuple[str, str, str], now: str, due: str) -> None:
    desk.webhook(quiet=dict(zip(("from", "until", "zone"), quiet, strict=True)))
    row = desk.execute(
        "select walltrack.due_time(t, 'high', %s) = %s::timestamptz, walltrack.due_time(t, 'critical', %s) = %s::timestamptz "
        "from walltrack.notification_targets as t",
        (now, due, now, now),
    ).fetchone()
    assert row == (True, True)


def test_a_target_says_once_that_it_is_disabled(desk: Desk) -> None:
    desk.webhook()
    first = desk.execute("select (walltrack.disable_target('hook', 'holidays', 'ada')).*").fetchone()
    assert desk.execute("select (walltrack.disable_target('hook', 'again', 'bob')).*").fetchone() == first
    reason = desk.execute("select disabled_reason from walltrack.notification_targets").fetchone()
    assert reason == ("holidays (by ada)",)
