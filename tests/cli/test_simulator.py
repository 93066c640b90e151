"""The simulated bot against a real server: it writes only what WallTrack's bot could have written."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from tests.support.deadline import Deadline
from walltrack_alerts.errors import DatabaseUnavailableError, NotMigratedError
from walltrack_alerts.simulator import SimulatedBot

pytestmark = pytest.mark.own_server

ALLOWED = {
    "pending": {"submitted", "cancelled"},
    "submitted": {"confirming", "failed"},
    "confirming": {"filled", "failed"},
    "failed": {"pending", "cancelled"},
    "filled": set(),
    "cancelled": set(),
}
GAVE_UP = "Max retries reached (3 attempts)"
BY_HAND = "Manually cancelled"

CUT: LiteralString = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name = 'walltrack-simulated-bot'
"""
CONNECTED: LiteralString = """
select from pg_stat_activity where datname = current_database() and application_name = 'walltrack-simulated-bot'
"""

RECORDER: LiteralString = """
-- One row for each write; changed: the columns with another value; whole: the UPDATE named even created_at.
create table walltrack.history (
    seq bigint generated always as identity primary key,
    order_id uuid not null,
    xid xid8 not null default pg_current_xact_id(),
    old_status text,
    status text not null,
    old_attempts integer,
    attempts integer not null,
    error text,
    changed text[] not null,
    whole boolean not null default false
);
create index on walltrack.history (xid);
create function walltrack.tg_record() returns trigger language plpgsql as $$
begin
    insert into walltrack.history (order_id, old_status, status, old_attempts, attempts, error, changed)
    values (
        new.id, old.status, new.status, old.attempt_count, new.attempt_count, new.last_error,
        array(
            select n.key
            from jsonb_each(to_jsonb(new)) as n
            where n.value is distinct from to_jsonb(old) -> n.key and n.key <> 'updated_at'
            order by n.key
        )
    );
    return null;
end $$;
create function walltrack.tg_record_whole() returns trigger language plpgsql as $$
begin
    update walltrack.history set whole = true where xid = pg_current_xact_id();
    return null;
end $$;
create trigger a_record after insert or update on walltrack.orders
    for each row execute function walltrack.tg_record();
create trigger b_record_whole after update of created_at, token_address, max_attempts on walltrack.orders
    for each row execute function walltrack.tg_record_whole();
"""


