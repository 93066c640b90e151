"""The messages of chats: one alert, or a digest of many. The first line has the essentials, for a lock screen at night."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from walltrack_alerts.enums import AlertSeverity
from walltrack_alerts.relay.richtext import Line, Look, Span, as_html, as_text, foreign, inert
from walltrack_alerts.text import format_duration, format_sol

Json = Mapping[str, Any]

MARKS = {"critical": "\U0001f534", "high": "\U0001f7e0", "warning": "\U0001f7e1", "info": "\U0001f535"}
_STATE_MARKS = {"resolved": "\u2705", "acknowledged": "\U0001f440", "snoozed": "\U0001f4a4"}

_SYMBOL, _ACTOR, _NAME, _TITLE, _ERROR, _GROUP_ERROR = 24, 24, 60, 200, 500, 120
"""Maximum lengths of untrusted texts, in characters. A message stays far below Telegram's limit of 4,096."""
_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `is_silent`: it asks for nothing at once, e.g. the alert has been resolved."""

    head: Line
    body: tuple[Line, ...]
    is_silent: bool = False

    @property
    def title(self) -> str:
        """The first line as plain text."""
        return as_text(self.head)

    @property
    def text(self) -> str:
        """The lines below the first as plain text."""
        return "\n".join(as_text(line) for line in self.body)

    @property
    def html(self) -> str:
        """All lines in the HTML of Telegram."""
        return "\n".join(as_html(line) for line in (self.head, *self.body))


def alert_message(item: Json, panel_url: str | None, now: datetime) -> Message:
    """The message of one alert as it is at `now`, after the event of a claimed item."""
    alert, event = item["alert"], item["event"]
    data = alert.get("data")
    facts: Json = data if isinstance(data, Mapping) else {}
    state = _state(alert, now)
    head = [_span(word) for word in ["SIMULATED"] if _is_simulated(facts)]
    head += [_span(_STATE_MARKS.get(state) or MARKS.get(_severity(alert), ""))]
    head += [*_news(alert, event, state, now), _span(_severity(alert).upper(), Look.STRONG), *_subject(alert, facts)]
    body = [*_cause(alert, facts), *_consequence(facts, state), *_course(alert, event, state, now), *_names(facts)]
    link = alert_url(panel_url, str(alert["id"]))
    body += [(Span("Open in the panel", link=link),)] if link else []
    return Message(_joined(head), tuple(body), is_silent=state != "active")


def digest_message(digest: Json, panel_url: str | None, now: datetime) -> Message:
    """The message of many alerts: totals, then groups of severity, side and error, critical first."""
    groups: Sequence[Json] = digest.get("groups") or []
    shown = groups[:_GROUPS]
    total = int(digest["total"])
    counts = {severity.value: 0 for severity in AlertSeverity}
    for group in groups:
        counts[_severity(group)] = counts.get(_severity(group), 0) + int(group["count"])
    worst = next((severity for severity, count in counts.items() if count), "info")
    listed = ", ".join(f"{count} {severity.upper()}" for severity, count in counts.items() if count)
    simulated = sum(int(group["count"]) for group in groups if _is_simulated(group))
    listed += f" ({simulated} simulated)" if 0 < simulated < total else ""
    head = [_span(word) for word in ["SIMULATED"] if 0 < total == simulated]
    head += [_span(MARKS.get(worst, "")), _span(f"{total} alerts:" if listed else f"{total} alerts", Look.STRONG), _span(listed)]
    body = [line for group in shown for line in _group(group)]
    rest = total - sum(int(group["count"]) for group in shown)
    body += [(Span(f"{rest} more with other errors"),)] if rest > 0 else []
    since = _time(digest.get("oldest_at"))
    body += [(Span(f"Since {_moment(since, now)}, {_ago(since, now)} ago"),)] if since else []
    link = panel_address(panel_url)
    body += [(Span("Open the panel", link=link),)] if link else []
    settled = sum(int(group.get(state) or 0) for group in groups for state in ("acknowledged", "resolved"))
    return Message(_joined(head), tuple(body), is_silent=settled >= total)


def alert_url(panel_url: str | None, alert_id: str) -> str | None:
    """The address that opens an alert in the panel; None without a panel."""
    base = panel_address(panel_url)
    if base is None:
        return None
    parts = urlsplit(base)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "alert"]
    return parts._replace(query=urlencode([*query, ("alert", alert_id)])).geturl()


def panel_address(panel_url: str | None) -> str | None:
    """The address of the panel, or None."""
    if not panel_url:
        return None
    parts = urlsplit(panel_url.strip())
    return parts._replace(path=f"{parts.path.rstrip('/')}/", fragment="").geturl()


def _severity(row: Json) -> str:
    return inert(row.get("severity") or "info", 12).lower()


def _is_simulated(facts: Json) -> bool:
    return facts.get("is_simulated") is True


def _is_order(facts: Json) -> bool:
    return facts.get("order_id") is not None


def _state(alert: Json, now: datetime) -> str:
    """resolved, acknowledged, snoozed or active."""
    status = str(alert.get("status"))
    snoozed_until = _time(alert.get("snoozed_until"))
    if status == "resolved":
        return status
    if snoozed_until is not None and snoozed_until > now:
        return "snoozed"
    return "acknowledged" if status == "acknowledged" else "active"


def _news(alert: Json, event: Json, state: str, now: datetime) -> Iterator[Span]:
    """What has happened since the alert was raised, and by whom."""
    if state == "snoozed":
        yield _span(f"SNOOZED until {_moment(_time(alert.get('snoozed_until')), now)} \u00b7", Look.STRONG)
    elif state != "active":
        by = alert.get(f"{state}_by")
        yield _span(f"{state.upper()} by" if by else state.upper(), Look.STRONG)
        yield foreign(by or "", _ACTOR)
        yield _span("\u00b7")
    elif event.get("kind") == "escalated":
        yield _span("STILL OPEN \u00b7", Look.STRONG)
    elif event.get("kind") == "repeated":
        yield _span("FAILED AGAIN \u00b7", Look.STRONG)


def _subject(alert: Json, facts: Json) -> Iterator[Span]:
    """Order, token, attempts and stake; the title of an alert without an order."""
    if not _is_order(facts):
        yield foreign(alert.get("title") or alert.get("alert_type") or "alert", _TITLE)
        return
    yield foreign(str(facts.get("order_type") or "order").upper(), 20)
    yield foreign(str(facts.get("side") or "").lower(), 12)
    yield _token(facts.get("token_symbol") or _short(facts.get("token")) or "unknown")
    attempts, maximum = (inert(_given(facts.get(key)), 12) for key in ("attempts", "max_attempts"))
    if attempts:
        yield _span(f"failed {attempts}/{maximum}," if maximum else f"failed {attempts} times,")
    amount = inert(format_sol(_given(facts.get("amount_sol"))), 12)
    yield _span(f"{amount} SOL at stake" if amount else "")


def _token(symbol: object) -> Span:
    """A symbol, in quotes if it has blanks: it must not be mistaken for the words that follow."""
    text = inert(symbol, _SYMBOL).replace('"', "'")
    return Span(f'"{text}"' if " " in text else text, Look.FOREIGN)


def _cause(alert: Json, facts: Json) -> Iterator[Line]:
    if _is_order(facts):
        yield Span("Error: "), foreign(_given(facts.get("error")) or "none recorded", _ERROR)
        return
    message = foreign(alert.get("message") or "", _ERROR)
    if message.text:
        yield Span("Message: "), message


def _consequence(facts: Json, state: str) -> Iterator[Line]:
    """What an open alert of an order means."""
    if not _is_order(facts) or state == "resolved":
        return
    is_entry = str(facts.get("order_type")).lower() == "entry"
    if _is_simulated(facts):
        yield (Span("Simulated: no funds are at risk."),)
    else:
        yield (Span("The trade was missed." if is_entry else "The position is still open."),)


def _course(alert: Json, event: Json, state: str, now: datetime) -> Iterator[Line]:
    """Age, number of failures, escalation, who acknowledged and resolved, and when."""
    raised = _time(alert.get("created_at"))
    if raised is not None:
        ended = _time(alert.get("resolved_at")) if state == "resolved" else None
        age = _ago(raised, ended or now)
        line = f"Raised {_moment(raised, now)}, " + (f"open for {age}" if ended else f"{age} ago")
        occurrences = alert.get("occurrences")
        yield (Span(f"{line}, {occurrences} failures" if isinstance(occurrences, int) and occurrences > 1 else line),)
    if event.get("kind") == "escalated" and state == "active":
        yield from _escalation(event.get("detail"))
    if alert.get("acknowledged_by"):
        yield _by("Acknowledged", alert["acknowledged_by"], alert.get("acknowledged_at"), now)
    if state == "resolved":
        resolved = _by("Resolved", alert.get("resolved_by") or "", alert.get("resolved_at"), now)
        resolution = foreign(alert.get("resolution") or "", _TITLE)
        yield (*resolved, Span(": "), resolution) if resolution.text else resolved


def _escalation(detail: object) -> Iterator[Line]:
    step = detail.get("step") if isinstance(detail, Mapping) else None
    repeat = detail.get("repeat") if isinstance(detail, Mapping) else None
    if isinstance(step, int):
        yield (Span(f"Escalation: step {step}" + (f", repeat {repeat}" if isinstance(repeat, int) and repeat else "")),)


def _names(facts: Json) -> Iterator[Line]:
    """The token's address and the order, to be copied."""
    for label, key in (("Token", "token"), ("Order", "order_id")):
        value = foreign(_given(facts.get(key)), _NAME)
        if value.text:
            yield Span(f"{label} "), value


