"""Metrics of our own, with bounded labels: routes and codes from fixed lists, never a path, name or token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from .champion import TargetState

__all__ = ["METRICS_TYPE", "ServiceMetrics"]

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _States(Protocol):
    def __call__(self) -> Mapping[str, TargetState]: ...


class _ChampionCollector(Collector):
    """Asks for the champions when scraped, so a swapped version leaves no stale series behind."""

    def __init__(self, states: _States) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        serving = GaugeMetricFamily("custos_champion", "Version in service.", labels=["model", "version"])
        refused = GaugeMetricFamily("custos_champion_refused", "A newer version was refused.", labels=["model"])
        for model, state in self._states().items():
            if state.serving is not None:
                serving.add_metric([model, state.serving], 1.0)
            refused.add_metric([model], float(state.refused is not None))
        return [serving, refused]


class ServiceMetrics:
    """The service's counters, in a registry of their own."""

    def __init__(self, states: _States = dict) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("custos_http_requests_total", "Answers.", ["route", "status"], registry=self._registry)
        self._seconds = Histogram(
            "custos_http_request_seconds",
            "Time to answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._problems = Counter(
            "custos_problems_total", "Error answers by problem code.", ["code"], registry=self._registry
        )
        self._results = Counter(
            "custos_results_total", "Customers answered by status.", ["status"], registry=self._registry
        )
        self._registry.register(_ChampionCollector(states))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` must come from the fixed list of routes."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def problem(self, code: str) -> None:
        """Count one error answer."""
        self._problems.labels(code).inc()

    def results(self, statuses: Iterable[str]) -> None:
        """Count the customers of one answer by status."""
        counts: dict[str, int] = {}
        for status in statuses:
            counts[status] = counts.get(status, 0) + 1
        for status, count in counts.items():
            self._results.labels(status).inc(count)

    def exposition(self) -> bytes:
        """Return all series in the Prometheus text format."""
        return generate_latest(self._registry)
