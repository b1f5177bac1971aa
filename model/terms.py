"""From net value to what it is worth to the shop today: a margin and a yearly discount rate, on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import exprel

from features.arrays import FloatArray
from features.instants import YEAR_DAYS
from model.predictions import Predictions


@dataclass(frozen=True)
class Terms:
    """What a unit of net value is worth.

    Attributes
    ----------
    margin
        Share of net value that the shop keeps, in (0, 1].
    discount_rate
        Yearly, >= 0: money a year from now is worth 1 / (1 + rate).
    """

    margin: float = 1.0
    discount_rate: float = 0.0

    def weights(self, horizons: Sequence[int]) -> FloatArray:
        """Worth of a unit that comes between one horizon and the next, evenly spread, shape (K,).

        With r the rate and t in years, the mean of (1 + r)^-t from a to b is
        ((1 + r)^-a - (1 + r)^-b) / ((b - a) ln(1 + r)).
        """
        ends = np.asarray(horizons, dtype=np.float64) / YEAR_DAYS
        begins = np.concatenate([[0.0], ends[:-1]])
        force = np.log1p(self.discount_rate)
        return np.asarray(self.margin * np.exp(-force * begins) * exprel(-force * (ends - begins)))

    def apply(self, predictions: Predictions) -> Predictions:
        """Predictions whose money is taken on these terms.

        Each step from one fitted horizon to the next is weighted for itself, so that values still never fall with the
        horizon and bounds still hold the value.
        """
        if self == NET_VALUE:
            return predictions
        weights = self.weights(predictions.horizons)
        money = (predictions.clv, predictions.lower, predictions.upper)
        clv, lower, upper = (_weighted(values, weights) for values in money)
        return replace(predictions, clv=clv, lower=lower, upper=upper)


NET_VALUE: Final = Terms()
"""Net value as it is: no margin, no discount."""


def factors(taken: Predictions, net: Predictions) -> FloatArray:
    """Money on some terms over net value, per customer and horizon, shape (n, K)."""
    found = np.ones(net.clv.shape)
    np.divide(taken.clv, net.clv, out=found, where=net.clv > 0.0)
    return found


def _weighted(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Cumulated steps, each with its weight, shape (n, K)."""
    steps = np.diff(values, axis=1, prepend=0.0)
    return np.asarray(np.cumsum(steps * weights, axis=1))
