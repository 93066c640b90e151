"""The alert panel, to embed in a Gradio app or to run by itself. Importing it takes seconds: Gradio."""

from __future__ import annotations

import os

from walltrack_alerts.errors import AlertsError

# Read by Gradio when it is imported. A panel of a trading system has nothing to tell anybody outside.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

try:
    from walltrack_alerts.ui.access import (
        Access,
        AccessError,
        GradioAccess,
        OpenAccess,
        PasswordAccess,
        Person,
        ProxyAccess,
        Role,
        access_from,
    )  # fmt: skip
    from walltrack_alerts.ui.app import PanelStartError, RunningPanel, launch_panel, mount
    from walltrack_alerts.ui.panel import create_alerts_panel
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"gradio", "fastapi", "starlette"}:
        raise
    raise AlertsError("The panel needs Gradio. Install it with: pip install 'walltrack-alerts[panel]'") from error

__all__ = [
    "Access", "AccessError", "GradioAccess", "OpenAccess", "PanelStartError", "PasswordAccess", "Person", "ProxyAccess", "Role",
    "RunningPanel", "access_from", "create_alerts_panel", "launch_panel", "mount",
]  # fmt: skip
