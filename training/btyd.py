"""Maximum likelihood for BG/NBD and Gamma-Gamma: in log space, over distinct customers with weights.

Stable for logs of one-time buyers (a weak pull of the log parameters towards 0 keeps them finite,
worth a hundred-thousandth of one customer) and for customers with thousands of orders (log-gammas only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, digamma, gammaln

from features.arrays import FloatArray, IntArray
from model.btyd import BgNbd, Btyd, GammaGamma, Summary

_PULL = 1e-5
_DAYS_PER_WEEK = 7.0


CLEARLY = 5.0
"""Log-likelihood by which one story must beat the other."""


@dataclass(frozen=True)
class Fits:
    """Both stories of how customers leave, fitted to the same past, with one story of value.

    Attributes
    ----------
    textbook, modified
        Nobody leaves after the first purchase, or anybody may.
    """

    textbook: Btyd
    modified: Btyd

    def prefers_modified(self, of: Summary) -> bool:
        """Whether the modified story holds for this past: unless the textbook's is clearly likelier.

        Both have four parameters; of two that are as likely, the one that lets one-time buyers go ranks better.
        """
        n_customers = len(of.repeats)
        gain = log_likelihood(self.textbook.purchases, of) - log_likelihood(self.modified.purchases, of)
        return n_customers * gain < CLEARLY


def fit_btyd(of: Summary) -> Fits:
    """Fit everything."""
    repeat = of.repeats > 0
    values = (
        fit_gamma_gamma(of.repeats + 1.0, of.day_value),
        fit_gamma_gamma(of.repeats[repeat], of.repeat_value[repeat]),
    )
    return Fits(Btyd(fit_bg_nbd(of), *values), Btyd(fit_bg_nbd(of, modified=True), *values))


def log_likelihood(model: BgNbd, of: Summary) -> float:
    """Log-likelihood of a past per customer, time in days; 0 without customers."""
    if not len(of.repeats):
        return 0.0
    theta = np.log([model.r, model.alpha, model.a, model.b])
    weights = np.ones(len(of.repeats))
    loss, _ = _bg_nbd_loss(theta, of.repeats, of.last_days, of.tenure_days, weights, model.modified)
    return _PULL * float((theta**2).sum()) / len(weights) - loss


def fit_bg_nbd(of: Summary, *, modified: bool = False) -> BgNbd:
    """Fit (r, alpha, a, b), alpha in days: eq. (6) of Fader, Hardie & Lee (2005); neutral without customers."""
    if not len(of.repeats):
        return BgNbd(1.0, 30.0, 1.0, 1.0, modified)
    rows, weights = np.unique(np.stack([of.repeats, of.last_days, of.tenure_days]), axis=1, return_counts=True)
    x, last, tenure = rows[0], rows[1] / _DAYS_PER_WEEK, rows[2] / _DAYS_PER_WEEK

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        return _bg_nbd_loss(theta, x, last, tenure, weights.astype(np.float64), modified)

    first = np.log([0.5, 5.0, 1.0, 2.0])
    r, alpha, a, b = np.exp(_minimum(loss, first, (9.0, 9.0, 4.0, 4.0)))  # above e^4 a Beta is a point
    return BgNbd(float(r), float(alpha * _DAYS_PER_WEEK), float(a), float(b), modified)


def _bg_nbd_loss(
    theta: FloatArray,
    x: FloatArray,
    last: FloatArray,
    tenure: FloatArray,
    weights: FloatArray,
    modified: bool,
) -> tuple[float, FloatArray]:
    """Negative log-likelihood per customer and its gradient in the log parameters."""
    r, alpha, a, b = np.exp(theta)
    of = BgNbd(r, alpha, a, b, modified).b_or_more
    may_have_left = (x > 0) | modified
    died = np.where(
        may_have_left,
        np.log(a) - np.log(np.where(may_have_left, of + x - 1.0, 1.0)) - (r + x) * np.log(alpha + last),
        -np.inf,
    )
    lives = -(r + x) * np.log(alpha + tenure)
    both = np.logaddexp(lives, died)
    likelihood = gammaln(r + x) - gammaln(r) + r * theta[1] + betaln(a, of + x) - betaln(a, b) + both
    share = np.exp(died - both)  # posterior chance that the last purchase was the end
    d_r = digamma(r + x) - digamma(r) + theta[1] - (1 - share) * np.log(alpha + tenure) - share * np.log(alpha + last)
    d_alpha = r / alpha - (r + x) * ((1 - share) / (alpha + tenure) + share / (alpha + last))
    d_a = digamma(a + b) - digamma(a + of + x) + share / a
    d_b = digamma(a + b) - digamma(a + of + x) + digamma(of + x) - digamma(b)
    d_b = d_b - np.where(may_have_left, share / np.where(may_have_left, of + x - 1.0, 1.0), 0.0)
    gradient = np.array([(weights * d).sum() * p for d, p in ((d_r, r), (d_alpha, alpha), (d_a, a), (d_b, b))])
    total = weights.sum()
    value = -(weights * likelihood).sum() + _PULL * (theta**2).sum()
    return float(value / total), (-gradient + 2 * _PULL * theta) / total


def fit_gamma_gamma(x: FloatArray, mean: FloatArray) -> GammaGamma:
    """Fit (p, q, v) to x > 0 values with these means: eq. (1a) of Fader & Hardie (2013), q > 1.

    With fewer than two customers the spread cannot be known: the shape is then fixed and only
    the level follows the data.
    """
    if len(x) < 2:
        return GammaGamma(1.0, 2.0, float(mean.mean()) if len(x) else 1.0)
    scale = float(np.average(mean, weights=x))

    counts, place = np.unique(x, return_inverse=True)
    mean = mean / scale

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        return _gamma_gamma_loss(theta, x, mean, counts, place)

    first = np.log([4.0, 3.0, 1.0])
    p, q_less_1, v = np.exp(_minimum(loss, first, (9.0, 9.0, 9.0)))
    return GammaGamma(float(p), float(1.0 + q_less_1), float(v * scale))


def _gamma_gamma_loss(
    theta: FloatArray, x: FloatArray, mean: FloatArray, counts: FloatArray, place: IntArray
) -> tuple[float, FloatArray]:
    """Negative log-likelihood per customer and its gradient in (log p, log(q - 1), log v).

    Gammas depend on the number of values only: taken once per distinct number (`counts[place] == x`).
    """
    p, q_less_1, v = np.exp(theta)
    q = 1.0 + q_less_1
    shape, total = p * x, x * mean
    likelihood = -betaln(p * counts, q)[place] + q * np.log(v) + shape * np.log(total) - (shape + q) * np.log(total + v)
    d_shape = digamma(p * counts + q)[place] - digamma(p * counts)[place] + np.log(total) - np.log(total + v)
    d_p = (x * d_shape).sum() * p
    d_q = (digamma(p * counts + q)[place] - digamma(q) + np.log(v) - np.log(total + v)).sum() * q_less_1
    d_v = (q / v - (shape + q) / (total + v)).sum() * v
    value = -(likelihood - np.log(mean)).sum() + _PULL * (theta**2).sum()
    gradient = -np.array([d_p, d_q, d_v]) + 2 * _PULL * theta
    return float(value / len(x)), gradient / len(x)


def _minimum(
    loss: Callable[[FloatArray], tuple[float, FloatArray]], first: FloatArray, highest: Sequence[float]
) -> FloatArray:
    """L-BFGS in a box of log parameters where every term of the likelihoods is finite."""
    bounds = [(-9.0, high) for high in highest]
    found = minimize(
        loss,
        np.clip(first, -9.0, highest),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-10, "gtol": 1e-6},
    )
    return np.asarray(found.x)
