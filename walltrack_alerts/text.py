"""Text for terminals and chats: makes untrusted text safe to show; formats amounts, ages and times briefly."""

from __future__ import annotations

import codecs
import math
import unicodedata
from datetime import datetime

REPLACEMENT = "\ufffd"

UNENCODABLE = "walltrack_alerts.unencodable"
"""The error handler for streams that are not UTF-8: a replacement has the width of its character, so columns stay aligned."""

BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs without a visible form."""

_PLAIN = {"…": "~", "·": "-", REPLACEMENT: "?"}
_MARKS = 2  # accents on one letter; more of them reach into the lines above


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: '1 order', '2 orders'."""
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    from rich.cells import cell_len

    failed = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character) or "?" * cell_len(character) for character in failed), error.end


codecs.register_error(UNENCODABLE, _replace_unencodable)


def printable(value: object) -> str:
    """The text with control characters, direction changes and characters of uncertain width replaced; line breaks stay."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", text):
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if "\ufe00" <= character <= "\ufe0f":
            continue  # a variation selector, which changes the width of the character before it in some terminals
        shown.append(character if character == "\n" or _has_certain_width(character, marks) else REPLACEMENT)
    return "".join(shown)


def one_line(value: object) -> str:
    """The printable text as one line, with white space collapsed."""
    return printable(" ".join(str(value).split()))


def _has_certain_width(character: str, marks: int) -> bool:
    """Whether all terminals agree on the width; they do not for flags, skin tones and parts of syllables."""
    joins = "\U0001f1e6" <= character <= "\U0001f1ff" or "\U0001f3fb" <= character <= "\U0001f3ff"
    joins = joins or "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff"
    return character.isprintable() and not joins and character not in BLANKS and marks <= _MARKS


def short_token(symbol: object, address: object) -> str:
    """The symbol, else both ends of the address, else an empty text."""
    return one_line(symbol or "") or short_address(one_line(address or ""))


def short_address(address: str) -> str:
    """Both ends of an address."""
    return address if len(address) <= 12 else f"{address[:4]}…{address[-4:]}"


def whole_token(symbol: object, address: object) -> str:
    """The symbol, else the address, else an empty text."""
    return one_line(symbol or "") or one_line(address or "")


def set_cells(text: str, width: int) -> str:
    """The text in exactly `width` cells of a terminal, cut with an ellipsis or padded."""
    from rich.text import Text

    fitted = Text(text)
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted.plain


def side_of(side: object, *, is_simulated: bool) -> str:
    """'sell' or 'sim sell', or the order type before its '_'. The mark is not in the token's name, which anyone can choose."""
    words = ["sim"] if is_simulated else []
    return " ".join([*words, *one_line(side or "").lower().partition("_")[0][:8].split()])


def format_sol(amount: object) -> str:
    """An amount in SOL in at most 9 characters; a value that is not a number stays as it is."""
    try:
        number = float(amount)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return one_line(amount or "")[:9]
    if not math.isfinite(number):
        return str(number)
    if abs(number) >= 1e8:
        return f"{number:.3g}"
    if 0 < abs(number) < 0.0001:
        return "<0.0001"
    shown = f"{number:.{max(0, 4 - len(str(int(abs(number)))) // 2)}f}"
    return (shown.rstrip("0").rstrip(".") if "." in shown else shown) or "0"


def format_duration(seconds: float) -> str:
    """Whole days, hours, minutes or seconds, rounded down: '3m'."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


def format_local(moment: datetime) -> str:
    """A time in the time zone of this machine, with its name."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
