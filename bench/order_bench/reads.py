"""What other sessions notice: their reads while one transaction fails many orders, and while it then stays open."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

import psycopg
from rich.progress import Progress

from order_bench.rows import LAST, RAISE
from order_bench.tables import BACKGROUND, Subject, begin_all

OPEN_SECONDS = 3.0
"""How long the transaction stays open after its UPDATE."""
SAMPLE_ORDERS = 1_000


@dataclass
class Reads:
    """Milliseconds of each read, by (what the session read, what the writing transaction was doing)."""

    milliseconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    transaction_ids: int = 0
    """How many the transaction consumed, its subtransactions included, as seen in the orders and alerts it wrote."""
    update_seconds: float = 0


class Reader(threading.Thread):
    """A session that counts open alerts and reads an order by its primary key, in turns, until it is stopped."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(daemon=True)
        self.subject = subject
        self.phase = "idle"
        self.reads = Reads()
        self.is_stopped = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Read on; what fails is kept for the thread that waits."""
        try:
            with psycopg.connect(self.subject.url, autocommit=True) as connection:
                self._read(connection)
        except psycopg.Error as error:
            self.error = error

    def _read(self, connection: psycopg.Connection) -> None:
        ids = connection.execute(
            f"select id from {self.subject.table} where slot > {BACKGROUND} limit {SAMPLE_ORDERS}"
        ).fetchall()
        count = f"select count(*) from {self.subject.alerts} where status <> 'resolved'"
        for order in cycle(ids):
            if self.is_stopped:
                return
            for name, statement, values in (
                ("count open alerts", count, None),
                ("read an order", f"select * from {self.subject.table} where id = %s", order),
            ):
                phase, begin = self.phase, time.perf_counter()
                connection.execute(statement, values).fetchall()
                taken = (time.perf_counter() - begin) * 1000
                self.reads.milliseconds.setdefault((name, phase), []).append(taken)


def measure_reads(subjects: Sequence[Subject], orders: int, progress: Progress) -> dict[str, Reads]:
    """Reads beside a transaction that fails so many orders of each table; it is rolled back."""
    task = progress.add_task(f"reads beside {orders:,} failures", total=len(subjects))
    begin_all(subjects, LAST, orders)
    found = {}
    for subject in subjects:
        found[subject.name] = _beside(subject)
        progress.advance(task)
    begin_all(subjects, LAST, 1)  # vacuums what was rolled back
    progress.remove_task(task)
    return found


def _beside(subject: Subject) -> Reads:
    reader = Reader(subject)
    reader.start()
    time.sleep(1)
    reader.phase = "during the UPDATE"
    subject.execute("begin")
    begin = time.perf_counter()
    subject.execute(RAISE.replace("= {slot}", f"> {BACKGROUND}"))
    reader.reads.update_seconds = time.perf_counter() - begin
    reader.phase = "while it stays open"
    time.sleep(OPEN_SECONDS)
    reader.phase = "over"
    reader.reads.transaction_ids = _written_ids(subject)
    subject.execute("rollback")
    reader.is_stopped = True
    reader.join()
    if reader.error:
        raise reader.error
    return reader.reads


def _written_ids(subject: Subject) -> int:
    """How many transaction ids stand in the rows of the open transaction; the server's counter also counts other sessions."""
    query = (
        f"select count(distinct xmin::text) from (select xmin from {subject.table} where slot > {BACKGROUND} "
        f"union all select xmin from {subject.alerts} where created_at >= now()) as written"
    )
    return int(subject.connection.execute(query).fetchall()[0][0])
