"""Claimed items and digests as claim_deliveries() returns them, and strict readers of what channels make of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

NOW = datetime(2026, 11, 27, 3, 12, tzinfo=UTC)
ALERT_ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
TOKEN = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
ORDER_ID = "1f0c2a34-0000-4000-8000-000000000001"


def ago(**duration: float) -> str:
    return (NOW - timedelta(**duration)).isoformat()


def item(kind: str = "raised", *, data: dict[str, Any] | None = None, detail: Any = None, **alert: Any) -> dict[str, Any]:
    """An item of an EXIT order that failed four minutes ago; `alert` are columns and `data` facts that differ."""
    facts = {
        "order_id": ORDER_ID,
        "order_type": "exit",
        "side": "sell",
        "token": TOKEN,
        "token_symbol": "BONK",
        "attempts": 3,
        "max_attempts": 3,
        "error": "slippage exceeded",
        "amount_sol": 12.5,
        "is_simulated": False,
    }
    columns = {
        "id": ALERT_ID,
        "alert_type": "order_failed_permanently",
        "severity": "critical",
        "status": "active",
        "title": "EXIT Order Failed - Manual Action Required",
        "message": "URGENT: the position is still open and exposed.",
        "data": facts | (data or {}),
        "requires_action": True,
        "dedupe_key": f"order_failed_{ORDER_ID}",
        "created_at": ago(minutes=4),
        "updated_at": ago(minutes=4),
        "acknowledged_at": None,
        "acknowledged_by": None,
        "resolved_at": None,
        "resolved_by": None,
        "resolution": None,
        "occurrences": 1,
        "snoozed_until": None,
    }
    event = {"event_id": 1, "kind": kind, "actor": "system", "at": ago(minutes=4), "detail": detail or {}}
    return {"event": event, "alert": columns | alert, "attempt": 1, "webhook_id": "evt_1_0", "message": None, "is_edit": False}


def acknowledged(**alert: Any) -> dict[str, Any]:
    at = {"acknowledged_by": "ada", "acknowledged_at": ago(minutes=1)}
    return item("acknowledged", **({"status": "acknowledged"} | at | alert))


def resolved(**alert: Any) -> dict[str, Any]:
    at = {"resolved_by": "bob", "resolved_at": ago(minutes=0), "resolution": "sold by hand"}
    return item("resolved", **({"status": "resolved"} | at | alert))


def group(**columns: Any) -> dict[str, Any]:
    tokens = [{"id": ALERT_ID, "token": "BONK"}]
    common = {"severity": "critical", "side": "sell", "error": "slippage exceeded", "count": 1, "alerts": tokens}
    return common | {"resolved": 0, "acknowledged": 0} | columns


def digest(*groups: dict[str, Any], total: int | None = None) -> dict[str, Any]:
    counted = sum(each["count"] for each in groups)
    return {"total": counted if total is None else total, "groups": list(groups), "oldest_at": ago(seconds=30)}


class _TelegramParser(HTMLParser):
    """Accepts what Telegram accepts: some tags, balanced and not nested here, and four named entities."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.text = ""
        self.foreign: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("b", "code", "a"), tag
        assert not self.open, "nested"
        assert [name for name, _ in attrs] == (["href"] if tag == "a" else []), attrs
        self.links += [value or "" for _, value in attrs]
        self.open.append(tag)
        if tag == "code":
            self.foreign.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open == [tag]
        self.open.pop()

    def handle_data(self, data: str) -> None:
        assert not set("<>&") & set(data), data
        self._show(data)

    def handle_entityref(self, name: str) -> None:
        self._show({"lt": "<", "gt": ">", "amp": "&", "quot": '"'}[name])

    def handle_charref(self, name: str) -> None:
        self._show(chr(int(name)))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment

    def _show(self, text: str) -> None:
        self.text += text
        if self.open == ["code"]:
            self.foreign[-1] += text


def parse_html(html: str) -> _TelegramParser:
    """The message as Telegram would show it; fails where Telegram would refuse it."""
    parser = _TelegramParser()
    parser.feed(html)
    parser.close()
    assert not parser.open and not parser.rawdata
    return parser


def utf16_length(text: str) -> int:
    """The length as Telegram counts it."""
    return len(text.encode("utf-16-le")) // 2


LINKS = re.compile(
    r"""@[\w&!] | (?<!\w)[/#$][a-z] | \w://\w | [^\W\d_]{2,}\.[a-z]{2,} | \b[ti]\.[a-z] | \d+\.\d+\.\d+\.\d+
        | ![a-z] | mailto:\w | javascript:\w""",
    re.VERBOSE | re.IGNORECASE,
)
"""What services turn into a link or a mention."""

MARKUP = re.compile(r"[<>*`\\]|\]\(|\|\||~~|(?<!\u200b)_|_(?!\u200b)")
"""What services take for Markdown or tags."""
