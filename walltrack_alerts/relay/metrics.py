"""What the relay serves on --metrics-port: /metrics for Prometheus, and /healthz.

The figures of the database come from one function, walltrack.relay_metrics(), at each scrape; every relay serves the same
ones. The relay itself counts only its attempts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, make_wsgi_app, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from walltrack_alerts.errors import AlertsError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

FRESH_SECONDS = 1.0
"""Scrapes within this time share one answer of the database."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of walltrack.relay_metrics()."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Described:
    """The help text of a metric of the database, and its labels."""

    text: str
    labels: tuple[str, ...] = ()


DATABASE_METRICS: Mapping[str, Described] = {
    "walltrack_open_alerts": Described("Open alerts. A snoozed one counts as snoozed only.", ("severity", "state")),
    "walltrack_oldest_unacknowledged_alert_seconds": Described(
        "Age of the oldest alert that is neither acknowledged nor snoozed; 0 without one.", ("severity",)
    ),
    "walltrack_time_to_acknowledge_seconds": Described(
        "Time from raised to acknowledged, of the acknowledgements of the last 24 hours.", ("severity", "percentile")
    ),
    "walltrack_time_to_resolve_seconds": Described(
        "Time from raised to resolved, of the alerts resolved in the last 24 hours.", ("severity", "percentile")
    ),
    "walltrack_target_enabled": Described("1 for an enabled target, 0 for a disabled one.", ("target",)),
    "walltrack_deliveries": Described(
        "Unfinished deliveries: waiting (behind an earlier event of their alert), pending, sending, dead.", ("target", "state")
    ),
    "walltrack_oldest_undelivered_seconds": Described(
        "Age of the oldest delivery that is due and has not arrived; 0 without one.", ("target",)
    ),
    "walltrack_delivery_lag_seconds": Described(
        "Time from event to delivery, of the newest 1,000 deliveries of the last hour.", ("target", "percentile")
    ),
    "walltrack_stream_lag_events": Described("Events that have not been read for an enabled target.", ("target",)),
    "walltrack_stream_lag_seconds": Described(
        "Age of the oldest event that has not been read for an enabled target.", ("target",)
    ),
    "walltrack_faults": Described("Rows of walltrack.alert_faults, which the reconciler clears.", ("kind",)),
    "walltrack_notification_queue_usage_ratio": Described("How full the notification queue of PostgreSQL is, from 0 to 1."),
    "walltrack_relays": Described("Relays that were seen in the last two minutes."),
    "walltrack_active_silences": Described("Silences in force."),
}


class DatabaseCollector(Collector):
    """The metrics of the database. While it does not respond, there is only walltrack_database_up, with the value 0."""

    def __init__(self, read: Callable[[], Sequence[Sample]]) -> None:
        """`read` asks the database; it raises AlertsError or TimeoutError."""
        self._read = read
        self._lock = threading.Lock()
        self._samples: Sequence[Sample] | None = None
        self._until = 0.0

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The families without samples, so that registration asks no database."""
        return [_up(), *_families(()).values()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The samples of this moment."""
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._samples = self._read()
                except (AlertsError, TimeoutError):
                    self._samples = None
                self._until = time.monotonic() + FRESH_SECONDS
            samples = self._samples
        yield _up(samples is not None)
        if samples is not None:
            yield from _families(samples).values()


def _up(*values: bool) -> GaugeMetricFamily:
    family = GaugeMetricFamily("walltrack_database_up", "Whether this relay reaches the database.")
    for value in values:
        family.add_metric([], float(value))
    return family


def _families(samples: Iterable[Sample]) -> dict[str, GaugeMetricFamily]:
    """One family for each metric. A newer schema may have metrics that this version does not know; they are left out."""
    families = {name: GaugeMetricFamily(name, each.text, labels=each.labels) for name, each in DATABASE_METRICS.items()}
    for sample in samples:
        if sample.name in families:
            labels = [sample.labels.get(label, "") for label in DATABASE_METRICS[sample.name].labels]
            families[sample.name].add_metric(labels, sample.value)
    return families


class RelayMetrics:
    """The metrics of one relay process."""

    def __init__(self, version: str, read: Callable[[], Sequence[Sample]]) -> None:
        self.registry = CollectorRegistry()
        self._attempts = Counter(
            "walltrack_delivery_attempts",
            "Attempts of this relay: delivered, failed, refused, gone. A digest is one attempt.",
            ("target", "outcome"),
            registry=self.registry,
        )
        self._well = Gauge(
            "walltrack_heartbeat_ok",
            "Whether database, stream, deliveries and health were well at the last check: the condition of the heartbeat.",
            registry=self.registry,
        )
        Gauge("walltrack_relay_info", "The version of this relay.", ("version",), registry=self.registry).labels(version).set(1)
        ProcessCollector(registry=self.registry)
        self.registry.register(DatabaseCollector(read))

    def count_attempt(self, target: str, outcome: str) -> None:
        """Count one attempt to send a message."""
        self._attempts.labels(target, outcome).inc()

    def set_well(self, is_well: bool) -> None:
        """Record the result of the check that precedes each heartbeat."""
        self._well.set(float(is_well))


@contextmanager
def served(metrics: RelayMetrics, host: str, port: int, find_problem: Callable[[], str | None]) -> Iterator[int]:
    """Serve /metrics and /healthz in threads of their own; yields the port, a free one for 0 (OSError).

    `find_problem` returns the problem that keeps the relay from working, or None; /healthz then answers 503.
    """
    server, thread = start_http_server(port, host, metrics.registry)
    server.set_app(_routes(metrics.registry, find_problem))
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _routes(registry: CollectorRegistry, find_problem: Callable[[], str | None]) -> WSGIApplication:
    serve_metrics: Any = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return serve_metrics(environ, start_response)  # type: ignore[no-any-return]
        if environ["PATH_INFO"] == "/healthz":
            problem = find_problem()
            return _answer(start_response, "503 Service Unavailable" if problem else "200 OK", problem or "ok")
        return _answer(start_response, "404 Not Found", "/metrics and /healthz are here")

    return application


def _answer(start_response: StartResponse, status: str, text: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
    return [f"{text}\n".encode()]
