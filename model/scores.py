"""Raw scores of boosters: of few rows by LightGBM's C interface, of many by `model.forest`, the same to the bit.

LightGBM's Python layer alone would cost as much as scoring a few customers.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from weakref import WeakKeyDictionary

import lightgbm as lgb
import numpy as np

from features.arrays import FloatArray
from model.forest import Forest, forest_of

_FLOAT64, _ROW_MAJOR, _RAW_SCORE, _FROM_THE_FIRST, _ALL_TREES = 1, 1, 1, 0, -1  # names in LightGBM's c_api.h
_C: Final = lgb.basic._LIB  # type: ignore[attr-defined]  # the library as it was loaded
_POINTER: Final = ctypes.POINTER(ctypes.c_double)
_MANY: Final = 64
_MANY_EACH: Final = 4096
_forests: WeakKeyDictionary[lgb.Booster, Forest | None] = WeakKeyDictionary()
"""Made of a booster when it first scores many rows; boosters do not change once they are trained."""


def raw_scores(trees: lgb.Booster, inputs: FloatArray, threads: int) -> FloatArray:
    """Sum of the trees' leaves for each row, shape (n,): `trees.predict(inputs, raw_score=True)` to the bit.

    Raises
    ------
    LightGBMError
        The rows do not have the booster's number of columns.
    """
    if len(inputs) >= _MANY:
        if trees not in _forests:
            _forests[trees] = forest_of(trees.model_to_string(num_iteration=-1))
        forest = _forests[trees]
        if forest is not None and inputs.shape[1] == forest.n_columns:
            return _of_many(forest, inputs, threads)
    return _by_lightgbm(trees, inputs, threads)


def _of_many(forest: Forest, inputs: FloatArray, threads: int) -> FloatArray:
    n_pieces = min(threads, len(inputs) // _MANY_EACH)
    if n_pieces < 2:
        return forest.scores(inputs)
    with ThreadPoolExecutor(n_pieces) as pool:
        return np.concatenate(list(pool.map(forest.scores, np.array_split(inputs, n_pieces))))


def _by_lightgbm(trees: lgb.Booster, inputs: FloatArray, threads: int) -> FloatArray:
    rows = np.ascontiguousarray(inputs, dtype=np.float64)
    scores, length = np.empty(len(rows)), ctypes.c_int64(0)
    failed = _C.LGBM_BoosterPredictForMat(
        trees._handle,
        ctypes.c_void_p(rows.ctypes.data),
        ctypes.c_int(_FLOAT64),
        ctypes.c_int32(rows.shape[0]),
        ctypes.c_int32(rows.shape[1]),
        ctypes.c_int(_ROW_MAJOR),
        ctypes.c_int(_RAW_SCORE),
        ctypes.c_int(_FROM_THE_FIRST),
        ctypes.c_int(_ALL_TREES),
        ctypes.c_char_p(b"num_threads=%d" % threads),
        ctypes.byref(length),
        scores.ctypes.data_as(_POINTER),
    )
    if failed:
        raise lgb.basic.LightGBMError(_C.LGBM_GetLastError().decode())
    return scores
