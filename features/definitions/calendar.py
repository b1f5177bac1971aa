"""When the orders fall, in the business time zone."""

from __future__ import annotations

from functools import reduce

import numpy as np

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases


@feature("weekend_share", "share", high=1.0)
def _weekend(o: Purchases) -> FloatArray:
    """Share of the orders on a Saturday or Sunday."""
    return o.with_trait["weekend"] / o.count


@feature("evening_share", "share", high=1.0)
def _evening(o: Purchases) -> FloatArray:
    """Share of the orders from 18:00 on."""
    return o.with_trait["evening"] / o.count


@feature("month_end_share", "share", high=1.0)
def _month_end(o: Purchases) -> FloatArray:
    """Share of the orders on day 25 of the month or later."""
    return o.with_trait["month_end"] / o.count


@feature("q4_share", "share", high=1.0)
def _q4(o: Purchases) -> FloatArray:
    """Share of the orders in October, November or December."""
    return o.with_trait["q4"] / o.count


@feature("peak_quarter_share", "share", low=0.25, high=1.0)
def _peak_quarter(o: Purchases) -> FloatArray:
    """Share of the orders in the busiest quarter of the year, years pooled; 1 for a seasonal buyer."""
    later = [o.with_trait[quarter] for quarter in ("q2", "q3", "q4")]
    return reduce(np.maximum, later, reduce(np.subtract, later, o.count)) / o.count
