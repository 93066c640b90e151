"""One run: its options, its progress bars and the rows it takes."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from order_bench.clocks import measure, slice_count
from order_bench.reads import Reads, measure_reads
from order_bench.report import Figure
from order_bench.rows import ROWS
from order_bench.tables import SILENT, Subject

READS = "reads"
WIDTH = 136
"""Characters of the widest table; a narrower terminal wraps its lines."""


@dataclass
class Results:
    """What one run found."""

    figures: list[Figure] = field(default_factory=list)
    reads: dict[str, Reads] = field(default_factory=dict)


def option_parser(description: str) -> argparse.ArgumentParser:
    """The options that every run has."""
    keys = [*(row.key for row in ROWS), READS]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=40, help="slices of each short row; long ones take fewer (default: 40)")
    parser.add_argument("--only", action="append", choices=keys, metavar="NAME", help=f"rows to run: {', '.join(keys)}")
    parser.add_argument("--lean", action="store_true", help="orders with two indexes and without the host's triggers")
    parser.add_argument("--when", action="store_true", help="the textbook's triggers have WHEN conditions")
    parser.add_argument("--orders", type=int, default=100_000, help="orders that one transaction fails beside the reads")
    parser.add_argument("--url", help="a superuser's URL of a server on this machine; default: the embedded PostgreSQL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


def open_console() -> Console:
    """A console that truncates no table."""
    return Console(width=max(WIDTH, Console().width))


@contextlib.contextmanager
def closing(subjects: list[Subject]) -> Iterator[list[Subject]]:
    """Close the connections at the end of the block."""
    try:
        yield subjects
    finally:
        for subject in subjects:
            subject.close()


def unwind_on_sigterm() -> None:
    """Let SIGTERM end the run as an exception does, so that its databases are dropped and its figures printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def take_rows(subjects: Sequence[Subject], options: argparse.Namespace, console: Console, results: Results) -> None:
    """Measure the rows that the options ask for; `results` holds the complete ones when the run is interrupted."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    rows = [row for row in ROWS if not options.only or row.key in options.only]
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("[bold]all rows", total=len(rows))
        for row in rows:
            samples = measure(row, subjects, slice_count(row, options.slices), progress)
            fill = next((figure.median("bare") for figure in results.figures if figure.row.key == "fill"), None)
            results.figures.append(Figure(row, samples, fill))
            progress.advance(task)
        if not options.only or READS in options.only:
            loud = [subject for subject in subjects if subject.guard not in SILENT]
            results.reads = measure_reads(loud, options.orders, progress)


def describe(subject: Subject, options: argparse.Namespace) -> str:
    """What was measured, in one line."""
    version = subject.connection.info.parameter_status("server_version")
    table = "lean table" if options.lean else "ten indexes and host triggers"
    textbook = ", textbook with WHEN conditions" if options.when else ""
    return f"PostgreSQL {version}, {table}{textbook}, medians of {options.slices} paired slices"


def has_silent_guard(url: str) -> bool:
    """Whether watch_orders() of this database can do without NOTIFY."""
    query = (
        "select from pg_proc where pronamespace = 'walltrack'::regnamespace and proname = 'watch_orders' "
        "and 'p_notify' = any (proargnames)"
    )
    with psycopg.connect(url) as connection:
        return bool(connection.execute(query).fetchall())
