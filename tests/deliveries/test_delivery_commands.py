"""`deliveries`, `silences` and `escalation` on a real database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from rich.cells import cell_len

from tests.support.bot import Bot
from tests.support.commands import run, run_process, usage_error
from tests.support.terminal import run_in_terminal

pytestmark = pytest.mark.own_server

ANSWER = "502 Bad Gateway: the upstream server has answered with an empty page, see the log of the proxy " * 4


@pytest.fixture
def dead(database_url: str, bot: Bot) -> list[int]:
    """The ids of dead deliveries: two of target ops, one of target phone; a pending one lies behind one of ops."""
    for name in ("ops", "phone"):
        run(database_url, "targets", "add", name, "--webhook", "https://example.com/", "--since", "2026-01-01")
    for _ in range(2):
        bot.exhaust(bot.create("exit"))
    bot.execute("select walltrack.fan_out_events()")
    query = (
        "update walltrack.deliveries as d "
        "set state = 'dead', attempts = 9, last_status = 502, last_response = %s, failed_at = now() "
        "from walltrack.notification_targets as t where t.target_id = d.target_id "
        "and (t.name = 'ops' or d.event_id = (select min(e.event_id) from walltrack.alert_events as e)) "
        "returning d.delivery_id, t.name"
    )
    rows = bot.execute(query, (ANSWER[:500],)).fetchall()
    return [row[0] for row in sorted(rows, key=lambda row: (row[1], row[0]))]


def states(db: psycopg.Connection) -> dict[int, str]:
    return dict(db.execute("select delivery_id, state from walltrack.deliveries").fetchall())


def test_the_list_shows_undelivered_events_with_reasons(database_url: str, db: psycopg.Connection, dead: list[int]) -> None:
    heading, *rows = (line.split("\t") for line in run(database_url, "deliveries", "list").stdout.splitlines())
    assert heading == ["id", "target", "alert", "event", "state", "tries", "age", "reason"] and len(rows) == 4
    rows = [line.split("\t") for line in run(database_url, "deliveries", "list", "--dead").stdout.splitlines()[1:]]
    assert [int(row[0]) for row in rows] == sorted(dead)
    assert {row[1] for row in rows} == {"ops", "phone"} and all(ANSWER[:60] in row[7] and row[5] == "9" for row in rows)
    assert len(rows[0][2]) == 36
    of_ops = run(database_url, "deliveries", "list", "--dead", "--target", "OPS", "--json").stdout.splitlines()
    assert [json.loads(line)["delivery_id"] for line in of_ops] == dead[:2]
    assert len(run(database_url, "deliveries", "list", "--limit", "1", "--json").stdout.splitlines()) == 1
    lines = run_in_terminal(database_url, 80, "deliveries", "list")
    assert len(lines) == 5 and max(cell_len(line) for line in lines) <= 80
    assert lines[0].split() == heading and [int(line.split()[0]) for line in lines[1:]] == sorted(states(db))
    assert all("…" not in line.split()[4] and line.endswith("…") for line in lines[1:] if " dead " in line)


def test_an_empty_list_is_reported(database_url: str) -> None:
    assert "Everything has been delivered" in run(database_url, "deliveries", "list").stderr
    assert "No dead letters" in run(database_url, "deliveries", "list", "--dead").stderr
    for command in ("list", "replay", "drop"):
        assert "no target 'nope'" in run(database_url, "deliveries", command, "--target", "nope", expect=1).stderr


def test_dead_deliveries_are_replayed(database_url: str, db: psycopg.Connection, dead: list[int]) -> None:
    assert (
        "2 dead letters would be sent again" in run(database_url, "deliveries", "replay", "--target", "ops", "--dry-run").stdout
    )
    assert [states(db)[each] for each in dead] == ["dead"] * 3
    assert "1 dead letter will be sent again" in run(database_url, "deliveries", "replay", str(dead[0])).stdout
    assert [states(db)[each] for each in dead] == ["pending", "dead", "dead"]
    done = json.loads(run(database_url, "deliveries", "replay", "--all", "--json").stdout)
    assert done == {"deliveries": 2, "dry_run": False} and "dead" not in states(db).values()


def test_dropping_needs_consent_and_names_the_operator(database_url: str, db: psycopg.Connection, dead: list[int]) -> None:
    assert "--yes" in run_process(database_url, "deliveries", "drop", "--all", expect=2).stderr
    assert [states(db)[each] for each in dead] == ["dead"] * 3
    run(database_url, "deliveries", "drop", str(dead[0]), str(dead[2]), "--yes", "--by", "ada")
    finished = db.execute("select delivery_id, state, finished_by from walltrack.finished_deliveries order by 1").fetchall()
    assert finished == [(each, "dropped", "ada") for each in sorted((dead[0], dead[2]))]
    assert set(states(db)) & set(dead) == {dead[1]}


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_a_choice_of_deliveries_is_required(database_url: str, dead: list[int], command: str) -> None:
    for choice in ((), ("--all", "--target", "ops"), ("1", "--all")):
        assert "--target NAME, or --all" in run(database_url, "deliveries", command, *choice, expect=2).stderr
    assert "'first' is not the id of a delivery" in usage_error(run(database_url, "deliveries", command, "first", expect=2))
    assert "999999" in run(database_url, "deliveries", command, "999999", *["--yes"][: command == "drop"], expect=1).stderr


def test_silences_are_added_listed_and_ended(database_url: str, db: psycopg.Connection) -> None:
    added = run(
        database_url, "silences", "add", "--error", "RPC node timed out", "--severity", "high", "--for", "2 h",
        "-m", "the provider is being repaired and will not say until when", "--by", "ada", "--json",
    )  # fmt: skip
    silence = json.loads(added.stdout)
    ends_in = datetime.fromisoformat(silence["ends_at"]) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=58) < ends_in <= timedelta(hours=2)
    assert (silence["error"], silence["severity"], silence["created_by"]) == ("RPC node timed out", "high", "ada")
    run(database_url, "silences", "add", "--token", "BONK", "--until", "23:59", "-m", "sold by hand")
    heading, *rows = (line.split("\t") for line in run(database_url, "silences", "list").stdout.splitlines())
    assert heading == ["id", "ends", "by", "matches", "reason"] and len(rows) == 2
    assert "error=RPC node timed out, severity=high" in [row[3] for row in rows]
    lines = run_in_terminal(database_url, 80, "silences", "list")
    assert max(cell_len(line) for line in lines) <= 80 and lines[0].split() == heading
    assert "has ended" in run(database_url, "silences", "end", str(silence["silence_id"]), "--by", "bob").stdout
    assert len(run(database_url, "silences", "list", "--json").stdout.splitlines()) == 1
    every = [json.loads(line) for line in run(database_url, "silences", "list", "--all", "--json").stdout.splitlines()]
    assert {each["ended_by"] for each in every} == {"bob", None}


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("--for", "2 h", "-m", "x"), "at least one of --token, --error", 2),
        (("--token", "BONK", "-m", "x"), "either --for or --until", 2),
        (("--token", "BONK", "-m", "x", "--for", "1 h", "--until", "18:00"), "either --for or --until", 2),
        (("--token", "BONK", "--for", "1 h"), "--reason", 2),
        (("--token", "BONK", "--for", "1 h", "-m", " "), "reason", 1),
        (("--token", " ", "--for", "1 h", "-m", "x"), "", 1),
        (("--token", "BONK", "--for", "banana", "-m", "x"), "is not an interval", 2),
        (("--severity", "fatal", "--for", "1 h", "-m", "x"), "critical", 2),
    ],
)
def test_invalid_silences_are_refused(
    database_url: str, db: psycopg.Connection, arguments: tuple[str, ...], says: str, code: int
) -> None:
    assert says in usage_error(run(database_url, "silences", "add", *arguments, expect=code))
    assert db.execute("select from walltrack.silences").rowcount == 0


def test_unknown_silences_are_named(database_url: str) -> None:
    assert "7" in run(database_url, "silences", "end", "7", expect=1).stderr
    assert "No silences are active" in run(database_url, "silences", "list").stderr


def steps(db: psycopg.Connection) -> set[tuple[object, ...]]:
    return set(db.execute("select severity, status, step, after::text, repeats from walltrack.escalation_steps").fetchall())


def test_escalation_steps_are_listed_set_and_removed(database_url: str, db: psycopg.Connection) -> None:
    rows = [line.split("\t") for line in run(database_url, "escalation", "list").stdout.splitlines()]
    assert rows[:2] == [
        ["severity", "status", "step", "after", "every", "times"], ["critical", "active", "1", "5m", "15m", "32"],
    ]  # fmt: skip
    before = steps(db)
    done = run(database_url, "escalation", "set", "critical", "2", "--after", "20 min", "--every", "1 h", "--times", "3").stdout
    assert "20m after the alert was raised, then every 1h, 3 times" in done
    assert steps(db) - before == {("critical", "active", 2, "00:20:00", 3)}
    run(database_url, "escalation", "set", "high", "1", "--status", "acknowledged", "--after", "1 day")
    assert ("high", "acknowledged", 1, "1 day", 0) in steps(db)
    assert "would be removed" in run(database_url, "escalation", "remove", "critical", "2", "--dry-run").stdout
    assert "--yes" in run_process(database_url, "escalation", "remove", "critical", "2", expect=2).stderr
    assert ("critical", "active", 2, "00:20:00", 3) in steps(db)
    assert "removed" in run(database_url, "escalation", "remove", "critical", "2", "--yes").stdout
    assert ("critical", "active", 2, "00:20:00", 3) not in steps(db)


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("set", "fatal", "1", "--after", "1 h"), "critical", 2),
        (("set", "high", "0", "--after", "1 h"), "STEP", 2),
        (("set", "high", "1"), "--after", 2),
        (("set", "high", "1", "--after", "banana"), "is not an interval", 2),
        (("set", "high", "1", "--after", "1 h", "--every", "1 h"), "go together", 2),
        (("set", "high", "1", "--after", "1 h", "--status", "resolved"), "acknowledged", 2),
        (("remove", "high", "9", "--yes"), "there is no step 9", 1),
    ],
)
def test_invalid_steps_are_refused(
    database_url: str, db: psycopg.Connection, arguments: tuple[str, ...], says: str, code: int
) -> None:
    before = steps(db)
    assert says in usage_error(run(database_url, "escalation", *arguments, expect=code))
    assert steps(db) == before
