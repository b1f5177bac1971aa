"""A smooth second opinion on who buys again, beside the trees' steps and the formulas' assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from features.arrays import FloatArray


@dataclass(frozen=True)
class Curve:
    """Log odds of a purchase as a quadratic of three quantities, fitted as a logistic regression.

    The quantities are the logs of 1 + repeats and of 1 + days since the last purchase, and the buy-till-you-die
    model's log odds: what the formulas know, without their story.

    Attributes
    ----------
    lowest, highest
        Range that was learnt from, shape (3,): beyond it the curve goes on level.
    centre, scale
        Mean and standard deviation (> 0) of the quantities, shape (3,).
    weights
        Of the quantities, then of the products of each two, shape (9,).
    level
        Log odds at the centre.
    share
        Weight of the curve in the formulas' half of the log odds, in [0, 1].
    """

    lowest: FloatArray
    highest: FloatArray
    centre: FloatArray
    scale: FloatArray
    weights: FloatArray
    level: float
    share: float

    def joined(self, rhythm: FloatArray) -> FloatArray:
        """Formulas and curve joined, log odds, shape (n,); `rhythm` holds the three quantities, shape (n, 3)."""
        curve = np.full(len(rhythm), self.level)
        for weight, term in zip(self.weights, self.terms(rhythm), strict=True):
            curve += weight * term  # no matrix product: its last bits depend on the number of rows
        return (1.0 - self.share) * rhythm[:, 2] + self.share * curve

    def terms(self, rhythm: FloatArray) -> Sequence[FloatArray]:
        """Standardised quantities and their products, nine of shape (n,)."""
        z = ((np.clip(rhythm, self.lowest, self.highest) - self.centre) / self.scale).T
        return [*z, *(a * b for a, b in combinations_with_replacement(z, 2))]
