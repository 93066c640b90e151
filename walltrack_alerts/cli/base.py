"""Shared by the commands: consoles, options, the database in use, errors as exit codes."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from walltrack_alerts.errors import AlertsError, UsageError, translate
from walltrack_alerts.text import UNENCODABLE, printable

if TYPE_CHECKING:  # these load SQLAlchemy, psycopg and pydantic, which `--help` does not need
    from walltrack_alerts.database import Database
    from walltrack_alerts.service import AlertService

Result = TypeVar("Result")

STYLES = {"critical": "bold white on red", "high": "bold dark_orange", "warning": "yellow", "info": "cyan"}


def _leave() -> NoReturn:
    """End after the reader has closed the pipe, as `| head` does; the interpreter's last flush must not fail either."""
    _discard_output()
    raise typer.Exit(0) from None


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """End with exit code 0; Rich would end with 1."""
        _leave()


out = _Output(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


_UNWRITABLE = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}


class Commands(TyperGroup):
    """The top group: it prepares the streams before any output, usage errors included."""

    def main(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - Typer's own
        """Run the command. If its output cannot be written, it ends with exit code 1."""
        _prepare_streams()
        try:
            return super().main(*arguments, **options)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            err.print(Text.assemble(("Error: ", "bold red"), f"the output cannot be written: {error.strerror}"))
            _discard_output()
            sys.exit(1)


def _prepare_streams() -> None:
    """Replace characters that the encoding of a stream lacks, and discard output to closed streams."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=UNENCODABLE)


def is_terminal() -> bool:
    """Whether standard output is a terminal; pipes and files get complete lines."""
    return sys.stdout.isatty()


def encoding() -> str:
    """The encoding of standard output."""
    return sys.stdout.encoding or "utf-8"


def encode(text: str) -> bytes:
    """The bytes that standard output would write for a text."""
    return text.encode(encoding(), errors=UNENCODABLE)


def examples(*commands: str) -> str:
    """The examples below the help of a command."""
    return "\n".join(("[bold]Examples[/]", *(f"[dim]$[/] walltrack-alerts {command}" for command in commands)))


@contextmanager
def configured_database(*, quiet: bool = False, listening: bool = False) -> Iterator[Database]:
    """The database in use, printed in one line on standard error. Errors of the package end the command with exit code 1."""
    with errors():
        from walltrack_alerts.database import open_database

        with open_database() as database:
            if not quiet:
                err.print(Text(f"Using {database.listen_label if listening else database.label}", style="dim"))
            yield database


@contextmanager
def errors() -> Iterator[None]:
    """Turn errors of the package into exit codes: 1, or 2 for wrong usage, or 0 if the reader has closed the pipe."""
    import psycopg

    try:
        yield
    except (AlertsError, psycopg.Error) as error:
        translated = translate(error)
        code = 2 if isinstance(translated, UsageError) else 1
        first, _, rest = printable(translated).partition("\n")
        err.print(Text.assemble(("Error: ", "bold red"), first))
        if rest:
            err.print(Text(rest))
        raise typer.Exit(code) from None
    except BrokenPipeError:
        _leave()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def run_query(query: Callable[[AlertService], Awaitable[Result]], *, quiet: bool = False) -> Result:
    """The result of a query of AlertService on the database in use."""
    with configured_database(quiet=quiet) as database:
        import asyncio

        from walltrack_alerts.service import AlertService

        async def run() -> Result:
            async with AlertService.from_url(database.dsn) as service:
                return await query(service)

        return asyncio.run(run())


def json_line(value: object) -> str:
    """One line of JSON: UTF-8, or ASCII with escapes where standard output has another encoding."""
    from pydantic import BaseModel

    ascii_only = encoding().lower().replace("-", "").replace("_", "") != "utf8"
    return value.model_dump_json(ensure_ascii=ascii_only) if isinstance(value, BaseModel) else json.dumps(value)


def print_line(text: str) -> None:
    """Write one line to standard output, unchanged and flushed."""
    with errors():
        print(text, flush=True)


def print_json(value: object) -> None:
    """Write one line of JSON to standard output."""
    print_line(json_line(value))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print one fact per line after its name; a terminal wraps long facts next to their names."""
    from rich.table import Table

    known = [(printable(name), printable(value)) for name, value in facts if value is not None]
    if not is_terminal():
        for name, value in known:
            out.print(Text(f"{name:>16}  {value}"), soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", justify="right", no_wrap=True, min_width=16)
    grid.add_column(overflow="fold")
    for name, value in known:
        grid.add_row(Text(name), Text(value))
    out.print(grid)


def confirm(question: str) -> None:
    """Continue only if the operator agrees; without a terminal the command needs --yes."""
    if not sys.stdin.isatty():
        raise UsageError("confirmation needs a terminal: nothing was changed\nRun it with --yes.")
    if not typer.confirm(question, err=True):
        err.print("Nothing was changed.")
        raise typer.Exit(1)


def print_text(text: str | Text) -> None:
    """Print text for people; a pipe gets its lines unwrapped."""
    out.print(Text(printable(text)) if isinstance(text, str) else text, soft_wrap=not is_terminal())
