"""Turns samples into figures, and figures into a table, a JSON file and a picture."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from order_bench.clocks import Samples
from order_bench.reads import Reads
from order_bench.rows import BULK_GROWTH, Basis, Kind, Row


@dataclass(frozen=True, slots=True)
class Figure:
    """The medians of one row, in its unit."""

    row: Row
    samples: Samples
    fill: float | None = None
    """The bare fill of the same run, where it was measured."""

    def median(self, name: str) -> float:
        """Of one table."""
        return statistics.median(self.samples[name])

    def extra(self, name: str, over: str = "bare") -> float:
        """The median of the paired differences between two tables."""
        pairs = zip(self.samples[name], self.samples[over], strict=True)
        return statistics.median(value - other for value, other in pairs)

    def times(self, name: str, over: str) -> float:
        """The median of the paired quotients of two tables."""
        pairs = zip(self.samples[name], self.samples[over], strict=True)
        return statistics.median(value / other for value, other in pairs)

    @property
    def ratio(self) -> float:
        """What the budget limits."""
        match self.row.basis:
            case Basis.TEXTBOOK_EXTRA:
                return self.extra("ours") / self.extra("textbook")
            case Basis.UPDATE_EXTRA:
                return self.extra("ours") / (self.fill or self.median("bare"))
            case Basis.BARE_EXTRA:
                return self.extra("ours") / self.median("bare")
            case Basis.TEXTBOOK:
                return self.times("ours", "textbook")
            case Basis.BARE:
                return self.times("ours", "bare")

    @property
    def is_kept(self) -> bool:
        """Whether the budget is kept."""
        return self.ratio >= self.row.budget if self.row.kind is Kind.RATE else self.ratio <= self.row.budget


def number(value: float, *, signed: bool = False) -> str:
    """A figure with as many digits as mean something."""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:{'+' if signed else ''},.{digits}f}"


def verdict(sign: str, budget: float, *, is_kept: bool) -> str:
    """A budget, with a mark when it is exceeded."""
    return f"{sign} {budget:g}" + ("" if is_kept else " [bold red]exceeded[/]")


def writes_table(figures: Sequence[Figure]) -> Table:
    """One line per kind of write."""
    table = Table(box=None, pad_edge=False)
    table.add_column("write", no_wrap=True)
    for heading in ("unit", "bare", "textbook", "ours", "extra textbook", "extra ours", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("budget", no_wrap=True)
    for figure in figures:
        row = figure.row
        has_extra = row.kind is not Kind.RATE
        table.add_row(
            row.title, row.kind.value,
            *(number(figure.median(name)) for name in ("bare", "textbook", "ours")),
            *(number(figure.extra(name), signed=True) if has_extra else "" for name in ("textbook", "ours")),
            f"{figure.ratio:.2f} {row.basis.value}",
            verdict(row.sign, row.budget, is_kept=figure.is_kept),
        )  # fmt: skip
    if (growth := bulk_growth(figures)) is not None:
        is_kept = growth <= BULK_GROWTH
        table.add_row(
            "an order of 20,000", *[""] * 6, f"{growth:.2f} of one of 1,000", verdict("<=", BULK_GROWTH, is_kept=is_kept)
        )
    return table


def bulk_growth(figures: Iterable[Figure]) -> float | None:
    """What our table costs per order in an UPDATE over 20,000, as a multiple of one over 1,000."""
    medians = {figure.row.key: figure.median("ours") for figure in figures if figure.row.kind is Kind.BULK}
    return medians["bulk_20000"] / medians["bulk_1000"] if len(medians) == 2 else None


def silence_table(figures: Iterable[Figure]) -> Table | None:
    """What the lock that a commit with NOTIFY takes costs: commits per second with and without."""
    figures = [figure for figure in figures if figure.row.needs_silent]
    if not figures:
        return None
    names = list(figures[0].samples)
    table = Table("commits per second", *names, box=None, pad_edge=False)
    for figure in figures:
        table.add_row(figure.row.title, *(number(figure.median(name)) for name in names))
    return table


def reads_table(found: Mapping[str, Reads]) -> Table:
    """p50 / p95 of the reads, in milliseconds, and what the transaction beside them was."""
    table = Table("reads of another session, p50 / p95 ms", *found, box=None, pad_edge=False)
    keys = [key for key in next(iter(found.values())).milliseconds if key[1] != "over"]
    for name, phase in sorted(keys):
        table.add_row(f"{name}, {phase}", *(_percentiles(reads.milliseconds.get((name, phase), [])) for reads in found.values()))
    table.add_row("seconds of the UPDATE", *(number(reads.update_seconds) for reads in found.values()))
    table.add_row("transaction ids consumed", *(f"{reads.transaction_ids:,}" for reads in found.values()))
    return table


def _percentiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "-"
    return f"{statistics.median(values):.2f} / {statistics.quantiles(values, n=20)[-1]:.2f}"


def write_json(path: Path, about: Mapping[str, Any], figures: Iterable[Figure], reads: Mapping[str, Reads]) -> None:
    """All samples and what was made of them. Units are in each row; `samples` of the same index were taken together."""
    rows = {
        figure.row.key: {
            "title": figure.row.title, "unit": figure.row.kind.value, "basis": figure.row.basis.value,
            "budget": figure.row.budget, "samples": figure.samples,
            "median": {name: figure.median(name) for name in figure.samples},
            "extra": {name: figure.extra(name) for name in figure.samples if name != "bare"},
        }
        for figure in figures
    }  # fmt: skip
    read_rows = {
        name: {
            "transaction_ids": each.transaction_ids, "update_seconds": each.update_seconds,
            "milliseconds": {", ".join(key): values for key, values in each.milliseconds.items()},
        }
        for name, each in reads.items()
    }  # fmt: skip
    path.write_text(json.dumps({**about, "rows": rows, "reads": read_rows}, indent=1) + "\n", encoding="utf-8")
