"""Buy-till-you-die formulas: BG/NBD for how often, Gamma-Gamma for how much.

Fader, Hardie & Lee (2005), "Counting your customers the easy way"; Fader & Hardie (2013),
"The Gamma-Gamma model of monetary value". Fitting them is `training.btyd`'s business.
All times here are days; all arrays have shape (n_customers,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, hyp2f1

from features.arrays import FloatArray
from features.matrix import FeatureMatrix


@dataclass(frozen=True)
class Summary:
    """What the formulas know of each customer.

    Attributes
    ----------
    repeats
        x: distinct purchase days after the first, >= 0.
    last_days
        t_x: days from the first to the last purchase day, 0 when there are no repeats.
    tenure_days
        T: days from the first purchase to `as_of`, >= last_days.
    repeat_value
        Mean spend of a repeat purchase day; NaN without repeats.
    """

    repeats: FloatArray
    last_days: FloatArray
    tenure_days: FloatArray
    repeat_value: FloatArray


def summarise(matrix: FeatureMatrix) -> Summary:
    """Derive the sufficient statistics from the feature matrix."""
    repeats = matrix.column("purchase_days") - 1.0
    tenure = matrix.column("tenure_days")
    spent = matrix.column("gross_spend") - matrix.column("first_day_spend")
    value = np.divide(spent, repeats, out=np.full(len(repeats), np.nan), where=repeats > 0)
    return Summary(repeats, np.where(repeats > 0, tenure - matrix.column("recency_days"), 0.0), tenure, value)


@dataclass(frozen=True)
class BgNbd:
    """Purchases are Poisson with a Gamma(r, alpha) rate; after each, a customer leaves with a Beta(a, b) chance."""

    r: float
    alpha: float
    a: float
    b: float

    def p_alive(self, of: Summary) -> FloatArray:
        """Probability of being still active; 1 for every customer without repeats (a known flaw).

        From eq. (7) of the 2005 paper: 1 / (1 + a/(b+x-1) ((alpha+T)/(alpha+t_x))^(r+x)), in log space.
        """
        with np.errstate(divide="ignore"):
            log_odds_left = (
                np.log(self.a)
                - np.log(np.maximum(self.b + of.repeats - 1.0, 1e-12))
                + (self.r + of.repeats) * (np.log(self.alpha + of.tenure_days) - np.log(self.alpha + of.last_days))
            )
        return np.where(of.repeats > 0, expit(-log_odds_left), 1.0)

    def expected_purchases(self, of: Summary, horizon_days: float) -> FloatArray:
        """Expected purchase days within the horizon, >= 0: eq. (10) of the 2005 paper.

        The hypergeometric term is taken after Euler's transformation, which leaves x only in its
        third parameter: exact, and stable for customers with thousands of purchases.
        """
        z = horizon_days / (self.alpha + of.tenure_days + horizon_days)
        a = self.a if abs(self.a - 1.0) > 1e-6 else 1.0 + 1e-6
        third = a + self.b + of.repeats - 1.0
        tail = np.exp((a - 1.0) * np.log1p(-z)) * hyp2f1(a + self.b - 1.0 - self.r, a - 1.0, third, z)
        return np.maximum(third / (a - 1.0) * (1.0 - tail), 0.0) * self.p_alive(of)

    def purchase_probability(self, of: Summary, horizon_days: float) -> FloatArray:
        """Probability of at least one purchase within the horizon, in [0, 1].

        p_alive times the Pareto-type chance of an active customer: 1 - ((alpha+T)/(alpha+T+h))^(r+x).
        """
        log_none = (self.r + of.repeats) * -np.log1p(horizon_days / (self.alpha + of.tenure_days))
        return self.p_alive(of) * -np.expm1(log_none)


@dataclass(frozen=True)
class GammaGamma:
    """Values of one customer's purchases are Gamma(p, nu) with nu Gamma(q, v) over customers."""

    p: float
    q: float
    v: float

    def expected_value(self, of: Summary) -> FloatArray:
        """Expected value of a purchase, money: eq. (5) of the 2013 note; the population mean without repeats.

        Raises nothing; q > 1 is guaranteed by the fit, so that the population mean exists.
        """
        x = of.repeats
        total = np.where(x > 0, x * np.nan_to_num(of.repeat_value), 0.0)
        return self.p * (self.v + total) / (self.p * x + self.q - 1.0)


@dataclass(frozen=True)
class Btyd:
    """Both models together."""

    purchases: BgNbd
    value: GammaGamma

    def conditional(self, of: Summary, horizon_days: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(P(purchase), E[purchases | purchase] >= 1, E[value of a purchase]) within the horizon."""
        probability = np.clip(self.purchases.purchase_probability(of, horizon_days), 1e-9, 1.0 - 1e-9)
        purchases = self.purchases.expected_purchases(of, horizon_days)
        return probability, np.maximum(purchases / probability, 1.0), self.value.expected_value(of)
