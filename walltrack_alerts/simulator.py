"""The simulated bot of the demo: it writes walltrack.orders in the same steps as the real bot.

The life of one order, in call order:

1. The bot creates it `pending` (`_INSERT`).
2. An attempt: the worker takes the order's lock, saves it `submitted` when the transaction is sent and
   `confirming` when the network has seen it, then `filled`; or it saves `failed` with one attempt more, the
   error and the time of the next try. It releases the lock. Locks are separate UPDATEs (`_LOCK`); every
   save writes the whole row (`_SAVE`), as the bot's repository layer does.
3. Until the next try is due the worker checks the order now and then: it takes the lock and releases it.
   Then it saves the order `pending` and makes the next attempt.
4. The last attempt fails: the order is exhausted. Some milliseconds later the worker gives up in a second
   UPDATE: `cancelled`, 'Max retries reached (3 attempts)'. Or an operator is faster and cancels it ('Manually
   cancelled'), or retries it: `pending` again with the same attempt_count, so that the next failure is
   attempt 4 of 3. After that failure the worker gives up.

The history of order number n depends only on the seed and n, and so does the sequence of all writes: the
orders share one agenda in simulated time, which runs `pace` times as fast as real time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import secrets
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from random import Random
from typing import Any, LiteralString

import psycopg

from walltrack_alerts.database import connect_async
from walltrack_alerts.errors import translate

_INSERT = """
insert into walltrack.orders (
    id, order_type, side, signal_id, position_id, token_address, token_symbol, amount_sol, amount_tokens,
    expected_price, actual_price, max_slippage_bps, status, tx_signature, filled_at, attempt_count,
    max_attempts, last_error, next_retry_at, is_simulated, locked_until, locked_by, created_at, updated_at
) values (
    %(id)s, %(order_type)s, %(side)s, %(signal_id)s, %(position_id)s, %(token_address)s, %(token_symbol)s,
    %(amount_sol)s, %(amount_tokens)s, %(expected_price)s, %(actual_price)s, %(max_slippage_bps)s,
    %(status)s, %(tx_signature)s, %(filled_at)s, %(attempt_count)s, %(max_attempts)s, %(last_error)s,
    %(next_retry_at)s, %(is_simulated)s, %(locked_until)s, %(locked_by)s, %(created_at)s, %(updated_at)s
)
on conflict (id) do nothing
"""  # the conflict: the statement is repeated when a broken connection has lost the result

_SAVE = """
update walltrack.orders
set order_type = %(order_type)s, side = %(side)s, signal_id = %(signal_id)s, position_id = %(position_id)s,
    token_address = %(token_address)s, token_symbol = %(token_symbol)s, amount_sol = %(amount_sol)s,
    amount_tokens = %(amount_tokens)s, expected_price = %(expected_price)s,
    actual_price = %(actual_price)s, max_slippage_bps = %(max_slippage_bps)s, status = %(status)s,
    tx_signature = %(tx_signature)s, filled_at = %(filled_at)s, attempt_count = %(attempt_count)s,
    max_attempts = %(max_attempts)s, last_error = %(last_error)s, next_retry_at = %(next_retry_at)s,
    is_simulated = %(is_simulated)s, locked_until = %(locked_until)s, locked_by = %(locked_by)s,
    created_at = %(created_at)s, updated_at = %(updated_at)s
