"""Maximum likelihood for BG/NBD and Gamma-Gamma: in log space, over distinct customers with weights.

Stable for logs of one-time buyers (a weak pull of the log parameters towards 0 keeps them finite,
worth a hundred-thousandth of one customer) and for customers with thousands of orders (log-gammas only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, digamma, gammaln

from features.arrays import FloatArray, IntArray
from features.orders import earliest
from model.btyd import SEEN_WITHIN, BgNbd, Btyd, GammaGamma, Summary, counted_days
from training.extremes import most_usual

PULL = 1e-5
MOST_MEAN: Final = 2.0
"""Mean value of a customer without repeats, in units of the mean of all values: at most."""
DAYS_PER_WEEK = 7.0


_FEWEST_BOTH: Final = 10
_MEANINGLESS: Final = 0.15
"""Log by which later purchase days differ from first ones in shops where nothing is meant by it."""
CLEARLY = 5.0
"""Log-likelihood by which one story must beat the other."""


@dataclass(frozen=True)
class Fits:
    """Both stories of how customers leave, with one story of value; each fitted when it is first asked for.

    Attributes
    ----------
    of
        The past that they are fitted to.
    net_share
        Share of all value that refunds left in it, in (0, 1].
    """

    of: Summary
    net_share: float = 1.0

    @cached_property
    def textbook(self) -> Btyd:
        """Nobody leaves after the first purchase."""
        return self._with(fit_bg_nbd(self.of, truncated=True))

    @cached_property
    def modified(self) -> Btyd:
        """Anybody may."""
        return self._with(fit_bg_nbd(self.of, modified=True, truncated=True))

    def _with(self, purchases: BgNbd) -> Btyd:
        orders_a_day = float((self.of.orders / (self.of.repeats + 1.0)).mean()) if len(self.of.repeats) else 1.0
        return Btyd(purchases, *self._values, orders_a_day, self._later_over_first)

    @cached_property
    def _values(self) -> tuple[GammaGamma, GammaGamma]:
        of, repeat = self._usual, self._usual.repeats > 0
        return (
            fit_gamma_gamma(of.repeats + 1.0, of.like_later(self._later_over_first), self.net_share),
            fit_gamma_gamma(of.repeats[repeat], of.repeat_value[repeat], self.net_share),
        )

    @cached_property
    def _later_over_first(self) -> float:
        return later_over_first(self._usual)

    @cached_property
    def _usual(self) -> Summary:
        gross = self.of.day_value * (self.of.repeats + 1.0)
        return self.of.rows(gross <= most_usual(gross))

    def prefers_modified(self) -> bool:
        """Whether the modified story holds for this past: unless the textbook's is clearly likelier.

        Both have as many parameters; of two that are as likely, the one that lets one-time buyers go ranks better.
        """
        textbook, modified = (log_likelihood(one.purchases, self.of) for one in (self.textbook, self.modified))
        return len(self.of.repeats) * (textbook - modified) < CLEARLY


def later_over_first(of: Summary) -> float:
    """How many times the first purchase day's value a later one brings, of customers who have both; 1 where unclear.

    The log of the ratio of means is kept as far as it is beyond what differs from shop to shop without meaning
    anything, and beyond twice its standard error.
    """
    both = of.rows(of.repeats > 0)
    if len(both.repeats) < _FEWEST_BOTH:
        return 1.0
    first = np.maximum(both.day_value * (both.repeats + 1.0) - both.repeat_value * both.repeats, 0.0)
    later, first = (np.minimum(value, np.quantile(value, 0.99)) for value in (both.repeat_value, first))
    if not (later.mean() > 0.0 and first.mean() > 0.0):
        return 1.0
    log_ratio = float(np.log(later.mean() / first.mean()))
    variance = float(np.var(later / later.mean() - first / first.mean()) / len(first))
    kept = log_ratio**4 / (log_ratio**4 + _MEANINGLESS**4 + (4.0 * variance) ** 2)
    return float(np.exp(kept * log_ratio))


def log_likelihood(model: BgNbd, of: Summary) -> float:
    """Log-likelihood of a past per customer, time in days; 0 without customers."""
    if not len(of.repeats):
        return 0.0
    theta = np.log([model.r, model.alpha, model.a, model.b, *([model.truncation] if model.truncation else [])])
    weights = np.ones(len(of.repeats))
    counted = np.unique(of.repeats, return_inverse=True)
    unseen = of.unseen_days(model.began_day, model.until_day)
    past = _Past(*counted, of.last_days, of.tenure_days, unseen, weights)
    loss, _ = _bg_nbd_loss(theta, past, model.modified)
    return PULL * float((theta**2).sum()) / len(weights) - loss


def fit_bg_nbd(of: Summary, *, modified: bool = False, truncated: bool = False) -> BgNbd:
    """Fit (r, alpha, a, b), alpha in days: eq. (6) of Fader, Hardie & Lee (2005); neutral without customers.

    With `truncated` also how much of the log's past was cut off: 0 by default, as in the textbook.
    """
    if not len(of.repeats):
        return BgNbd(1.0, 30.0, 1.0, 1.0, modified)
    some, weights = _distinct(of)
    counted = np.unique(some.repeats, return_inverse=True)
    began, until = earliest(of.first_day, 1), float(of.first_day.max())
    last, tenure, unseen = (
        days / DAYS_PER_WEEK for days in (some.last_days, some.tenure_days, some.unseen_days(began, until))
    )
    past = _Past(*counted, last, tenure, unseen, weights)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        return _bg_nbd_loss(theta, past, modified)

    n_fitted = 5 if truncated and until > began else 4
    first = np.log([0.5, 5.0, 1.0, 2.0, 0.3])[:n_fitted]
    found = _minimum(loss, first, (9.0, 9.0, 4.0, 4.0, 0.0)[:n_fitted])  # above e^4 a Beta is a point
    r, alpha, a, b, truncation = (float(value) for value in np.append(np.exp(found), 0.0)[:5])
    return BgNbd(r, alpha * DAYS_PER_WEEK, a, b, modified, truncation, began, until)


def _distinct(of: Summary) -> tuple[Summary, FloatArray]:
    """Distinct (repeats, last_days, tenure_days), ascending, and how many customers share each, shape (n,)."""
    order = np.lexsort((of.tenure_days, of.last_days, of.repeats))
    rows = np.stack([of.repeats, of.last_days, of.tenure_days])[:, order]
    first = np.flatnonzero(np.append(True, (rows[:, 1:] != rows[:, :-1]).any(axis=0)))
    return of.rows(order[first]), np.diff(np.append(first, len(order))).astype(np.float64)


@dataclass(frozen=True)
class _Past:
    """Distinct pasts, shape (n,) each but for `counts`, the distinct numbers of repeats: a past's is `counts[place]`.

    `weights` are customers who share it; `unseen` is the time of the log before they were first seen.
    """

    counts: FloatArray
    place: IntArray
    last: FloatArray
    tenure: FloatArray
    unseen: FloatArray
    weights: FloatArray


def _bg_nbd_loss(theta: FloatArray, past: _Past, modified: bool) -> tuple[float, FloatArray]:
    """Negative log-likelihood per customer and its gradient in the log parameters.

    What depends on the number of repeats only is taken once per distinct number. `theta` holds the logs of r, alpha,
    a, b, and of the truncation where it is fitted.
    """
    r, alpha, a, b = np.exp(theta[:4])
    truncation = np.exp(theta[4:])
    counts, place = past.counts, past.place
    of = BgNbd(r, alpha, a, b, modified).b_or_more
    may_have_left = (counts > 0) | modified
    left_of = np.where(may_have_left, of + counts - 1.0, 1.0)
    both_of = digamma(a + b) - digamma(a + of + counts)
    count_terms = gammaln(r + counts) - gammaln(r) + betaln(a, of + counts) - betaln(a, b)
    chance = np.where(may_have_left, np.log(a) - np.log(left_of), -np.inf)[place]
    counted = counted_days(past.unseen, alpha)
    own = alpha + truncation * counted if len(truncation) else alpha  # each customer's alpha
    shape, log_own = (r + counts)[place], np.log(own)
    log_tenure, log_last = np.log(own + past.tenure), np.log(own + past.last)
    died = chance - shape * log_last
    both = np.logaddexp(-shape * log_tenure, died)
    likelihood = count_terms[place] + r * log_own + both
    share = np.exp(died - both)  # posterior chance that the last purchase was the end
    d_r = (digamma(r + counts) - digamma(r))[place] + log_own - (1 - share) * log_tenure - share * log_last
    d_own = r / own - shape * ((1 - share) / (own + past.tenure) + share / (own + past.last))
    d_a = both_of[place] + share / a
    d_b = (both_of + digamma(of + counts) - digamma(b))[place] - share / left_of[place]
    fading = past.unseen * (1.0 - counted / (SEEN_WITHIN * alpha))
    by_alpha = alpha + truncation.sum() * (counted - fading)
    slopes = [
        (d_r, r),
        (d_own * by_alpha, 1.0),
        (d_a, a),
        (d_b, b),
        *((d_own * counted, share_cut) for share_cut in truncation),
    ]
    gradient = np.array([(past.weights * slope).sum() * by for slope, by in slopes])
    total = past.weights.sum()
    value = -(past.weights * likelihood).sum() + PULL * (theta**2).sum()
    return float(value / total), (-gradient + 2 * PULL * theta) / total


def fit_gamma_gamma(x: FloatArray, mean: FloatArray, net_share: float = 1.0) -> GammaGamma:
    """Fit (p, q, v) to x > 0 values with these means before refunds: eq. (1a) of Fader & Hardie (2013), q > 1.

    With fewer than two customers the spread cannot be known: the shape is then fixed and only
    the level follows the data. Where values are spread so widely that the likelihood wants q <= 1, there would be no
    mean for customers without repeats: it is MOST_MEAN times the mean of all values at most.
    """
    if len(x) < 2:
        return GammaGamma(1.0, 2.0, float(mean.mean()) if len(x) else 1.0, net_share)
    scale = float(np.average(mean, weights=x))

    counts, place = np.unique(x, return_inverse=True)
    mean = mean / scale
    logs = np.log(mean), np.log(x * mean)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        return _gamma_gamma_loss(theta, x, mean, logs, counts, place)

    first = np.log([4.0, 3.0, 1.0])
    p, q_less_1, v = np.exp(_minimum(loss, first, (9.0, 9.0, 9.0)))
    q_less_1 = max(q_less_1, p * v / MOST_MEAN)
    return GammaGamma(float(p), float(1.0 + q_less_1), float(v * scale), net_share)


def _gamma_gamma_loss(
    theta: FloatArray,
    x: FloatArray,
    mean: FloatArray,
    logs: tuple[FloatArray, FloatArray],
    counts: FloatArray,
    place: IntArray,
) -> tuple[float, FloatArray]:
    """Negative log-likelihood per customer and its gradient in (log p, log(q - 1), log v).

    Gammas depend on the number of values only: taken once per distinct number (`counts[place] == x`). `logs` are those
    of the mean and of the total, which no parameter moves.
    """
    p, q_less_1, v = np.exp(theta)
    q = 1.0 + q_less_1
    shape, total = p * x, x * mean
    (log_mean, log_total), log_more = logs, np.log(total + v)
    likelihood = -betaln(p * counts, q)[place] + q * np.log(v) + shape * log_total - (shape + q) * log_more
    d_shape = digamma(p * counts + q)[place] - digamma(p * counts)[place] + log_total - log_more
    d_p = (x * d_shape).sum() * p
    d_q = (digamma(p * counts + q)[place] - digamma(q) + np.log(v) - log_more).sum() * q_less_1
    d_v = (q / v - (shape + q) / (total + v)).sum() * v
    value = -(likelihood - log_mean).sum() + PULL * (theta**2).sum()
    gradient = -np.array([d_p, d_q, d_v]) + 2 * PULL * theta
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
