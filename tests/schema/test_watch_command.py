"""`watch` and `unwatch`: plan, execution and refusals."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.bot import Bot
from tests.support.commands import run, usage_error
from tests.support.databases import new_database
from tests.support.health import failed_checks
from walltrack_alerts import migrations, watching

pytestmark = pytest.mark.own_server

MAPPING = ("--column", "attempt_count=retry_count", "--column", "max_attempts=max_retries", "--column", "last_error=retry_reason")
TRIGGERS = [f"walltrack_alerts_{event}" for event in ("insert", "update", "delete", "truncate")]
STATE = (
    "select coalesce(string_agg(w::text, ' '), ''), (select count(*) from pg_trigger where tgname like 'walltrack_alerts_%'), "
    "(select count(*) from pg_proc where pronamespace = 'walltrack'::regnamespace) from walltrack.watched_tables as w"
)


@pytest.fixture
def trades(bot: Bot) -> Bot:
    """A second-generation table in which an order has already failed."""
    bot.execute(
        "create table public.trades (id int primary key, order_type text, status text, retry_count int, max_retries int, "
        "retry_reason text, mode text); insert into public.trades values (7, 'exit_mirror', 'failed', 3, 3, 'boom', 'simulation')"
    )
    return bot


def test_watching_raises_alerts_of_old_and_new_failures(database_url: str, trades: Bot) -> None:
    said = run(database_url, "watch", "trades", *MAPPING).stdout
    assert said.startswith("public.trades is watched.\n")
    for part in (*TRIGGERS, "attempt_count  retry_count", "is_simulated  mode", "1 alert raised"):
        assert part in said
    assert "next_retry_at" in said.split("no column for")[1]
    trades.execute("insert into public.trades values (8, 'entry', 'failed', 3, 3, 'boom', 'live')")
    assert [alert.dedupe_key for alert in trades.alerts()] == ["order_failed_7", "order_failed_8"]
    assert failed_checks(trades) == []


def test_dry_runs_show_the_plan_and_change_nothing(database_url: str, trades: Bot) -> None:
    """A dry run waits for no writer of the table."""
    before = trades.execute(STATE).fetchall()
    with psycopg.connect(database_url) as writer:
        writer.execute("update public.trades set status = 'pending'")
        said = run(database_url, "watch", "public.trades", *MAPPING, "--notify", "off", "--dry-run").stdout
        plan = json.loads(run(database_url, "watch", "public.trades", *MAPPING, "--dry-run", "--json").stdout)
    assert said.startswith("public.trades would be watched.\n") and "walltrack_alerts_truncate would be created" in said
    assert "notify  off" in said and "alerts raised" not in said
    assert plan["triggers"] == TRIGGERS and plan["columns"]["last_error"] == "retry_reason" and not plan["is_watched"]
    assert (plan["dry_run"], plan["raised"], plan["order_actions"], plan["notify"]) == (True, None, True, "event")
    assert trades.execute(STATE).fetchall() == before


def test_watching_again_changes_only_given_settings(database_url: str, trades: Bot) -> None:
    run(database_url, "watch", "trades", *MAPPING, "--cancel-pattern", "^Aufgegeben")
    trades.execute("drop trigger walltrack_alerts_delete on public.trades")
    said = run(database_url, "watch", "trades", "--no-order-actions").stdout
    assert "public.trades is watched again." in said and "triggers  walltrack_alerts_delete created\n" in said
    plan = json.loads(run(database_url, "watch", "trades", "--dry-run", "--json").stdout)
    assert (plan["cancel_pattern"], plan["order_actions"], plan["triggers"]) == ("^Aufgegeben", False, [])
    assert plan["columns"]["attempt_count"] == "retry_count"


def test_unwatching_keeps_the_alerts(database_url: str, trades: Bot) -> None:
    run(database_url, "watch", "trades", *MAPPING)
    before = trades.execute(STATE).fetchall()
    said = run(database_url, "unwatch", "public.trades", "--dry-run").stdout
    assert said.startswith("public.trades would no longer be watched.") and "open alerts  1 stay" in said
    assert trades.execute(STATE).fetchall() == before
    done = json.loads(run(database_url, "unwatch", "public.trades", "--json").stdout)
    assert sorted(done["triggers"]) == sorted(TRIGGERS) and done["open_alerts"] == 1
    trades.execute("update public.trades set status = 'filled'")
    assert [alert.is_open for alert in trades.alerts()] == [True]
    assert "migrate` watches it again" in run(database_url, "unwatch", "walltrack.orders").stdout


def test_dropped_tables_are_unwatched_by_name(database_url: str, trades: Bot) -> None:
    run(database_url, "watch", "trades", *MAPPING)
    trades.execute("set session_replication_role = replica; alter event trigger walltrack_alerts_forget_dropped disable")
    trades.execute("drop table public.trades")
    assert "public.trades is no longer watched" in run(database_url, "unwatch", "public.trades").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (("watch", "nothing"), 1, "There is no table nothing. Name it as in SQL"),
        (("watch", "Trade s"), 1, "There is no table Trade s."),
        (("watch", "a.b.c.d"), 1, "There is no table a.b.c.d."),
        (("watch", "other.trades"), 1, "Did you mean public.trades?"),
        (("watch", "trades"), 1, "it has no column for attempt_count, last_error, max_attempts"),
        (("watch", "trades", "--column", "attempts=retry_count"), 1, "unknown order fact 'attempts' The facts are order_id,"),
        (("watch", "trades", "--column", "attempt_count=tries"), 1, "table trades has no column for attempt_count 'tries'"),
        (("watch", "trades", *MAPPING, "--column", "attempt_count=status"), 2, "attempt_count has two columns"),
        (("watch", "trades", "--column", "attempt_count"), 2, "'attempt_count' is not a mapping. Write a fact and its column"),
        (("watch", "trades", *MAPPING, "--cancel-pattern", "("), 1, "p_cancel_pattern is a regular expression"),
        (("watch", "trades", *MAPPING, "--notify", "often"), 2, "'often' is not one of"),
        (("watch", "walltrack.open_alerts"), 1, "it is not a table"),
        (("unwatch", "trades"), 1, "Table trades is not watched. Watched tables: walltrack.orders"),
        (("unwatch", "nothing"), 1, "There is no table nothing."),
        (("unwatch", "''"), 1, "There is no table ''."),
    ],
)
def test_impossible_requests_are_refused_with_advice(
    database_url: str, trades: Bot, arguments: tuple[str, ...], code: int, match: str
) -> None:
    before = trades.execute(STATE).fetchall()
    shown = usage_error(run(database_url, *arguments, expect=code)).replace("public.trades has", "trades has")
    assert match in shown
    assert trades.execute(STATE).fetchall() == before


def test_busy_tables_are_retried(database_url: str, trades: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries, waiting writers go ahead."""
    monkeypatch.setattr(watching, "LOCK_TIMEOUT", "10ms")
    with psycopg.connect(database_url) as writer:
        writer.execute("update public.trades set status = 'pending'")
        monkeypatch.setattr(watching.time, "sleep", lambda _: writer.rollback())
        run(database_url, "watch", "trades", *MAPPING)
    with psycopg.connect(database_url) as writer:
        writer.execute("update public.trades set status = 'pending'")
        monkeypatch.setattr(watching.time, "sleep", lambda _: None)
        assert "Try again" in usage_error(run(database_url, "unwatch", "trades", expect=1))


