"""What a message says, and that no text of a stranger pings, links, injects markup or pushes the facts out of view."""

from __future__ import annotations

import json
import unicodedata
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.alerts.test_hostile import long_texts, texts
from tests.relay.samples import (
    ALERT_ID,
    LINKS,
    MARKUP,
    NOW,
    ORDER_ID,
    TOKEN,
    acknowledged,
    ago,
    digest,
    group,
    item,
    parse_html,
    resolved,
    utf16_length,
)
from walltrack_alerts.relay.messages import Message, alert_message, alert_url, digest_message, panel_address
from walltrack_alerts.relay.richtext import Line, Look, as_html, as_text, foreign

PANEL = "https://panel.example/walltrack/"
LINK = f"{PANEL}?alert={ALERT_ID}"

PINGS = [
    *("@everyone", "@here", "@channel", "<@123>", "<@&456>", "<!channel>", "<!here|here>", "!channel", "!a"),
    *("evil.com/x", "t.me/evil", "https://evil.example/a", "tg://resolve?domain=x", "mailto:a@evil.com", "192.0.2.1", "a。com"),
    *(
        "[free](https://evil.com)",
        "[x](evil.com)",
        "**b** __i__ ||hidden|| ~~s~~ `c`",
        "/start",
        "#topic",
        "$SOL",
        "javascript:x",
    ),
    *("<script>alert(1)</script>", "<a href='//evil.com'>x</a>", "&lt;b&gt; &amp; &#60;", "</code><b>", "\u202egnp.exe"),
    *("\u2066\u2067\u2068", "Z" + "\u0334" * 300, "\u200b\u200c\u2060", "a\nb\r\nc\u2028d", "Subject: x\r\nBcc: evil@evil.com"),
]
hostile = st.one_of(st.sampled_from(PINGS), texts, long_texts(100_000), st.lists(st.sampled_from(PINGS)).map("".join))
json_values = st.one_of(hostile, st.none(), st.integers(), st.floats(), st.booleans(), st.lists(hostile, max_size=2))


def message(given: dict[str, Any]) -> Message:
    return alert_message(given, PANEL, NOW)


def test_the_first_line_of_a_failed_order_is_complete() -> None:
    assert message(item()).title == "\U0001f534 CRITICAL EXIT sell BONK failed 3/3, 12.5 SOL at stake"
    assert not message(item()).is_silent


def test_a_simulated_order_says_so_first() -> None:
    simulated = message(item(data={"is_simulated": True}))
    assert simulated.title.startswith("SIMULATED ")
    assert "no funds are at risk" in simulated.text
    assert "position is still open" not in simulated.text


def test_the_body_has_error_age_names_and_link() -> None:
    assert message(item()).text.splitlines() == [
        "Error: slippage exceeded",
        "The position is still open.",
        "Raised 03:08 UTC, 4m ago",
        f"Token {TOKEN}",
        f"Order {ORDER_ID}",
        f"Open in the panel: {LINK}",
    ]


def test_html_says_the_same_as_the_plain_text() -> None:
    shown = parse_html(message(item()).html)
    assert shown.text.splitlines()[:-1] == [message(item()).title, *message(item()).text.splitlines()[:-1]]
    assert shown.links == [LINK]
    assert shown.foreign == ["EXIT", "sell", "BONK", "slippage exceeded", TOKEN, ORDER_ID]


def test_an_entry_is_a_missed_trade() -> None:
    entry = message(item(severity="high", data={"order_type": "entry", "side": "buy"}))
    assert entry.title == "\U0001f7e0 HIGH ENTRY buy BONK failed 3/3, 12.5 SOL at stake"
    assert "The trade was missed." in entry.text


def test_updates_say_what_happened_and_who_did_it() -> None:
    after = message(acknowledged())
    assert after.title.startswith("\U0001f440 ACKNOWLEDGED by ada \u00b7 CRITICAL EXIT sell BONK")
    assert "Acknowledged by ada at 03:11 UTC" in after.text
    after = message(resolved(acknowledged_by="ada", acknowledged_at=ago(minutes=1)))
    assert after.title.startswith("\u2705 RESOLVED by bob \u00b7 CRITICAL EXIT sell BONK")
    assert "Raised 03:08 UTC, open for 4m" in after.text
    assert "Acknowledged by ada at 03:11 UTC\nResolved by bob at 03:12 UTC: sold by hand" in after.text
    assert "still open" not in after.text
    snoozed = item("snoozed", snoozed_until=(NOW + timedelta(hours=1)).isoformat())
    assert "SNOOZED until 04:12 UTC" in message(snoozed).title
    assert all(message(each).is_silent for each in (acknowledged(), resolved(), snoozed))


