"""`${NAME}` in the settings of a target: the relay fills in its environment variables, and redacts their values in texts."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote

from walltrack_alerts.errors import AlertsError

HIDDEN = "***"
"""The replacement of a secret in a redacted text."""

PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A placeholder; its group is the name of the variable."""

KEPT_IN_URLS = "/%:@!$&'()*+,;=~?"
"""What the relay leaves as it is in the path and the query of a URL."""

_SHORTEST = 4  # a value of fewer characters is no secret, and its removal would leave no text to read
_SHORTEST_PART = 8  # of a URL; shorter ones are words such as "user"
_URL_SEPARATORS = re.compile(r"[/?#@:&=]+")


class MissingVariableError(AlertsError):
    """Variables that a target names are not set, or empty, in the environment; `names` are their names."""

    def __init__(self, names: Iterable[str], hint: str | None = None) -> None:
        self.names = tuple(names)
        which, verb = ("variable", "is") if len(self.names) == 1 else ("variables", "are")
        problem = f"environment {which} {', '.join(self.names)} {verb} not set"
        super().__init__(problem if hint is None else f"{problem}\n{hint}")


def variables(settings: object) -> tuple[str, ...]:
    """The names of all variables in a text, or in the texts of a JSON value; each once, in their order."""
    return tuple(dict.fromkeys(name for text in _texts(settings) for name in PLACEHOLDER.findall(text)))


def resolve(text: str, environ: Mapping[str, str]) -> str:
    """The text with its placeholders replaced (MissingVariableError). Values are not searched for further placeholders."""
    if missing := missing_variables(text, environ):
        raise MissingVariableError(missing)
    return PLACEHOLDER.sub(lambda found: environ[found[1]], text)


def missing_variables(settings: object, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the variables of a text or a JSON value that are unset or empty."""
    return tuple(name for name in variables(settings) if not environ.get(name))


def secrets_in(settings: object, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values of all variables that are named in a text or a JSON value, for redact()."""
    return tuple(environ[name] for name in variables(settings) if environ.get(name))


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, also where they are escaped for a URL, JSON or HTML, or within Base64.

    The parts of a secret URL are removed, too: a receiver shows the path that it was asked for.
    Redact a text before cutting it. An answer may have been cut in the middle of a secret, so the beginning of one at the end of
    the text is removed, too.
    """
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    if not forms:
        return text
    text = re.sub("|".join(map(re.escape, forms)), HIDDEN, text, flags=re.IGNORECASE)
    for form in forms:
        for length in range(min(len(form) - 1, len(text)), _SHORTEST - 1, -1):
            if text.endswith(form[:length]):
                return text[:-length] + HIDDEN
    return text


@lru_cache
def _forms(secret: str) -> frozenset[str]:
    """The spellings of a secret and of its parts."""
    parts = {form for part in _parts(secret.strip()) for form in (part, unquote(part), " ".join(part.split()))} | {secret}
    return frozenset(form for part in parts if len(part) >= _SHORTEST for form in _spellings(part))


def _parts(secret: str) -> Iterator[str]:
    """A secret, the key of a signing secret, and the parts of a URL, except for the host of a web address."""
    yield secret
    if secret.startswith("whsec_"):
        yield secret.removeprefix("whsec_")
        with suppress(ValueError):  # bytes that are not a text do not appear in one
            yield base64.b64decode(secret.removeprefix("whsec_")).decode()
    scheme, separator, rest = secret.partition("://")
    if not separator:
        return
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2].partition(":")[0] if scheme.lower() in {"http", "https"} else None
    yield from (slash + path, *(part for part in _URL_SEPARATORS.split(rest) if len(part) >= _SHORTEST_PART and part != host))
    if host is None:
        yield rest


def _spellings(text: str) -> Iterator[str]:
    yield from (text, quote(text), quote(text, safe=""), quote(text, safe=KEPT_IN_URLS), quote_plus(text))
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    yield from (html.escape(text), html.escape(text, quote=False))
    for before in range(3):  # the bytes before it, e.g. a user name, decide how Base64 spells it
        encoded = base64.b64encode(b"\0" * before + text.encode(errors="replace")).rstrip(b"=").decode()
        own = encoded[(8 * before + 5) // 6 : -1]  # the last character may hold bits of what follows
        if len(own) > 2 * _SHORTEST:
            yield from (own, own.replace("+", "-").replace("/", "_"))


def _texts(value: object) -> Iterator[str]:
    """All texts of a JSON value, the keys of objects excepted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
