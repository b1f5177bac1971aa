"""numpy ↔ Arrow without pandas, which `pa.array`, `pa.scalar` and `to_numpy` import: .3 to 1 s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import AnyArray, FloatArray, ObjectArray

Column: TypeAlias = pa.Array | pa.ChunkedArray


def array(values: AnyArray) -> pa.Array:
    """Numbers as they are, not copied where they lie side by side."""
    return _over(np.ascontiguousarray(values), None)


def floats(values: FloatArray) -> pa.Array:
    """The same, NaN as null."""
    null = np.isnan(values)
    return _over(np.ascontiguousarray(values), np.packbits(~null, bitorder="little") if null.any() else None)


def _over(values: AnyArray, valid: AnyArray | None) -> pa.Array:
    buffers = [None if valid is None else pa.py_buffer(valid), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def texts(values: Sequence[str] | ObjectArray) -> pa.Array:
    """Texts, none of them null."""
    whole = "".join(values)
    sizes = map(len, values) if whole.isascii() else (len(value.encode()) for value in values)
    ends = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(sizes, np.int64, len(values)), out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(whole.encode())]
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers).cast(pa.string())


def filled(column: Column, value: float | str) -> Column:
    """The column with a value of its own type in place of nulls."""
    if not column.null_count:
        return column
    one = texts([value]) if isinstance(value, str) else array(np.array([value]))
    return pc.fill_null(column, one.cast(column.type)[0])


def to_numpy(column: Column) -> AnyArray:
    """Numbers, none of them null; not copied where they are in one piece."""
    if isinstance(column, pa.ChunkedArray):
        chunks = column.chunks if column.num_chunks else [pa.nulls(0, column.type)]
        column = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
    return np.from_dlpack(column)
