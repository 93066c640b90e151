"""Messages as lines of spans, and their two forms: plain text, and the HTML of Telegram.

Token symbols, errors and names are untrusted. Both forms neutralise them: such a text cannot mention a user, become a link,
add markup or reverse the text around it, and it is cut to a maximum length. Telegram shows it as `<code>`, which has no links.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from walltrack_alerts.text import REPLACEMENT, one_line

ZERO_WIDTH = "\u200b"
"""Ends a word for the services that search texts for links and names, and is not seen."""

_TRIGGERS = re.compile(
    r"""(?<=[@!\uff20\ufe6b])(?=[\w&!])             # @everyone, a@b.example, <@&12>, Slack's !channel
      | (?<=(?<!\w)[/\#$])(?=[^\W\d_])             # /command, #topic, $NAME
      | (?<=[.\u3002\uff0e\uff61])(?=[^\W\d_])    # the end of a domain
      | (?<=\d\.)(?=\d+\.\d+\.\d)                 # 192.0.2.1
      | (?<=:)(?=//) | (?<=[^\W\d_]:)(?=[^\W\d_]) # https://, mailto:a
    """,
    re.VERBOSE,
)
_MARKUP = re.compile(r"(?<=\])(?=\()|(?<=\|)(?=\|)|(?<=~)(?=~)|(?<=_)|(?=_)")
"""Between the signs of [text](link), ||hidden||, ~~struck~~, and around those of _emphasis_."""

_SIGNS = str.maketrans({"*": "\u2217", "`": "'", "<": "\u2039", ">": "\u203a", "\\": "\u2216"})
"""Signs of markup that no invisible character disarms, and signs that look like them and mean nothing."""


class Look(StrEnum):
    """How a span is shown."""

    PLAIN = "plain"
    STRONG = "strong"
    FOREIGN = "foreign"
    """Untrusted text."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line. `link` is an address of the operator's own."""

    text: str
    look: Look = Look.PLAIN
    link: str | None = None


Line = tuple[Span, ...]


def foreign(value: object, length: int) -> Span:
    """Untrusted text as one line of at most `length` characters."""
    return Span(inert(value, length), Look.FOREIGN)


def inert(value: object, length: int) -> str:
    """The text as one line of at most `length` characters that names, links and reorders nothing. It may be empty."""
    clean = re.sub(f"{REPLACEMENT}+", REPLACEMENT, one_line(str(value)[: 4 * length]))
    broken = clip(_TRIGGERS.sub(ZERO_WIDTH, clean), length - 2)
    is_reversed = any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in broken)
    return f"\u2068{broken}\u2069" if is_reversed else broken  # an isolate: what follows keeps its place


def clip(text: str, length: int) -> str:
    """At most so many characters as Telegram counts them, in UTF-16; an ellipsis marks the cut."""
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * length:
        return text
    return units[: 2 * (length - 1)].decode("utf-16-le", "ignore").rstrip() + "…"


def as_text(line: Line) -> str:
    """A line as plain text, inert in services that take it for Markdown too; a link as its address."""
    return "".join(_span_text(span) for span in line)


def as_html(line: Line) -> str:
    """A line in the HTML that Telegram parses: b, code and a, balanced and not nested."""
    return "".join(_span_html(span) for span in line)


def _span_text(span: Span) -> str:
    if span.link is not None:
        return f"{span.text}: {span.link}"
    return _MARKUP.sub(ZERO_WIDTH, span.text.translate(_SIGNS)) if span.look is Look.FOREIGN else span.text


def _span_html(span: Span) -> str:
    text = html.escape(span.text, quote=False)
    if not text:
        return ""
    if span.link is not None:
        return f'<a href="{html.escape(span.link)}">{text}</a>'
    tag = {Look.PLAIN: "", Look.STRONG: "b", Look.FOREIGN: "code"}[span.look]
    return f"<{tag}>{text}</{tag}>" if tag else text
