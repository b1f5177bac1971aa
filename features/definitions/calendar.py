"""When the orders fall, in the business time zone."""

from __future__ import annotations

from functools import reduce

import numpy as np

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.segments import ratio


@feature("weekend_share", "share", high=1.0)
def _weekend(o: Purchases) -> FloatArray:
    """Share of the orders on a Saturday or Sunday."""
    return o.mean(o.weekday >= 5)


@feature("evening_share", "share", high=1.0)
def _evening(o: Purchases) -> FloatArray:
    """Share of the orders from 18:00 on."""
    return o.mean(o.hour >= 18)


@feature("month_end_share", "share", high=1.0)
def _month_end(o: Purchases) -> FloatArray:
    """Share of the orders on day 25 of the month or later."""
    return o.mean(o.day_of_month >= 25)


@feature("q4_share", "share", high=1.0)
def _q4(o: Purchases) -> FloatArray:
    """Share of the orders in October, November or December."""
    return o.mean(o.month >= 10)


@feature("peak_quarter_share", "share", low=0.25, high=1.0)
def _peak_quarter(o: Purchases) -> FloatArray:
    """Share of the orders in the busiest quarter of the year, years pooled; 1 for a seasonal buyer."""
    quarter = (o.month - 1) // 3
    per_quarter = (o.sum(quarter == place) for place in range(4))
    return ratio(reduce(np.maximum, per_quarter), o["frequency"])
