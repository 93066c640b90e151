"""Ways to break and mend alerting, and the checks afterwards."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.support.bot import Bot

DEADLINE = 60
"""Seconds after which something that is waited for will not happen any more."""

MOST_WAITED = 3 * 250
"""Milliseconds: three times the deadline, because a busy machine prolongs each wait. Without one the tests wait for seconds."""

BROKEN = "alter table walltrack.alerts add constraint alerts_never check (false) not valid"
MENDED = "alter table walltrack.alerts drop constraint alerts_never"
HOST_TRIGGER = (
    "create function walltrack.host() returns trigger language plpgsql as $$ begin {body} end $$;"
    "create trigger host before insert or update on walltrack.alerts for each row execute function walltrack.host()"
)
NO_HOST_TRIGGER = "drop function walltrack.host() cascade"
# As in an installation without a superuser.
NOBODY_FOLLOWS = (
    "drop event trigger walltrack_alerts_follow_ddl; drop event trigger walltrack_alerts_forget_dropped;"
    "drop event trigger walltrack_alerts_warn_before_ddl;"
)
WATCH_AGAIN = "select walltrack.watch_orders('walltrack.orders')"
HOSTS_TRIGGERS = "drop trigger orders_touch_updated_at on walltrack.orders; drop trigger orders_log_status on walltrack.orders"
ENDS = {"fill": "filled", "cancel": "cancelled", "delete": "deleted"}


def collect_notices(connection: psycopg.Connection) -> list[str]:
    warnings: list[str] = []
    connection.add_notice_handler(lambda d: warnings.append(f"{d.severity_nonlocalized} {d.message_primary}"))
    return warnings


def order_row(bot: Bot, order: uuid.UUID) -> tuple[str, int, str | None]:
    """(status, attempt_count, last_error) as committed."""
    assert bot.connection.info.transaction_status is TransactionStatus.IDLE
    row = bot.execute("select status, attempt_count, last_error from walltrack.orders where id = %s", (order,)).fetchone()
    assert row is not None
    return row


def fault_states(bot: Bot) -> list[str]:
    return [sqlstate for sqlstate, _ in bot.faults()]


def assert_fault_reported(bot: Bot, warnings: list[str], order: uuid.UUID, sqlstates: str, *, kept: bool = True) -> None:
    """Check for one fault with one of these SQLSTATEs: reported as a warning, and kept where possible."""
    assert len(warnings) == 1
    assert warnings[0].startswith(
        f"WARNING walltrack_alerts: order {order} of walltrack.orders was written but its alert was not"
    )
    sqlstate = warnings[0].removesuffix(")").rpartition("(")[2]
    assert sqlstate in sqlstates.split()
    assert fault_states(bot) == ([sqlstate] if kept else [])


def waited_ms(bot: Bot) -> int:
    """Milliseconds that the open transaction has waited for alerting, as alerting counts them; 999 for more."""
    assert bot.connection.info.transaction_status is TransactionStatus.INTRANS
    row = bot.execute("select ms from walltrack.lock_wait_totals()").fetchone()
    assert row is not None
    return row[0]


def wait_until_blocked(watcher: psycopg.Connection, waiting: psycopg.Connection, blocker: psycopg.Connection) -> None:
    """Wait until one session waits for a lock that the other one holds."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        row = watcher.execute(
            "select %s = any (pg_blocking_pids(%s))", (blocker.info.backend_pid, waiting.info.backend_pid)
        ).fetchone()
        if row == (True,):
            return
        time.sleep(0.01)
    pytest.fail(f"it did not wait within {DEADLINE} s")


@contextmanager
def run_meanwhile(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run `work` in a thread beside the block and wait for it at the end."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(DEADLINE)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


@contextmanager
def alerting_disabled(admin: psycopg.Connection) -> Iterator[None]:
    admin.execute("alter table walltrack.orders disable trigger user")
    yield
    admin.execute("alter table walltrack.orders enable trigger user")


@contextmanager
def without_triggers(connection: psycopg.Connection) -> Iterator[None]:
    connection.execute("set session_replication_role = replica")
    yield
    connection.execute("reset session_replication_role")
