"""Which route a path is, and that ids may hold anything."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api import Api
from serving.openapi import document
from serving.routes import ROUTES, routes_of


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
