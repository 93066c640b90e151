"""The cost of an order write in this working tree and in another revision, in one run.

The other revision is unpacked into a temporary folder, and each package migrates its own database on the same server.
The tables of both then take turns in short slices, along with a bare table.

    python bench/compare.py REV [--slices N] [--only NAME]... [--lean] [--url URL] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from order_bench import databases
from order_bench.report import Figure, number, reads_table, write_json
from order_bench.rows import Kind
from order_bench.run import Results, closing, describe, open_console, option_parser, take_rows, unwind_on_sigterm
from order_bench.tables import Guard, Subject
from rich.console import Console
from rich.table import Table


@contextlib.contextmanager
def unpacked(revision: str) -> Iterator[Path]:
    """The files of a git revision in a temporary folder."""
    command = ["git", "-C", str(databases.TREE), "archive", "--format=tar", revision]
    archive = subprocess.run(command, check=False, capture_output=True)
    if archive.returncode:
        raise SystemExit(archive.stderr.decode(errors="replace").strip())
    with tempfile.TemporaryDirectory(prefix="wt-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def comparison(figures: Sequence[Figure]) -> Table:
    """One line per kind of write. For costs, a ratio below 1 is better; for rates, above 1."""
    table = Table(box=None, pad_edge=False)
    table.add_column("write", no_wrap=True)
    for heading in ("unit", "bare", "old", "new", "new / old", "extra old", "extra new", "extra new / old"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        extras = ["", "", ""]
        if figure.row.kind is not Kind.RATE:
            old, new = figure.extra("old"), figure.extra("new")
            extras = [number(old, signed=True), number(new, signed=True), f"{new / old:.2f}" if old > 0 else "-"]
        medians = (number(figure.median(name)) for name in ("bare", "old", "new"))
        table.add_row(figure.row.title, figure.row.kind.value, *medians, f"{figure.times('new', 'old'):.2f}", *extras)
    return table


def main() -> None:
    """Measure and print."""
    parser = option_parser(__doc__ or "")
    parser.add_argument("revision", metavar="REV", help="what the working tree is compared with, e.g. main or HEAD~3")
    options = parser.parse_args()
    console = open_console()
    results = Results()
    unwind_on_sigterm()
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(unpacked(options.revision))
        server_url = stack.enter_context(databases.server(options.url))
        old_url = stack.enter_context(databases.scratch_database(server_url, "old", tree))
        new_url = stack.enter_context(databases.scratch_database(server_url, "new"))
        versions = (("bare", new_url, Guard.NONE), ("old", old_url, Guard.OURS), ("new", new_url, Guard.OURS))
        subjects = stack.enter_context(closing([Subject(*version, lean=options.lean) for version in versions]))
        about = f"{describe(subjects[0], options)}; old: {options.revision}, new: the working tree"
        console.print(f"{about}\n")
        try:
            take_rows(subjects, options, console, results)
        finally:
            report(results, about, options, console)


def report(results: Results, about: str, options: argparse.Namespace, console: Console) -> None:
    """Print the tables and write the file that was asked for."""
    if results.figures:
        console.print(comparison(results.figures), "")
    if results.reads:
        console.print(reads_table(results.reads))
    if options.json:
        write_json(options.json, {"about": about}, results.figures, results.reads)


if __name__ == "__main__":
    main()
