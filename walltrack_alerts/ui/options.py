"""Options that create_alerts_panel(), mount() and launch_panel() share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypedDict


class PanelOptions(TypedDict, total=False):
    """How a panel works, wherever it is served."""

    operator: str | None
    """The name under which people act who have none; without it the page asks for one."""

    listen_dsn: str | None
    """A direct connection for LISTEN, where the other goes through a pooler or is a service."""

    order_actions: bool
    """Whether the panel offers to retry and to cancel orders; it does by default."""

    explorer: Mapping[str, str] | None
    """Addresses of explorer.EXPLORER to use instead; {} shows no links."""

    origins: Collection[str]
    """Further origins whose pages may connect, such as https://alerts.example.org where a proxy changes the Host header."""

    refresh_seconds: float
    """How often a page reads that is not live; 5 by default."""