def test_an_escalation_says_still_open_or_failed_again() -> None:
    page = message(item("escalated", detail={"step": 1, "repeat": 2}))
    assert "STILL OPEN \u00b7 CRITICAL" in page.title
    assert "Escalation: step 1, repeat 2" in page.text
    assert not page.is_silent
    again = message(item("repeated", occurrences=4))
    assert "FAILED AGAIN \u00b7 CRITICAL" in again.title
    assert "4m ago, 4 failures" in again.text


def test_a_late_message_shows_the_alert_as_it_is_now() -> None:
    assert "RESOLVED" in message(resolved() | {"event": item("raised")["event"]}).title


def test_another_day_is_named() -> None:
    assert "Raised 2026-11-25 03:12 UTC, 2d ago" in message(item(created_at=ago(days=2))).text
    assert "SNOOZED until further notice" in message(item(snoozed_until="infinity")).title


def test_an_alert_without_an_order_shows_title_and_message() -> None:
    plain = item(severity="warning", title="Disk is full", message="90 % used", data={"order_id": None})
    assert message(plain).title == "\U0001f7e1 WARNING Disk is full"
    assert message(plain).text.splitlines()[0] == "Message: 90 % used"


def test_missing_facts_are_left_out() -> None:
    nothing = dict.fromkeys(["side", "token", "token_symbol", "attempts", "max_attempts", "error", "amount_sol", "order_type"])
    assert message(item(data=nothing)).title == "\U0001f534 CRITICAL ORDER unknown"
    assert message(item(data={"token_symbol": None})).title.split()[4] == "DezX…B263"
    assert "failed 3 times" in message(item(data={"max_attempts": None})).title


def test_a_symbol_cannot_pose_as_the_facts_after_it() -> None:
    assert ' "X failed 1/9, 0 SOL"' in message(item(data={"token_symbol": "X failed 1/9, 0 SOL"})).title


def test_a_digest_counts_and_groups_critical_first() -> None:
    high = group(severity="high", side="buy", error="no route", count=20, alerts=[], acknowledged=2)
    shown = digest_message(digest(group(count=480, resolved=3), high, total=510), PANEL, NOW)
    assert shown.title == "\U0001f534 510 alerts: 480 CRITICAL, 20 HIGH"
    assert shown.text.splitlines() == [
        "\U0001f534 480 \u00d7 CRITICAL sell slippage exceeded",
        "  BONK and 479 more (3 resolved)",
        "\U0001f7e0 20 \u00d7 HIGH buy no route",
        "  (2 acknowledged)",
        "10 more with other errors",
        "Since 03:11 UTC, 30s ago",
        f"Open the panel: {PANEL}",
    ]
    assert not shown.is_silent
    assert parse_html(shown.html).links == [PANEL]


def test_a_digest_tells_simulated_orders_from_others() -> None:
    shown = digest_message(digest(group(count=2), group(count=3, is_simulated=True)), PANEL, NOW)
    assert shown.title == "\U0001f534 5 alerts: 5 CRITICAL (3 simulated)"
    assert "\nSIMULATED \U0001f534 3 \u00d7 CRITICAL sell" in shown.text
    assert digest_message(digest(group(count=3, is_simulated=True)), PANEL, NOW).title.startswith("SIMULATED ")


def test_a_digest_of_settled_alerts_is_silent() -> None:
    assert digest_message(digest(group(count=5, resolved=3, acknowledged=2)), PANEL, NOW).is_silent


@pytest.mark.parametrize(
    ("panel", "link"),
    [
        ("https://panel.example", "https://panel.example/?alert=1"),
        ("https://panel.example/a", "https://panel.example/a/?alert=1"),
        ("https://panel.example/?lang=en&alert=2#x", "https://panel.example/?lang=en&alert=1"),
        ("http://[::1]:7860", "http://[::1]:7860/?alert=1"),
        (None, None),
        ("", None),
    ],
)
def test_the_link_opens_the_alert(panel: str | None, link: str | None) -> None:
    assert alert_url(panel, "1") == link
    assert (panel_address(panel) is None) == (link is None)


