"""The customer's own rhythm: gaps between orders, and the silence since the last one."""

from __future__ import annotations

import numpy as np

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.segments import ratio

ONE_ORDER = "one order: no gap"
INSTANT = "one order, or all orders at one instant"


@feature("gap_mean_days", "days", null=ONE_ORDER)
def _mean(o: Purchases) -> FloatArray:
    """Mean gap between consecutive orders."""
    return ratio(o.span_days, o.n_gaps)


@feature("gap_median_days", "days", null=ONE_ORDER)
def _median(o: Purchases) -> FloatArray:
    """Median gap between consecutive orders."""
    return o.gap_ranks.median


@feature("gap_std_days", "days", null="fewer than 3 orders")
def _std(o: Purchases) -> FloatArray:
    """Sample standard deviation (n - 1) of the gaps."""
    return o.std_after_first(o.gap_days, o["gap_mean_days"])


@feature("gap_cv", "ratio", null="fewer than 3 orders, or all at one instant")
def _cv(o: Purchases) -> FloatArray:
    """Irregularity: gap_std_days / gap_mean_days; near 0 for clockwork buyers, near 1 at random."""
    return ratio(o["gap_std_days"], o["gap_mean_days"])


@feature("gap_max_days", "days", null=ONE_ORDER)
def _max(o: Purchases) -> FloatArray:
    """Longest silence after which the customer came back."""
    return o.gap_ranks.max


@feature("gap_last_days", "days", null=ONE_ORDER)
def _last(o: Purchases) -> FloatArray:
    """Gap between the last two orders."""
    return o.last_gap_days


@feature("recency_in_gaps", "ratio", null=INSTANT)
def _recency_in_gaps(o: Purchases) -> FloatArray:
    """recency_days in units of the own mean gap."""
    return ratio(o["recency_days"], o["gap_mean_days"])


@feature("recency_in_longest_gap", "ratio", null=INSTANT)
def _recency_in_longest(o: Purchases) -> FloatArray:
    """recency_days in units of the own longest gap; above 1 is new territory."""
    return ratio(o["recency_days"], o["gap_max_days"])


@feature("active_months", "months", low=1.0, dtype="int")
def _active_months(o: Purchases) -> FloatArray:
    """Distinct local calendar months with an order."""
    return o.with_trait["opens_month"]


@feature("orders_per_30_days", "orders")
def _rate(o: Purchases) -> FloatArray:
    """Orders per 30 days of tenure, a tenure below 30 days counted as 30."""
    return o["frequency"] * 30.0 / np.maximum(o["tenure_days"], 30.0)


@feature("recency_in_tenure", "share", high=1.0, null="first order today")
def _recency_in_tenure(o: Purchases) -> FloatArray:
    """recency_days / tenure_days; 1 for a customer who never came back."""
    return ratio(o["recency_days"], o["tenure_days"])
