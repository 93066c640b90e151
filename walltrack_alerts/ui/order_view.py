"""The order of an alert for the page. The database decides which actions are possible."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from walltrack_alerts.ui import sanitize, view

_ADDED = ("refusals", "is_locked", "is_due")
"""What order_of_alert() adds to the columns of the order."""


def order_facts(found: dict[str, Any]) -> view.Json:
    """Facts with labels, times in ms; `refusals`: why retry and cancel are refused, null where they are possible."""
    row = {name: value for name, value in found.items() if name not in _ADDED}
    return {
        "status": sanitize.line(sanitize.text(row.get("status")), 30).lower() or "unknown",
        "facts": _facts(row, is_locked=found["is_locked"], is_due=found["is_due"]),
        "transaction": sanitize.signature(row.get("tx_signature")),
        "refusals": {action: _refusal(refusal) for action, refusal in found["refusals"].items()},
        "json": sanitize.clipped(sanitize.pretty(row), view.LONGEST),
    }


def _refusal(refusal: dict[str, Any] | None) -> view.Json | None:
    """A refusal of the database: its code, its reason and remedy as sentences, and whether it is final."""
    if refusal is None:
        return None
    reason = sanitize.clipped(sanitize.text(refusal["reason"]), 1000)
    text = f"Not possible: {reason}" + ("" if reason[-1:] in ".?!" else ".")
    return {
        "code": refusal["code"],
        "text": " ".join(part for part in (text, sanitize.text(refusal["hint"])) if part),
        "final": refusal["is_final"],
    }


def _facts(row: dict[str, Any], *, is_locked: bool, is_due: bool) -> list[view.Json]:
    """The most relevant facts; `at` marks a time that the page shows as relative."""
    facts: list[view.Json] = []

    def fact(label: str, text: str = "", at: datetime | None = None) -> None:
        if text or at is not None:
            facts.append(
                {"label": label, "text": sanitize.clipped(text, 4000), "at": None if at is None else view.to_epoch_ms(at)}
            )

    attempts, maximum = sanitize.text(row.get("attempt_count")), sanitize.text(row.get("max_attempts"))
    fact("Attempts", f"{attempts} of {maximum}" if attempts and maximum else attempts)
    fact("Amount", _amount(row))
    fact("Expected price", _price(row.get("expected_price")))
    fact("Actual price", _price(row.get("actual_price")))
    slippage = sanitize.text(row.get("max_slippage_bps"))
    fact("Slippage limit", slippage and f"{slippage} bps")
    fact("Created", at=_time(row.get("created_at")))
    fact("Changed", at=_time(row.get("updated_at")))
    fact("Next try", at=None if is_due else _time(row.get("next_retry_at")))
    fact("Filled", at=_time(row.get("filled_at")))
    if is_locked:
        worker = sanitize.line(sanitize.text(row.get("locked_by")), 60)
        fact("Locked", f"by {worker or 'a worker'}", _time(row.get("locked_until")))
    fact("Transaction", sanitize.text(row.get("tx_signature")))
    fact("Last error", sanitize.text(row.get("last_error")))
    return facts


def _amount(row: dict[str, Any]) -> str:
    sol, tokens = (sanitize.line(sanitize.number(row.get(name)), 40) for name in ("amount_sol", "amount_tokens"))
    return " · ".join(part for part in (sol and f"{sol} SOL", tokens and f"{tokens} tokens") if part)


def _price(value: object) -> str:
    price = sanitize.line(sanitize.number(value), 40)
    return price and f"{price} SOL"


def _time(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
