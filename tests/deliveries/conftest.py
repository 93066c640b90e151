"""The relay and the operator of the tests of deliveries."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.deliveries.relay import Desk, Relay


@pytest.fixture
def desk(db: psycopg.Connection) -> Desk:
    return Desk(db)


@pytest.fixture
def relay(database_url: str) -> Iterator[Relay]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Relay(connection)


@pytest.fixture
def other_relay(database_url: str) -> Iterator[Relay]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Relay(connection, "relay-2")
