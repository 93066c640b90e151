"""Placeholders: what a target's settings name is filled in from the environment and removed from every text."""

from __future__ import annotations

import base64
import html
from urllib.parse import quote

import pytest

from walltrack_alerts.relay.placeholders import (
    MissingVariableError,
    missing_variables,
    redact,
    resolve,
    secrets_in,
    variables,
)

TOKEN = "123456:AAH-b_c/d+e f"
ENVIRONMENT = {"TG_TOKEN": TOKEN, "EMPTY": "", "NESTED": "${TG_TOKEN}"}


def test_values_replace_placeholders() -> None:
    assert resolve("https://api/bot${TG_TOKEN}/x", ENVIRONMENT) == f"https://api/bot{TOKEN}/x"
    assert resolve("$TG_TOKEN ${} ${a-b}", ENVIRONMENT) == "$TG_TOKEN ${} ${a-b}"


def test_values_are_not_resolved_again() -> None:
    assert resolve("${NESTED}", ENVIRONMENT) == "${TG_TOKEN}"


def test_all_missing_variables_are_named() -> None:
    with pytest.raises(MissingVariableError, match=r"^environment variables GONE, EMPTY are not set$") as caught:
        resolve(f"{TOKEN}/${{GONE}}/${{EMPTY}}/${{GONE}}", ENVIRONMENT)
    assert caught.value.names == ("GONE", "EMPTY")
    assert TOKEN not in str(caught.value)


def test_variables_of_nested_settings_are_found() -> None:
    settings = {"url": "https://${HOST}/${TG_TOKEN}", "secrets": ["${A}", "${B}"], "allow": {"${KEY}": 1}, "port": 3}
    assert variables(settings) == ("HOST", "TG_TOKEN", "A", "B")
    assert missing_variables(settings, ENVIRONMENT) == ("HOST", "A", "B")
    assert secrets_in(settings, ENVIRONMENT) == (TOKEN,)


@pytest.mark.parametrize(
    "shown", [TOKEN, "123456%3AAAH-b_c%2Fd%2Be%20f", "123456%3aAAH-b_c/d%2be%20f", "123456%3AAAH-b_c%2Fd%2Be+f", TOKEN.lower()]
)
def test_every_spelling_of_a_secret_is_removed(shown: str) -> None:
    assert redact(f"cannot reach https://x/bot{shown}/send", [TOKEN]) == "cannot reach https://x/bot***/send"


def test_a_signing_secret_without_its_prefix_is_removed() -> None:
    assert redact("key MfKQ9r8G+abc= refused", ["whsec_MfKQ9r8G+abc="]) == "key *** refused"


def test_the_key_of_a_signing_secret_is_removed() -> None:
    secret = "whsec_" + base64.b64encode(b"a key that is a text").decode()
    assert redact("key 'a key that is a text' refused", [secret]) == "key '***' refused"


def test_escaped_quotes_do_not_hide_a_secret() -> None:
    assert redact(r'{"password": "so\"so\nlong"}', ['so"so\nlong']) == '{"password": "***"}'


@pytest.mark.parametrize("secret", ['a@b"c,d%e', "<a&b'c>", "k\u00e4se  brot", "S3cr3t/Value+0123"])
def test_differently_encoded_secrets_in_responses_are_redacted(secret: str) -> None:
    url = quote(secret, safe="/%:@!$&'()*+,;=~?")  # as parse_url() sends it
    for shown in (url, html.escape(secret), html.escape(secret, quote=False), " ".join(secret.split())):
        assert redact(f"no page /{shown} here", [secret]) == "no page /*** here"


@pytest.mark.parametrize("user", ["", "a", "ab", "abc"])
def test_a_password_in_base64_is_removed(user: str) -> None:
    sent = base64.b64encode(f"{user}:S3cr3t/Value+0123>?".encode()).decode()
    shown = redact(f"you sent Basic {sent}", ["S3cr3t/Value+0123>?"])
    assert "***" in shown
    assert len(shown) < len("you sent Basic ") + len(user) + 12


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/s3cr3tPart", "Cannot POST /services/T0/B0/s3cr3tPart"),
        ("https://hooks.example.com/x?key=s3cr3tPart&to=ops", "the key s3cr3tPart is wrong"),
        ("discord://4815162342/s3cr3tPart", "Max retries exceeded with url: /api/webhooks/4815162342/s3cr3tPart"),
        ("json://user:s3cr3t%2FPart@example.com/", "wrong password s3cr3t/Part"),
    ],
)
def test_parts_of_a_secret_url_are_removed(secret: str, shown: str) -> None:
    redacted = redact(shown, [secret])
    assert "s3cr3t" not in redacted
    assert redacted.startswith(shown[:8])


def test_the_host_of_a_secret_url_stays_readable() -> None:
    url = "https://hooks.example.com:8443/services/s3cr3tPart"
    assert redact("hooks.example.com has no address", [url]) == "hooks.example.com has no address"


def test_a_secret_that_a_receiver_decodes_is_removed() -> None:
    assert redact("no page /a b/s3cr3t here", ["a%20b%2Fs3cr3t"]) == "no page /*** here"


def test_a_cut_secret_at_the_end_is_removed() -> None:
    assert redact("you sent 123456:AAH-b", [TOKEN]) == "you sent ***"
    assert redact("you sent 12", [TOKEN]) == "you sent 12"


def test_one_secret_within_another_leaves_no_rest() -> None:
    assert redact("abcdefgh abcd", ["abcd", "abcdefgh"]) == "*** ***"


def test_short_values_leave_a_text_readable() -> None:
    assert redact("a banana", ["a", ""]) == "a banana"