@pytest.fixture
def database(database_url: str) -> str:
    """The URI of a database that records every write of an order."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(RECORDER)
    return database_url


def rows(uri: str, query: LiteralString) -> list[Any]:
    with psycopg.connect(uri, autocommit=True, row_factory=namedtuple_row) as connection:
        return connection.execute(query).fetchall()


def history(uri: str) -> list[Any]:
    return rows(uri, "select * from walltrack.history order by seq")


def trade(uri: str, **options: Any) -> SimulatedBot:
    """Run `max_orders` orders to their end, as fast as the server allows."""
    bot = SimulatedBot(uri, pace=10_000, **options)
    asyncio.run(bot.run(asyncio.Event()))
    return bot


def story(uri: str) -> list[tuple[Any, ...]]:
    """The history without what differs between runs: ids numbered by first appearance, no times."""
    numbers: dict[Any, int] = {}
    return [
        (numbers.setdefault(row.order_id, len(numbers)), row.status, row.attempts, row.error, row.changed) for row in history(uri)
    ]


def test_every_write_is_one_the_bot_may_make(database: str) -> None:
    bot = trade(database, max_orders=80, failure_rate=0.4)
    records = history(database)
    inserts = [row for row in records if row.old_status is None]
    assert len(inserts) == bot.counts.orders == 80
    assert {(row.status, row.attempts) for row in inserts} == {("pending", 0)}
    for row in records:
        if row.old_status is None:
            continue
        if row.old_status != row.status:
            assert row.status in ALLOWED[row.old_status], row
        failed = row.old_status != row.status == "failed"
        assert row.attempts == row.old_attempts + failed, row
    assert len({row.xid for row in records}) == len(records), "each write is a transaction of its own"


def test_few_orders_are_alive_at_once(database: str) -> None:
    trade(database, max_orders=150, failure_rate=0.5)
    alive: set[Any] = set()
    for row in history(database):
        if row.status in ("filled", "cancelled"):
            alive.discard(row.order_id)  # an unlock may still follow
        else:
            alive.add(row.order_id)
        assert len(alive) < 20
    assert alive == set()


def test_locks_write_two_columns_and_saves_the_whole_row(database: str) -> None:
    trade(database, max_orders=40)
    updates = [row for row in history(database) if row.old_status is not None]
    locks = [row for row in updates if not row.whole]
    saves = [row for row in updates if row.whole]
    assert {tuple(row.changed) for row in locks} == {("locked_by", "locked_until")}
    assert not [row for row in saves if "locked_by" in row.changed]
    assert len(locks) > len(saves)
    assert [row for row in saves if not row.changed and row.attempts >= 3], "an exhausted order saved unchanged"


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_the_first_orders_cover_every_outcome(database: str, seed: int) -> None:
    bot = trade(database, max_orders=9, seed=seed)
    records = history(database)
    orders = {row.id: row for row in rows(database, "select * from walltrack.orders")}
    exhausted = {row.order_id for row in records if row.attempts >= 3}
    assert {orders[order].order_type for order in exhausted} == {"entry", "exit"}
    kinds: Counter[str] = Counter()
    for row in records:
        if row.old_status in (None, row.status):
            continue
        ran_out = row.attempts >= 3
        if row.status == "failed":
            kinds["last failure" if row.attempts == 3 else "failure"] += 1
            kinds["attempt 4 of 3"] += row.attempts == 4
        elif row.status == "cancelled":
            assert row.error in (GAVE_UP, BY_HAND)
            kinds[f"{row.error}, {'exhausted' if ran_out else 'fresh'}"] += 1
        elif row.status == "filled":
            kinds["filled, exhausted" if ran_out else "filled"] += 1
        elif row.status == "pending":
            kinds["manual retry" if ran_out else "retry"] += 1
    assert set(kinds) == {
        "failure",
        "last failure",
        "attempt 4 of 3",
        f"{GAVE_UP}, exhausted",
        f"{BY_HAND}, exhausted",
        f"{BY_HAND}, fresh",
        "filled",
        "filled, exhausted",
        "manual retry",
        "retry",
    }
    assert min(kinds.values()) > 0
    assert any("<" in orders[order].token_symbol for order in exhausted), "a hostile name among the alerts"
    assert {row.status for row in orders.values()} == {"filled", "cancelled"}
    counts = bot.counts
    assert (counts.orders, counts.exhausted, counts.retried) == (9, len(exhausted), kinds["manual retry"])
    assert counts.filled == sum(row.status == "filled" for row in orders.values())
    assert counts.cancelled == sum(row.status == "cancelled" for row in orders.values())
    assert counts.attempts == sum(row.old_status == "pending" != row.status == "submitted" for row in records)


def test_the_automatic_cancel_is_an_update_after_the_last_failure(database: str) -> None:
    trade(database, max_orders=60, failure_rate=0.5)
    cancelled = [row for row in history(database) if row.error == GAVE_UP and row.status == "cancelled"]
    assert cancelled
    for row in cancelled:
        assert row.old_status == "failed"
        assert row.changed == ["last_error", "status"]


def test_the_same_seed_writes_the_same_history(database: str) -> None:
    trade(database, max_orders=40, seed=3)
    first = story(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("truncate walltrack.orders, walltrack.history")
    trade(database, max_orders=40, seed=3)
    assert story(database) == first
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("truncate walltrack.orders, walltrack.history")
    trade(database, max_orders=40, seed=4)
    assert story(database) != first


def test_a_second_run_adds_to_the_first(database: str) -> None:
    for _ in range(2):
        trade(database, max_orders=10)
    assert len(rows(database, "select from walltrack.orders")) == 20


def test_rows_look_like_trades(database: str) -> None:
    trade(database, max_orders=150)
    orders = rows(database, "select * from walltrack.orders")
    alphabet = set("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
    for row in orders:
        assert 32 <= len(row.token_address) <= 44
        assert set(row.token_address) <= alphabet
        assert row.tx_signature is None or (86 <= len(row.tx_signature) <= 88)
        assert row.side == {"entry": "buy", "exit": "sell"}[row.order_type]
        assert (row.position_id is not None) == (row.order_type == "exit" or row.status == "filled")
        assert row.amount_sol > 0
        assert row.expected_price > 0
        assert (row.status == "filled") == (row.actual_price is not None) == (row.filled_at is not None)
        assert row.locked_by is None
    assert len({row.token_symbol for row in orders}) > 10
    assert len({row.token_address for row in orders}) == len({row.token_symbol for row in orders})
    assert {row.is_simulated for row in orders} == {True, False}
    assert {row.order_type for row in orders} == {"entry", "exit"}
    errors = {row.error for row in history(database) if row.status == "failed" and row.error}
    for part in ("0x1771", "Blockhash not found", "Slippage", "RPC timeout", "insufficient lamports"):
        assert any(part in error for error in errors), part


def test_the_failure_rate_is_the_share_of_exhausted_orders(database: str) -> None:
    assert trade(database, max_orders=30, failure_rate=0.0).counts.exhausted == 0
    all_but_two_of_the_first = 30 - 2
    assert trade(database, max_orders=30, failure_rate=1.0).counts.exhausted == all_but_two_of_the_first


def test_the_bot_continues_after_its_connection_is_cut(database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def main() -> int:
        bot = SimulatedBot(database, pace=20, max_orders=40)
        running = asyncio.create_task(bot.run(asyncio.Event()))
        cut = 0
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
            while cut < 3:
                assert not running.done()
                cut += (await connection.execute(CUT)).rowcount
                await asyncio.sleep(0.2)
        await running
        return bot.counts.orders

    assert asyncio.run(main()) == 40
    assert "lost its database" in caplog.text
    unfinished = rows(database, "select from walltrack.orders where status not in ('filled', 'cancelled')")
    assert unfinished == []
    for row in history(database):
        assert row.old_status in (None, row.status) or row.status in ALLOWED[row.old_status]


@pytest.mark.parametrize("ending", ["stop", "duration", "cancel"])
def test_the_bot_ends_cleanly(database: str, ending: str) -> None:
    async def main() -> SimulatedBot:
        bot, stop = SimulatedBot(database, pace=50), asyncio.Event()
        running = asyncio.create_task(bot.run(stop, 1.0 if ending == "duration" else None))
        while bot.counts.filled == 0 and not running.done():
            await asyncio.sleep(0.01)
        if ending == "stop":
            stop.set()
        elif ending == "cancel":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            return bot
        await running
        return bot

    bot = asyncio.run(main())
    assert len(rows(database, "select from walltrack.orders")) - bot.counts.orders in (0, 1)
    if ending != "cancel":
        assert len(rows(database, "select from walltrack.orders")) == bot.counts.orders
    deadline = Deadline()
    while rows(database, CONNECTED) and deadline.is_ahead():  # the server takes a moment to notice
        time.sleep(0.01)


def test_the_bot_can_be_stopped_before_it_starts(database: str) -> None:
    async def main() -> SimulatedBot:
        bot, stop = SimulatedBot(database), asyncio.Event()
        stop.set()
        await bot.run(stop)
        return bot

    assert asyncio.run(main()).counts.orders == 0


def test_errors_belong_to_the_package(empty_database_url: str) -> None:
    with pytest.raises(NotMigratedError):
        trade(empty_database_url)
    with pytest.raises(DatabaseUnavailableError):
        trade("host=/dev/null/nowhere dbname=postgres")


@pytest.mark.parametrize("options", [{"pace": 0}, {"pace": -1}, {"failure_rate": 1.5}, {"failure_rate": -0.1}])
def test_impossible_settings_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SimulatedBot("", **options)  # type: ignore[arg-type]
