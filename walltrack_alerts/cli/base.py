"""What the commands share: consoles, options, the database in use, errors as exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn, TypeVar

import psycopg
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from walltrack_alerts.database import Database, open_database
from walltrack_alerts.errors import AlertsError, UsageError, translate
from walltrack_alerts.service import AlertService

Result = TypeVar("Result")

STYLES = {"critical": "bold white on red", "high": "bold dark_orange", "warning": "yellow", "info": "cyan"}


def _leave() -> NoReturn:
    """The reader went away, e.g. `| head`: nothing is written any more, not at the very end either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(0) from None


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end with exit code 1."""
        _leave()


out = _Output(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@contextmanager
def the_database(*, quiet: bool = False, listening: bool = False) -> Iterator[Database]:
    """The database in use, named in one line; errors of the package end the command with exit code 1."""
    with errors(), open_database() as database:
        if not quiet:
            err.print(Text(f"Using {database.listen_label if listening else database.label}", style="dim"))
        yield database


@contextmanager
def errors() -> Iterator[None]:
    """Errors of the package end the command: exit code 1, or 2 for wrong usage; a reader that went away is none."""
    try:
        yield
    except (AlertsError, psycopg.Error) as error:
        told = translate(error)
        code = 2 if isinstance(told, UsageError) else 1
        first, _, rest = str(told).partition("\n")
        err.print(Text.assemble(("Error: ", "bold red"), first))
        if rest:
            err.print(Text(rest))
        raise typer.Exit(code) from None
    except BrokenPipeError:
        _leave()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def ask(question: Callable[[AlertService], Awaitable[Result]], *, quiet: bool = False) -> Result:
    """The answer of the service of the database in use."""

    async def run(dsn: str) -> Result:
        async with AlertService.from_url(dsn) as service:
            return await question(service)

    with the_database(quiet=quiet) as database:
        return asyncio.run(run(database.dsn))


def print_json(value: object) -> None:
    """One line of JSON on standard output, all of it written when this returns."""
    with errors():
        print(value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value), flush=True)


def printable(value: str) -> str:
    """Without control characters: a token's name must not be able to drive the terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in value)
