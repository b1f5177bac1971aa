"""What became of prices: how much more the same customer pays for an order today than then.

Values of the past are in prices of the past. So, as repeat-sales indices do (Bailey, Muth & Nourse 1963, "A regression
method for real estate price index construction"),

    log value of an order = the customer's own mean + f(30 days that it fell into) + noise,

where f is a Brownian motion that stands at 0 today, a yearly season of baskets and short-lived shocks. Only the first
is a price that stays; the others are the level's business. First orders are left out: they are unlike later ones.
Orders count alike, so who orders more says more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from scipy.sparse import csr_array

from features.arrays import FloatArray, IntArray
from features.events import Events
from features.instants import DAY_US, YEAR_DAYS
from features.orders import OrderLog
from training.windows import BIN_DAYS, yearly

MOST_BINS: Final = 61
"""Five years; what is older counts as the oldest of them."""
_DRIFT, _SEASON, _SHOCK = (0.01, 0.03, 0.1, 0.3), (0.03, 0.1, 0.2), (0.03, 0.1)
"""Standard deviations, log units: of what a price moves in a year, of a basket's season, of shocks."""
_DRIFT_CENTRE: Final = 0.01
"""Prior median of the first of them; its log has a standard deviation of 1. Where orders do not tell, prices stay."""
_SHOCK_DAYS: Final = 60.0
_FURTHEST: Final = 3.0
"""Standard deviations: an order further from its customer's mean counts as one that far away."""
_LEAST_NOISE: Final = 0.01


@dataclass(frozen=True)
class Prices:
    """Log of the prices of each bin of the past over today's, and how sure that is.

    Attributes
    ----------
    mean
        From the oldest bin to the newest one, -1; shape (n,).
    covariance
        Shape (n, n).
    ahead
        Variance that a year ahead adds.
    """

    mean: FloatArray
    covariance: FloatArray
    ahead: float

    def over(self, bins: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean, shape (k,), and covariance, shape (k, k), of ascending bins; before the oldest one prices stay."""
        mean, covariance = np.zeros(len(bins)), np.zeros((len(bins), len(bins)))
        past = np.flatnonzero(bins < 0)
        if len(self.mean):
            place = np.maximum(bins[past] + len(self.mean), 0).astype(np.int64)
            mean[past], covariance[np.ix_(past, past)] = self.mean[place], self.covariance[np.ix_(place, place)]
        years = np.maximum(bins + 0.5, 0.0) * BIN_DAYS / YEAR_DAYS
        return mean, covariance + self.ahead * np.minimum.outer(years, years)

    def todays(self, log: OrderLog, as_of: int) -> OrderLog:
        """The log up to `as_of` with its amounts in today's prices."""
        if not len(self.mean):
            return log
        place = np.clip((log.ordered_at - as_of) // (BIN_DAYS * DAY_US), -len(self.mean), -1)
        return replace(log, amount=log.amount * np.exp(-self.mean[place]))


STEADY: Final = Prices(np.empty(0), np.empty((0, 0)), 0.0)


def prices_of(log: OrderLog, as_of: int) -> Prices:
    """Learn the prices of the bins before `as_of` from a log that ends there; steady where nobody came three times."""
    who, bins, value = _later_orders(log, as_of)
    if not len(who):
        return STEADY
    counts, n_bins = np.bincount(who), int(-bins.min())
    bins = bins + n_bins

    def less_own_mean(values: FloatArray) -> FloatArray:
        return np.asarray(values - (np.bincount(who, values) / counts)[who])

    value = less_own_mean(value)
    furthest = _FURTHEST * np.sqrt((value**2).mean())
    value = less_own_mean(np.clip(value, -furthest, furthest))
    noise = max(float((value**2).sum() / (len(value) - len(counts))), _LEAST_NOISE**2)
    own = csr_array((1.0 / np.sqrt(counts)[who], (who, bins)), shape=(len(counts), n_bins))
    information = (np.diag(np.bincount(bins, minlength=n_bins)) - (own.T @ own).toarray()) / noise
    told = np.bincount(bins, value, minlength=n_bins) / noise
    years_ago = (n_bins - np.arange(n_bins) - 0.5) * BIN_DAYS / YEAR_DAYS
    apart = np.abs(years_ago[:, None] - years_ago[None, :]) * YEAR_DAYS
    wandering, season, shock = np.minimum.outer(years_ago, years_ago), yearly(apart), np.exp(-apart / _SHOCK_DAYS)
    scores, means, covariances, ahead = [], [], [], []
    for of_drift, of_season, of_shock in product(_DRIFT, _SEASON, _SHOCK):
        drift = of_drift**2 * wandering
        everything = drift + of_season**2 * season + of_shock**2 * shock
        system = np.eye(n_bins) + information @ everything
        solved = np.linalg.solve(system, np.column_stack([told, information @ drift]))
        evidence = 0.5 * told @ everything @ solved[:, 0] - 0.5 * np.linalg.slogdet(system)[1]
        scores.append(evidence - 0.5 * np.log(of_drift / _DRIFT_CENTRE) ** 2)
        means.append(drift @ solved[:, 0])
        covariances.append(drift - drift @ solved[:, 1:])
        ahead.append(of_drift**2)
    weights = np.exp(np.array(scores) - max(scores))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    off = np.array(means) - mean
    covariance = np.tensordot(weights, np.array(covariances), 1) + (off.T * weights) @ off
    return Prices(mean, (covariance + covariance.T) / 2.0, float(weights @ np.array(ahead)))


def _later_orders(log: OrderLog, as_of: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Who ordered, in which bin, for how much (log): orders after the first, of who has two of them."""
    events = Events(log)
    ordered = events.amount > 0.0
    who = events.customer_of_row[ordered]
    later = np.flatnonzero(who[1:] == who[:-1]) + 1  # rows of a customer are in order of time
    twice = np.bincount(who[later], minlength=log.n_customers)[who[later]] > 1
    _, who = np.unique(who[later][twice], return_inverse=True)
    bins = np.maximum((events.at[ordered][later][twice] - as_of) // (BIN_DAYS * DAY_US), -MOST_BINS)
    return who, bins, np.log(events.amount[ordered][later][twice])
