"""The settings of the relay: environment variables with the prefix WALLTRACK_, and options of the command."""

from __future__ import annotations

from pydantic import Field

from walltrack_alerts.settings import Settings


class RelaySettings(Settings):
    """The settings of a relay process."""

    panel_url: str | None = None
    """The address of the panel, for links in messages."""

    heartbeat_url: str | None = None
    """Pinged every minute while all is well; may hold ${VARIABLE} in place of a secret."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """The port of /metrics and /healthz; None for none."""

    metrics_host: str = "127.0.0.1"
    """The address on which that port is served."""

    purge_after: str = "365 days"
    """The age at which resolved alerts are deleted; off for never."""

    relay_per_target: int = Field(default=32, ge=1, le=1000)
    """Most messages in flight to one target."""

    relay_total: int = Field(default=128, ge=1, le=10_000)
    """Most messages in flight to all targets."""
