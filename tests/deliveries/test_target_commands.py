"""`targets ...` on a real database: what is stored, what is shown, what is refused."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from rich.cells import cell_len

from tests.support.bot import Bot
from tests.support.commands import run, run_process, usage_error
from tests.support.terminal import run_in_terminal

pytestmark = [pytest.mark.own_server, pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")]

HOOK = ("--webhook", "https://example.com/hooks/alerts", "--secret", "${WT_SECRET}")
CHAT = ("--telegram", "-1001234", "--token", "${TG_TOKEN}")


def stored(db: psycopg.Connection, name: str) -> dict[str, Any]:
    """The row of a target."""
    row = db.execute("select to_jsonb(t) from walltrack.notification_targets as t where name = %s", (name,)).fetchone()
    assert row is not None
    return dict(row[0])


def count(db: psycopg.Connection) -> int:
    return db.execute("select from walltrack.notification_targets").rowcount


def test_a_webhook_is_stored_with_placeholders(database_url: str, db: psycopg.Connection) -> None:
    done = run(
        database_url, "targets", "add", "Ops", "--webhook", "https://example.com/${HOOK}?x=1", "--secret", "${NEW}",
        "--secret", "${OLD}", "--allow-private", "--by", "ada",
    )  # fmt: skip
    target = stored(db, "ops")
    assert target["config"] == {"url": "https://example.com/${HOOK}?x=1", "secrets": ["${NEW}", "${OLD}"], "allow_private": True}
    assert target["kind"] == "webhook" and target["created_by"] == "ada" and target["min_severity"] == "info"
    assert "HOOK, NEW, OLD" in done.stdout and "not set" in done.stdout and "not signed" not in done.stdout


def test_a_webhook_without_a_secret_is_announced_as_unsigned(database_url: str) -> None:
    assert "not signed" in run(database_url, "targets", "add", "ops", "--webhook", "https://example.com/${HOOK}").stdout


def test_a_chat_is_stored_with_its_allow_list(database_url: str, db: psycopg.Connection) -> None:
    run(
        database_url, "targets", "add", "phone", *CHAT, "--api-url", "http://127.0.0.1:8081", "--allow", "12345=ada",
        "--allow", "678=bob", "--min-gap", "1 s", "--digest-every", "1 min",
    )  # fmt: skip
    target = stored(db, "phone")
    assert target["config"] == {
        "chat": "-1001234", "token": "${TG_TOKEN}", "api_url": "http://127.0.0.1:8081", "allow": {"12345": "ada", "678": "bob"},
    }  # fmt: skip
    assert (target["min_gap"], target["digest_every"]) == ("00:00:01", "00:01:00")


def test_apprise_and_terminal_targets_are_stored(database_url: str, db: psycopg.Connection) -> None:
    run(database_url, "targets", "add", "push", "--apprise", "ntfys://${NTFY_TOKEN}@ntfy.example.com/alerts")
    run(database_url, "targets", "add", "oncall", "--apprise", "pover://${PO_USER}@${PO_TOKEN}")
    run(database_url, "targets", "add", "free", "--apprise", "ntfys://a-topic-that-is-no-secret")
    run(database_url, "targets", "add", "mail", "--apprise", "mailtos://${U}:${P}@smtp.example.com?to=ops@example.com")
    run(database_url, "targets", "add", "screen", "--terminal")
    assert stored(db, "push")["config"] == {"url": "ntfys://${NTFY_TOKEN}@ntfy.example.com/alerts"}
    assert stored(db, "screen")["config"] == {}


def test_every_filter_is_stored(database_url: str, db: psycopg.Connection) -> None:
    run(
        database_url, "targets", "add", "ops", *HOOK, "--min-severity", "high", "--kinds", "raised, resolved",
        "--order-types", "EXIT", "--tokens", "BONK,WIF", "--alert-types", "order_failed_permanently", "--step", "2",
        "--simulated", "--quiet", "22:00-07:00 europe/berlin",
    )  # fmt: skip
    target = stored(db, "ops")
    assert {key: target[key] for key in ("min_severity", "kinds", "order_types", "tokens", "alert_types", "step")} == {
        "min_severity": "high", "kinds": ["raised", "resolved"], "order_types": ["exit"], "tokens": ["BONK", "WIF"],
        "alert_types": ["order_failed_permanently"], "step": 2,
    }  # fmt: skip
    assert target["include_simulated"] is True
    assert (target["quiet_from"], target["quiet_until"], target["quiet_zone"]) == ("22:00:00", "07:00:00", "Europe/Berlin")
    shown = run(database_url, "targets", "show", "ops").stdout
    for text in (
        "raised, resolved",
        "BONK, WIF",
        "22:00-07:00 Europe/Berlin",
        "${WT_SECRET}",
        "https://example.com/hooks/alerts",
    ):
        assert text in shown


def test_a_target_starts_at_a_given_time(database_url: str, db: psycopg.Connection) -> None:
    run(database_url, "targets", "add", "old", *HOOK, "--since", "2026-01-31T09:00+01:00")
    run(database_url, "targets", "add", "new", *HOOK)
    assert stored(db, "old")["starts_at"] == "2026-01-31T08:00:00+00:00" and stored(db, "old")["cursor"] is None
    assert stored(db, "new")["cursor"] is not None


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("--webhook", "https://example.com/", "--secret", "whsec_SECRET"), "'${WT_SECRET}', not the secret itself", 2),
        (("--webhook", "https://example.com/", "--secret", ""), "not the secret itself", 2),
        (("--webhook", "https://ada:SECRET@example.com/"), "must not contain a user or a password", 1),
        (("--webhook", "ftp://example.com/SECRET"), "must begin with https:// or http://", 1),
        (("--webhook", "example.com/SECRET"), "must begin with https:// or http://", 1),
        (("--telegram", "-1001234", "--token", "123:SECRET"), "not the secret itself", 2),
        (("--telegram", "-1001234"), "token of a Telegram bot must be a placeholder", 1),
        (("--telegram", "my chat", "--token", "${T}"), "a number or an @name", 1),
        ((*CHAT, "--allow", "ada"), "12345=ada", 2),
        ((*CHAT, "--allow", "ada=12345"), "12345=ada", 2),
        (("--apprise", "mailto://ada:SECRET@example.com"), "password", 1),
        (("--apprise", "tgram://123456789:SECRET_hijklmnop/12315544/"), "bot_token", 1),
        (("--apprise", "discord://${ID}/SECRETk2ZwO5U711o3dV_js"), "webhook_token", 1),
        (("--apprise", "gotifys://example.com/SECRET"), "token", 1),
        (("--apprise", "no url"), "must be a URL", 1),
        (("--apprise", "nosuch://SECRET"), "Apprise has no service 'nosuch'", 1),
        ((*HOOK, "--quiet", "22:00-07:00 Europe/Nowhere"), "time zone, not 'Europe/Nowhere'", 1),
        ((*HOOK, "--quiet", "22-7"), "22:00-07:00 Europe/Berlin", 2),
        ((*HOOK, "--quiet", "25:00-07:00 UTC"), "two different times", 1),
        ((*HOOK, "--kinds", "raised,born"), "born", 1),
        ((*HOOK, "--kinds", ","), "'--kinds': The list is empty", 2),
        ((*HOOK, "--min-severity", "fatal"), "critical", 2),
        ((*HOOK, "--step", "-1"), "--step", 2),
        ((*HOOK, "--min-gap", "3 s"), "for chats", 1),
        ((*HOOK, "--since", "2999-01-01"), "is in the future", 2),
        ((*HOOK, "--since", "banana"), "is not a time", 2),
        ((), "Give one of --webhook, --telegram, --apprise and --terminal", 2),
        ((*HOOK, "--terminal"), "--webhook and --terminal", 2),
        ((*HOOK, "--token", "${T}"), "--token is an option of --telegram", 2),
        (("--terminal", "--secret", "${T}"), "--secret is an option of --webhook", 2),
    ],
)
def test_invalid_targets_are_refused(
    database_url: str, db: psycopg.Connection, arguments: tuple[str, ...], says: str, code: int
) -> None:
    done = run(database_url, "targets", "add", "ops", *arguments, expect=code)
    assert says in usage_error(done) and "SECRET" not in done.stdout + done.stderr.replace("WT_SECRET", "")
    assert count(db) == 0


def test_names_are_unique_and_plain(database_url: str, db: psycopg.Connection) -> None:
    run(database_url, "targets", "add", "ops", *HOOK)
    before = stored(db, "ops")
    assert "exists already" in run(database_url, "targets", "add", "OPS", "--terminal", expect=1).stderr
    for name in ("", "two words", "x" * 61, "-x", "<b>"):
        done = run(database_url, "targets", "add", "--terminal", "--", name, expect=1)
        assert "letters, digits, dots" in usage_error(done)
    assert stored(db, "ops") == before and count(db) == 1


def test_a_target_is_changed_and_keeps_the_rest(database_url: str, db: psycopg.Connection) -> None:
    run(
        database_url,
        "targets",
        "add",
        "ops",
        *HOOK,
        "--allow-private",
        "--simulated",
        "--tokens",
        "BONK",
        "--min-severity",
        "high",
    )
    before = stored(db, "ops")
    done = run(database_url, "targets", "set", "ops", "--secret", "${NEXT}", "--secret", "${WT_SECRET}", "--by", "bob")
    after = stored(db, "ops")
    assert "changed" in done.stdout and "NEXT" in done.stdout
    assert after["config"] == {**before["config"], "secrets": ["${NEXT}", "${WT_SECRET}"]} and after["changed_by"] == "bob"
    assert {key for key in after if after[key] != before[key]} == {"config", "changed_at", "changed_by"}
    run(database_url, "targets", "set", "ops", "--webhook", "https://new.example/", "--no-allow-private", "--no-simulated")
    run(database_url, "targets", "set", "ops", "--clear", "tokens", "--min-severity", "info")
    target = stored(db, "ops")
    assert target["config"] == {"url": "https://new.example/", "secrets": after["config"]["secrets"], "allow_private": False}
    assert (target["include_simulated"], target["tokens"], target["min_severity"]) == (False, None, "info")
    shown = [line.split(maxsplit=1) for line in run(database_url, "targets", "show", "ops").stdout.splitlines()]
    assert any(fact == "changed" and value.startswith("by ") for fact, value in shown)


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        ((), "nothing to change", 2),
        (("--telegram", "1"), "the kind cannot change", 2),
        (("--token", "${T}"), "--token is an option of --telegram", 2),
        (("--clear", "secret"), "unknown filter 'secret'", 2),
        (("--webhook", "ftp://SECRET/"), "must begin with https:// or http://", 1),
        (("--min-gap", "3 s"), "for chats", 1),
    ],
)
def test_invalid_changes_are_refused(
    database_url: str, db: psycopg.Connection, arguments: tuple[str, ...], says: str, code: int
) -> None:
    run(database_url, "targets", "add", "ops", *HOOK)
    before = stored(db, "ops")
    assert says in usage_error(run(database_url, "targets", "set", "ops", *arguments, expect=code))
    assert stored(db, "ops") == before


def test_unknown_targets_are_named_with_advice(database_url: str) -> None:
    run(database_url, "targets", "add", "ops", *HOOK)
    for command in (
        ("show",),
        ("set", "--step", "1"),
        ("test",),
        ("enable",),
        ("disable", "-m", "x"),
        ("remove", "--yes"),
        ("remove", "--dry-run"),
    ):
        done = run(database_url, "targets", command[0], "nope", *command[1:], expect=1)
        assert "nope" in done.stderr and ("targets list" in done.stderr or "There are: ops" in done.stderr)


def test_targets_are_disabled_and_enabled(database_url: str, db: psycopg.Connection) -> None:
    run(database_url, "targets", "add", "ops", *HOOK)
    assert "disabled" in run(database_url, "targets", "disable", "ops", "-m", "moving house", "--by", "ada").stdout
    assert "moving house" in stored(db, "ops")["disabled_reason"]
    row = run(database_url, "targets", "list").stdout.splitlines()[1].split("\t")
    assert row[2] == "off" and "moving house" in row[-1] and "ada" in row[-1]
    assert "enabled" in run(database_url, "targets", "enable", "ops").stdout
    assert stored(db, "ops")["disabled_at"] is None


def test_removing_a_target_needs_consent(database_url: str, db: psycopg.Connection) -> None:
    run(database_url, "targets", "add", "ops", *HOOK)
    assert "--yes" in run_process(database_url, "targets", "remove", "ops", expect=2).stderr
    assert "would be removed" in run(database_url, "targets", "remove", "ops", "--dry-run").stdout
    assert count(db) == 1
    removed = json.loads(run(database_url, "targets", "remove", "ops", "--yes", "--json").stdout)
    assert removed["name"] == "ops" and removed["dry_run"] is False and count(db) == 0


def test_the_list_fits_80_columns_and_is_whole_in_pipes(database_url: str, bot: Bot) -> None:
    name = "a-target-with-quite-a-long-name-of-some-fifty-letters"
    url = f"https://{'long.' * 20}example.com/hooks"
    run(database_url, "targets", "add", name, "--webhook", url, "--secret", "${S}")
    run(database_url, "targets", "add", "screen", "--terminal")
    lines = run_in_terminal(database_url, 80, "targets", "list")
    assert len(lines) == 3 and max(cell_len(line) for line in lines) <= 80 and lines[0].split()[0] == "name"
    heading, *rows = (line.split("\t") for line in run(database_url, "targets", "list").stdout.splitlines())
    assert heading == ["name", "kind", "state", "pending", "dead", "sent", "note"]
    assert rows[0][:6] == [name, "webhook", "on", "0", "0", "-"] and "long." * 20 in rows[0][6]
    assert [json.loads(line)["name"] for line in run(database_url, "targets", "list", "--json").stdout.splitlines()] == [
        name, "screen",
    ]  # fmt: skip


def test_an_empty_list_explains_how_to_add_one(database_url: str) -> None:
    assert "targets add" in run(database_url, "targets", "list").stderr