def shown_lines(line: Line) -> tuple[str, str]:
    """The line in both forms, the HTML as it is shown."""
    return as_text(line), parse_html(as_html(line)).text


@pytest.mark.parametrize("payload", PINGS)
def test_a_strangers_text_pings_and_links_nothing(payload: str) -> None:
    for shown in shown_lines((foreign(payload, 400),)):
        assert not LINKS.search(shown), ascii(shown)
        assert not set("\n\r\u2028\u202e\u2066\u2067") & set(shown)
    assert not MARKUP.search(as_text((foreign(payload, 400),)))


def test_text_keeps_its_letters_and_order() -> None:
    shown = as_text((foreign("insufficient_funds: 0.5 SOL at api.example.com (0x1771), 100% of a/b", 400),))
    assert shown.replace("\u200b", "") == "insufficient_funds: 0.5 SOL at api.example.com (0x1771), 100% of a/b"
    assert "0.5 SOL" in shown and "0x1771" in shown
    assert as_text((foreign("\u0627\u0644", 40),)) == "\u2068\u0627\u0644\u2069"


def test_addresses_can_be_copied() -> None:
    assert f"<code>{TOKEN}</code>" in message(item()).html


@given(value=hostile, length=st.integers(12, 600))
def test_a_strangers_text_is_one_short_line(value: str, length: int) -> None:
    span = foreign(value, length)
    assert len(span.text) <= length
    assert span.look is Look.FOREIGN
    for shown in shown_lines((span,)):
        assert len(shown.splitlines()) <= 1
        assert not LINKS.search(shown), ascii(shown)
        assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    isolates = [character for character in span.text if character in "\u2066\u2067\u2068\u2069"]
    assert isolates in ([], ["\u2068", "\u2069"])


@pytest.mark.parametrize("letter", ["\U0001f680", "\U0001d401", "\u0627", "&"])
def test_the_longest_digest_fits_into_one_message(letter: str) -> None:
    rows = [
        group(side=letter * 99, error=letter * 199 + str(place), count=9, alerts=[{"id": ALERT_ID, "token": letter * 99}] * 5)
        for place in range(10)
    ]
    assert utf16_length(parse_html(digest_message(digest(*rows, total=1000), PANEL, NOW).html).text) <= 4096


@settings(max_examples=60)
@given(data=st.dictionaries(st.sampled_from(list(item()["alert"]["data"])), json_values), alert=st.data())
def test_any_alert_makes_a_message_that_telegram_takes(data: dict[str, Any], alert: st.DataObject) -> None:
    names = ["title", "message", "acknowledged_by", "resolved_by", "resolution", "created_at", "snoozed_until", "alert_type"]
    columns = alert.draw(st.dictionaries(st.sampled_from(names), json_values))
    status = alert.draw(st.sampled_from(["active", "acknowledged", "resolved"]))
    kind = alert.draw(st.sampled_from(["raised", "repeated", "escalated", "snoozed", "resolved"]))
    made = message(item(kind, data=data, status=status, **columns))
    shown = parse_html(made.html)
    assert utf16_length(made.html) <= 4096
    assert shown.links == [LINK]
    assert "CRITICAL" in shown.text.splitlines()[0]
    assert utf16_length(made.title) <= 450
    assert len(shown.text.splitlines()) <= 10
    json.dumps([made.title, made.text, made.html]).encode()


@settings(max_examples=40)
@given(groups=st.lists(st.fixed_dictionaries({"side": hostile, "error": hostile, "token": hostile}), max_size=12))
def test_any_digest_makes_a_message_that_telegram_takes(groups: list[dict[str, str]]) -> None:
    rows = [
        group(side=each["side"], error=each["error"], count=9, alerts=[{"id": ALERT_ID, "token": each["token"]}] * 5)
        for each in groups
    ]
    made = digest_message(digest(*rows, total=1000), PANEL, NOW)
    shown = parse_html(made.html)
    assert utf16_length(shown.text) <= 4096
    assert shown.links == [PANEL]
    assert "1000 alerts" in shown.text.splitlines()[0]
