"""Yes-or-no traits of an order's calendar, packed into one byte so that all are counted together."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from features.arrays import BoolArray, ByteArray, IntArray
from features.instants import by_day, in_weekend, months

TRAITS: Final = ("opens_day", "opens_month", "evening", "weekend", "month_end", "q2", "q3", "q4")
"""Names of what is counted; an order in none of the last three is of the first quarter."""

_SINGLE: Final = 1 << np.arange(5)[:, np.newaxis]
_CODES: Final = np.arange(128)
MARKS: Final = np.concatenate([_CODES & _SINGLE > 0, np.arange(1, 4)[:, np.newaxis] == _CODES >> 5])
"""Which code bears which trait, shape (len(TRAITS), 128)."""


def codes(days: IntArray, opens_day: BoolArray, opens_month: BoolArray, in_evening: BoolArray) -> ByteArray:
    """Traits of each order as a column of MARKS."""
    code = by_day(days, _codes_of)
    for bit, mask in enumerate((opens_day, opens_month, in_evening)):
        code += mask.view(np.uint8) << bit
    return code


@lru_cache(maxsize=16)
def _codes_of(low: int, high: int) -> ByteArray:
    days, month = np.arange(low, high), months(low, high)
    at_month_end = days - month.astype("M8[M]").astype("M8[D]").astype(np.int64) >= 24
    return (in_weekend(days) * 8 + at_month_end * 16 + month % 12 // 3 * 32).astype(np.uint8)
