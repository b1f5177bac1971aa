"""Prometheus metrics of the front, with bounded labels; they appear in BentoML's `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

_STATUSES: Final = (200, 400, 401, 404, 405, 413, 422, 500, 503, 504)
_OTHER: Final = "other"


class Observed:
    """Counters bound once per route and status, so that no request can add a label.

    In BentoML's multi-process mode values live in files: a private registry lets several fronts
    be built in one process, and `/metrics` still sums over workers.
    """

    def __init__(self, routes: Iterable[str]) -> None:
        registry = CollectorRegistry()
        requests = Counter("clv_requests", "Requests answered", ["route", "status"], registry=registry)
        seconds = Histogram("clv_request_seconds", "Seconds to answer", ["route"], registry=registry)
        customers = Counter("clv_customers", "Customers answered", ["outcome"], registry=registry)
        names = [*routes, _OTHER]
        self._requests = {(n, s): requests.labels(n, str(s)) for n in names for s in _STATUSES}
        self._seconds = {name: seconds.labels(name) for name in names}
        self._customers = {outcome: customers.labels(outcome) for outcome in ("scored", "failed")}

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count one answer; an unknown path is `other`."""
        route = path if path in self._seconds else _OTHER
        self._requests[route, status].inc()
        self._seconds[route].observe(seconds)

    def customers(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """Count customers answered and customers with an error in their place."""
        failed = [("error" in found) for found in answers]
        self._customers["failed"].inc(sum(failed))
        self._customers["scored"].inc(len(failed) - sum(failed))
