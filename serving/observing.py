"""Prometheus metrics of the front, with bounded labels; they appear in BentoML's `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from model.bundle import Bundle
from serving.routes import ROUTES

_STATUSES: Final = (200, 204, 304, 400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 503, 504)
_OTHER: Final = "other"


class Observed:
    """Counters bound once per route and status, so that no request can add a label.

    In BentoML's multi-process mode values live in files: a private registry lets several fronts
    be built in one process, and `/metrics` still sums over workers.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        requests = Counter("clv_requests", "Requests answered", ["route", "status"], registry=registry)
        seconds = Histogram("clv_request_seconds", "Seconds to answer", ["route"], registry=registry)
        customers = Counter("clv_customers", "Customers answered", ["outcome"], registry=registry)
        names = [*dict.fromkeys(route.path for route in ROUTES), _OTHER]
        self._requests = {(n, s): requests.labels(n, str(s)) for n in names for s in _STATUSES}
        self._seconds = {name: seconds.labels(name) for name in names}
        self._customers = {outcome: customers.labels(outcome) for outcome in ("scored", "failed")}
        self._errors = Counter("clv_errors", "Errors answered, by their code", ["code"], registry=registry)

    def request(self, route: str, status: int, code: str, seconds: float) -> None:
        """Count one answer; `code` is its error's, or empty."""
        self._requests[route, status].inc()
        self._seconds[route].observe(seconds)
        if code:
            self._errors.labels(code).inc()

    def customers(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """Count customers answered and customers with an error in their place."""
        failed = [("error" in found) for found in answers]
        self._customers["failed"].inc(sum(failed))
        self._customers["scored"].inc(len(failed) - sum(failed))


class ModelGauges:
    """Which model answers, as gauges."""

    def __init__(self) -> None:
        how: dict[str, Any] = {"registry": CollectorRegistry(), "multiprocess_mode": "mostrecent"}
        self._version = Gauge("clv_model_version", "Registered version that answers; 0 where it has none", **how)
        self._trained = Gauge("clv_model_trained_on_seconds", "End of what the model was trained on, Unix time", **how)

    def show(self, bundle: Bundle) -> None:
        """Show the model that answers from now on."""
        self._version.set(int(bundle.version) if bundle.version.isdecimal() else 0)
        self._trained.set(datetime.fromisoformat(bundle.provenance.trained_on).timestamp())