# Other roles

OWNER, HOST = (f"wt_{name}_{uuid.uuid4().hex[:8]}" for name in ("owner", "host"))


@pytest.fixture
def foreign(server_url: str) -> Iterator[str]:
    """A database that OWNER has migrated, with a table trade.orders of HOST, which has granted nothing."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"create role {OWNER} login; create role {HOST} login")
        try:
            with new_database(server_url) as url:
                admin.execute(f"alter database {conninfo_to_dict(url)['dbname']} owner to {OWNER}")
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(f"create schema trade authorization {HOST}")
                migrations.upgrade(make_conninfo(url, user=OWNER))
                with psycopg.connect(make_conninfo(url, user=HOST), autocommit=True) as host:
                    host.execute(
                        "create table trade.orders (id int, order_type text, status text, attempt_count int, max_attempts int, "
                        "last_error text)"
                    )
                yield url
        finally:
            admin.execute(f"drop role {OWNER}; drop role {HOST}")


def test_only_the_owner_of_alerting_may_watch(foreign: str) -> None:
    """The guard runs with the privileges of the role that creates it, even a superuser's."""
    for arguments in (("watch", "trade.orders"), ("unwatch", "walltrack.orders"), ("watch", "trade.orders", "--dry-run")):
        for url in (foreign, make_conninfo(foreign, user=HOST)):
            shown = usage_error(run(url, *arguments, expect=1))
            assert f"Schema walltrack belongs to {OWNER}" in shown and f"Connect as {OWNER}." in shown


def test_missing_rights_are_named_with_the_grant(foreign: str) -> None:
    owner = make_conninfo(foreign, user=OWNER)
    shown = run(owner, "watch", "trade.orders", "--dry-run", expect=1).stderr
    assert f"Ask {HOST} to run: " in shown
    with psycopg.connect(make_conninfo(foreign, user=HOST), autocommit=True) as host:
        host.execute(shown.split(" to run: ")[1])
    assert "order actions  off" in run(owner, "watch", "trade.orders").stdout
    shown = usage_error(run(owner, "unwatch", "trade.orders", expect=1))
    assert f"only {HOST}, the owner of table trade.orders, can drop its triggers" in shown
    with psycopg.connect(foreign, autocommit=True) as admin:
        admin.execute(shown.split("`")[1])
    assert "trade.orders is no longer watched" in run(owner, "unwatch", "trade.orders").stdout
