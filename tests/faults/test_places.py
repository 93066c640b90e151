"""The places from which an order can be written."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg
import pytest

from tests.support.bot import TOKEN, Bot
from tests.support.faults import BROKEN, MENDED, fault_states, order_row
from tests.support.reconciling import reconcile
from walltrack_alerts import AlertStatus


def in_do(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(f"do $$ begin update walltrack.orders set {FAILED} where id = '{order}'; end $$")


def in_do_with_a_handler(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(f"do $$ begin update walltrack.orders set {FAILED} where id = '{order}'; exception when others then null; end $$")


def in_an_sql_function(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(
        f"create function walltrack.f(uuid) returns void language sql as 'update walltrack.orders set {QUOTED} where id = $1'"
    )
    bot.execute("select walltrack.f(%s)", (order,))


def in_a_function(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(
        "create function walltrack.f(p uuid) returns void language plpgsql as "
        f"'begin update walltrack.orders set {QUOTED} where id = p; end'"
    )
    bot.execute("select walltrack.f(%s)", (order,))


def in_a_procedure_that_commits(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(
        "create procedure walltrack.f(p uuid) language plpgsql as "
        f"'begin update walltrack.orders set {QUOTED} where id = p; commit; end'"
    )
    bot.execute("call walltrack.f(%s)", (order,))


def in_a_savepoint(bot: Bot, order: uuid.UUID) -> None:
    with bot.connection.transaction(), bot.connection.transaction():
        bot.fail(order)


def in_a_savepoint_after_an_error(bot: Bot, order: uuid.UUID) -> None:
    with bot.connection.transaction():
        with pytest.raises(psycopg.errors.DivisionByZero), bot.connection.transaction():
            bot.fail(order)
            bot.execute("select 1 / 0")
        bot.fail(order)


def prepared(bot: Bot, order: uuid.UUID) -> None:
    statement = "update walltrack.orders set locked_by = %s, status = %s, attempt_count = %s where id = %s"
    for turn in range(8):  # the sixth plan is a generic one
        bot.connection.execute(statement, (f"worker-{turn}", "submitted", 2, order), prepare=True)
    bot.connection.execute(statement, ("worker-9", "failed", 3, order), prepare=True)


def through_a_pipeline(bot: Bot, order: uuid.UUID) -> None:
    with bot.connection.pipeline():
        bot.lock(order)
        bot.fail(order)
        bot.unlock(order)


def at_a_cursor(bot: Bot, order: uuid.UUID) -> None:
    with bot.connection.transaction():
        bot.execute("declare c cursor for select * from walltrack.orders for update")
        bot.execute("fetch c")
        bot.execute(f"update walltrack.orders set {FAILED} where current of c")


def in_a_cte(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(
        f"with changed as (update walltrack.orders set {FAILED} where id = %s returning id) select * from changed", (order,)
    )


def through_a_view(bot: Bot, order: uuid.UUID) -> None:
    bot.execute("create view walltrack.v as select * from walltrack.orders")
    bot.execute(f"update walltrack.v set {FAILED} where id = %s", (order,))


def through_a_rule(bot: Bot, order: uuid.UUID) -> None:
    bot.execute("create table walltrack.results (id uuid)")
    bot.execute(f"create rule r as on insert to walltrack.results do also update walltrack.orders set {FAILED} where id = new.id")
    bot.execute("insert into walltrack.results values (%s)", (order,))


def by_another_trigger(bot: Bot, order: uuid.UUID) -> None:
    bot.execute("create table walltrack.results (id uuid)")
    bot.execute(
        "create function walltrack.t() returns trigger language plpgsql as "
        f"$$ begin update walltrack.orders set {FAILED} where id = new.id; return null; end $$"
    )
    bot.execute("create trigger t after insert on walltrack.results for each row execute function walltrack.t()")
    bot.execute("insert into walltrack.results values (%s)", (order,))


def by_on_conflict(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(
        "insert into walltrack.orders (id, order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "values (%s, 'exit', 'sell', %s, 1, 1, 'failed', 3) "
        "on conflict (id) do update set status = excluded.status, attempt_count = excluded.attempt_count",
        (order, TOKEN),
    )


def by_merge(bot: Bot, order: uuid.UUID) -> None:
    bot.execute(
        "merge into walltrack.orders as o using (values (%s::uuid)) as v (id) on o.id = v.id "
        f"when matched then update set {FAILED} when not matched then do nothing",
        (order,),
    )


def by_copy(bot: Bot, order: uuid.UUID) -> None:
    bot.delete(order)
    columns = "id, order_type, side, token_address, amount_sol, expected_price, status, attempt_count"
    with bot.connection.cursor() as cursor, cursor.copy(f"copy walltrack.orders ({columns}) from stdin") as copy:  # type: ignore[arg-type]
        copy.write_row((order, "exit", "sell", TOKEN, "1", "1", "failed", 3))


def with_the_simple_protocol(bot: Bot, order: uuid.UUID) -> None:
    bot.connection.pgconn.exec_(f"select 1; update walltrack.orders set {FAILED} where id = '{order}'; select 2".encode())


FAILED = "status = 'failed', attempt_count = 3"
QUOTED = FAILED.replace("'", "''")
PLACES = [
    in_do,
    in_do_with_a_handler,
    in_an_sql_function,
    in_a_function,
    in_a_procedure_that_commits,
    in_a_savepoint,
    in_a_savepoint_after_an_error,
    prepared,
    through_a_pipeline,
    at_a_cursor,
    in_a_cte,
    through_a_view,
    through_a_rule,
    by_another_trigger,
    by_on_conflict,
    by_merge,
    by_copy,
    with_the_simple_protocol,
]


@pytest.mark.parametrize("broken", [False, True], ids=["sound", "broken"])
@pytest.mark.parametrize("place", PLACES)
def test_a_write_raises_its_alert_from_any_place(
    bot: Bot, admin: psycopg.Connection, warnings: list[str], place: Callable[[Bot, uuid.UUID], None], broken: bool
) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    if broken:
        admin.execute(BROKEN)
    place(bot, order)
    assert order_row(bot, order)[:2] == ("failed", 3)
    if broken:
        assert set(fault_states(bot)) == {"23514"} and warnings
        admin.execute(MENDED)
        assert reconcile(bot) == (1, 0)
    else:
        assert fault_states(bot) == [] and warnings == []
    assert (bot.alert(order).status, bot.alert(order).occurrences) == (AlertStatus.ACTIVE, 1)
    assert bot.events(order) == ["raised"]
