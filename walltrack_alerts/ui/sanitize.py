"""Makes untrusted text safe to show: invisible characters are written out, long text is truncated."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from decimal import Decimal

from walltrack_alerts.text import BLANKS

BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]+", re.ASCII)
_ADDRESS_LENGTH = range(32, 45)
_SIGNATURE_LENGTH = range(64, 89)

# Control, format (bidi, zero-width), unassigned and private characters, and separators that are no space.
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
_JOINER = "\u200d"
_CLEAR = {"\n", "\t"}


def text(value: object) -> str:
    """Anything that JSON can hold, as text: the page's numbers would lose digits of large ones."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return visible(value)
    return visible(json.dumps(value, ensure_ascii=False))


def visible(value: str) -> str:
    """Invisible characters, and those that reverse text, written as ⟨U+202E⟩: a token must not be mistaken for another one."""
    if value.isascii() and value.isprintable():
        return value
    shown: list[str] = []
    marks = 0
    for character in value:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        joins = character == _JOINER and shown and unicodedata.category(shown[-1][-1]) in ("So", "Mn", "Sk")
        hidden = (category in _UNSEEN and not joins) or character in BLANKS or marks > 4  # one on top of the other
        shown.append(f"⟨U+{ord(character):04X}⟩" if hidden and character not in _CLEAR else character)
    return "".join(shown)


def number(value: object) -> str:
    """A number in plain notation: 0.000000142 rather than 1.42e-07, and without the zeros a numeric column adds."""
    if isinstance(value, float) and math.isfinite(value):
        value = f"{Decimal(repr(value)):f}"
    shown = text(value)
    return shown.rstrip("0").rstrip(".") if re.fullmatch(r"-?\d+\.\d+", shown, re.ASCII) else shown


def clipped(value: str, length: int) -> str:
    """At most so many characters."""
    return value if len(value) <= length else value[: length - 1] + "…"


def line(value: str, length: int = 300) -> str:
    """The beginning of a text as one line, for a row of the list."""
    return clipped(" ".join(value[: length * 4].split()), length)


def address(value: object) -> str:
    """A Solana address for a link; empty if the text is not one."""
    return _base58(value, _ADDRESS_LENGTH)


def signature(value: object) -> str:
    """A transaction's signature for a link; empty if the text is not one."""
    return _base58(value, _SIGNATURE_LENGTH)


def pretty(value: object) -> str:
    """JSON to read and to copy."""
    return visible(json.dumps(value, ensure_ascii=False, indent=2))


def _base58(value: object, lengths: range) -> str:
    return value if isinstance(value, str) and len(value) in lengths and BASE58.fullmatch(value) else ""
