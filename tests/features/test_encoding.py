"""Ids encoded by a table or by their bytes come out as ids that are hashed do."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from features.arrays import IntArray
from features.ordering import total_order
from features.parsing import text_codes
from features.typed import Codes, TypedOrders

COLUMNS = [
    (["b2", "a1", "b2"], pa.string()),
    (["ab", None, "cd"], pa.string()),
    (["ab", "c", "ab"], pa.string()),
    (["é1", "x1y", "é1"], pa.string()),
    (["  ", "ab", "ab"], pa.string()),
    (["a\x00", "ab", "a\x00"], pa.string()),
    (["12345678", "12345679", "12345678"], pa.string()),
    (["123456789", "1"], pa.string()),
    ([5, 30, 5, -2], pa.int64()),
    ([5, None, 7], pa.int64()),
    ([1, 2**63 - 1, 1], pa.int64()),
    ([2**63 + 5, 2**63 + 6], pa.uint64()),
    ([-128, 127], pa.int8()),
    ([], pa.int64()),
    ([], pa.string()),
]


@pytest.mark.parametrize(("values", "kind"), COLUMNS)
def test_codes_stand_for_the_texts_in_ascending_order(values: list[object], kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array(["zz", *values] if kind == pa.string() else [*values], kind)] * 2)
    column = pa.chunked_array([column.chunk(0).slice(1 if kind == pa.string() else 0), column.chunk(1)])
    found = text_codes(column, "customer_id")
    texts = [None if code < 0 else found.values[code] for code in found.codes]
    assert texts == [None if v is None or not str(v).strip() else str(v) for v in column.to_pylist()]
    assert list(found.values) == sorted(set(found.values))


def _places(customer: list[int], at: list[int]) -> IntArray:
    ids = np.array([f"c{code}" for code in range(9)], dtype=object)
    amount = np.arange(len(at), dtype=np.float64)
    typed = TypedOrders(Codes(np.array(customer, dtype=np.int32), ids), np.array(at, dtype=np.int64), amount)
    return total_order(typed, None, typed.ordered_at).rows


@pytest.mark.parametrize(
    ("customer", "at"),
    [
        ([3, 3, 1, 1, 2], [1, 5, 2, 2, 0]),
        ([3, 3, 1, 1, 3], [1, 5, 2, 3, 6]),
        ([3, 3, 1, 1, 2], [5, 1, 2, 2, 0]),
        ([4], [1]),
    ],
)
def test_a_log_stored_by_customer_is_ordered_as_any_other(customer: list[int], at: list[int]) -> None:
    assert _places(customer, at).tolist() == np.lexsort([np.arange(len(at)), at, customer]).tolist()
