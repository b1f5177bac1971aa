"""Fitting the prediction intervals: out-of-fold errors of spend, by predicted value."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import ndtri

from features.arrays import FloatArray
from model.spread import Spread

MIN_GROUP: Final = 60
MAX_GROUPS: Final = 12
N_QUANTILES: Final = 100
WIDENED: Final = 1.08
"""Windows to come differ from those seen in more than the level: errors lie this much further from their median."""
_SHIFTS: Final = ndtri((np.arange(9) + 0.5) / 9.0)


def fit_spread(predicted_clv: FloatArray, expected_spend: FloatArray, spend: FloatArray, level_sd: float) -> Spread:
    """Quantiles of spend / expected spend over buyers with like predictions.

    Parameters
    ----------
    predicted_clv, expected_spend
        Of each buyer, from trees that never saw the customer, > 0, shape (n,).
    spend
        What was spent, > 0, shape (n,).
    level_sd
        Error of the shop's level in log units: every ratio is spread by it, since the errors come from windows
        whose level is known.
    """
    order = np.argsort(predicted_clv, kind="stable")
    n_groups = int(np.clip(len(order) // MIN_GROUP, 1, MAX_GROUPS))
    ratio, clv = np.log(spend / expected_spend)[order], np.log(predicted_clv)[order]
    at = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    rows = [
        np.quantile((_widened(group)[:, None] + level_sd * _SHIFTS[None, :]).ravel(), at)
        for group in np.array_split(ratio, n_groups)
    ]
    knots = np.array([np.median(group) for group in np.array_split(clv, n_groups)])
    return Spread(np.maximum.accumulate(knots), np.array(rows), level_sd)


def _widened(ratio: FloatArray) -> FloatArray:
    middle = np.median(ratio)
    return np.asarray(middle + WIDENED * (ratio - middle))
