"""Which route a path is, and that ids may hold anything."""

from __future__ import annotations

import asyncio
import hashlib
import json
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import UsageError
from model.bundle import Bundle
from serving.api import Api, Call, Handler, Reply
from serving.openapi import document
from serving.routes import ROUTES, routes_of
from serving.settings import from_environment


@given(st.text(min_size=1))
def test_an_id_of_any_characters_is_found_again(customer_id: str) -> None:
    (route,), found = routes_of(f"/v1/customers/{quote(customer_id, safe='')}")
    assert (route.name, found) == ("customer", customer_id)


@pytest.mark.parametrize(
    "path", ["", "/v1", "/v1/customers/", "/v1/customers/a/b", "/v1/customers//a", "/v1/predict/", "//"]
)
def test_other_paths_are_none(path: str) -> None:
    assert routes_of(path)[0] == []


def test_every_route_has_a_handler_and_is_documented() -> None:
    paths = document((30, 90))["paths"]
    for route in ROUTES:
        assert callable(getattr(Api, route.name))
        assert paths[route.path][route.method.lower()]["operationId"] == route.name
    horizons = paths["/v1/customers/{customer_id}"]["get"]["parameters"]
    (schema,) = [given["schema"] for given in horizons if given["name"] == "horizon_days"]
    assert schema["anyOf"][0]["items"]["enum"] == [30, 90]


@pytest.mark.parametrize(("n_customers", "n_threads"), [(8, 0), (9, 1)])
def test_a_call_of_many_customers_leaves_the_event_loop_free(bundle: Bundle, n_customers: int, n_threads: int) -> None:
    orders = [{"ordered_at": "2024-01-05", "amount": 5.0}]
    body = json.dumps({"customers": [{"customer_id": f"{who}", "orders": orders} for who in range(n_customers)]})
    call = Call("", {}, body.encode(), b"", 1_720_000_000_000_000)
    in_threads: list[str] = []

    async def in_thread(handler: Handler, call: Call, *, scores: bool) -> Reply:
        in_threads.append(handler.__name__)
        assert scores
        return handler(call)

    served, observed = SimpleNamespace(needed_bundle=lambda: bundle), SimpleNamespace(customers=lambda _: None)
    reply = asyncio.run(Api(served, observed, 10_000).reply("predict", call, in_thread))  # type: ignore[arg-type]
    assert len(json.loads(reply.body)["customers"]) == n_customers
    assert in_threads == ["predict"] * n_threads


def test_the_digest_of_a_key_that_was_not_set_is_refused() -> None:
    with pytest.raises(UsageError, match="empty key"):
        from_environment({"CLV_API_KEYS_SHA256": hashlib.sha256().hexdigest()})
