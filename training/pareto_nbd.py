"""Pareto/NBD: purchases are Poisson while a customer lives, and lifetimes are exponential.

Schmittlein, Morrison & Colombo (1987), "Counting your customers: who are they and what will they do next?";
Fader & Hardie (2005), "A note on deriving the Pareto/NBD model and related expressions".

Two quantities carry every formula, and both stay finite for customers with thousands of purchases:

- W(t) = (alpha + t)^-(r+x) (beta + t)^-s, the weight of being alive at t, taken as a logarithm;
- N(t), the chance that a customer who is alive at t never buys again.

A past (x, t_x, T) then weighs W(T) (1 - N(T)) + W(t_x) N(t_x): alive at T, or dead since a t in [t_x, T).
All arrays have shape (n_customers,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import exprel, gammaln

from features.arrays import FloatArray
from model.btyd import Summary
from training.btyd import DAYS_PER_WEEK, PULL

_TERMS = 2000


@dataclass(frozen=True)
class ParetoNbd:
    """Purchases are Poisson with a Gamma(r, alpha) rate; lifetimes exponential with a Gamma(s, beta) hazard."""

    r: float
    alpha: float
    s: float
    beta: float

    def log_likelihood(self, of: Summary) -> FloatArray:
        """Log of the density of each customer's past, in the unit of time of alpha and beta.

        With A_0 of the 2005 note, A_0 s/(r+s+x) = W(t_x) N(t_x) - W(T) N(T).
        """
        rates = gammaln(self.r + of.repeats) - gammaln(self.r) + self.r * np.log(self.alpha)
        return np.asarray(rates + self.s * np.log(self.beta) + self._log_past(of), dtype=np.float64)

    def p_alive(self, of: Summary) -> FloatArray:
        """Probability of being alive at T, in [0, 1]; below 1 for customers without repeats, too."""
        alive = np.exp(self._log_alive(of.repeats, of.tenure_days) - self._log_past(of))
        return np.asarray(np.minimum(alive, 1.0), dtype=np.float64)

    def expected_purchases(self, of: Summary, horizon_days: float) -> FloatArray:
        """Expected purchases within the horizon, >= 0: the conditional expectation of the 2005 note.

        p_alive (r+x)/(alpha+T) (beta+T)/(s-1) (1 - ((beta+T)/(beta+T+h))^(s-1)); `exprel` fills the hole at s = 1.
        """
        since = self.beta + of.tenure_days
        log_longer = np.log1p(horizon_days / since)
        lived: FloatArray = since * log_longer * exprel((1.0 - self.s) * log_longer)
        return self.p_alive(of) * (self.r + of.repeats) / (self.alpha + of.tenure_days) * lived

    def purchase_probability(self, of: Summary, horizon_days: float) -> FloatArray:
        """Probability of at least one purchase within the horizon, in [0, 1], death inside it included.

        No purchase within h leaves the past (x, t_x, T + h), so its probability is the ratio of two weights.
        Death before T cancels in 1 - ratio: p_alive ((1 - N(T)) - W(T+h)/W(T) (1 - N(T+h))).
        """
        x, now, then = of.repeats, of.tenure_days, of.tenure_days + horizon_days
        still = np.exp(self._log_alive(x, then) - self._log_alive(x, now))
        buys = (1.0 - self._never(x, now)) - still * (1.0 - self._never(x, then))
        return self.p_alive(of) * np.clip(buys, 0.0, 1.0)

    def _log_past(self, of: Summary) -> FloatArray:
        """Log weight of (x, t_x, T): alive at T, or dead before."""
        x, last, now = of.repeats, of.last_days, of.tenure_days
        buys_again = np.log1p(-np.minimum(self._never(x, now), 1.0 - 1e-15))
        had_ended = np.log(self._never(x, last))
        return np.logaddexp(self._log_alive(x, now) + buys_again, self._log_alive(x, last) + had_ended)

    def _log_alive(self, x: FloatArray, t: FloatArray) -> FloatArray:
        """Log W(t)."""
        return -(self.r + x) * np.log(self.alpha + t) - self.s * np.log(self.beta + t)

    def _never(self, x: FloatArray, t: FloatArray) -> FloatArray:
        """N(t), in (0, 1]: integral of s (alpha+u)^-(r+x) (beta+u)^-(s+1) over u > t, by W(t).

        The note's hypergeometric functions after Euler's transformation, which takes the powers out that overflow
        and leaves a bounded product for either order of alpha and beta.
        """
        total = self.r + self.s + x
        if self.alpha >= self.beta:
            return self.s / total * _hyp2f1_of_1(self.r + x, total + 1.0, (self.alpha - self.beta) / (self.alpha + t))
        z = (self.beta - self.alpha) / (self.beta + t)
        return self.s / total * (1.0 - z) * _hyp2f1_of_1(self.s + 1.0 + 0.0 * x, total + 1.0, z)


def _hyp2f1_of_1(b: FloatArray, c: FloatArray, z: FloatArray) -> FloatArray:
    """2F1(1, b; c; z) for 0 < b < c and 0 <= z < 1, shape (n,): Gauss's continued fraction (DLMF 15.7).

    Summed in Gautschi's form, whose terms are all positive; stopped after `_TERMS`. The relative error is then
    1e-9 at z = 1 - 1e-4 and 1e-5 at z = 1 - 1e-5. `scipy.special.hyp2f1` (1.17) gives inf or NaN for many
    z > 0.9 where c is large.
    """
    rows = np.arange(len(z))
    total, term, tail = np.ones(len(z)), np.ones(len(z)), np.ones(len(z))
    for k in range(1, _TERMS):
        half = k // 2
        above = (b + half) * (c + half - 1.0) if k % 2 else half * (c - b + half - 1.0)
        step = above / ((c + k - 2.0) * (c + k - 1.0)) * z * tail
        tail = 1.0 / (1.0 - step)
        term = term * step * tail
        total[rows] += term
        left = term > 1e-15 * total[rows]
        if not left.any():
            break
        rows = rows[left]
        term, tail, b, c, z = (each[left] for each in (term, tail, b, c, z))
    return total


def fit_pareto_nbd(of: Summary) -> ParetoNbd:
    """Fit (r, alpha, s, beta), alpha and beta in days, by maximum likelihood; neutral without customers.

    Over distinct customers with weights, in weeks, with the pull of `training.btyd`. Where customers are all alike
    the likelihood is flat: s and beta then depend on where the search stops, totals hardly do.
    """
    if not len(of.repeats):
        return ParetoNbd(1.0, 30.0, 1.0, 30.0)
    rows, weights = np.unique(np.stack([of.repeats, of.last_days, of.tenure_days]), axis=1, return_counts=True)
    repeats, last, tenure = rows[0], rows[1] / DAYS_PER_WEEK, rows[2] / DAYS_PER_WEEK
    weeks = Summary(repeats, last, tenure, repeats, repeats, repeats, 0.0)

    def loss(theta: FloatArray) -> float:
        likelihood = float((weights * ParetoNbd(*np.exp(theta)).log_likelihood(weeks)).sum())
        return (PULL * float((theta**2).sum()) - likelihood) / float(weights.sum())

    first = np.log([0.5, 5.0, 0.5, 5.0])
    options = {"ftol": 1e-12, "gtol": 1e-6}
    found = minimize(loss, first, jac="3-point", method="L-BFGS-B", bounds=[(-9.0, 9.0)] * 4, options=options)
    r, alpha, s, beta = np.exp(found.x)
    return ParetoNbd(float(r), float(alpha * DAYS_PER_WEEK), float(s), float(beta * DAYS_PER_WEEK))