where id = %(id)s
"""

_LOCK = """
update walltrack.orders
set locked_until = %(locked_until)s, locked_by = %(locked_by)s
where id = %(id)s
"""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# Symbol and price in SOL. Anybody can name a token, so some names are hostile.
_TOKENS = (
    ("WIF", 0.0118),
    ("POPCAT", 0.0042),
    ("MEW", 0.0000385),
    ("<b>BONK</b>", 0.000000142),
    ("GIGA", 0.00021),
    ("MOODENG", 0.00095),
    ("PNUT", 0.00137),
    ("FARTCOIN", 0.0062),
    ("${7*7}", 0.0000019),
    ("CHILLGUY", 0.00041),
    ("GOAT", 0.00079),
    ("MICHI", 0.00023),
    ("猫", 0.0000072),
    ("BOME", 0.000061),
    ("AI16Z", 0.0033),
    ("ZEREBRO", 0.00027),
)  # fmt: skip

# Errors of RPC nodes, the router and programs; True: only after the transaction was sent.
_ERRORS = (
    ("Transaction simulation failed: Error processing Instruction 4: custom program error: 0x1771", False),
    ("Transaction simulation failed: Blockhash not found", False),
    ("Slippage tolerance exceeded: expected {bps} bps, got {worse} bps (Jupiter error 6001)", True),
    ("RPC timeout: sendTransaction did not answer within 30000 ms", False),
    ("Transfer: insufficient lamports {lamports}, need {needed}", False),
    ("TransactionExpiredBlockheightExceededError: block height exceeded", True),
    ("Transaction was not confirmed in 60.00 seconds. It is unknown if it succeeded or failed.", True),
    ("HTTP 429 Too Many Requests: rate limit of the RPC node, retry after {seconds} s", False),
    ("COULD_NOT_FIND_ANY_ROUTE: no route found for {symbol}", False),
    ("Error processing Instruction 2: custom program error: 0x1 (insufficient funds)", True),
    ("TOKEN_NOT_TRADABLE: the token {address} is not tradable", False),
)  # fmt: skip

_logger = logging.getLogger(__name__)


class _Outcome(Enum):
    """The outcome of an order."""

    FILLS = auto()
    CANCELLED_EARLY = auto()  # by an operator, before the first attempt
    GIVEN_UP = auto()  # by the worker, after the last attempt
    CANCELLED_LATE = auto()  # by an operator, after the last attempt
    RETRIED_FILLS = auto()  # an operator retries after the last attempt
    RETRIED_FAILS = auto()


_EXHAUSTED = (_Outcome.GIVEN_UP, _Outcome.CANCELLED_LATE, _Outcome.RETRIED_FILLS, _Outcome.RETRIED_FAILS)
_WEIGHTS = (4, 2, 3, 2)

# The first orders show every outcome, for any seed; later ones follow the failure rate.
_OPENING = (
    ("entry", _Outcome.FILLS),
    ("exit", _Outcome.RETRIED_FAILS),
    ("entry", _Outcome.RETRIED_FILLS),
    ("exit", _Outcome.GIVEN_UP),
    ("entry", _Outcome.GIVEN_UP),
    ("exit", _Outcome.CANCELLED_LATE),
    ("entry", _Outcome.RETRIED_FAILS),
    ("exit", _Outcome.RETRIED_FILLS),
    ("entry", _Outcome.CANCELLED_EARLY),
)


@dataclass(slots=True)
class Counts:
    """Counts of what the bot has written so far."""

    orders: int = 0  # created
    attempts: int = 0  # submitted
    filled: int = 0
    exhausted: int = 0  # orders whose last attempt failed; each counts once
    cancelled: int = 0  # by the worker or an operator
    retried: int = 0  # by an operator, after the last attempt


@dataclass
class _Order:
    """One row; the fields are the columns."""

    id: uuid.UUID
    order_type: str
    side: str
    signal_id: str | None
    position_id: uuid.UUID | None
    token_address: str
    token_symbol: str
    amount_sol: Decimal
    amount_tokens: Decimal | None
    expected_price: Decimal
    max_slippage_bps: int
    is_simulated: bool
    created_at: datetime
    updated_at: datetime
    status: str = "pending"
    actual_price: Decimal | None = None
    tx_signature: str | None = None
    filled_at: datetime | None = None
    attempt_count: int = 0
    max_attempts: int = 3
    last_error: str | None = None
    next_retry_at: datetime | None = None
    locked_until: datetime | None = None
    locked_by: str | None = None

    @property
    def exhausted(self) -> bool:
        return self.attempt_count >= self.max_attempts


_Write = tuple[LiteralString, dict[str, Any]]
_Step = _Write | float  # a statement to run now, or simulated seconds to wait


@dataclass
class SimulatedBot:
    """Trades on paper. `failure_rate` is the share of orders, 0 to 1, that run out of attempts."""

    dsn: str
    pace: float = 1.0  # simulated seconds per second; one new order per simulated second
    seed: int = 7
    failure_rate: float = 0.15
    max_orders: int | None = None  # None: until stopped
    counts: Counts = field(default_factory=Counts, init=False)

    def __post_init__(self) -> None:
        if self.pace <= 0:
            raise ValueError(f"pace must be positive, not {self.pace}")
        if not 0 <= self.failure_rate <= 1:
            raise ValueError(f"failure_rate must be between 0 and 1, not {self.failure_rate}")

    async def run(self, stop: asyncio.Event, duration: float | None = None) -> None:
        """Trade until `stop` is set, `duration` seconds have passed or `max_orders` have ended (AlertsError)."""
        link = _Link(self.dsn, stop, duration)
        try:
            await link.connect()
            await self._work(link)
        except psycopg.Error as error:
            raise translate(error) from error
        finally:
            await link.close()

    async def _work(self, link: _Link) -> None:
        """Run the agenda: the next order by simulated seconds since the start."""
        agenda: list[tuple[float, int, Iterator[_Step]]] = []
        arrivals = self._arrivals()
        arrival = next(arrivals, None)
        clock = _Clock(self.pace)
        while arrival or agenda:
            if arrival and (not agenda or arrival < agenda[0][:2]):
                due, number = arrival
                life = self._life(number)
                arrival = next(arrivals, None)
            else:
                due, number, life = heapq.heappop(agenda)
            if await link.pause(clock.seconds_until(due)):
                return
            for step in life:
                if isinstance(step, float):
                    heapq.heappush(agenda, (due + step, number, life))
                    break
                if not await link.write(*step):
                    return

    def _arrivals(self) -> Iterator[tuple[float, int]]:
        """The orders as they arrive: simulated seconds, number."""
        rng = Random(f"{self.seed}:arrivals")
        at = 0.0
        for number in itertools.count() if self.max_orders is None else range(self.max_orders):
            yield at, number
            at += rng.uniform(0.4, 0.6) if number < len(_OPENING) else rng.uniform(0.6, 1.4)

    # The history of an order

    def _life(self, number: int) -> Iterator[_Step]:
        """All steps of one order, from pending to filled or cancelled."""
        rng = Random(f"{self.seed}:{number}")
        order_type, outcome = self._outcome_of(number, rng)
        order = _new_order(self.seed, number, order_type, rng)
        yield _INSERT, vars(order).copy()
        self.counts.orders += 1
        if outcome is _Outcome.CANCELLED_EARLY:
            yield rng.uniform(0.8, 1.5)
            yield from self._cancel(order, "Manually cancelled")
            return
        failures = rng.choices((0, 1, 2), (14, 4, 2))[0] if outcome is _Outcome.FILLS else order.max_attempts
        for _ in range(failures):
            backoff = yield from self._attempt(order, rng, fails=True)
            if not order.exhausted:
                yield from self._wait_for_retry(order, backoff)
        if outcome is _Outcome.FILLS:
            yield from self._attempt(order, rng, fails=False)
            return
        self.counts.exhausted += 1
        if outcome is _Outcome.GIVEN_UP:
            yield from self._give_up(order, rng)
            return
        yield rng.uniform(0.5, 1.0)
        yield _save(order)  # saved unchanged: all columns named, none different
        yield rng.uniform(1.0, 2.0)
        if outcome is _Outcome.CANCELLED_LATE:
            yield from self._cancel(order, "Manually cancelled")
            return
        order.status = "pending"  # attempt_count stays: the next failure is one too many
        yield _save(order)
        self.counts.retried += 1
        yield rng.uniform(0.2, 0.4)
        yield from self._attempt(order, rng, fails=outcome is _Outcome.RETRIED_FAILS)
        if outcome is _Outcome.RETRIED_FAILS:
            yield from self._give_up(order, rng)

    def _outcome_of(self, number: int, rng: Random) -> tuple[str, _Outcome]:
        """Type and outcome of an order."""
        order_type = "exit" if rng.random() < 0.4 else "entry"
        if number < len(_OPENING) and self.failure_rate > 0:
            return _OPENING[number]
        if rng.random() < self.failure_rate:
            return order_type, rng.choices(_EXHAUSTED, _WEIGHTS)[0]
        return order_type, _Outcome.CANCELLED_EARLY if rng.random() < 0.05 else _Outcome.FILLS

    def _attempt(self, order: _Order, rng: Random, *, fails: bool) -> Generator[_Step, None, float]:
        """One attempt, lock to unlock; returns the simulated seconds until the next try is due."""
        backoff = 0.4 * 2.0**order.attempt_count * rng.uniform(0.9, 1.1)
        error, sent = rng.choice(_ERRORS)
        yield self._take_lock(order)
        yield rng.uniform(0.04, 0.08)
        if order.status == "failed":
            order.status, order.next_retry_at = "pending", None
            yield _save(order)
            yield rng.uniform(0.01, 0.03)
        order.status, order.tx_signature = "submitted", _base58(secrets.token_bytes(64))
        yield _save(order)
        self.counts.attempts += 1
        yield rng.uniform(0.15, 0.3)
        if sent or not fails:
            order.status = "confirming"
            yield _save(order)
            yield rng.uniform(0.2, 0.4)
        if fails:
            order.status = "failed"
            order.attempt_count += 1
            order.last_error = _describe(error, order, rng)
            order.next_retry_at = None if order.exhausted else self._in(backoff)
            yield _save(order)
        else:
            _fill(order, rng)
            yield _save(order)
            self.counts.filled += 1
        yield rng.uniform(0.005, 0.015)
        yield _release_lock(order)
        return backoff

    def _wait_for_retry(self, order: _Order, backoff: float) -> Iterator[_Step]:
        for _ in range(2):
            yield backoff / 3
            yield self._take_lock(order)
            yield 0.01
            yield _release_lock(order)
        yield backoff / 3

    def _give_up(self, order: _Order, rng: Random) -> Iterator[_Step]:
        yield rng.uniform(0.01, 0.04)
        yield from self._cancel(order, f"Max retries reached ({order.max_attempts} attempts)")

    def _cancel(self, order: _Order, reason: str) -> Iterator[_Step]:
        order.status, order.last_error, order.next_retry_at = "cancelled", reason, None
        yield _save(order)
        self.counts.cancelled += 1

    def _take_lock(self, order: _Order) -> _Write:
        order.locked_until, order.locked_by = self._in(30.0), "retry-worker-1"
        return _LOCK, vars(order).copy()

    def _in(self, seconds: float) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=seconds / self.pace)


def _release_lock(order: _Order) -> _Write:
    order.locked_until = order.locked_by = None
    return _LOCK, vars(order).copy()


def _save(order: _Order) -> _Write:
    order.updated_at = datetime.now(UTC)
    return _SAVE, vars(order).copy()


def _new_order(seed: int, number: int, order_type: str, rng: Random) -> _Order:
    """A pending order. Its id is new in every run, so that a second run meets no row of the first."""
    symbol, usual_price = _TOKENS[number] if number < len(_OPENING) else rng.choice(_TOKENS)
    price = Decimal(usual_price * rng.uniform(0.7, 1.4)).quantize(Decimal("1e-12"))
    amount = Decimal(rng.choice((5, 10, 15, 25, 40, 75, 120))) / 100
    now = datetime.now(UTC)
    is_exit = order_type == "exit"
    return _Order(
        id=uuid.uuid4(),
        order_type=order_type,
        side="sell" if is_exit else "buy",
        signal_id=None if is_exit else f"signal-{seed}-{number:06d}",
        position_id=uuid.uuid4() if is_exit else None,
        token_address=_base58(Random(symbol).randbytes(32)),
        token_symbol=symbol,
        amount_sol=amount,
        amount_tokens=(amount / price).quantize(Decimal("1e-6")) if is_exit else None,
        expected_price=price,
        max_slippage_bps=rng.choice((50, 100, 100, 300)),
        is_simulated=rng.random() < 0.1,
        created_at=now,
        updated_at=now,
    )


def _fill(order: _Order, rng: Random) -> None:
    """The order was executed near the expected price; an entry has opened a position."""
    order.status, order.filled_at, order.next_retry_at = "filled", datetime.now(UTC), None
    slippage = Decimal(rng.uniform(-0.3, 1.0) * order.max_slippage_bps / 10_000)
    order.actual_price = (order.expected_price * (1 + slippage)).quantize(Decimal("1e-12"))
    if order.order_type == "entry":
        order.amount_tokens = (order.amount_sol / order.actual_price).quantize(Decimal("1e-6"))
        order.position_id = uuid.uuid4()


def _describe(error: str, order: _Order, rng: Random) -> str:
    lamports = rng.randrange(200_000, 1_900_000)
    return error.format(
        bps=order.max_slippage_bps,
        worse=order.max_slippage_bps + rng.randrange(20, 900),
        lamports=lamports,
        needed=2_039_280,  # the rent of a token account
        seconds=rng.randrange(1, 11),
        symbol=order.token_symbol,
        address=order.token_address,
    )


def _base58(data: bytes) -> str:
    """Bytes as Solana writes them; 32 bytes give 32 to 44 characters, 64 up to 88."""
    number, digits = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


# Time and the database


class _Clock:
    """Simulated time. The clock waits for a writer that falls behind, so that no burst follows an outage."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._start = asyncio.get_running_loop().time()

    def seconds_until(self, due: float) -> float:
        """Real seconds until a simulated time."""
        left = self._start + due / self._pace - asyncio.get_running_loop().time()
        if left < -0.5:
            self._start -= left
        return max(left, 0.0)


