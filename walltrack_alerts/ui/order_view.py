"""The order of an alert as its row is now, and what an operator may do to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from walltrack_alerts.ui import texts, view

_GROWN_UP = ("filled", "executed")


def order(row: dict[str, Any]) -> view.Json:
    """Facts with labels, times in ms; retry and cancel: empty when it is possible, else why not."""
    status = texts.line(texts.text(row.get("status")), 30).lower()
    locked_until = _time(row.get("locked_until"))
    locked = locked_until is not None and locked_until > datetime.now(UTC)
    worker = texts.line(texts.text(row.get("locked_by")), 60)
    return {
        "status": status or "unknown",
        "facts": _facts(row, locked_until if locked else None, worker),
        "transaction": texts.signature(row.get("tx_signature")),
        "locked": view.ms(locked_until) if locked and locked_until else None,
        "refused": _refused(row, status, f"{worker or 'the worker'} holds its lock" if locked else ""),
        "final": status in (*_GROWN_UP, "cancelled"),
        "json": texts.clipped(texts.pretty(row), view.LONGEST),
    }


def _refused(row: dict[str, Any], status: str, locked: str) -> view.Json:
    """Why an action will not be taken; the database decides, this is for the buttons."""
    if status in _GROWN_UP:
        return {"retry": "The order was filled.", "cancel": "The order was filled."}
    if status == "cancelled":
        return {"retry": "The order is cancelled, which is final.", "cancel": "The order is cancelled already."}
    if locked:
        return {"retry": f"Not now: {locked}.", "cancel": f"Not now: {locked}."}
    never_due = row.get("next_retry_at", "") in (None, "infinity")  # the worker never takes it, a retry makes it due
    if status == "failed" or (status == "pending" and never_due):
        return {"retry": "", "cancel": ""}
    if status == "pending":
        return {"retry": "The order is pending: the bot will try it by itself.", "cancel": ""}
    working = f"The order is {status or 'in an unknown status'}: the bot is working on it."
    return {"retry": working, "cancel": working}


def _facts(row: dict[str, Any], locked_until: datetime | None, worker: str) -> list[view.Json]:
    """What matters now; `at` marks a time whose distance the page counts."""
    facts: list[view.Json] = []

    def fact(label: str, text: str = "", at: datetime | None = None) -> None:
        if text or at is not None:
            facts.append({"label": label, "text": texts.clipped(text, 4000), "at": None if at is None else view.ms(at)})

    attempts = texts.text(_first(row, "attempt_count", "retry_count"))
    maximum = texts.text(_first(row, "max_attempts", "max_retries"))
    fact("Attempts", f"{attempts} of {maximum}" if attempts and maximum else attempts)
    fact("Amount", _amount(row))
    fact("Expected price", _price(row.get("expected_price")))
    fact("Actual price", _price(row.get("actual_price")))
    slippage = texts.text(row.get("max_slippage_bps"))
    fact("Slippage limit", slippage and f"{slippage} bps")
    fact("Created", at=_time(row.get("created_at")))
    fact("Changed", at=_time(row.get("updated_at")))
    next_try = _time(row.get("next_retry_at"))
    fact("Next try", at=next_try if next_try is not None and next_try > datetime.now(UTC) else None)
    fact("Filled", at=_time(row.get("filled_at")))
    fact("Locked", f"by {worker}" if worker else "", locked_until)
    fact("Transaction", texts.text(row.get("tx_signature")))
    fact("Last error", texts.text(_first(row, "last_error", "retry_reason")))
    return [each for each in facts if each["label"] != "Locked" or each["at"] is not None]


def _first(row: dict[str, Any], *names: str) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _amount(row: dict[str, Any]) -> str:
    sol, tokens = (texts.line(texts.number(row.get(name)), 40) for name in ("amount_sol", "amount_tokens"))
    return " · ".join(part for part in (sol and f"{sol} SOL", tokens and f"{tokens} tokens") if part)


def _price(value: object) -> str:
    price = texts.line(texts.number(value), 40)
    return price and f"{price} SOL"


def _time(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
