"""README and docs: what they show works, what they list is complete, and what is generated is current."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer.main

from bench import api_reference, command_reference
from walltrack_alerts.cli import app

FOLDER = Path(__file__).parent.parent.parent
PAGES = sorted(path for path in FOLDER.glob("*.md")) + sorted((FOLDER / "docs").glob("*.md")) + [FOLDER / "sql" / "README.md"]


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


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each command that the help lists, by its name after `walltrack-alerts`."""
    if not hasattr(command, "commands"):
        yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from commands(inner, f"{path} {name}".strip())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
            if words:  # without arguments it may be no more than a name
                command.make_context("it", words, parent=context)
        except Exception as error:
            raise AssertionError(f"{page}: walltrack-alerts {line}: {error!r}") from error
        seen.add(line)
    assert len(seen) > 20


def test_every_command_and_option_is_documented() -> None:
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", command_reference.PAGE.read_text(), re.MULTILINE | re.DOTALL))
    found = dict(commands(typer.main.get_command(app)))
    assert sections.keys() == found.keys() and len(found) > 15
    for name, command in found.items():
        rows = set(re.findall(r"^\| `([^`]+)`", sections[name], re.MULTILINE))
        rows |= set(re.findall(r"^\| `[^`]+`, `([^`]+)`", sections[name], re.MULTILINE))
        documented = {word for each in command.params for word in [*each.opts, *each.secondary_opts] if word.startswith("-")}
        documented |= {each.metavar for each in command.params if each.param_type_name == "argument"}
        assert rows == documented and all(each.help for each in command.params), name


def test_the_command_reference_is_current() -> None:
    assert command_reference.PAGE.read_text(encoding="utf-8") == command_reference.render(), "run `make reference`"


def test_the_sql_reference_is_current(db: psycopg.Connection) -> None:
    assert api_reference.PAGE.read_text(encoding="utf-8") == api_reference.render(db), "run `make reference`"


def test_the_sql_reference_lists_what_each_access_may_call(db: psycopg.Connection) -> None:
    page = api_reference.PAGE.read_text(encoding="utf-8")
    granted = {
        row[0]
        for access in api_reference.ACCESS
        for row in db.execute("select unnest(walltrack.granted_functions(%s))", (access,))
    }
    listed = set(re.findall(r"^\| `(\w+)\(", page, re.MULTILINE))
    assert listed == granted | api_reference.OWNER and len(granted) > 20


def test_the_helpers_of_the_sql_reference_exist_for_every_access(db: psycopg.Connection) -> None:
    for access in api_reference.ACCESS:
        (functions,) = db.execute("select walltrack.granted_functions(%s)", (access,)).fetchone() or ([],)
        assert api_reference.HELPERS - set(functions) == set(), access


def test_every_extra_is_explained() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    readme = (FOLDER / "README.md").read_text()
    assert [name for name in project["optional-dependencies"] if f"| `{name}` |" not in readme] == []


def test_version_changelog_and_readme_agree() -> None:
    version = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["version"]
    changelog = (FOLDER / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    assert not headings[1:] or headings[1].startswith(f"[{version}]")  # nothing is released yet
    sections = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert f"walltrack_alerts-{version}-py3-none-any.whl" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert "://" in link or target.exists(), link
        assert not anchor or "://" in link or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_and_make_targets_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [path for path in re.findall(r"`(tests/[\w/]+(?:\.py)?/?)`", text) if not (FOLDER / path).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (FOLDER / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
