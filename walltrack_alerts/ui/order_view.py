"""The order of an alert as its row is now, and whether an operator can act on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from walltrack_alerts.ui import sanitize, view


def order(found: dict[str, Any]) -> view.Json:
    """Facts with labels, times in ms; `refused` says for retry and cancel why they are refused, empty where they are not."""
    row = {name: value for name, value in found.items() if name != "refusals"}
    refusals = found.get("refusals") or {}
    locked_until = _time(row.get("locked_until"))
    locked = locked_until if locked_until is not None and locked_until > datetime.now(UTC) else None
    return {
        "status": sanitize.line(sanitize.text(row.get("status")), 30).lower() or "unknown",
        "facts": _facts(row, locked, sanitize.line(sanitize.text(row.get("locked_by")), 60)),
        "transaction": sanitize.signature(row.get("tx_signature")),
        "refused": {action: _sentence(refusals.get(action)) for action in ("retry", "cancel")},
        "json": sanitize.clipped(sanitize.pretty(row), view.LONGEST),
    }


def _sentence(refusal: object) -> str:
    """A refusal of the database as a sentence; empty when there is none."""
    text = sanitize.clipped(sanitize.text(refusal), 1000)
    return text and f"Not possible: {text}" + ("" if text[-1] in ".?!" else ".")


def _facts(row: dict[str, Any], locked_until: datetime | None, worker: str) -> list[view.Json]:
    """What matters now; `at` marks a time whose distance the page counts."""
    facts: list[view.Json] = []

    def fact(label: str, text: str = "", at: datetime | None = None) -> None:
        if text or at is not None:
            facts.append({"label": label, "text": sanitize.clipped(text, 4000), "at": None if at is None else view.ms(at)})

    attempts = sanitize.text(_first(row, "attempt_count", "retry_count"))
    maximum = sanitize.text(_first(row, "max_attempts", "max_retries"))
    fact("Attempts", f"{attempts} of {maximum}" if attempts and maximum else attempts)
    fact("Amount", _amount(row))
    fact("Expected price", _price(row.get("expected_price")))
    fact("Actual price", _price(row.get("actual_price")))
    slippage = sanitize.text(row.get("max_slippage_bps"))
    fact("Slippage limit", slippage and f"{slippage} bps")
    fact("Created", at=_time(row.get("created_at")))
    fact("Changed", at=_time(row.get("updated_at")))
    next_try = _time(row.get("next_retry_at"))
    fact("Next try", at=next_try if next_try is not None and next_try > datetime.now(UTC) else None)
    fact("Filled", at=_time(row.get("filled_at")))
    fact("Locked", f"by {worker}" if worker else "", locked_until)
    fact("Transaction", sanitize.text(row.get("tx_signature")))
    fact("Last error", sanitize.text(_first(row, "last_error", "retry_reason")))
    return [each for each in facts if each["label"] != "Locked" or each["at"] is not None]


def _first(row: dict[str, Any], *names: str) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


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
