"""Orders and value of late: in the windows [as_of - w, as_of), and fading with age."""

from __future__ import annotations

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases

WINDOW_DAYS = (30, 90, 180, 365)
HALF_LIFE_DAYS = (15, 45, 120)


@feature("orders_{w}d", "orders", dtype="int", w=WINDOW_DAYS)
def _orders(o: Purchases, w: int) -> FloatArray:
    """Orders in the last {w} days."""
    return o.orders_within(w)


@feature("spend_{w}d", "money", low=None, w=WINDOW_DAYS)
def _spend(o: Purchases, w: int) -> FloatArray:
    """Net value of the last {w} days, refunds at their own time."""
    return o.net_value(w)


@feature("orders_decayed_{w}d", "orders", w=HALF_LIFE_DAYS)
def _orders_decayed(o: Purchases, w: int) -> FloatArray:
    """Sum over the orders of 0.5 ** (age_days / {w})."""
    return o.sum(o.halved(w))


@feature("spend_decayed_{w}d", "money", w=HALF_LIFE_DAYS)
def _spend_decayed(o: Purchases, w: int) -> FloatArray:
    """Sum over the orders of their value × 0.5 ** (age_days / {w})."""
    return o.sum(o.halved(w) * o.amount)
