"""Two yardsticks that every model is shown beside, in the model's own interface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.arrays import FloatArray
from features.matrix import FeatureMatrix
from model.btyd import BgNbd, GammaGamma, summarise
from model.predictions import Predictions, joined


@dataclass(frozen=True)
class CarryForward:
    """The past goes on: net value and orders so far per day of tenure, times the horizon.

    Divides by max(tenure, horizon), so that yesterday's first order does not repeat every day;
    the probability is that of at least one Poisson event at the same rate. A negative past gives 0.
    """

    horizons: tuple[int, ...]

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """Answer for every row of the matrix."""
        tenure = matrix.column("tenure_days")[:, None]
        days = np.array(self.horizons, dtype=np.float64)[None, :]
        share = days / np.maximum(tenure, days)
        orders = matrix.column("frequency")[:, None] * share
        clv = np.maximum(matrix.column("historic_clv")[:, None], 0.0) * share
        return joined(self.horizons, -np.expm1(-orders), orders, clv, np.full(len(tenure), np.nan))


@dataclass(frozen=True)
class BgNbdGammaGamma:
    """Expected purchases of BG/NBD times the expected value of Gamma-Gamma.

    Gamma-Gamma counts all purchase days: the textbook leaves the first one out and gives every one-time
    buyer the same value. On CDNOW that is weaker by normalised Gini and RMSE, and by Spearman stronger (90 days)
    or the same (181); see the rows of pymc-marketing in `docs/accuracy.md`.
    """

    horizons: tuple[int, ...]
    purchases: BgNbd
    value: GammaGamma

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """Answer for every row of the matrix."""
        of = summarise(matrix)
        value = self.value.expected_value(of.repeats + 1.0, of.day_value)[:, None]
        probability = _columns([self.purchases.purchase_probability(of, h) for h in self.horizons])
        orders = _columns([self.purchases.expected_purchases(of, h) for h in self.horizons])
        return joined(self.horizons, probability, orders, orders * value, self.purchases.p_alive_or_null(of))


def _columns(per_horizon: list[FloatArray]) -> FloatArray:
    return np.stack(per_horizon, axis=1)
