"""Prediction intervals: how far the value of a customer lies from its expectation.

A customer buys nothing with probability 1 - p; otherwise the value is the expected spend times a
ratio whose distribution was seen on customers with like predictions, out of fold. From this mixture
any quantile follows, and so an interval at any level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from features.arrays import FloatArray

DEFAULT_LEVEL: Final = 0.8
CONFIDENCE: Final = 0.9
"""Chance that the shop's level is not above the one that the upper bound of an interval from 0 allows for."""


@dataclass(frozen=True)
class Spread:
    """Spend over expected spend, given a purchase, by predicted value.

    Attributes
    ----------
    knots
        Log of predicted value at the middle of each group of customers, ascending, shape (g,).
    log_ratios
        Quantiles at (j + 1/2) / q of log(spend / expected spend), the error of the shop's level included,
        shape (g, q).
    level_sd
        Error of the shop's total that all customers share, in log units.
    """

    knots: FloatArray
    log_ratios: FloatArray
    level_sd: float

    def quantile(self, clv: FloatArray, at: FloatArray) -> FloatArray:
        """Quantiles of spend / expected spend for predicted values > 0 at chances in [0, 1], shape (n,) each."""
        n_groups, n_quantiles = self.log_ratios.shape
        group = np.interp(np.log(np.maximum(clv, 1e-300)), self.knots, np.arange(n_groups, dtype=np.float64))
        place = np.clip(at * n_quantiles - 0.5, 0.0, n_quantiles - 1.0)
        low_group, low_place = group.astype(np.int64), place.astype(np.int64)
        high_group = np.minimum(low_group + 1, n_groups - 1)
        high_place = np.minimum(low_place + 1, n_quantiles - 1)
        of_group, of_place = group - low_group, place - low_place
        table = self.log_ratios
        lower = table[low_group, low_place] * (1.0 - of_place) + table[low_group, high_place] * of_place
        upper = table[high_group, low_place] * (1.0 - of_place) + table[high_group, high_place] * of_place
        return np.asarray(np.exp(lower * (1.0 - of_group) + upper * of_group))

    def bounds(self, probability: FloatArray, clv: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
        """Interval that holds the value with chance `level`, money, shape (n,) each.

        Where buying nothing is likely enough to be a tail of its own (1 - p >= (1 - level) / 2), the interval
        begins at 0 and ends at the level-quantile; elsewhere both tails are equal. It always holds the
        expectation. An interval that begins at 0 covers more than `level` where 1 - p exceeds it.

        All customers share the error of the shop's level. What one end of an interval loses by it the other end
        wins; an interval from 0 has one end only, which therefore stands where it belongs if the level, and with
        it the chance of a purchase, is as high as it is with `CONFIDENCE`.
        """
        tail, nothing = (1.0 - level) / 2.0, 1.0 - probability
        from_zero = nothing >= tail
        higher = np.where(from_zero, np.exp(ndtri(CONFIDENCE) * self.level_sd), 1.0)
        chance = 1.0 - nothing**higher  # of an event at a rate so much higher
        top = np.where(from_zero, level, 1.0 - tail)
        highest = np.where(top > 1.0 - chance, self._value(clv * higher, clv, chance, top), 0.0)
        lowest = np.where(from_zero, 0.0, self._value(clv, clv, probability, np.full(len(clv), tail)))
        return np.minimum(lowest, clv), np.maximum(highest, clv)

    def _value(self, expected: FloatArray, clv: FloatArray, chance: FloatArray, at: FloatArray) -> FloatArray:
        """Quantile of the value of those who are `expected` to bring so much and who buy with a chance, money."""
        chance = np.maximum(chance, 1e-12)
        return expected / chance * self.quantile(clv, 1.0 - (1.0 - at) / chance)

    def variance(self, probability: FloatArray, clv: FloatArray) -> FloatArray:
        """Variance of each customer's value about `clv`, money², shape (n,)."""
        spend = clv / np.maximum(probability, 1e-12)
        squares = np.mean(np.exp(2.0 * self.log_ratios), axis=1)
        square = np.interp(np.log(np.maximum(clv, 1e-300)), self.knots, squares)
        return np.maximum(probability * spend * spend * square - clv * clv, 0.0)

    def bounds_of_sum(self, total: float, variance: float, level: float) -> tuple[float, float]:
        """Interval of the sum over a group of customers: each one's own error, and the shop's that all share.

        Parameters
        ----------
        total, variance
            Sums over the group of `clv` (money) and of `variance` (money²).

        Own errors add up as independent ones; the shared one is log-normal. Both together are taken as a
        log-normal of the same mean and variance, so that the lower bound stays above 0.
        """
        if total <= 0.0:
            return 0.0, 0.0
        sd = float(np.sqrt(np.log1p(variance / total**2 + np.expm1(self.level_sd**2))))
        edge = float(ndtri((1.0 + level) / 2.0)) * sd
        return total * float(np.exp(-0.5 * sd * sd - edge)), total * float(np.exp(-0.5 * sd * sd + edge))
