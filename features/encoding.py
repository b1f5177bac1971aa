"""Arrow columns → distinct values and each row's place among them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import CodeArray, IntArray
from features.arrow import array, filled, to_numpy


def dictionary_of(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """The column as indices into its distinct values, by the fastest way that its values allow."""
    if pa.types.is_string_view(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_integer(column.type) and (dense := _dense(column)) is not None:
        return dense
    if pa.types.is_string(column.type) and (short := _short_texts(column)) is not None:
        return short
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if not column.num_chunks:
        return pa.nulls(0, column.type)
    whole = column.combine_chunks()  # one dictionary for all chunks, unified only where they differ
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _dense(column: pa.ChunkedArray) -> pa.DictionaryArray | None:
    """Encode whole numbers that lie close together by a table instead of hashing; ascending. None where they do not."""
    if column.null_count or not len(column):
        return None
    low, high = (value.as_py() for value in pc.min_max(column).values())
    if high - low >= 4 * len(column) or high >= 2**63:
        return None
    taken = np.zeros(high - low + 1, dtype=np.bool_)
    for chunk in column.chunks:
        taken[_offsets(chunk, low)] = True
    values = np.flatnonzero(taken)
    places = np.empty(len(taken), dtype=np.int32)
    places[values] = np.arange(len(values))
    indices = np.empty(len(column), dtype=np.int32)
    at = 0
    for chunk in column.chunks:
        places.take(_offsets(chunk, low), out=indices[at : at + len(chunk)], mode="clip")
        at += len(chunk)
    return pa.DictionaryArray.from_arrays(array(indices), array(values + low))


def _short_texts(column: pa.ChunkedArray) -> pa.DictionaryArray | None:
    """Encode texts of one width of at most 8 bytes as the numbers those bytes spell: hashed three times as fast.

    None where a text is null or of another width.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    width = len(chunks[0][0].as_py().encode()) if chunks and not column.null_count else 0
    numbers = [_spelled(chunk, width) for chunk in chunks] if 1 <= width <= 8 else [None]
    if any(number is None for number in numbers):
        return None
    encoded = pa.chunked_array(numbers).dictionary_encode().combine_chunks()
    whole = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    spelled = np.ascontiguousarray(to_numpy(whole.dictionary)).view(np.uint8).reshape(-1, 8)[:, :width]
    ends = np.arange(len(spelled) + 1, dtype=np.int32) * np.int32(width)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(spelled))]
    return pa.DictionaryArray.from_arrays(whole.indices, pa.Array.from_buffers(pa.string(), len(spelled), buffers))


def _spelled(chunk: pa.Array, width: int) -> pa.Array | None:
    """Texts as uint64, zeros behind; None where one has another width."""
    _, ends, texts = chunk.buffers()
    bounds = np.frombuffer(ends, dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    if np.any(bounds[1:] - bounds[:-1] != width):
        return None
    spelled = np.zeros((len(chunk), 8), dtype=np.uint8)
    spelled[:, :width] = np.frombuffer(texts, dtype=np.uint8)[bounds[0] : bounds[-1]].reshape(-1, width)
    return array(spelled.view(np.uint64).ravel())


def _offsets(chunk: pa.Array, low: int) -> IntArray:
    return np.asarray(to_numpy(chunk).astype(np.int64, copy=False) - low)


def indices_of(encoded: pa.DictionaryArray, null: int) -> CodeArray:
    """Place of each row among the distinct values, `null` where it has none."""
    return np.asarray(to_numpy(filled(encoded.indices, null)))
