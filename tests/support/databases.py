"""Databases that a test creates and drops."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.folders import temporary_folder
from walltrack_alerts.embedded import embedded_server

IMAGE = os.environ.get("WALLTRACK_TEST_IMAGE", "postgres:18")


@contextmanager
def served(kind: str) -> Iterator[str]:
    """The URL of a superuser on a server for this run."""
    own = os.environ.get("WALLTRACK_TEST_DATABASE_URL")
    if own:
        yield own
    elif kind == "docker":
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer(IMAGE, driver=None) as container:
            yield container.get_connection_url()
    else:
        folder = temporary_folder()
        try:
            with embedded_server(folder / "pg") as url:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("alter system set fsync = off")
                    connection.execute("select pg_reload_conf()")
                yield url
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_database(server_url: str, template: str | None = None) -> Iterator[str]:
    """Create a database and drop it at the end; yields its URL."""
    name = f"wt_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template or "template0")
            )
        )
    try:
        yield make_conninfo(server_url, dbname=name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def turn(*, is_alone: bool) -> Iterator[None]:
    """Let a test run beside others on a server that several workers share, or alone."""
    shared = os.environ.get("WALLTRACK_TEST_DATABASE_URL")
    if shared is None:
        yield
        return
    lock = "pg_advisory_lock" if is_alone else "pg_advisory_lock_shared"
    with psycopg.connect(shared, autocommit=True) as connection:
        connection.execute(sql.SQL("select {}(hashtext('tests that run alone'))").format(sql.Identifier(lock)))
        yield
