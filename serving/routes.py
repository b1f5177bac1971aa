"""The paths of the service: one table for dispatch, keys, metrics and the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Attributes
    ----------
    path
        Its last part may be a name in braces, which stands for one part of a request's path.
    name
        Of the handler (`serving.api`), and the operation in OpenAPI.
    scope
        What a key must be allowed; None: open to everyone.
    """

    method: str
    path: str
    name: str
    scope: str | None


PREDICT, READ, WRITE = "predict", "read", "write"
SCOPES: Final = (PREDICT, READ, WRITE)
ROUTES: Final = (
    Route("POST", "/v1/predict", "predict", PREDICT),
    Route("GET", "/v1/model", "model", PREDICT),
    Route("POST", "/v1/orders", "post_orders", WRITE),
    Route("DELETE", "/v1/orders/{order_id}", "delete_order", WRITE),
    Route("GET", "/v1/customers/{customer_id}", "customer", READ),
    Route("GET", "/v1/customers", "customers", READ),
    Route("GET", "/docs.json", "docs", PREDICT),
    Route("GET", "/readyz", "readyz", None),
    Route("GET", "/", "page", None),
)
PASSED_ON: Final = frozenset({"/livez", "/healthz", "/metrics"})
"""BentoML answers these."""

_BY_PATH: Final = {path: [route for route in ROUTES if route.path == path] for path in {route.path for route in ROUTES}}
_BY_PREFIX: Final = {path.partition("{")[0]: found for path, found in _BY_PATH.items() if "{" in path}


def routes_of(raw_path: str) -> tuple[list[Route], str]:
    """Routes of a request's path, still percent-encoded, and what stands for the name in braces.

    An id may hold any character, a slash included, as long as it is percent-encoded.
    """
    if found := _BY_PATH.get(raw_path):
        return found, ""
    prefix, slash, last = raw_path.rpartition("/")
    return (_BY_PREFIX.get(prefix + slash, []), unquote(last)) if last else ([], "")
