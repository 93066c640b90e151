"""Deliveries to a webhook on this machine: latency, rate, and what targets cost order writes.

    python bench/deliveries.py [--rounds 300] [--events 10000] [--writes 2000] [--hold 60] [--json FILE]

Latency is the time from the return of COMMIT to the arrival of the request. Rates are messages per second while a backlog is
delivered, by one relay and by two, beside the same HTTP call as a job of PgQueuer and of procrastinate (skipped where they are
not installed). Order writes are timed in turns with three targets and with none. The last rate is measured while a
transaction holds an old snapshot, which keeps dead rows from being removed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from walltrack_alerts import migrations
from walltrack_alerts.embedded import embedded_server

FOLDER = Path(__file__).parent
INSERT = (
    "insert into walltrack.orders "
    "(id, order_type, side, token_address, amount_sol, expected_price, status, attempt_count, last_error) "
    "values (%s, 'exit', 'sell', 'DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263', 1.5, 0.000021, 'failed', 3, 'rpc timeout')"
)
BACKLOG = (
    "select count(walltrack.raise_alert('bench', 'high', 'Alert ' || n, 'A message', '{}', true, 'b' || n)) "
    "from generate_series(1, %s) as n"
)


class Bench:
    """A database, a sink, and the relays and engines that are measured."""

    def __init__(self, server: str, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.record = folder / "record"
        sink = subprocess.Popen(
            [sys.executable, str(FOLDER / "counting_sink.py"), str(self.record)], stdout=subprocess.PIPE, text=True
        )
        assert sink.stdout
        self.sink = sink
        self.url = f"http://127.0.0.1:{int(sink.stdout.readline())}/hook"

    @contextmanager
    def database(self, targets: int = 0) -> Iterator[str]:
        """A migrated database of its own with some targets."""
        name = f"bench_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(self.server, autocommit=True) as admin:
            admin.execute(f"create database {name}")
        url = make_conninfo(self.server, dbname=name)
        migrations.upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(targets):
                config = Jsonb({"url": self.url, "secrets": ["${BENCH_SECRET}"], "allow_private": True})
                connection.execute("select walltrack.add_target(%s, 'webhook', %s)", (f"sink-{number}", config))
        yield url
        with psycopg.connect(self.server, autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")

    @contextmanager
    def relays(self, url: str, number: int = 1) -> Iterator[None]:
        """Relay processes."""
        command = [str(Path(sys.executable).with_name("walltrack-alerts")), "relay"]
        environ = {**os.environ, "WALLTRACK_DATABASE_URL": url, "BENCH_SECRET": "a secret of the measurement"}
        with (self.folder / "relay.log").open("a") as log:
            running = [subprocess.Popen(command, env=environ, stdout=log, stderr=log) for _ in range(number)]
            yield
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait(60)

    def arrivals(self) -> list[tuple[float, int]]:
        """When each request arrived, and its event."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [(float(at), int(event)) for at, event in (line.split() for line in lines if line.count(" ") == 1)]

    def wait_for(self, count: int, patience: float = 300) -> list[tuple[float, int]]:
        """The arrivals, as soon as there are so many."""
        end = time.monotonic() + patience
        while len(found := self.arrivals()) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(found)} of {count} messages arrived; see {self.folder}/relay.log")
            time.sleep(0.2)
        return found

    def forget(self) -> None:
        """Clear the record."""
        os.truncate(self.record, 0)

    def latency(self, rounds: int) -> list[float]:
        """Milliseconds from the return of a commit to the arrival at the sink, one order at a time."""
        with self.database(1) as url, self.relays(url), psycopg.connect(url, autocommit=True) as connection:
            connection.execute(INSERT, (uuid.uuid4(),))
            self.wait_for(1)
            committed: list[float] = []
            for _ in range(rounds):
                connection.execute(INSERT, (uuid.uuid4(),))
                committed.append(time.time())
                time.sleep(0.05)
            at = {event: moment for moment, event in self.wait_for(rounds + 1)}
            events = [row[0] for row in connection.execute("select event_id from walltrack.alert_events order by event_id")][1:]
        self.forget()
        return [(at[event] - moment) * 1000 for event, moment in zip(events, committed, strict=True)]

    def rate(self, events: int, relays: int = 1, hold: float = 0) -> float:
        """Messages per second while relays deliver a backlog; `hold`: so many seconds with an old snapshot before it."""
        with self.database(1) as url, ExitStack() as stack:
            if hold:
                old = stack.enter_context(psycopg.connect(url))
                old.execute("set transaction isolation level repeatable read")
                old.execute("select count(*) from walltrack.deliveries")
                with self.relays(url):
                    self._keep_busy(url, hold)
                self.forget()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(BACKLOG, (events,))
            with self.relays(url, relays):
                found = self.wait_for(events)
        self.forget()
        return _rate(found)

    def _keep_busy(self, url: str, seconds: float) -> None:
        """Deliver while the snapshot is held."""
        end = time.monotonic() + seconds
        with psycopg.connect(url, autocommit=True) as connection:
            count = 0
            while time.monotonic() < end:
                connection.execute(
                    "select walltrack.raise_alert('busy', 'high', 'Busy', '', '{}', true, null) from generate_series(1, 100)"
                )
                count += 100
                self.wait_for(count)

    def engine_rate(self, engine: str, jobs: int) -> float | None:
        """Jobs per second of another engine; None where it is not installed."""
        if importlib.util.find_spec(engine) is None:
            return None
        with self.database() as url:
            subprocess.run([sys.executable, str(FOLDER / "job_engines.py"), engine, url, self.url, str(jobs)], check=True)
            found = self.wait_for(jobs)
        self.forget()
        return _rate(found)

    def order_writes(self, writes: int) -> tuple[list[float], list[float]]:
        """Milliseconds of failing order writes with three targets and a relay, and without both, in turns."""
        times: tuple[list[float], list[float]] = ([], [])
        with self.database(3) as with_targets, self.database() as without, self.relays(with_targets):
            with psycopg.connect(with_targets, autocommit=True) as one, psycopg.connect(without, autocommit=True) as other:
                for number in range(writes):
                    for connection, taken in ((one, times[0]), (other, times[1])):
                        began = time.perf_counter()
                        connection.execute(INSERT, (uuid.uuid4(),))
                        if number >= 10:
                            taken.append((time.perf_counter() - began) * 1000)
                    time.sleep(0.002)
            self.wait_for(writes * 3)
        self.forget()
        return times


