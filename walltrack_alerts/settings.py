"""What can be set from outside, all by environment variables with the prefix WALLTRACK_."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one process; unset means the embedded PostgreSQL in the user's data folder."""

    model_config = SettingsConfigDict(env_prefix="WALLTRACK_", env_ignore_empty=True)

    database_url: SecretStr | None = None
    """Any libpq URI or key=value string: Unix sockets, several hosts and sslmode included."""

    listen_url: SecretStr | None = None
    """A direct connection for LISTEN, where database_url goes through a transaction pooler."""

    data_dir: Path | None = None
    """Where the embedded PostgreSQL keeps its data; unset means the user's data folder."""
