from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from features.arrow import array, filled, floats, texts, to_numpy


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64, np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 9])
def test_numbers_go_to_arrow_and_back_as_they_are(dtype: type, n: int) -> None:
    values = np.arange(2 * n, dtype=dtype)[::2]
    assert array(values).equals(pa.array(values))
    assert array(values).null_count == 0
    assert to_numpy(array(values)).tobytes() == values.tobytes()
    assert to_numpy(array(values)).dtype == dtype


@pytest.mark.parametrize("values", [[], [1.5], [np.nan], [1.0, np.nan, -np.inf], [np.nan, *range(20), np.nan]])
def test_nan_is_null(values: list[float]) -> None:
    column = floats(np.array(values))
    assert column.equals(pa.array(values, pa.float64(), from_pandas=True))
    column.validate(full=True)
    assert column.null_count == sum(value != value for value in values)


@pytest.mark.parametrize("values", [[], [""], ["a", "", "bcd"], ["ü", "日本", "a\0b"]])
def test_texts_of_any_script(values: list[str]) -> None:
    assert texts(values).equals(pa.array(values, pa.string()))
    assert texts(np.array(values, dtype=object)).to_pylist() == values
    texts(values).validate(full=True)


def test_nulls_are_filled_with_a_value_of_the_column() -> None:
    assert filled(pa.array([1, None], pa.uint64()), 2**64 - 1).to_pylist() == [1, 2**64 - 1]
    assert filled(pa.array(["a", None], pa.large_string()), "").equals(pa.array(["a", ""], pa.large_string()))
    whole = pa.array([1, 2])
    assert filled(whole, 0) is whole


@pytest.mark.parametrize("chunks", [[], [[]], [[1, 2]], [[1], [], [2, 3]]])
def test_chunks_become_one_array(chunks: list[list[int]]) -> None:
    column = pa.chunked_array([pa.array(chunk, pa.int64()) for chunk in chunks], pa.int64())
    assert to_numpy(column).tolist() == [value for chunk in chunks for value in chunk]
    assert to_numpy(column.slice(1)).tolist() == [value for chunk in chunks for value in chunk][1:]
