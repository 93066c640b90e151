"""The settings: environment variables with the prefix WALLTRACK_."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from walltrack_alerts.errors import UsageError


class SettingsError(UsageError):
    """An environment variable has an invalid value; the text names the variable."""


def _words(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


Words = Annotated[list[str], NoDecode, BeforeValidator(_words)]
"""Several values in one variable, separated by spaces or commas."""


class Settings(BaseSettings):
    """The settings of a process. Without any, the embedded PostgreSQL in the user's data folder is used."""

    model_config = SettingsConfigDict(env_prefix="WALLTRACK_", env_ignore_empty=True)

    database_url: SecretStr | None = None
    """Any libpq URI or key=value string: Unix sockets, several hosts and sslmode included."""

    listen_url: SecretStr | None = None
    """A direct connection for LISTEN, where database_url goes through a transaction pooler."""

    data_dir: Path | None = None
    """The folder of the embedded PostgreSQL; unset means the user's data folder."""

    panel_host: str = "127.0.0.1"
    """The address that the panel listens on. Any address but the loopback needs one of the two logins below."""

    panel_port: int = Field(default=7860, ge=0, le=65535)
    """The port of the panel; 0 picks a free one."""

    panel_auth_file: Path | None = None
    """The file of users with passwords that `walltrack-alerts panel-user` writes."""

    panel_trusted_header: str | None = None
    """The header in which a proxy with its own login names the user, e.g. X-Forwarded-User."""

    panel_role_header: str | None = None
    """The header in which that proxy names the role: operator, or any other value for read-only."""

    panel_trusted_proxy: Words = []
    """Addresses or networks of trusted proxies. Unset: this machine for the header, none for X-Forwarded-For."""

    panel_root_path: str = ""
    """A prefix that a proxy leaves in the path, e.g. /alerts; not for a proxy that removes it."""

    panel_origins: Words = []
    """The panel's origins in browsers, where a proxy changes the Host header: https://alerts.example.org"""

    panel_order_actions: bool = True
    """Whether the panel offers to retry and cancel orders."""

    explorer_token_url: str = "https://solscan.io/token/{token}"  # noqa: S105 - no secret
    """The page of a token in a block explorer."""

    explorer_tx_url: str = "https://solscan.io/tx/{signature}"
    """The page of a transaction in a block explorer."""

    @classmethod
    def load(cls, **options: object) -> Self:
        """The settings of the environment; options that are not None win (SettingsError)."""
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            wrong = [f"WALLTRACK_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
            raise SettingsError("\n".join(wrong)) from None  # the text of ValidationError would show passwords

    @property
    def explorer(self) -> dict[str, str]:
        """The URL templates of the panel."""
        return {"token": self.explorer_token_url, "transaction": self.explorer_tx_url.replace("{signature}", "{transaction}")}

    @field_validator("explorer_token_url", "explorer_tx_url")
    @classmethod
    def _explorer_template(cls, value: str, info: object) -> str:
        place = "token" if getattr(info, "field_name", "") == "explorer_token_url" else "signature"
        if not re.fullmatch(rf"https?://[^\s{{}}]+\{{{place}\}}[^\s{{}}]*", value):
            raise ValueError(f"write a URL that begins with https:// and contains {{{place}}} once")
        return value

    @field_validator("panel_root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and not re.fullmatch(r"(/[\w.~-]+)+", value):
            raise ValueError("write a prefix such as /alerts")
        return value
