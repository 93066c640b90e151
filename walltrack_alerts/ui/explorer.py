"""Links to a block explorer. The page never loads anything from it."""

from __future__ import annotations

import re
from collections.abc import Mapping

EXPLORER = {"token": "https://solscan.io/token/{token}", "transaction": "https://solscan.io/tx/{signature}"}
"""URL templates of the explorer pages of a token and of a transaction."""

_PLACEHOLDERS = {"token": "token", "transaction": "signature"}


def check_explorer(name: str, template: str) -> str:
    """Accept only templates of https:// addresses (ValueError)."""
    place = _PLACEHOLDERS.get(name)
    if place is None:
        raise ValueError(f"explorer: {name!r} is not one of {', '.join(EXPLORER)}")
    if not re.fullmatch(rf"https?://[^\s{{}}]+\{{{place}\}}[^\s{{}}]*", template):
        raise ValueError(f"write an address that begins with https:// and holds {{{place}}} once, like {EXPLORER[name]}")
    return template


def check_explorers(explorer: Mapping[str, str]) -> dict[str, str]:
    """Templates by name (ValueError)."""
    return {name: check_explorer(name, template) for name, template in explorer.items()}
