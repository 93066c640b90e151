"""Rows for people and for pipes: a table that fits the terminal, or complete lines with tabs between the columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from walltrack_alerts.cli.base import is_terminal, out, print_line
from walltrack_alerts.text import format_duration, one_line, set_cells


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `cells` is its greatest width in a terminal. The last column gets the cells that the others leave."""

    heading: str
    cells: int = 12
    justify: Literal["left", "right"] = "left"
    style: str = ""


def print_rows(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their headings. A value is text, None for an empty cell, or a pair: short for a terminal, and whole."""
    if not is_terminal():
        print_line("\t".join(column.heading for column in columns))
        for row in rows:
            print_line("\t".join(_whole(value) or "-" for value in row))
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:  # only the last one is cut where the table is wider than the terminal
        table.add_column(column.heading, no_wrap=column is not columns[-1], justify=column.justify, style=column.style)
    for row in rows:
        *first, last = (_short(value) for value in row)
        fitted = [_fit(text, column.cells) for text, column in zip(first, columns, strict=False)]
        table.add_row(*(Text(text) for text in fitted), Text(last, no_wrap=True, overflow="ellipsis"))
    out.print(table)


def age(moment: datetime | None) -> str | None:
    """The time since a moment, e.g. '3m'; None without one."""
    return None if moment is None else format_duration(max((datetime.now(UTC) - moment).total_seconds(), 0))


def interval_text(value: timedelta | None) -> str | None:
    """An interval in one unit if it is whole in it: '90m', '4h', '2d'."""
    if value is None:
        return None
    seconds = value.total_seconds()
    sizes = ((86400, "d"), (3600, "h"), (60, "m"))
    return next((f"{seconds / size:.0f}{unit}" for size, unit in sizes if seconds % size == 0), f"{seconds:g}s")


def _fit(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else set_cells(text, cells)


def _short(value: object) -> str:
    return "" if value is None else one_line(value[0] if isinstance(value, tuple) else value)


def _whole(value: object) -> str:
    return "" if value is None else one_line(value[1] if isinstance(value, tuple) else value)
