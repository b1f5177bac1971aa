"""OpenTelemetry spans of requests, when an exporter is configured by OpenTelemetry's own environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PARENT = ("traceparent", "tracestate")


class Tracing:
    """Sends a span per request, as a part of the caller's trace where it says so."""

    def __init__(self) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME", "predictive-clv")
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer, self._caller = provider.get_tracer("clv"), TraceContextTextMapPropagator()

    def request(self, method: str, route: str, status: int, started_ns: int, headers: Mapping[bytes, bytes]) -> None:
        """Send the span of a request that was answered; no path, query or body is in it."""
        carrier = {name: headers[name.encode()].decode("latin-1") for name in _PARENT if name.encode() in headers}
        span = self._tracer.start_span(
            f"{method} {route}",
            self._caller.extract(carrier),
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": route, "http.response.status_code": status},
            start_time=started_ns,
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
