"""How the values of the orders are distributed."""

from __future__ import annotations

import numpy as np

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.segments import ratio


@feature("spend_mean", "money")
def _mean(o: Purchases) -> FloatArray:
    """Mean value of an order, before refunds."""
    return ratio(o["gross_spend"], o["frequency"])


@feature("spend_median", "money")
def _median(o: Purchases) -> FloatArray:
    """Median value of an order."""
    return o.value_ranks.median


@feature("spend_std", "money", null="fewer than 2 orders")
def _std(o: Purchases) -> FloatArray:
    """Sample standard deviation (n - 1) of the order values."""
    return o.std(o.amount, o["spend_mean"])


@feature("spend_cv", "ratio", null="fewer than 2 orders")
def _cv(o: Purchases) -> FloatArray:
    """Spread of the order values in units of their mean: spend_std / spend_mean."""
    return ratio(o["spend_std"], o["spend_mean"])


@feature("spend_min", "money")
def _min(o: Purchases) -> FloatArray:
    """Smallest order."""
    return o.value_ranks.min


@feature("spend_max", "money")
def _max(o: Purchases) -> FloatArray:
    """Largest order."""
    return o.value_ranks.max


@feature("spend_last", "money")
def _last(o: Purchases) -> FloatArray:
    """Value of the last order."""
    return o.last(o.amount)


@feature("spend_last_to_mean", "ratio")
def _last_to_mean(o: Purchases) -> FloatArray:
    """Last order in units of the mean order."""
    return ratio(o["spend_last"], o["spend_mean"])


@feature("spend_per_day", "money/day", low=None)
def _per_day(o: Purchases) -> FloatArray:
    """Net value so far per day of tenure: historic_clv / max(tenure_days, 1)."""
    return o["historic_clv"] / np.maximum(o["tenure_days"], 1.0)


@feature("spend_recent_mean", "money")
def _recent_mean(o: Purchases) -> FloatArray:
    """Mean value of the last three orders, or of as many as there are."""
    return o.mean_of_last(o.amount, 3)


@feature("spend_log_mean", "log money", low=None)
def _log_mean(o: Purchases) -> FloatArray:
    """Mean of the natural logarithm of the order values: a typical order that outliers do not move."""
    return o.mean(o.log_amount)


@feature("spend_log_std", "log money", null="fewer than 2 orders")
def _log_std(o: Purchases) -> FloatArray:
    """Sample standard deviation (n - 1) of the logarithms."""
    return o.std(o.log_amount, o["spend_log_mean"])
