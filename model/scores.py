"""Raw scores of boosters by LightGBM's C interface: its Python layer costs as much as scoring a few customers."""

from __future__ import annotations

import ctypes
from typing import Final

import lightgbm as lgb
import numpy as np

from features.arrays import FloatArray

_FLOAT64, _ROW_MAJOR, _RAW_SCORE, _FROM_THE_FIRST, _ALL_TREES = 1, 1, 1, 0, -1  # names in LightGBM's c_api.h
_C: Final = lgb.basic._LIB  # type: ignore[attr-defined]  # the library as it was loaded
_POINTER: Final = ctypes.POINTER(ctypes.c_double)


def raw_scores(trees: lgb.Booster, inputs: FloatArray, threads: int) -> FloatArray:
    """Sum of the trees' leaves for each row, shape (n,): `trees.predict(inputs, raw_score=True)` to the bit.

    Raises
    ------
    LightGBMError
        The rows do not have the booster's number of columns.
    """
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
