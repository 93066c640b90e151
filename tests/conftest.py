"""One real PostgreSQL per run, one database per test cloned from a migrated template.

By default the embedded server; `--postgres=docker` takes testcontainers, WALLTRACK_TEST_DATABASE_URL a server of your own
(a superuser's URL; every database this makes is dropped again).
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.support.bot import Bot
from tests.support.databases import new_database, served, turn
from tests.support.lending import Lender
from walltrack_alerts import migrations

# A suite in a script's background ignores Ctrl-C, and so would the processes that the tests end with Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [f"tests.support.{name}" for name in ("embedded", "hubs", "panels", "poolers", "servers")]  # their fixtures

settings.register_profile("slow-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slow-machine")

# For long runs: pytest --hypothesis-profile=thorough. A shrinking example can take minutes.
settings.register_profile("thorough", max_examples=1500, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than processors: with one more, an eighth of the time passes in waiting for servers and browsers."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_finish() -> None:
    """Libraries and tests are a million objects that stay: no later garbage collection has to visit them."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With WALLTRACK_TEST_COMPLETE, as in the gate, a program or a part of a server that is missing is a failure."""
    report = yield
    wanted = ["the gate installs", *(["version 15 in the gate has it"] if os.environ.get("WALLTRACK_TEST_DATABASE_URL") else [])]
    is_incomplete = report.skipped and any(text in str(report.longrepr) for text in wanted)
    if is_incomplete and os.environ.get("WALLTRACK_TEST_COMPLETE"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that creates roles of a public API runs alone on its server: every migration treats these roles in its own way."""
    with turn(is_alone=item.get_closest_marker("api_roles") is not None):
        return (yield)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres", choices=("embedded", "docker"), default="embedded", help="where the tests' PostgreSQL comes from"
    )


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with served(request.config.getoption("--postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database without connections."""
    with new_database(server_url) as url:
        migrations.upgrade(url)
        yield psycopg.conninfo.conninfo_to_dict(url)["dbname"]  # type: ignore[misc]


@pytest.fixture(scope="session")
def lender(server_url: str, template: str) -> Iterator[Lender]:
    """Lends migrated databases."""
    lender = Lender(lambda: new_database(server_url, template))
    yield lender
    lender.close()


@pytest.fixture
def database_url(lender: Lender) -> Iterator[str]:
    """A migrated database as created, without rows."""
    with lender.lend() as url:
        yield url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """A database without anything in it."""
    with new_database(server_url) as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection to a migrated database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def bot(db: psycopg.Connection) -> Bot:
    """A trading bot that writes orders as the real one does."""
    return Bot(db)
