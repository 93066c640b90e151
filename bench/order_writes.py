"""What the guard costs an order write: with and without it, and beside the textbook triggers, in pairs within one run.

Three tables with the same rows, indexes and host triggers take turns in short slices, so that whatever else the machine
does hits all of them alike; the figures are medians over the paired slices. CPU is the backend's own time on the
processor, read from the kernel.

    python bench/order_writes.py [--slices N] [--url URL]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table

from walltrack_alerts import migrations
from walltrack_alerts.embedded import embedded_server

VARIANTS = ("plain", "guarded", "textbook")
ROWS = 20_000
PER_SLICE = 500

SETUP = """
drop table if exists walltrack.bench_plain, walltrack.bench_guarded, walltrack.bench_textbook;
delete from walltrack.watched_tables where not exists (select from pg_class as c where c.oid = table_id);
create or replace function walltrack.bench_textbook_raise() returns trigger language plpgsql as $$
begin
  insert into walltrack.alerts (alert_type, severity, title, dedupe_key, data)
  values ('bench', case new.order_type when 'exit' then 'critical' else 'high' end, 'Order failed', 'bench_' || new.id,
    jsonb_build_object('order_id', new.id, 'error', new.last_error))
  on conflict (dedupe_key) where status <> 'resolved'
  do update set updated_at = now(), occurrences = alerts.occurrences + 1;
  perform pg_notify('walltrack_bench', new.id::text);
  return new;
end $$;
create or replace function walltrack.bench_textbook_resolve() returns trigger language plpgsql as $$
begin
  update walltrack.alerts set status = 'resolved', resolved_at = now(), resolved_by = 'system', resolution = new.status
  where dedupe_key = 'bench_' || new.id and status <> 'resolved';
  return new;
end $$;
"""

TABLE = """
create table walltrack.{table} (like walltrack.orders including all) with (fillfactor = 60, autovacuum_enabled = off);
insert into walltrack.{table} (order_type, side, token_address, token_symbol, amount_sol, expected_price, status,
  attempt_count, last_error)
select 'exit', 'sell', 'DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263', 'BONK', 1.5, 0.000021, 'submitted', 2,
  'Slippage tolerance exceeded (0x1771)'
from generate_series(1, {rows});
create trigger touch before update on walltrack.{table}
for each row execute function walltrack.tg_orders__touch_updated_at();
create trigger log_status after update on walltrack.{table}
for each row execute function walltrack.tg_orders__log_status();
alter table walltrack.{table} add column slot int generated always as identity;
create index on walltrack.{table} (slot);
vacuum analyze walltrack.{table};
"""

TEXTBOOK = """
create trigger raise_alert after update on walltrack.bench_textbook for each row
when (new.attempt_count >= new.max_attempts and new.status <> 'filled' and new.status <> 'cancelled'
  and (old.attempt_count is distinct from new.attempt_count or old.status is distinct from new.status))
