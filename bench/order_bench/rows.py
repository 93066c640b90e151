"""The writes that are measured: where each order starts, what is written, and what it may cost."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from order_bench.tables import FAIL, FILL, Start

COLUMNS = (
    "order_type", "side", "signal_id", "position_id", "token_address", "token_symbol", "amount_sol", "amount_tokens",
    "expected_price", "actual_price", "max_slippage_bps", "status", "tx_signature", "filled_at", "attempt_count",
    "max_attempts", "last_error", "next_retry_at", "is_simulated", "locked_until", "locked_by", "created_at", "updated_at",
)  # fmt: skip


class Kind(enum.Enum):
    """How a row is measured; the value is its unit."""

    WRITE = "us"
    """Backend CPU of an UPDATE of one order in a transaction of its own."""
    BULK = "us/order"
    """Backend CPU per order of one UPDATE over many."""
    FIRST = "ms"
    """Time of the first write of a new session."""
    RATE = "/s"
    """Commits per second of many connections."""


class Basis(enum.Enum):
    """What the figure of a guarded table is compared with."""

    TEXTBOOK_EXTRA = "of textbook's extra"
    BARE_EXTRA = "extra of bare"
    UPDATE_EXTRA = "extra of a bare fill"
    TEXTBOOK = "of textbook"
    BARE = "of bare"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `count`: orders per slice, or per connection."""

    key: str
    title: str
    kind: Kind
    start: Start
    statement: str
    basis: Basis
    budget: float
    count: int = 200
    connections: int = 1

    @property
    def needs_silent(self) -> bool:
        """Whether the variants without NOTIFY are measured too: what they save is the lock that a commit with NOTIFY takes."""
        return self.kind is Kind.RATE and self.basis is Basis.TEXTBOOK

    @property
    def sign(self) -> str:
        """The sign between the ratio and its budget."""
        return ">=" if self.kind is Kind.RATE else "<="


def update(change: str) -> str:
    """The UPDATE of one order; {table} and {slot} are filled in later."""
    return f"update {{table}} {change} where slot = {{slot}}"


LOCK = update("set locked_until = now() + interval '1 min', locked_by = 'worker-1'")
WHOLE = update("set " + ", ".join(f"{column} = {column}" for column in COLUMNS))
CANCEL = update("set status = 'cancelled', last_error = 'Manually cancelled'")
RAISE, END = update(FAIL), update(FILL)
FRESH, LAST, EXHAUSTED = Start("submitted"), Start("submitted", 2), Start("confirming", 2, has_alert=True)

ROWS = (
    Row("lock", "lock columns only", Kind.WRITE, FRESH, LOCK, Basis.BARE_EXTRA, 0.3),
    Row("whole", "whole row, unchanged", Kind.WRITE, FRESH, WHOLE, Basis.BARE_EXTRA, 0.3),
    Row("attempt", "failed attempt, not the last", Kind.WRITE, FRESH, RAISE, Basis.BARE_EXTRA, 0.3),
    Row("raise", "last failure: raise", Kind.WRITE, LAST, RAISE, Basis.TEXTBOOK_EXTRA, 2.5),
    Row("repeat", "further failure: update", Kind.WRITE, EXHAUSTED, RAISE, Basis.TEXTBOOK_EXTRA, 2.5),
    Row("resolve", "fill with an alert: resolve", Kind.WRITE, EXHAUSTED, END, Basis.TEXTBOOK_EXTRA, 2.5),
    Row("fill", "fill without an alert", Kind.WRITE, Start("confirming"), END, Basis.BARE_EXTRA, 1.5),
    Row("cancel", "cancel without an alert", Kind.WRITE, Start("pending"), CANCEL, Basis.BARE_EXTRA, 1.5),
    # A bare DELETE only marks the row: the fill above is the write that its cost is compared with.
    Row("delete", "delete without an alert", Kind.WRITE, Start("pending"), "delete from {table} where slot = {slot}",
        Basis.UPDATE_EXTRA, 1.5),
    Row("bulk_1000", "one UPDATE, 1,000 failures", Kind.BULK, LAST, RAISE, Basis.TEXTBOOK_EXTRA, 2.5, 1_000),
    Row("bulk_20000", "one UPDATE, 20,000 failures", Kind.BULK, LAST, RAISE, Basis.TEXTBOOK_EXTRA, 2.5, 20_000),
    Row("first", "first failure of a session", Kind.FIRST, LAST, RAISE, Basis.BARE, 3, 1),
    Row("raise_16", "16 connections raise", Kind.RATE, LAST, RAISE, Basis.TEXTBOOK, 0.7, 150, 16),
    Row("raise_64", "64 connections raise", Kind.RATE, LAST, RAISE, Basis.TEXTBOOK, 0.7, 50, 64),
    Row("end_16", "16 connections fill, no alert", Kind.RATE, Start("confirming"), END, Basis.BARE, 0.7, 150, 16),
)  # fmt: skip
BULK_GROWTH = 1.3
"""The most that an order may cost in an UPDATE over 20,000, as a multiple of its cost in one over 1,000."""
