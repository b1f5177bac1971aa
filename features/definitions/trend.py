"""Whether the customer buys more or less than before."""

from __future__ import annotations

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.segments import ratio

WINDOW_DAYS = (90, 180)


@feature("orders_trend_{w}d", "orders", low=None, dtype="int", w=WINDOW_DAYS)
def _orders(o: Purchases, w: int) -> FloatArray:
    """Orders of the last {w} days less those of the {w} days before."""
    return 2.0 * o.orders_within(w) - o.orders_within(2 * w)


@feature("spend_trend_{w}d", "money", low=None, w=WINDOW_DAYS)
def _spend(o: Purchases, w: int) -> FloatArray:
    """Net value of the last {w} days less that of the {w} days before."""
    return o.net_value(w) - o.net_value_before(w, 2 * w)


@feature("gap_trend", "ratio", null="one order, or all orders at one instant")
def _gap(o: Purchases) -> FloatArray:
    """Last gap in units of the mean gap; above 1 the customer slows down."""
    return ratio(o["gap_last_days"], o["gap_mean_days"])


@feature("late_orders_share", "share", high=1.0)
def _late(o: Purchases) -> FloatArray:
    """Share of the orders whose age is less than half of tenure_days."""
    return o.mean(2.0 * o.age_days < o.spread(o["tenure_days"]))


@feature("spend_last_to_first", "ratio")
def _last_to_first(o: Purchases) -> FloatArray:
    """Last order in units of the first."""
    return ratio(o["spend_last"], o["first_spend"])
