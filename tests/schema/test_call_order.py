"""The files of sql/ stand in call order: what a function calls stands above it."""

from __future__ import annotations

import re
from pathlib import Path

from walltrack_alerts import migrations

SQL = sorted((Path(migrations.__file__).parent.parent / "sql").glob("*.sql"))
DEFINED = re.compile(
    r"^create or replace function walltrack\.(\w+)\(|^do \$|^create (?:or replace )?view walltrack\.(\w+)", re.MULTILINE
)
NOT_CALLED = re.compile(
    r"--[^\n]*"  # comments
    r"|^comment on [^;]*;"
    r"|\braise (?:notice|warning|exception) (?:'(?:[^']|'')*'|[^;'])*;"  # messages and hints name functions that people call
    r"|execute function walltrack\.\w+\(",  # triggers
    re.MULTILINE,
)


def forward_calls(texts: dict[str, str]) -> set[tuple[str, str]]:
    """Caller and callee of each call to a function that is defined further down, in the same file or a later one."""
    text = "".join(f"\n{NOT_CALLED.sub('', each)}" for _, each in sorted(texts.items()))
    starts = list(DEFINED.finditer(text))
    places = {start[1]: start.start() for start in starts if start[1]}
    forward = set()
    for start, end in zip(starts, [*(start.start() for start in starts[1:]), len(text)], strict=True):
        for name in re.findall(r"walltrack\.(\w+)\(", text[start.end() : end]):
            if places.get(name, -1) > start.start():
                forward.add((start[1] or start[2] or "do", name))
    return forward


def test_functions_call_only_functions_above_them() -> None:
    texts = {path.name: path.read_text() for path in SQL}
    assert len(texts) > 30
    assert forward_calls(texts) == set()


def test_forward_calls_are_found_within_and_across_files() -> None:
    caller = "create or replace function walltrack.a() as $$ select walltrack.b() $$;"
    callee = "create or replace function walltrack.b() as $$ select 1 $$;"
    assert forward_calls({"1": caller, "2": callee}) == {("a", "b")}
    assert forward_calls({"1": f"{caller}\n{callee}"}) == {("a", "b")}
    assert forward_calls({"1": callee, "2": caller}) == set()


def test_triggers_comments_and_messages_are_no_calls() -> None:
    callee = "create or replace function walltrack.b() as $$ select 1 $$;"
    for text in (
        "create trigger t execute function walltrack.b();",
        "-- see walltrack.b()",
        "raise notice 'call % first; or not', x using hint = 'walltrack.b()';",
    ):
        assert forward_calls({"1": f"do $$ begin {text}\nend $$;", "2": callee}) == set()
