"""The settings: environment variables with the prefix WALLTRACK_."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from walltrack_alerts.errors import UsageError


class SettingsError(UsageError):
    """An environment variable has an invalid value; the text names the variable."""


class Settings(BaseSettings):
    """The settings of a process. Without any, the embedded PostgreSQL in the user's data folder is used."""

    model_config = SettingsConfigDict(env_prefix="WALLTRACK_", env_ignore_empty=True)

    database_url: SecretStr | None = None
    """Any libpq URI or key=value string: Unix sockets, several hosts and sslmode included."""

    listen_url: SecretStr | None = None
    """A direct connection for LISTEN, where database_url goes through a transaction pooler."""

    data_dir: Path | None = None
    """The folder of the embedded PostgreSQL; unset means the user's data folder."""

    @classmethod
    def load(cls, **options: object) -> Self:
        """The settings of the environment; options that are not None win (SettingsError)."""
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            wrong = [f"WALLTRACK_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
            raise SettingsError("\n".join(wrong)) from None  # the text of ValidationError would show passwords
