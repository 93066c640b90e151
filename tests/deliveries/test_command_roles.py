"""The commands of deliveries with the rights of each kind of role."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.bot import Bot
from tests.support.commands import run

pytestmark = pytest.mark.own_server

Url = Callable[[str], str]


@pytest.fixture
def url_as(database_url: str, db: psycopg.Connection) -> Iterator[Url]:
    """The URL of a new role with a kind of access."""
    names: list[str] = []

    def create(access: str) -> str:
        names.append(f"wt_role_{uuid.uuid4().hex[:8]}")
        db.execute(sql.SQL("create role {}").format(sql.Identifier(names[-1])))
        db.execute("select walltrack.grant_access(%s::regrole, %s)", (names[-1], access))
        return make_conninfo(database_url, options=f"-c role={names[-1]}")

    yield create
    for name in names:
        db.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


@pytest.fixture
def dead(database_url: str, bot: Bot) -> list[int]:
    """Two dead deliveries of a webhook whose path holds a placeholder."""
    run(database_url, "targets", "add", "ops", "--webhook", "https://example.com/${HOOK}/in", "--secret", "${WT_SECRET}")
    for _ in range(2):
        bot.exhaust(bot.create("exit"))
    bot.execute("select walltrack.fan_out_events()")
    return [
        row[0]
        for row in bot.execute(
            "update walltrack.deliveries set state = 'dead', attempts = 9, failed_at = now() returning delivery_id"
        )
    ]


@pytest.mark.parametrize("access", ["reader", "operator", "relay"])
def test_roles_see_targets_and_deliveries(dead: list[int], url_as: Url, access: str) -> None:
    url = url_as(access)
    assert run(url, "targets", "list").stdout.splitlines()[1].split("\t")[:5] == ["ops", "webhook", "on", "0", "2"]
    assert len(run(url, "deliveries", "list", "--dead").stdout.splitlines()) == 3
    assert "critical" in run(url, "escalation", "list").stdout
    run(url, "silences", "list")
    shown = json.loads(run(url, "targets", "show", "ops", "--json").stdout)
    if access == "relay":
        assert shown["config"]["secrets"] == ["${WT_SECRET}"]
    else:
        assert shown["config"] is None and shown["address"] == "https://example.com/…" and "HOOK" not in str(shown)
        assert "https://example.com/…" in run(url, "targets", "show", "ops").stdout


def test_operators_replay_drop_and_silence(dead: list[int], url_as: Url, db: psycopg.Connection) -> None:
    url = url_as("operator")
    run(url, "deliveries", "replay", str(dead[0]), "--by", "ada")
    run(url, "deliveries", "drop", str(dead[1]), "--yes", "--by", "ada")
    silence = json.loads(run(url, "silences", "add", "--token", "BONK", "--for", "1 h", "-m", "sold", "--json").stdout)
    run(url, "silences", "end", str(silence["silence_id"]))
    assert db.execute("select state, finished_by from walltrack.finished_deliveries").fetchall() == [("dropped", "ada")]
    assert db.execute("select state from walltrack.deliveries").fetchall() == [("pending",)]


@pytest.mark.parametrize("access", ["reader", "relay"])
def test_other_roles_change_no_deliveries(dead: list[int], url_as: Url, access: str) -> None:
    url = url_as(access)
    for command in (
        ("deliveries", "replay", "--all"),
        ("deliveries", "drop", "--all", "--yes"),
        ("silences", "add", "--token", "BONK", "--for", "1 h", "-m", "sold"),
    ):
        assert "permission denied" in run(url, *command, expect=1).stderr


@pytest.mark.parametrize("access", ["operator", "relay"])
def test_only_the_owner_changes_targets(dead: list[int], url_as: Url, db: psycopg.Connection, access: str) -> None:
    url = url_as(access)
    before = db.execute("select * from walltrack.notification_targets, walltrack.escalation_steps").fetchall()
    for command in (
        ("targets", "add", "mine", "--terminal"),
        ("targets", "disable", "ops", "-m", "x"),
        ("targets", "enable", "ops"),
        ("targets", "remove", "ops", "--yes"),
        ("escalation", "set", "critical", "2", "--after", "1 h"),
        ("escalation", "remove", "critical", "1", "--yes"),
    ):
        done = run(url, *command, expect=1)
        assert "permission denied" in done.stderr and "doctor" in done.stderr
    assert db.execute("select * from walltrack.notification_targets, walltrack.escalation_steps").fetchall() == before


def test_an_operator_cannot_send_test_events(dead: list[int], url_as: Url) -> None:
    assert "permission denied" in run(url_as("operator"), "targets", "test", "ops", expect=1).stderr
