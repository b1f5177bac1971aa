"""Ids → 64-bit hashes, the same on every machine and in every run, to part a log by."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.arrow import filled, to_numpy

HashArray = npt.NDArray[np.uint64]
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_NO_INTEGER: Final = 2**64 - int(_ODD)  # becomes 0
_WORDS: Final = 8
"""Of a text, so many words of eight bytes are looked at: its first ones, and its length."""


def hashes(column: pa.ChunkedArray) -> HashArray:
    """One hash for each id, shape (n,); equal ids have equal hashes. Null and the empty text have 0."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return hashes(column.cast(kind.value_type))
    if pa.types.is_integer(kind):
        return _mixed(to_numpy(filled(column.cast(pa.uint64(), safe=False), _NO_INTEGER)) + _ODD)
    texts = filled(column.cast(pa.large_string()), "").combine_chunks()
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return np.concatenate([_of_texts(chunk) for chunk in chunks]) if chunks else np.empty(0, dtype=np.uint64)


def _mixed(words: HashArray) -> HashArray:
    """Every bit of the result depends on every bit of the word (the finaliser of MurmurHash3)."""
    out = words ^ (words >> np.uint64(33))
    out *= np.uint64(0xFF51AFD7ED558CCD)
    out ^= out >> np.uint64(33)
    out *= np.uint64(0xC4CEB9FE1A85EC53)
    out ^= out >> np.uint64(33)
    return out


def _of_texts(texts: pa.Array) -> HashArray:
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    lengths = np.diff(bounds)
    out: HashArray = _mixed(lengths.astype(np.uint64))
    if not len(texts) or bounds[-1] == bounds[0]:
        return out
    taken = np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]]
    padded = np.concatenate([taken, np.zeros(8, dtype=np.uint8)])
    words = np.lib.stride_tricks.sliding_window_view(padded, 8)
    for place in range(min(_WORDS, -(-int(lengths.max()) // 8))):
        left = lengths - 8 * place
        here = np.flatnonzero(left > 0)
        begins = bounds[here] - bounds[0] + 8 * place
        word = np.ascontiguousarray(words[begins]).view("<u8").ravel()
        surplus = np.uint64(8) * (np.uint64(8) - np.minimum(left[here], 8).astype(np.uint64))
        out[here] = _mixed(out[here] * _ODD + ((word << surplus) >> surplus))
    return out