class _Link:
    """One autocommit connection, reopened when it breaks, and the end of the run."""

    def __init__(self, dsn: str, stop: asyncio.Event, duration: float | None) -> None:
        self._dsn = dsn
        self._stop = stop
        self._end = None if duration is None else asyncio.get_running_loop().time() + duration
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def pause(self, seconds: float) -> bool:
        """Wait, but not beyond the end of the run; returns whether the run has ended."""
        left = float("inf") if self._end is None else self._end - asyncio.get_running_loop().time()
        if not self._stop.is_set() and left > 0 and seconds > 0:
            try:
                await asyncio.wait_for(self._stop.wait(), min(seconds, left))
            except TimeoutError:
                return seconds >= left
        return self._stop.is_set() or left <= 0

    async def write(self, query: LiteralString, parameters: dict[str, Any]) -> bool:
        """Run one statement, and repeat it when the connection breaks; False if the run ended first."""
        for delay in itertools.chain((0.1, 0.2, 0.5, 1.0, 2.0), itertools.repeat(5.0)):
            try:
                connection = self._connection or await self.connect()
                await connection.execute(query, parameters)
            except psycopg.OperationalError as error:
                reason = str(error).partition("\n")[0]
                _logger.warning("The simulated bot lost its database, next try in %s s: %s", delay, reason)
                await self.close()
                if await self.pause(delay):
                    return False
            else:
                break
        return True

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        self._connection = await connect_async(  # in autocommit: each UPDATE is its own transaction, as in the bot
            self._dsn,
            application_name="walltrack-simulated-bot",
        )
        return self._connection

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
