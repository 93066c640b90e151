"""What README and docs show can be typed as it stands."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from walltrack_alerts.cli import app

FOLDER = Path(__file__).parent.parent
PAGES = [FOLDER / "README.md", *sorted((FOLDER / "docs").glob("*.md"))]


def shown_commands() -> Iterator[tuple[str, str]]:
    """Page and line of each command of ours in a block of shell, and in the text between backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, block in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL):
            if language not in ("", "sh"):
                continue
            lines = block.replace("\\\n", " ").splitlines()
            yield from ((page.name, found[1]) for line in lines if (found := re.match(r"(?:\$ )?walltrack-alerts (.+)", line)))
        yield from (
            (page.name, line)
            for line in re.findall(r"`walltrack-alerts ([a-z][^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        )


def test_shown_commands_can_be_parsed() -> None:
    group = typer.main.get_command(app)
    seen = set()
    for page, line in shown_commands():
        words = shlex.split(line, comments=True)
        for end in ("|", "&&", ">"):
            words = words[: words.index(end)] if end in words else words
        if any(word.isupper() for word in words) or "..." in line:
            continue  # a placeholder
        command, context = group, None
        try:
            while words and hasattr(command, "get_command"):
                context = command.make_context(words[0], [], parent=context, resilient_parsing=True)
                found = command.get_command(context, words.pop(0))
                assert found is not None
                command = found
            command.make_context("it", words, parent=context)
        except Exception as error:
            raise AssertionError(f"{page}: walltrack-alerts {line}: {error!r}") from error
        seen.add(line)
    assert len(seen) > 20


def test_every_extra_is_explained() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    readme = PAGES[0].read_text()
    assert [name for name in project["optional-dependencies"] if f"| `{name}` |" not in readme] == []
    assert f"walltrack_alerts-{project['version']}-py3-none-any.whl" in readme


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
