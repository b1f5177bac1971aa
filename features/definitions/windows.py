"""Orders and net value in the windows [as_of - w, as_of)."""

from __future__ import annotations

import numpy as np

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.instants import DAY_US

WINDOW_DAYS = (30, 90, 180, 365)


@feature("orders_{w}d", "orders", dtype="int", w=WINDOW_DAYS)
def _orders(o: Purchases, w: int) -> FloatArray:
    """Orders in the last {w} days."""
    return o.sum(o.within(w))


@feature("spend_{w}d", "money", low=None, w=WINDOW_DAYS)
def _spend(o: Purchases, w: int) -> FloatArray:
    """Net value of the last {w} days, refunds at their own time."""
    return o.events.sum(np.where(o.as_of - o.events.at <= w * DAY_US, o.events.amount, 0.0))
