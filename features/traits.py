"""Yes-or-no traits of an order's calendar, packed into one byte so that all are counted together."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.arrays import BoolArray, ByteArray, IntArray
from features.instants import by_table, first_day_of_month, in_weekend, month_of_day

TRAITS: Final = ("opens_month", "evening", "weekend", "month_end", "q1", "q2", "q3", "q4")
"""Names of what is counted; the last four are one of four, the quarter of the year."""

_CODES = np.arange(64)
MARKS: Final = np.stack(
    [_CODES & 1 == 1, _CODES & 2 == 2, _CODES & 4 == 4, _CODES & 8 == 8, *(place == _CODES >> 4 for place in range(4))]
)
"""Which code bears which trait, shape (len(TRAITS), 64)."""


def codes(days: IntArray, in_evening: BoolArray, opens_month: BoolArray) -> ByteArray:
    """Traits of each order as a column of MARKS."""
    code = by_table(days, _code_of_day).astype(np.uint8)
    code += in_evening
    code += in_evening
    code += opens_month
    return code


def _code_of_day(days: IntArray) -> IntArray:
    months = month_of_day(days)
    at_month_end = days - first_day_of_month(months) >= 24
    return np.asarray(months % 12 // 3 * 16 + at_month_end * 8 + in_weekend(days) * 4)
