"""The alert panel, to embed in a Gradio app or to serve alone. Importing it takes seconds, for Gradio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from walltrack_alerts.errors import AlertsError

# Gradio reads it when it is imported. The panel of a trading system sends no telemetry.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


@contextmanager
def _usable_proxies() -> Iterator[None]:
    """Ignore the proxies of the environment if httpx cannot use them, e.g. ALL_PROXY=socks5://... without socksio.

    Importing Gradio creates HTTP clients for downloads, which the panel does not use.
    """
    names = ("NO_PROXY", "no_proxy")
    kept = {name: os.environ.get(name) for name in names}
    if not _are_proxies_usable():
        os.environ.update(dict.fromkeys(names, "*"))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is not None:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)


def _are_proxies_usable() -> bool:
    with suppress(ModuleNotFoundError):  # then Gradio is missing, too
        import httpx

        try:
            httpx.Client(verify=False).close()  # noqa: S501 - no request is sent; the certificates take long to load
        except (ImportError, ValueError, httpx.InvalidURL):
            return False
    return True


try:
    with _usable_proxies():
        from walltrack_alerts.passwords import Role
        from walltrack_alerts.ui.app import PanelStartError, RunningPanel, launch_panel, mount
        from walltrack_alerts.ui.auth.access import Access, AccessError, GradioAccess, OpenAccess, Person, ProxyAccess
        from walltrack_alerts.ui.auth.users import PasswordAccess
        from walltrack_alerts.ui.options import PanelOptions
        from walltrack_alerts.ui.panel import create_alerts_panel
        from walltrack_alerts.ui.settings import PanelSettings, access_from
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"gradio", "fastapi", "starlette"}:
        raise
    raise AlertsError("The panel needs Gradio. Install it with: pip install 'walltrack-alerts[panel]'") from error

__all__ = [
    "Access", "AccessError", "GradioAccess", "OpenAccess", "PanelOptions", "PanelSettings", "PanelStartError", "PasswordAccess",
    "Person", "ProxyAccess", "Role", "RunningPanel", "access_from", "create_alerts_panel", "launch_panel", "mount",
]  # fmt: skip
