"""One typing error, or one customer beyond all others, is not what a shop is like."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.arrays import FloatArray, IntArray

EXTREME: Final = 100.0
"""So many times the 90 % quantile of what is above 0: wholesalers stay below it, a forgotten decimal point does not."""
MOST, MOST_SHARE = 2, 0.005
"""More customers than this, or this share of them, are no errors but a part of the shop."""


def most_usual(values: FloatArray, customers: IntArray | None = None) -> float:
    """The highest of these amounts (>= 0) that may tell something about other customers; infinite where all may.

    `customers` tells whose each is, shape (n,); without it each is somebody else's.
    """
    some = values > 0.0
    if not some.any():
        return np.inf
    who = np.arange(len(values)) if customers is None else customers
    highest = EXTREME * float(np.quantile(values[some], 0.9))
    beyond, everyone = (len(np.unique(who[rows])) for rows in (values > highest, some))
    return np.inf if beyond > max(MOST, MOST_SHARE * everyone) else highest