execute function walltrack.bench_textbook_raise();
create trigger resolve_alert after update on walltrack.bench_textbook for each row
when (new.status in ('filled', 'cancelled') and old.status is distinct from new.status)
execute function walltrack.bench_textbook_resolve();
"""

WHOLE_ROW = (
    "order_type = order_type, side = side, signal_id = signal_id, position_id = position_id, token_address = token_address, "
    "token_symbol = token_symbol, amount_sol = amount_sol, amount_tokens = amount_tokens, expected_price = expected_price, "
    "actual_price = actual_price, max_slippage_bps = max_slippage_bps, status = status, tx_signature = tx_signature, "
    "filled_at = filled_at, attempt_count = attempt_count, max_attempts = max_attempts, last_error = last_error, "
    "next_retry_at = next_retry_at, is_simulated = is_simulated, created_at = created_at"
)

SCENARIOS = {
    "(a) lock columns": "set locked_until = now(), locked_by = 'worker-1'",
    "(b) whole row, nothing watched": f"set locked_by = 'worker-2', {WHOLE_ROW}",
    "(c) last failure": "set status = 'failed', attempt_count = attempt_count + 1, last_error = 'rpc timeout'",
}


class Bench:
    """One connection, three tables, and the clock of its backend."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.prepare_threshold = 1
        self._clock = Path(f"/proc/{self.connection.info.backend_pid}/schedstat")
        self._first = dict.fromkeys(VARIANTS, 0)
        self.execute(SETUP)
        for variant in VARIANTS:
            for statement in TABLE.format(table=f"bench_{variant}", rows=ROWS).split(";\n"):
                self.execute(statement)
        self.execute("select walltrack.watch_orders('walltrack.bench_guarded')")
        self.execute(TEXTBOOK)

    def execute(self, statement: str) -> None:
        """Run a statement that is part of this file."""
        self.connection.execute(statement)

    def cpu(self) -> float:
        """Seconds of processor time the backend has used."""
        return int(self._clock.read_text().split()[0]) / 1e9

    def reset(self) -> None:
        """Make every row an order before its last attempt again, without dead rows and alerts."""
        self.execute("set session_replication_role = replica")
        for variant in VARIANTS:
            self.execute(f"update walltrack.bench_{variant} set status = 'submitted', attempt_count = 2")
            self.execute(f"vacuum walltrack.bench_{variant}")
        self.execute("truncate walltrack.alerts, walltrack.order_status_log cascade")
        self.execute("set session_replication_role = origin")

    def slots(self, variant: str, count: int) -> range:
        """The next rows of a table, each used once in turn."""
        first = self._first[variant]
        self._first[variant] = (first + count) % (ROWS - ROWS % count)
        return range(first + 1, first + count + 1)

    def cpu_slice(self, variant: str, change: str) -> float:
        """CPU microseconds per UPDATE, PER_SLICE of them in one statement."""
        slots = self.slots(variant, PER_SLICE)
        body = f"update walltrack.bench_{variant} {change} where slot = v_slot"
        before = self.cpu()
        self.execute(f"do $$ begin for v_slot in {slots.start} .. {slots.stop - 1} loop {body}; end loop; end $$")
        return (self.cpu() - before) / PER_SLICE * 1e6

    def rate_slice(self, variant: str, change: str) -> float:
        """Transactions per second of single-row UPDATEs, each committed with synchronous_commit on."""
        slots = self.slots(variant, 100)
        statement = f"update walltrack.bench_{variant} {change} where slot = %s"
        begin = time.perf_counter()
        for slot in slots:
            self.connection.execute(statement, (slot,))
        return len(slots) / (time.perf_counter() - begin)

    def measure(self, name: str, take: Callable[[str, str], float], change: str, slices: int) -> dict[str, list[float]]:
        """`slices` values of each variant, taken in turns and in changing order; the first round only warms up."""
        values: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for number in track(range(slices + 1), description=name, transient=True):
            if number % 10 == 0:
                self.reset()
            for variant in VARIANTS if number % 2 else reversed(VARIANTS):
                value = take(variant, change)
                if number:
                    values[variant].append(value)
        return values


def paired(values: dict[str, list[float]], variant: str, of: Callable[[float, float], float]) -> float:
    """The median over the pairs (this variant, plain) of one slice."""
    return statistics.median(of(value, plain) for value, plain in zip(values[variant], values["plain"], strict=True))


@contextlib.contextmanager
def database(url: str | None) -> Iterator[str]:
    """The database to measure on; it must run on this machine."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="wt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder) / "pg") as embedded_url:
            yield embedded_url


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=60, help="slices of each kind (default: %(default)s)")
    parser.add_argument("--url", help="a superuser's URL of a server on this machine; default: the embedded PostgreSQL")
    arguments = parser.parse_args()
    console = Console()
    with database(arguments.url) as url:
        migrations.upgrade(url)
        bench = Bench(url)
        console.print(f"PostgreSQL {bench.connection.info.server_version / 10000:.2f}, medians of {arguments.slices} slices\n")
        table = Table("scenario", "variant", "CPU us", "added us", "tps", "of plain", box=None)
        for name, change in SCENARIOS.items():
            bench.execute("set synchronous_commit = off")
            cpu = bench.measure(f"{name}: CPU", bench.cpu_slice, change, arguments.slices)
            bench.execute("set synchronous_commit = on")
            rate = bench.measure(f"{name}: tps", bench.rate_slice, change, arguments.slices)
            for variant in VARIANTS:
                table.add_row(
                    name if variant == "plain" else "",
                    variant,
                    f"{statistics.median(cpu[variant]):.1f}",
                    "" if variant == "plain" else f"{paired(cpu, variant, lambda value, plain: value - plain):+.1f}",
                    f"{statistics.median(rate[variant]):.0f}",
                    "" if variant == "plain" else f"{paired(rate, variant, lambda value, plain: value / plain):.3f}",
                )
        console.print(table)


if __name__ == "__main__":
    main()
