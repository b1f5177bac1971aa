"""Where a customer stands: percentile and tier of predicted value, RFM scores, the shop's usual gap.

All of it is measured once, on the base that the model was trained on, and frozen with it: the same customer gets the
same tier whoever else is scored. A later season is taken out before: Christmas lifts all values, and nobody's tier.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from features.arrays import FloatArray, IntArray, ObjectArray
from features.matrix import FeatureMatrix

N_SCORES: Final = 5
BOTTOM, TOP = 20.0, 80.0
"""Percentiles at which the middle 60 % begin and end."""
TIERS: Final = ("bottom", "middle", "top")
_TIERS: Final = np.array(TIERS, dtype=object)
_TIER_EDGES: Final = np.array([BOTTOM, TOP])


def rfm_values(matrix: FeatureMatrix) -> FloatArray:
    """What is scored, more is better: recency (negated), frequency, monetary value, shape (3, n)."""
    return np.stack([-matrix.column("recency_days"), matrix.column("frequency"), matrix.column("monetary")])


def rfm_edges(matrix: FeatureMatrix) -> FloatArray:
    """Quintile edges of a base, shape (3, 4)."""
    return np.quantile(rfm_values(matrix), np.arange(1, N_SCORES) / N_SCORES, axis=1).T


def rfm_scores(matrix: FeatureMatrix, edges: FloatArray) -> IntArray:
    """1 (worst) to 5 (best) for recency, frequency and monetary value, shape (n, 3)."""
    pairs = zip(edges, rfm_values(matrix), strict=True)
    return np.stack([1 + np.searchsorted(edge, values, side="left") for edge, values in pairs], axis=1)


@dataclass(frozen=True)
class Standing:
    """Measures of the base as of the training.

    Attributes
    ----------
    quantiles
        Percentiles 0, 1, ... 100 of predicted CLV within the primary horizon, money, ascending, shape (101,).
    edges
        Quintile edges of recency (negated), frequency and monetary value, shape (3, 4).
    usual_gap_days
        Median over repeat customers of their mean gap, days, > 0.
    historic_clv_p90, average_order_value_p80
        Where the highest tenth of net value so far, and the highest fifth of net value per order, begin, money.
    """

    quantiles: FloatArray
    edges: FloatArray
    usual_gap_days: float
    historic_clv_p90: float = 0.0
    average_order_value_p80: float = 0.0

    def percentile(self, clv: FloatArray) -> FloatArray:
        """Share of the base with a lower prediction, in percent, ties at their middle, in [0, 100], shape (n,)."""
        return np.interp(clv, *self._knots)

    @cached_property
    def _knots(self) -> tuple[FloatArray, FloatArray]:
        """Distinct quantiles, and the percentile at the middle of each one's ties."""
        values, first, counts = np.unique(self.quantiles, return_index=True, return_counts=True)
        return values, first + (counts - 1) / 2.0

    @staticmethod
    def tier(percentile: FloatArray) -> ObjectArray:
        """`bottom` (20 %), `middle` (60 %) or `top` (20 %) of a base, by percentile, shape (n,)."""
        return _TIERS[np.searchsorted(_TIER_EDGES, percentile, side="right")]

    @property
    def cut_points(self) -> tuple[float, float]:
        """Predicted CLV at which the middle and the top tier begin, money."""
        return float(self.quantiles[int(BOTTOM)]), float(self.quantiles[int(TOP)])


def measure(matrix: FeatureMatrix, clv: FloatArray) -> Standing:
    """Measure a base: its features, and its predicted CLV within the primary horizon."""
    gaps = matrix.column("gap_mean_days")
    known = gaps[~np.isnan(gaps)]
    usual = float(np.median(known)) if len(known) else 30.0
    return Standing(
        np.quantile(clv, np.arange(101) / 100.0),
        rfm_edges(matrix),
        max(usual, 1.0),
        float(np.quantile(matrix.column("historic_clv"), 0.9)),
        float(np.quantile(matrix.column("monetary"), 0.8)),
    )
