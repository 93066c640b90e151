"""The file of users, and the command that writes it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.panels import PATIENCE
from walltrack_alerts import cli
from walltrack_alerts.passwords import AuthFile, AuthFileError
from walltrack_alerts.ui import (
    PasswordAccess,
    Role,
)

pytestmark = pytest.mark.own_server


COMMAND = [str(Path(sys.executable).with_name("walltrack-alerts"))]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("eve", "line 4: the role is ''"),
        ("eve:admin:$argon2id$x", "line 4: the role is 'admin'"),
        ("eve:reader:plain", "line 4: has no argon2 hash"),
        ("eve:reader:", "line 4: has no argon2 hash"),
        (":reader:x", "line 4: is not a name"),
        ("e\tve:reader:x", "line 4: has a character"),
        ("ada:reader:HASH", "line 4: names ada again"),
    ],
)
def test_a_wrong_line_is_named(users: Path, line: str, problem: str) -> None:
    lines = users.read_text().splitlines()
    users.write_text("\n".join(["# people", *lines, line.replace("HASH", lines[0].split(":", 2)[2])]) + "\n")
    with pytest.raises(AuthFileError, match=problem.replace("$", r"\$")):
        PasswordAccess(users)


def test_a_line_that_becomes_invalid_affects_only_its_user(users: Path) -> None:
    file = AuthFile.open(users)
    users.write_text(users.read_text().replace("ada:operator", "ada:oprator"))
    assert file.user("ada") is None
    bob = file.user("bob")
    assert bob is not None and bob.role is Role.READER


def test_writable_files_are_refused_and_readable_ones_reported(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert oct(users.stat().st_mode)[-3:] == "600" == oct((users.parent / "users.key").stat().st_mode)[-3:]
    PasswordAccess(users)
    assert not caplog.text
    users.chmod(0o644)
    PasswordAccess(users)
    assert "chmod 600" in caplog.text
    users.chmod(0o620)
    with pytest.raises(AuthFileError, match="chmod 600"):
        PasswordAccess(users)


def command(*arguments: object, typed: str = "", expect: int = 0) -> str:
    done = CliRunner().invoke(cli.app, [str(each) for each in arguments], input=typed)
    assert done.exit_code == expect, done.output
    return done.output


def test_users_are_managed_by_command(tmp_path: Path) -> None:
    file = tmp_path / "users"
    assert "panel-user add" in command("panel-user", "list", file, expect=1)
    assert "Added ada" in command("panel-user", "add", file, "ada", "--role", "operator", typed="correct horse\n")
    assert "Updated ada" in command("panel-user", "add", file, "ada", "--role", "reader", "--yes", typed="another horse\n")
    assert "--yes" in command("panel-user", "add", file, "ada", "--role", "operator", typed="third horse\n", expect=1)
    command("panel-user", "add", file, "zoë", "--role", "operator", typed="pässwörter\n")
    assert command("panel-user", "list", file).splitlines() == ["reader    ada", "operator  zoë"]
    opened = AuthFile.open(file)
    assert opened.check("ada", "correct horse") is None
    assert opened.check("ada", "another horse") is not None and opened.check("zoë", "pässwörter") is not None
    assert "8 to 1000" in command("panel-user", "add", file, "bob", "--role", "reader", typed="short\n", expect=1)
    assert "has a character" in command("panel-user", "add", file, "b:b", "--role", "reader", typed="long enough\n", expect=1)
    command("panel-user", "add", file, "bob", "--role", "admin", typed="long enough\n", expect=2)
    command("panel-user", "remove", file, "ada")
    assert "names no user" in command("panel-user", "remove", file, "ada", expect=1)
    assert "horse" not in file.read_text()


def test_a_password_is_asked_for_twice_at_a_terminal(tmp_path: Path) -> None:
    for second, code in (("other horse", 1), ("correct horse", 0)):
        leader, follower = pty.openpty()
        arguments = [*COMMAND, "panel-user", "add", str(tmp_path / "users"), "ada", "--role", "operator"]
        with subprocess.Popen(arguments, stdin=follower, stdout=follower, stderr=follower, start_new_session=True) as process:
            os.close(follower)
            seen = read_until(leader, b"Password: ")
            os.write(leader, b"correct horse\n")
            seen += read_until(leader, b"Again: ")
            os.write(leader, second.encode() + b"\n")
            with suppress(OSError):
                seen += read_until(leader, b"\x00")
            assert process.wait(PATIENCE) == code, seen
        os.close(leader)
        assert b"horse" not in seen
    assert AuthFile.open(tmp_path / "users").check("ada", "correct horse") is not None


@pytest.mark.parametrize(("answer", "kept"), [("n", True), ("y", False)])
def test_replacing_a_password_needs_confirmation(users: Path, answer: str, kept: bool) -> None:
    leader, follower = pty.openpty()
    arguments = [*COMMAND, "panel-user", "add", str(users), "ada", "--role", "reader"]
    with subprocess.Popen(arguments, stdin=follower, stdout=follower, stderr=follower, start_new_session=True) as process:
        os.close(follower)
        read_until(leader, b"[y/N]: ")
        os.write(leader, f"{answer}\n".encode())
        for prompt in () if kept else (b"Password: ", b"Again: "):
            read_until(leader, prompt)
            os.write(leader, b"another horse\n")
        with suppress(OSError):
            read_until(leader, b"\x00")
        assert process.wait(PATIENCE) == int(kept)
    os.close(leader)
    assert (AuthFile.open(users).check("ada", "correct horse") is not None) is kept
    assert (AuthFile.open(users).check("ada", "another horse") is not None) is not kept


def read_until(terminal: int, end: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + PATIENCE
    while end not in seen and time.monotonic() < deadline:
        chunk = os.read(terminal, 1000)  # OSError when the other side has gone
        if not chunk:
            break
        seen += chunk
    return seen


def test_the_command_refuses_unsafe_settings_and_names_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--trusted-header" in command("panel", "--host", "0.0.0.0", expect=2)
    assert "--trusted-header" in command("panel", "--role-header", "X-Role", expect=2)
    (tmp_path / "users").write_text("ada:operator:secret\n")
    assert "line 1" in command("panel", "--auth-file", tmp_path / "users", expect=1)
    monkeypatch.setenv("WALLTRACK_PANEL_HOST", "0.0.0.0")
    assert "--trusted-header" in command("panel", expect=2)
