"""Takes the figures: the tables take turns in short slices, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
from rich.progress import Progress

from order_bench.databases import pgbench
from order_bench.rows import Kind, Row
from order_bench.tables import SILENT, Subject, begin_all

Samples = dict[str, list[float]]
"""Name of the table -> one value per slice, in the unit of the row; values of the same index were taken together."""

WARM_UP = 10
"""Commits of each connection that are not counted: they compile functions and make plans."""


def cpu_per_write(subject: Subject, row: Row, slots: range) -> float:
    """Microseconds of backend CPU per write, each one a transaction; synchronous_commit is off."""
    statement = row.statement.replace("{slot}", "v_slot")
    before = subject.cpu_seconds()
    subject.execute(f"do $$ begin for v_slot in {slots.start} .. {slots.stop - 1} loop {statement}; commit; end loop; end $$")
    return (subject.cpu_seconds() - before) / len(slots) * 1e6


def cpu_per_bulk_row(subject: Subject, row: Row, slots: range) -> float:
    """Microseconds of backend CPU per order of one UPDATE."""
    statement = row.statement.replace("= {slot}", f"between {slots.start} and {slots.stop - 1}")
    before = subject.cpu_seconds()
    subject.execute(statement)
    return (subject.cpu_seconds() - before) / len(slots) * 1e6


def first_write(subject: Subject, row: Row, slots: range) -> float:
    """Milliseconds of the first write of a new session, which has done nothing but `select 1`."""
    statement = row.statement.replace("{table}", subject.table).replace("{slot}", str(slots.start))
    with psycopg.connect(subject.url, autocommit=True) as connection:
        connection.execute("select 1")
        begin = time.perf_counter()
        connection.execute(statement)
        return (time.perf_counter() - begin) * 1000


def commits_per_second(subject: Subject, row: Row, slots: range) -> float:
    """Commits per second while all connections write, each one orders of its own; synchronous_commit is on."""
    statement = row.statement.replace("{table}", subject.table).replace("{slot}", ":slot")
    script = f"\\set n :n + 1\n\\set slot {slots.start} + :client_id * {row.count} + :n\n{statement};\n"
    with tempfile.TemporaryDirectory(prefix="wt-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "script").write_text(script)
        command = [
            pgbench(), "-n", "-M", "prepared", "-f", f"{folder}/script", "-D", "n=-1", "-l", "--log-prefix", f"{folder}/log",
            "-c", str(row.connections), "-j", str(min(row.connections, os.cpu_count() or 1)), "-t", str(row.count), subject.url,
        ]  # fmt: skip
        environment = {**os.environ, "PGOPTIONS": "-c synchronous_commit=on"}
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"pgbench failed:\n{done.stderr}")
        return _steady_rate([path.read_text() for path in Path(folder).glob("log.*")])


def _steady_rate(logs: Sequence[str]) -> float:
    """Commits per second between the last connection to be warm and the first one to be through."""
    commits: dict[str, list[float]] = {}
    for line in "".join(logs).splitlines():
        client, _, _, _, seconds, microseconds, *_ = line.split()
        commits.setdefault(client, []).append(int(seconds) + int(microseconds) / 1e6)
    begin = max(times[WARM_UP] for times in commits.values())
    end = min(times[-1] for times in commits.values())
    if end <= begin:
        raise SystemExit("The connections of pgbench hardly ran at the same time: nothing can be said about their rate.")
    return sum(begin < moment <= end for times in commits.values() for moment in times) / (end - begin)


CLOCKS: dict[Kind, Callable[[Subject, Row, range], float]] = {
    Kind.WRITE: cpu_per_write,
    Kind.BULK: cpu_per_bulk_row,
    Kind.FIRST: first_write,
    Kind.RATE: commits_per_second,
}


def slice_count(row: Row, slices: int) -> int:
    """How many slices of a row are taken: long ones less often."""
    if row.kind in (Kind.WRITE, Kind.FIRST):
        return slices
    return max(3, slices // (4 if row.count == 1_000 else 12))


def measure(row: Row, subjects: Sequence[Subject], slices: int, progress: Progress) -> Samples:
    """One value of each table per slice, taken in turns and in changing order. A first slice only warms up."""
    if not row.needs_silent:
        subjects = [subject for subject in subjects if subject.guard not in SILENT]
    size = row.count * row.connections
    per_round = max(1, 2_000 // size) if row.kind is Kind.WRITE else max(1, 40 // size)
    take = CLOCKS[row.kind]
    samples: Samples = {subject.name: [] for subject in subjects}
    task = progress.add_task(row.title, total=(slices + 1) * len(subjects))
    slots = range(0)
    for number in range(slices + 1):
        place = number % per_round
        if place == 0:
            slots = begin_all(subjects, row.start, size * min(per_round, slices + 1 - number))
        for subject in subjects if number % 2 else reversed(subjects):
            value = take(subject, row, slots[place * size : (place + 1) * size])
            if number:
                samples[subject.name].append(value)
            progress.advance(task)
    progress.remove_task(task)
    return samples