def _group(group: Json) -> Iterator[Line]:
    """Two lines: how many of what and why, and which tokens."""
    severity, count = _severity(group), int(group["count"])
    words = [_span(word) for word in ["SIMULATED"] if _is_simulated(group)]
    words += [_span(MARKS.get(severity, "")), _span(f"{count} \u00d7 {severity.upper()}", Look.STRONG)]
    words += [foreign(group.get("side") or "", 12), foreign(group.get("error") or group.get("title") or "", _GROUP_ERROR)]
    yield _joined(words)
    tokens = [_token(alert.get("token") or str(alert.get("id"))[:8]) for alert in (group.get("alerts") or [])[:5]]
    settled = ", ".join(f"{group[state]} {state}" for state in ("acknowledged", "resolved") if group.get(state))
    more = count - len(tokens)
    words = [*tokens, _span(f"and {more} more" if more > 0 and tokens else ""), _span(f"({settled})" if settled else "")]
    if any(word.text for word in words):
        yield (Span("  "), *_joined(words))


def _by(verb: str, actor: object, at: object, now: datetime) -> Line:
    moment = _time(at)
    name = foreign(actor, _NAME)
    return Span(f"{verb} by " if name.text else verb), name, Span(f" at {_moment(moment, now)}" if moment else "")


def _span(text: str, look: Look = Look.PLAIN) -> Span:
    return Span(text, look)


def _joined(words: Sequence[Span]) -> Line:
    """The spans that are not empty, with blanks between them."""
    shown = [word for word in words if word.text]
    return tuple(part for word in shown for part in (word, Span(" ")))[:-1]


def _given(value: object) -> object:
    return "" if value is None else value


def _short(address: object) -> str:
    text = str(_given(address))
    return text if len(text) <= 12 else f"{text[:4]}…{text[-4:]}"


def _time(value: object) -> datetime | None:
    """A time as JSON holds it; None for anything else. `infinity` of PostgreSQL is the end of time."""
    if value == "infinity":
        return datetime.max.replace(tzinfo=UTC)
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _moment(at: datetime | None, now: datetime) -> str:
    """03:12 UTC, with the date if it is another day."""
    if at is None or at.year == 9999:
        return "further notice"
    at = at.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d %H:%M} UTC"


def _ago(since: datetime, now: datetime) -> str:
    return format_duration(max(0.0, (now - since).total_seconds()))
