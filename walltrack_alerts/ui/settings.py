"""Settings of the panel, by environment variables with the prefix WALLTRACK_ or by options of the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from walltrack_alerts.settings import Settings
from walltrack_alerts.ui.auth.access import Access, AccessError, OpenAccess, ProxyAccess, check_exposure
from walltrack_alerts.ui.auth.users import PasswordAccess
from walltrack_alerts.ui.explorer import EXPLORER, check_explorer


def _words(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


Words = Annotated[list[str], NoDecode, BeforeValidator(_words)]
"""Several values in one variable, with spaces or commas between them."""


class PanelSettings(Settings):
    """Settings of a process that serves the panel."""

    panel_host: str = "127.0.0.1"
    """The address the panel listens on. Any other than this machine's own needs one of the two logins below."""

    panel_port: int = Field(default=7860, ge=0, le=65535)
    """The port of the panel; 0 takes any free one."""

    panel_auth_file: Path | None = None
    """Users with passwords: a file that `walltrack-alerts panel-user` writes."""

    panel_trusted_header: str | None = None
    """The header in which a proxy that logs people in names them, e.g. X-Forwarded-User."""

    panel_role_header: str | None = None
    """The header in which that proxy names their role: operator, or anything else for read-only."""

    panel_trusted_proxy: Words = Field(default=[])
    """Addresses or networks of proxies that are believed. Unset: this machine for the header, none for X-Forwarded-For."""

    panel_root_path: str = ""
    """A prefix that a proxy leaves in the path, e.g. /alerts; one that takes it away needs none."""

    panel_origins: Words = Field(default=[])
    """Origins by which browsers know the panel, where a proxy changes the Host header: https://alerts.example.org"""

    panel_order_actions: bool = True
    """Whether the panel offers to retry and to cancel orders."""

    explorer_token_url: str = EXPLORER["token"]
    """URL template of the explorer page of a token."""

    explorer_tx_url: str = EXPLORER["transaction"]
    """URL template of the explorer page of a transaction."""

    @property
    def explorer(self) -> dict[str, str]:
        """The templates as the panel takes them."""
        return {"token": self.explorer_token_url, "transaction": self.explorer_tx_url}

    @field_validator("explorer_token_url")
    @classmethod
    def _token_url(cls, value: str) -> str:
        return check_explorer("token", value)

    @field_validator("explorer_tx_url")
    @classmethod
    def _tx_url(cls, value: str) -> str:
        return check_explorer("transaction", value)

    @field_validator("panel_root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and not re.fullmatch(r"(/[\w.~-]+)+", value):
            raise ValueError("write a prefix such as /alerts")
        return value

    @field_validator("panel_origins")
    @classmethod
    def _origins(cls, values: list[str]) -> list[str]:
        """As browsers write them: in lower case and without the default port."""
        found = [re.fullmatch(r"(https?)://([\w.-]+|\[[\da-f:]+\])(:\d+)?/?", value.lower(), re.ASCII) for value in values]
        if not all(found):
            raise ValueError("write an origin such as https://alerts.example.org:8443, without a path")
        ports = {"http": ":80", "https": ":443"}
        return [f"{each[1]}://{each[2]}{(each[3] or '').removesuffix(ports[each[1]])}" for each in found if each]


def access_from(settings: PanelSettings) -> Access:
    """The login method of the settings, checked against the address to listen on (AccessError, AuthFileError)."""
    if settings.panel_auth_file and settings.panel_trusted_header:
        raise AccessError("Choose one login: --auth-file or --trusted-header.")
    if settings.panel_role_header and not settings.panel_trusted_header:
        raise AccessError("--role-header goes with --trusted-header, which is not set.")
    if settings.panel_trusted_proxy and not (settings.panel_auth_file or settings.panel_trusted_header):
        raise AccessError("--trusted-proxy goes with --auth-file or --trusted-header; neither is set.")
    access: Access
    if settings.panel_auth_file:
        access = PasswordAccess(settings.panel_auth_file, trusted=settings.panel_trusted_proxy)
    elif settings.panel_trusted_header:
        access = ProxyAccess(
            settings.panel_trusted_header, role_header=settings.panel_role_header, trusted=settings.panel_trusted_proxy
        )
    else:
        access = OpenAccess(settings.panel_host)
    check_exposure(settings.panel_host, access)
    return access
