"""Order histories of customers, as objects or as columns → typed columns, and what makes them unusable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np

from features.arrays import CodeArray, FloatArray, IntArray
from features.columns import AMOUNT, CURRENCY, NUMBERS, ORDER_ID, ORDERED_AT, REQUIRED, TEXTS, UNKNOWN_CURRENCY
from features.instants import instants_of
from features.typed import Codes, TypedOrders
from serving.envelope import MAX_DETAILS, problem
from serving.questions import ColumnarCustomer, Customer

History: TypeAlias = list[dict[str, Any]] | dict[str, list[Any]]
"""Orders of a customer: an object each, or one list for each key."""
_REQUIRED: Final = frozenset(REQUIRED)


def kind_of(candidate: Any) -> Any:
    """Schema that a customer of a request is held against."""
    columnar = isinstance(candidate, dict) and isinstance(candidate.get("orders"), dict)
    return ColumnarCustomer if columnar else Customer


def keys_of(history: History) -> frozenset[str]:
    """Optional keys that any of the orders has: what is absent in all of them is not 0, but not known."""
    return frozenset(history if isinstance(history, dict) else chain.from_iterable(history)) - _REQUIRED


def unusable(history: History, keys: frozenset[str], currency: str) -> dict[str, Any] | None:
    """Why valid fields do not make a history; None where they do."""
    if isinstance(history, dict) and len({*map(len, history.values())}) > 1:
        found = [{"at": f"orders.{name}", "rule": f"holds {len(values)} values"} for name, values in history.items()]
        return problem("invalid_item", "The columns of a customer's orders differ in length.", found[:MAX_DETAILS])
    if CURRENCY in keys and (mixed := mixed_currencies(column(history, CURRENCY), currency)):
        return problem("currency_mismatch", mixed)
    return None


def column(history: History, name: str) -> Sequence[Any]:
    """Values of a key, None where an order lacks it."""
    return history.get(name, ()) if isinstance(history, dict) else [order.get(name) for order in history]


def mixed_currencies(currencies: Iterable[str | None], expected: str) -> str | None:
    """Say why amounts cannot be added; None where they can."""
    found = {currency.strip().upper() for currency in currencies if currency and currency.strip()}
    if expected != UNKNOWN_CURRENCY:
        found.add(expected)
    if len(found) < 2:
        return None
    to = "one currency" if expected == UNKNOWN_CURRENCY else expected
    return f"Amounts in {', '.join(sorted(found)[:MAX_DETAILS])} cannot be added: convert them to {to} first."


def typed(customers: Sequence[Mapping[str, Any]], keys: Iterable[str], columnar: bool) -> TypedOrders:
    """Orders as columns; the place in the request stands for the customer, so that ids may repeat.

    `keys` are the optional columns that these customers sent.
    """
    histories = [customer["orders"] for customer in customers]
    if columnar:
        lengths = [len(history[ORDERED_AT]) for history in histories]
        columns = {name: list(chain.from_iterable(map(itemgetter(name), histories))) for name in (*REQUIRED[1:], *keys)}
    else:
        lengths = [len(history) for history in histories]
        orders = list(chain.from_iterable(histories))
        columns = {name: list(map(itemgetter(name), orders)) for name in REQUIRED[1:]}
        columns |= {name: [order.get(name) for order in orders] for name in keys}
    return typed_columns(
        np.repeat(np.arange(len(customers), dtype=np.int32), lengths),
        instants_of(columns.pop(ORDERED_AT)),
        np.array(columns.pop(AMOUNT), dtype=np.float64),
        columns,
        len(customers),
    )


def typed_columns(
    owners: CodeArray,
    ordered_at: IntArray,
    amount: FloatArray,
    optional: Mapping[str, Sequence[Any]],
    n_customers: int = 1,
) -> TypedOrders:
    """Orders of customers, by their place, as typed columns; lists of optional values hold None for null."""
    texts = {name: optional[name] for name in TEXTS if name in optional}
    if ORDER_ID in texts:  # an order id is the customer's own: two customers of a call may share one
        pairs = zip(owners.tolist(), texts[ORDER_ID], strict=True)
        texts[ORDER_ID] = [f"{owner} {text}" if text and text.strip() else None for owner, text in pairs]
    return TypedOrders(
        customer=Codes(owners, np.arange(n_customers).astype(object)),
        ordered_at=ordered_at,
        amount=amount,
        texts={name: _codes(column) for name, column in texts.items()},
        numbers={name: _numbers(optional[name]) for name in NUMBERS if name in optional},
    )


def _codes(texts: Sequence[str | None]) -> Codes:
    distinct: dict[str, int] = {}
    codes = [distinct.setdefault(text, len(distinct)) if text and text.strip() else -1 for text in texts]
    return Codes(np.array(codes, dtype=np.int32), np.array([*distinct, None], dtype=object)[:-1])


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array(values, dtype=np.float64)  # None becomes NaN
