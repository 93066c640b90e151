"""The tables that are compared. Each has its own connection, so its own backend, plan cache and processor clock."""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

BACKGROUND = 20_000
"""Orders that no measurement touches, in each table."""
HISTORY = 2_000
"""Resolved alerts of earlier orders, in each table of alerts."""
FAIL = (
    "set status = 'failed', attempt_count = attempt_count + 1, last_error = 'Slippage tolerance exceeded (0x1771)', "
    "next_retry_at = now() + interval '30 s'"
)
FILL = "set status = 'filled', filled_at = now(), actual_price = expected_price, tx_signature = 'a signature'"

FULL = "create table {table} (like walltrack.orders including all) with (fillfactor = 60, autovacuum_enabled = off);"
LEAN = """
create table {table} (like walltrack.orders including defaults including constraints)
with (fillfactor = 60, autovacuum_enabled = off);
alter table {table} add primary key (id);
"""
SLOT = "alter table {table} add column slot int; create index on {table} (slot);"
HOST_TRIGGERS = """
create trigger touch_updated_at before update on {table}
for each row execute function walltrack.tg_orders__touch_updated_at();
create trigger log_status after update on {table}
for each row execute function walltrack.tg_orders__log_status();
"""
ROWS = """
insert into {table} (order_type, side, signal_id, position_id, token_address, token_symbol, amount_sol, expected_price, status,
  attempt_count, slot)
select 'exit', 'sell', 'signal-' || n, gen_random_uuid(), 'DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263', 'BONK', 1.5,
  0.000021, '{status}', {attempts}, n
from generate_series({first}, {last}) as n;
"""
TEXTBOOK_TRIGGERS = """
create trigger raise_alert after update on {table} for each row {raise_when}
execute function bench.textbook_raise{suffix}();
create trigger resolve_alert after update on {table} for each row {resolve_when}
execute function bench.textbook_resolve{suffix}();
"""
WHEN = {
    "{raise_when}": (
        "when (new.attempt_count >= new.max_attempts and new.status not in ('filled', 'cancelled') "
        "and (new.attempt_count is distinct from old.attempt_count or new.status is distinct from old.status))"
    ),
    "{resolve_when}": "when (new.status in ('filled', 'cancelled') and new.status is distinct from old.status)",
}
"""The conditions of the textbook's triggers; its functions test them, too."""


class Guard(enum.Enum):
    """The triggers of a table in addition to the host's own."""

    NONE = enum.auto()
    TEXTBOOK = enum.auto()
    TEXTBOOK_SILENT = enum.auto()
    """Without pg_notify."""
    OURS = enum.auto()
    OURS_SILENT = enum.auto()


SILENT = (Guard.TEXTBOOK_SILENT, Guard.OURS_SILENT)


@dataclass(frozen=True, slots=True)
class Start:
    """What an order is like before it is written; with `has_alert`, its last attempt has failed in between."""

    status: str
    attempts: int = 0
    has_alert: bool = False


class Subject:
    """One table of orders."""

    def __init__(self, name: str, url: str, guard: Guard, *, lean: bool = False, when: bool = False) -> None:
        self.name, self.url, self.guard, self._when = name, url, guard, when
        self.table = f"bench.orders_{guard.name.lower()}"
        self.alerts = "bench.textbook_alerts" if guard in (Guard.TEXTBOOK, Guard.TEXTBOOK_SILENT) else "walltrack.alerts"
        self.connection = psycopg.connect(url, autocommit=True, application_name="walltrack_bench")
        self._clock = Path(f"/proc/{self.connection.info.backend_pid}/schedstat")
        self.execute("set synchronous_commit = off")
        self._create(lean=lean)
        self._began = self.connection.execute("select clock_timestamp()::text").fetchall()[0][0]

    def execute(self, statement: str) -> None:
        """Run SQL in which {table} stands for the table, as a transaction of its own."""
        self.connection.execute(statement.replace("{table}", self.table))

    def cpu_seconds(self) -> float:
        """Processor time that the backend has used."""
        return int(self._clock.read_text().split()[0]) / 1e9

    @contextlib.contextmanager
    def triggers_off(self) -> Iterator[None]:
        """No trigger fires in this session inside the block."""
        self.execute("set session_replication_role = replica")
        yield
        self.execute("set session_replication_role = origin")

    def _create(self, *, lean: bool) -> None:
        self.execute("create schema if not exists bench")
        self.execute((LEAN if lean else FULL) + SLOT + ("" if lean else HOST_TRIGGERS))
        if self.guard in (Guard.TEXTBOOK, Guard.TEXTBOOK_SILENT):
            self._create_textbook()
        elif self.guard is not Guard.NONE:
            silent = ", p_notify => 'off'" if self.guard is Guard.OURS_SILENT else ""
            self.execute(f"select walltrack.watch_orders('{{table}}'{silent})")
        self._insert(Start("submitted", 2), 1, BACKGROUND)
        if self.guard not in (Guard.NONE, *SILENT):
            self.execute(f"update {{table}} {FAIL} where slot <= {HISTORY}")
            self.execute(f"update {{table}} {FILL} where slot <= {HISTORY}")
            self.execute(f"vacuum analyze {self.alerts}")
        self.execute("vacuum analyze {table}")

    def _create_textbook(self) -> None:
        script = Path(__file__).with_name("textbook.sql").read_text(encoding="utf-8")
        suffix = ""
        if self.guard is Guard.TEXTBOOK_SILENT:
            suffix = "_silent"
            functions = script[script.index("create function") :]
            script = re.sub(r"perform pg_notify\(.*\);", "null;", functions).replace("() returns", f"{suffix}() returns")
        triggers = TEXTBOOK_TRIGGERS.replace("{suffix}", suffix)
        for place, condition in WHEN.items():
            triggers = triggers.replace(place, condition if self._when else "")
        self.execute(script + triggers)

    def _insert(self, start: Start, first: int, last: int) -> None:
        with self.triggers_off():
            self.execute(ROWS.format(table=self.table, status=start.status, attempts=start.attempts, first=first, last=last))

    def forget(self) -> None:
        """Delete the orders that were measured, and their alerts, without a trace."""
        with self.triggers_off():
            self.execute(f"delete from {{table}} where slot > {BACKGROUND}")
            if self.guard is not Guard.NONE:
                self.execute(f"delete from {self.alerts} where created_at > '{self._began}'")
            self.execute("truncate walltrack.order_status_log")

    def begin(self, start: Start, count: int) -> range:
        """The slots of so many new orders in a vacuumed table."""
        slots = range(BACKGROUND + 1, BACKGROUND + 1 + count)
        self._insert(start, slots.start, slots.stop - 1)
        if start.has_alert:
            self.execute(f"update {{table}} {FAIL} where slot > {BACKGROUND}")
            with self.triggers_off():
                self.execute(f"update {{table}} set status = '{start.status}' where slot > {BACKGROUND}")
        for table in (self.table, *([] if self.guard is Guard.NONE else [self.alerts])):
            self.execute(f"vacuum analyze {table}")
        return slots

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


def begin_all(subjects: Sequence[Subject], start: Start, count: int) -> range:
    """The slots of so many new orders in each table; whatever was measured before is gone."""
    for subject in subjects:  # all of them first: some share a table of alerts
        subject.forget()
    for subject in subjects:
        slots = subject.begin(start, count)
    return slots
