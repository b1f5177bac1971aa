"""The quick check of many objects says yes only where pydantic does, and does say it where all is well."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from serving.conforming import conform
from serving.questions import ColumnarCustomer, Customer, PostedOrder

TEXTS = st.one_of(st.sampled_from(["2024-01-01", "a", "", " ", "\x1f", "\u0085", "é" * 41, "x" * 20_001]), st.text())
NUMBERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([1e12, 10**12, 10**12 + 1, -1e13, 2**63, 0.5]), st.floats(-1e12, 1e12)
)
VALUES = st.one_of(TEXTS, NUMBERS, st.none(), st.booleans(), st.just([]), st.just({}))
KEYS = st.sampled_from(["ordered_at", "amount", "order_id", "customer_id", "quantity", "coupon_code", "amuont"])
ORDERS = st.one_of(
    st.fixed_dictionaries({"ordered_at": TEXTS, "amount": NUMBERS}),
    st.dictionaries(KEYS, VALUES),
    VALUES,
)
COLUMNS = st.one_of(
    st.fixed_dictionaries({"ordered_at": st.lists(TEXTS), "amount": st.lists(NUMBERS)}),
    st.dictionaries(KEYS, st.one_of(st.lists(VALUES), VALUES)),
)
CUSTOMER_KEYS = st.sampled_from(["customer_id", "channel", "category", "orders", "order"])


def customers(orders: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    usual = st.fixed_dictionaries({"customer_id": TEXTS, "orders": orders}, optional={"channel": VALUES})
    return st.one_of(usual, st.dictionaries(CUSTOMER_KEYS, st.one_of(VALUES, orders)))


def pydantic_takes(objects: list[Any], kind: Any) -> bool:
    try:
        TypeAdapter(list[kind]).validate_json(orjson.dumps(objects))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "of"),
    [(Customer, customers(st.lists(ORDERS))), (ColumnarCustomer, customers(COLUMNS)), (PostedOrder, ORDERS)],
)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_what_the_quick_check_lets_pass_pydantic_lets_pass(kind: Any, of: st.SearchStrategy[Any], data: Any) -> None:
    sent = data.draw(st.lists(of, max_size=3).filter(_is_json))
    parsed = orjson.loads(orjson.dumps(sent))
    assert not conform(parsed, kind) or pydantic_takes(parsed, kind)


SOUND = {"ordered_at": "2024-01-01", "amount": 5, "order_id": "1", "coupon_code": None, "quantity": -1e12}


@pytest.mark.parametrize(
    ("kind", "objects"),
    [
        (Customer, [{"customer_id": "a", "orders": [SOUND, {"ordered_at": "", "amount": 0.5}]}]),
        (Customer, [{"customer_id": "é", "orders": [], "channel": None, "category": "tea"}] * 2),
        (ColumnarCustomer, [{"customer_id": "a", "orders": {name: [value] for name, value in SOUND.items()}}]),
        (PostedOrder, [{**SOUND, "customer_id": "a"}]),
        (Customer, []),
    ],
)
def test_what_is_sound_passes_at_once(kind: Any, objects: list[Any]) -> None:
    assert conform(objects, kind)
    assert pydantic_takes(objects, kind)


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return False
    return True
