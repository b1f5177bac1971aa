"""One typing error, or one customer beyond all others, is not what a shop is like."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.arrays import FloatArray

EXTREME: Final = 100.0
"""So many times the 90 % quantile of what is above 0: wholesalers stay below it, a forgotten decimal point does not."""


def most_usual(values: FloatArray) -> float:
    """The highest of these amounts (>= 0) that may tell something about other customers; infinite without any."""
    some = values[values > 0.0]
    return EXTREME * float(np.quantile(some, 0.9)) if len(some) else np.inf
