"""What can be set from outside, all by environment variables with the prefix WALLTRACK_."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from walltrack_alerts.errors import UsageError


class SettingsError(UsageError):
    """An environment variable has a value that cannot be used; the text names it."""


class Settings(BaseSettings):
    """Settings of one process; unset means the embedded PostgreSQL in the user's data folder."""

    model_config = SettingsConfigDict(env_prefix="WALLTRACK_", env_ignore_empty=True)

    database_url: SecretStr | None = None
    """Any libpq URI or key=value string: Unix sockets, several hosts and sslmode included."""

    listen_url: SecretStr | None = None
    """A direct connection for LISTEN, where database_url goes through a transaction pooler."""

    data_dir: Path | None = None
    """Where the embedded PostgreSQL keeps its data; unset means the user's data folder."""

    @classmethod
    def load(cls, **options: object) -> Self:
        """The settings of the environment; an option that is not None wins (SettingsError)."""
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            wrong = [f"WALLTRACK_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
            raise SettingsError("\n".join(wrong)) from None  # its own text would show passwords
