"""What alerting costs an order write, compared with a bare table and with textbook triggers.

Tables with the same rows, indexes and host triggers take turns in short slices, each in a backend of its own; the figures are
medians over the paired slices. CPU is the backend's own time on the processor, read from the kernel, so the server has to run
on this machine. Everything happens in a database that is created for the run and dropped at its end.

    python bench/order_path.py [--slices N] [--only NAME]... [--lean] [--when] [--url URL] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from order_bench import databases
from order_bench.plot import draw
from order_bench.report import reads_table, silence_table, write_json, writes_table
from order_bench.run import (
    Results,
    closing,
    describe,
    has_silent_guard,
    open_console,
    option_parser,
    take_rows,
    unwind_on_sigterm,
)
from order_bench.tables import Guard, Subject
from rich.console import Console

NAMES = {
    "bare": Guard.NONE,
    "textbook": Guard.TEXTBOOK,
    "ours": Guard.OURS,
    "textbook, no NOTIFY": Guard.TEXTBOOK_SILENT,
    "ours, no NOTIFY": Guard.OURS_SILENT,
}


def main() -> None:
    """Measure and print."""
    parser = option_parser(__doc__ or "")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the extra CPU per write, e.g. as .svg or .png")
    options = parser.parse_args()
    console = open_console()
    results = Results()
    unwind_on_sigterm()
    with databases.server(options.url) as server_url, databases.scratch_database(server_url, "order_path") as url:
        guards = [each for each in NAMES.items() if each[1] is not Guard.OURS_SILENT or has_silent_guard(url)]
        with closing([Subject(name, url, guard, lean=options.lean, when=options.when) for name, guard in guards]) as subjects:
            caption = describe(subjects[0], options)
            console.print(f"{caption}\n")
            try:
                take_rows(subjects, options, console, results)
            finally:
                report(results, caption, options, console)


def report(results: Results, caption: str, options: argparse.Namespace, console: Console) -> None:
    """Print the tables and write the requested files."""
    if results.figures:
        console.print(writes_table(results.figures), "")
    if table := silence_table(results.figures):
        console.print(table, "")
    if results.reads:
        console.print(reads_table(results.reads))
    if options.json:
        write_json(options.json, {"about": caption}, results.figures, results.reads)
    if options.plot:
        draw(options.plot, results.figures, caption)


if __name__ == "__main__":
    main()
