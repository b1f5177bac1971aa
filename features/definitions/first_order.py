"""How the relation began."""

from __future__ import annotations

import numpy as np

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.instants import in_weekend, month_of_day
from features.segments import ratio


@feature("first_spend", "money")
def _spend(o: Purchases) -> FloatArray:
    """Value of the first order."""
    return o.first(o.amount)


@feature("first_day_spend", "money")
def _day_spend(o: Purchases) -> FloatArray:
    """Value of all orders on the local day of the first."""
    return o.sum(o.amount * (o.day == o.spread(o.first_day)))


@feature("first_spend_to_mean", "ratio")
def _to_mean(o: Purchases) -> FloatArray:
    """First order in units of the mean order."""
    return ratio(o["first_spend"], o["spend_mean"])


@feature("second_order_gap_days", "days", null="one order")
def _second(o: Purchases) -> FloatArray:
    """Days from the first order to the second."""
    return o.first_gap_days


@feature("first_month", "month of the year", low=1.0, high=12.0, dtype="int")
def _month(o: Purchases) -> FloatArray:
    """Month of the year of the first order, 1-12."""
    return (month_of_day(o.first_day) % 12 + 1).astype(np.float64)


@feature("first_on_weekend", "0 or 1", high=1.0, dtype="int")
def _weekend(o: Purchases) -> FloatArray:
    """Whether the first order was on a Saturday or Sunday."""
    return in_weekend(o.first_day).astype(np.float64)


@feature("first_quantity", "pieces", low=None, null="no quantity column", needs=("quantity",))
def _quantity(o: Purchases) -> FloatArray:
    """Pieces in the first order."""
    return o.first(o.quantity)


@feature(
    "first_discounted",
    "0 or 1",
    high=1.0,
    dtype="int",
    null="no discount_amount column",
    needs=("discount_amount",),
)
def _discounted(o: Purchases) -> FloatArray:
    """Whether the first order had a discount."""
    return o.first(o.discount > 0.0)


@feature(
    "first_with_coupon",
    "0 or 1",
    high=1.0,
    dtype="int",
    null="no coupon_code column",
    needs=("coupon_code",),
)
def _coupon(o: Purchases) -> FloatArray:
    """Whether a coupon was used on the first order."""
    return o.first(o.has_coupon)