def _rate(found: list[tuple[float, int]]) -> float:
    """Messages per second between the first and the last arrival."""
    moments = sorted(at for at, _ in found)
    return (len(moments) - 1) / (moments[-1] - moments[0])


def _percentiles(values: list[float]) -> dict[str, float]:
    parts = statistics.quantiles(values, n=100)
    return {"median": parts[49], "p95": parts[94], "p99": parts[98]}


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, object]:
    """All figures; each line is printed as it is known."""
    figures: dict[str, object] = {}

    def say(name: str, value: object, text: str) -> None:
        figures[name] = value
        print(f"{name:34} {text}", flush=True)

    latency = _percentiles(bench.latency(options.rounds))
    say("commit to webhook, ms", latency, "  ".join(f"{name} {value:.1f}" for name, value in latency.items()))
    one = bench.rate(options.events)
    say("one relay, messages/s", one, f"{one:.0f}")
    for engine in ("pgqueuer", "procrastinate"):
        rate = bench.engine_rate(engine, options.events // 2)
        say(f"{engine}, jobs/s", rate, f"{rate:.0f}, ours {one / rate:.1f} times" if rate else "not installed")
    two = bench.rate(options.events, relays=2)
    say("two relays, messages/s", two, f"{two:.0f}, {two / one:.2f} of one relay")
    with_targets, without = bench.order_writes(options.writes)
    ratio = statistics.median(with_targets) / statistics.median(without)
    say("order write with three targets", ratio, f"{ratio:.2f} of one without (medians, relay at work)")
    if options.hold:
        held = bench.rate(options.events, hold=options.hold)
        say(f"old snapshot of {options.hold:.0f} s, messages/s", held, f"{held:.0f}, {held / one:.2f} of without")
    return figures


def main() -> int:
    """Measure on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="commits for the latency")
    parser.add_argument("--events", type=int, default=10_000, help="messages of a backlog")
    parser.add_argument("--writes", type=int, default=1000, help="order writes with and without targets")
    parser.add_argument("--hold", type=float, default=60, help="seconds with an old snapshot; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with embedded_server(folder / "pg") as server:
            bench = Bench(server, folder)
            try:
                figures = measure(bench, options)
            finally:
                bench.sink.kill()
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
