"""The OpenAPI document, written from the table of routes and the models that check the requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import features
from serving.questions import MAX_ID, CustomerQuery, CustomersQuery, OrdersRequest, PredictRequest
from serving.routes import ROUTES, Route
from serving.schemas import (
    CustomerPrediction,
    CustomersPage,
    ErrorAnswer,
    ModelInfo,
    OrdersAnswer,
    PredictResponse,
    Readiness,
)

ERRORS: Final = {
    400: "The body is not JSON.",
    401: "The API key is missing or wrong.",
    403: "The API key may not do this.",
    404: "What was asked for is not there.",
    413: "The body or the number of items is above the limit.",
    415: "The body is not announced as application/json, or is compressed.",
    422: "The request has an unusable field, or asks for a horizon that was not fitted.",
    429: "Too many calls wait.",
    503: "No model is loaded, the order store does not answer, or the service is stopping.",
    504: "The deadline has passed.",
}
_ORDERS: Final = [
    {"ordered_at": "2024-01-05T09:30:00Z", "amount": 30.0},
    {"ordered_at": "2024-02-11T18:02:00Z", "amount": 42.5},
]
EXAMPLE: Final = {"customers": [{"customer_id": "anna@example.com", "orders": _ORDERS}], "as_of": "2024-03-01"}
ORDERS_EXAMPLE: Final = {
    "orders": [
        {"order_id": str(1001 + place), "customer_id": "anna@example.com", **order}
        for place, order in enumerate(_ORDERS)
    ]
}


@dataclass(frozen=True)
class _About:
    """What the table of routes does not say."""

    summary: str
    errors: tuple[int, ...]
    answer: type[BaseModel] | None = None
    body: tuple[type[BaseModel], Mapping[str, Any]] | None = None
    query: type[BaseModel] | None = None


_ABOUT: Final = {
    "predict": _About(
        "Predict what customers will be worth, from their raw orders.",
        (400, 413, 422, 429, 503, 504),
        PredictResponse,
        (PredictRequest, EXAMPLE),
    ),
    "model": _About("Which model answers.", (503,), ModelInfo),
    "post_orders": _About(
        "Store orders, line items and refunds; posting them again changes nothing.",
        (400, 413, 415, 422, 429, 503, 504),
        OrdersAnswer,
        (OrdersRequest, ORDERS_EXAMPLE),
    ),
    "delete_order": _About("Delete an order and its refunds.", (404, 429, 503, 504)),
    "customer": _About(
        "Predict what a customer will be worth, from the stored orders.",
        (404, 422, 429, 503, 504),
        CustomerPrediction,
        query=CustomerQuery,
    ),
    "customers": _About(
        "List customers of the last batch scores, page by page.",
        (404, 422, 429, 503, 504),
        CustomersPage,
        query=CustomersQuery,
    ),
    "docs": _About("This document.", ()),
    "readyz": _About("Is a model loaded, and which one?", (), Readiness),
    "page": _About("What runs here.", ()),
}


def document(horizons: Sequence[int] = ()) -> dict[str, Any]:
    """OpenAPI 3.1: our routes and BentoML's liveness and metrics.

    `horizons` are those that the loaded model was fitted for; a request may name no others.
    """
    refs, schemas = models_json_schema(list(_models()), ref_template="#/components/schemas/{model}")
    asked = [schemas["$defs"][PredictRequest.__name__]["properties"]["horizon_days"]]
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        operation = _operation(route, _ABOUT[route.name], refs)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
        asked += [given["schema"] for given in operation.get("parameters", ()) if given["name"] == "horizon_days"]
    for schema in asked if horizons else ():
        _restrict(schema, horizons)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Predictive CLV",
            "version": features.__version__,
            "description": "Predicted customer lifetime value of customers, from their orders.",
        },
        "paths": {
            **paths,
            "/livez": {"get": _plain("livez", "Is the process up?", {"200": {"description": "yes"}})},
            "/metrics": {"get": _plain("metrics", "Metrics.", {"200": {"description": "Prometheus text"}})},
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _restrict(schema: dict[str, Any], horizons: Sequence[int]) -> None:
    """Let a nullable integer, or list of integers, hold only some."""
    for choice in schema["anyOf"]:
        if choice["type"] == "integer":
            choice["enum"] = list(horizons)
        elif choice["type"] == "array":
            choice["items"]["enum"] = list(horizons)


def _models() -> Iterator[tuple[type[BaseModel], JsonSchemaMode]]:
    yield ErrorAnswer, "serialization"
    for about in _ABOUT.values():
        if about.body is not None:
            yield about.body[0], "validation"
        if about.answer is not None:
            yield about.answer, "serialization"


def _operation(route: Route, about: _About, refs: Any) -> dict[str, Any]:
    errors = about.errors if route.scope is None else (401, 403, *about.errors)
    responses = {str(status): _body(refs[ErrorAnswer, "serialization"], ERRORS[status]) for status in sorted(errors)}
    found = _plain(route.name, about.summary, {**_success(route, about, refs), **responses})
    if route.scope is not None:
        found["security"] = [{"bearer": []}, {}]
    if about.body is not None:
        content = {"schema": refs[about.body[0], "validation"], "example": about.body[1]}
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    if parameters := [*_path_parameters(route), *_query_parameters(about.query)]:
        found["parameters"] = parameters
    return found


def _success(route: Route, about: _About, refs: Any) -> dict[str, Any]:
    if route.method == "DELETE":
        return {"204": {"description": "Deleted."}}
    if about.answer is None:
        kind = "text/html" if route.name == "page" else "application/json"
        return {"200": {"description": "OK", "content": {kind: {}}}}
    answer = refs[about.answer, "serialization"]
    found = {"200": _body(answer, "OK")}
    if route.name == "readyz":
        found["503"] = _body(answer, "No model is loaded.")
    elif route.method == "GET":
        found["304"] = {"description": "What If-None-Match names is still the answer."}
    return found


def _body(schema: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _plain(name: str, summary: str, responses: Mapping[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": dict(responses)}


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    _, brace, name = route.path.partition("{")
    if brace:
        schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
        yield {"name": name.rstrip("}"), "in": "path", "required": True, "schema": schema}


def _query_parameters(query: type[BaseModel] | None) -> Iterator[dict[str, Any]]:
    if query is not None:
        for name, schema in query.model_json_schema()["properties"].items():
            yield {"name": name, "in": "query", "required": False, "schema": schema}
