"""What a customer is worth in the horizon after the first order: the answer when no order is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.arrays import BoolArray, FloatArray, IntArray
from features.events import Events
from features.history import before
from features.instants import DAY_US
from features.orders import OrderLog
from model.prior import Prior
from training.extremes import most_usual
from training.labels import after_first_order, label_window

MIN_NEWCOMERS: Final = 30
"""Customers acquired in one way from which that way has a value of its own; a half is no smaller."""
SHRINK: Final = 50.0
"""Its weight is n / (n + SHRINK), the rest is the value of all."""
HALF_LIVES_DAYS: Final = (np.inf, 730.0, 365.0, 180.0, 90.0)
"""How fast what newcomers did may lose its say over those who come now."""
COHORT_DAYS: Final = 30
_LEAST_FORECAST, _LEAST_BEFORE = 5, 15
"""Newcomers of a cohort that is forecast, and of all before it."""
_PSEUDO: Final = 3.0
"""Newcomers of the usual value that are added to a cohort, and to those before it."""
_SWING: Final = 0.2
"""Standard deviation of the log of a cohort's value that nothing foretells."""


def fit_prior(log: OrderLog, as_of: int, horizons: Sequence[int], *, cut: bool = False) -> Prior:
    """Average the first horizon of every customer whose first horizon lies wholly before `as_of`.

    Customers acquired later are left out: their horizon has not passed (counting them would bias
    the value down). Where nobody's has, the answer is 0 for want of evidence. Those who came of late count the more,
    the better that would have foretold past newcomers (`FirstHorizons.by_recency`). By channel and category of the
    first order, too, where the log has them. The log's amounts should be in prices of `as_of`. Of a log that was
    `cut` from a longer one only the newer half of them is looked at: most who are first seen in its first months
    were customers before.
    """
    began = np.iinfo(np.int64).min
    seen = [first_horizons(log, began, as_of, days) for days in horizons]
    if cut:
        seen = [found.newer_half() for found in seen]
    seen = [found.by_recency(days) for found, days in zip(seen, horizons, strict=True)]
    everyone = Prior(*np.array([found.means() for found in seen]).T)
    by = {}
    for column, values in log.values.items():
        codes = _first_codes(log, as_of, column)
        found = {str(value): _shrunk(everyone, seen, codes == code) for code, value in enumerate(values)}
        by[column] = {value: prior for value, prior in found.items() if prior is not None}
    return replace(everyone, by=by, without_order=_without_order(log, as_of, horizons, everyone))


@dataclass(frozen=True)
class FirstHorizons:
    """What customers did in the horizon after their first order; the rows of those whose horizon has passed.

    Attributes
    ----------
    matured
        Whose has and who is looked at: not those who spent beyond all others, shape (n_customers of the log,).
    first_at
        Instant of the first order, µs UTC, shape (n_matured,).
    came, orders, spend
        Whether there was another order, how many, and net value, shape (n_matured,).
    weights
        How much each counts, shape (n_matured,).
    """

    matured: BoolArray
    first_at: FloatArray
    came: BoolArray
    orders: FloatArray
    spend: FloatArray
    weights: FloatArray

    def newer_half(self) -> FirstHorizons:
        """Those who came last: half of them, MIN_NEWCOMERS at least."""
        n_older = len(self.first_at) - max(len(self.first_at) // 2, MIN_NEWCOMERS)
        if n_older <= 0:
            return self
        newer = self.first_at >= np.partition(self.first_at, n_older)[n_older]
        matured = self.matured.copy()
        matured[matured] = newer
        kept = (self.first_at, self.came, self.orders, self.spend, self.weights)
        return FirstHorizons(matured, *(values[newer] for values in kept))

    def by_recency(self, days: int) -> FirstHorizons:
        """Weigh them by how long ago they came: a mixture of half-lives, by how well each forecast past cohorts.

        A cohort is who came within 30 days, and is forecast from those whose horizon of `days` had passed before it
        began. The mixture's weights are likelihoods of the cohorts' log values; since horizons of neighbours overlap,
        a horizon's length of cohorts counts as one.
        """
        usual = self.spend.mean() if len(self.spend) else 0.0
        if usual == 0.0:
            return self
        cohort = ((self.first_at.max() - self.first_at) / DAY_US // COHORT_DAYS).astype(np.int64)
        n, spend = np.bincount(cohort), np.bincount(cohort, self.spend)
        horizon = -(-days // COHORT_DAYS)
        before = np.subtract.outer(-np.arange(len(n)), -np.arange(len(n)))
        passed = (before >= horizon) & (n > 0)
        asked = (n >= _LEAST_FORECAST) & (passed @ n >= _LEAST_BEFORE)
        scores, weights = [], []
        for half_life in HALF_LIVES_DAYS:
            share = np.where(passed, np.exp2(-before * (COHORT_DAYS / half_life)), 0.0)[asked]
            share /= share.max(axis=1, keepdims=True)  # of long ago, its square would be 0
            known = (share @ n) ** 2 / (share**2 @ n)
            forecast = (share @ spend / (share @ n) * known + _PSEUDO * usual) / (known + _PSEUDO)
            actual = (spend + _PSEUDO * usual)[asked] / (n[asked] + _PSEUDO)
            sampling = self.spend.var() / usual**2 * (1.0 / (known + _PSEUDO) + 1.0 / (n[asked] + _PSEUDO))
            variance = sampling + _SWING**2
            scores.append(-0.5 * (np.log(actual / forecast) ** 2 / variance + np.log(variance)).sum() / horizon)
            weight = np.exp2(-cohort * (COHORT_DAYS / half_life))
            weights.append(weight / weight.mean())
        return replace(self, weights=np.average(weights, axis=0, weights=np.exp(scores - np.max(scores))))

    def effective(self, of: BoolArray) -> float:
        """Customers of equal weight that would say as much as some customers of the log."""
        some = self.weights[of[self.matured]]
        return float(some.sum() ** 2 / (some**2).sum()) if len(some) else 0.0

    def means(self, of: BoolArray | None = None) -> tuple[float, float, float]:
        """(share that came back, orders, net value) of all or of some customers of the log; 0 of nobody."""
        some = np.ones(len(self.came), dtype=np.bool_) if of is None else of[self.matured]
        if not some.any():
            return 0.0, 0.0, 0.0
        came, orders, spend = (
            float(np.average(values[some], weights=self.weights[some]))
            for values in (self.came, self.orders, self.spend)
        )
        return came, orders, spend


def first_horizons(log: OrderLog, since: int, until: int, days: int) -> FirstHorizons:
    """Look at customers whose first order lies in [since, until - days]."""
    matured, first_at, orders, spend = after_first_order(log, since, until, days)
    usual = spend <= most_usual(spend)
    matured[matured] = usual
    first_at, orders, spend = first_at[usual], orders[usual], spend[usual]
    return FirstHorizons(matured, first_at, orders > 0, orders, spend, np.ones(len(spend)))


def _without_order(log: OrderLog, as_of: int, horizons: Sequence[int], newcomer: Prior) -> Prior | None:
    """What those did who had rows but no order at the last moment whose horizon has passed, shrunk to a newcomer."""
    means, counts = [], []
    for days in horizons:
        moment = as_of - days * DAY_US
        events = Events(before(log, moment))
        who = np.flatnonzero((events.lengths > 0) & (events.sum(events.amount > 0.0) == 0.0))
        counts.append(len(who))
        if not len(who):
            means.append((0.0, 0.0, 0.0))
            continue
        labels = label_window(log, who, moment, days)
        spend = np.minimum(labels.spend, most_usual(labels.spend))
        means.append((float(labels.purchased.mean()), float(labels.n_orders.mean()), float(spend.mean())))
    if not any(counts):
        return None
    return _weighed(newcomer, np.array(means).T, np.array(counts, dtype=np.float64))


def _first_codes(log: OrderLog, as_of: int, column: str) -> IntArray:
    """Code of a column on each customer's first order, -1 where null or without an order, shape (n_customers,)."""
    events = Events(before(log, as_of))
    order = events.amount > 0.0
    rows, codes = np.flatnonzero(order), events.first_code(column)
    who = events.customer_of_row[rows]
    out = np.full(log.n_customers, -1, dtype=np.int64)
    customers, first = np.unique(who, return_index=True)
    out[customers] = codes[rows[first]]
    return out


def _shrunk(everyone: Prior, seen: Sequence[FirstHorizons], of: BoolArray) -> Prior | None:
    if max(int(of[found.matured].sum()) for found in seen) < MIN_NEWCOMERS:
        return None
    counts = np.array([found.effective(of) for found in seen])
    return _weighed(everyone, np.array([found.means(of) for found in seen]).T, counts)


def _weighed(everyone: Prior, own: FloatArray, counts: FloatArray) -> Prior:
    """Means of `counts` customers, shape (3, K), drawn towards those of all."""
    weight = counts / (counts + SHRINK)
    whole = (everyone.purchase_probability, everyone.orders, everyone.clv)
    return Prior(*(weight * mine + (1.0 - weight) * theirs for mine, theirs in zip(own, whole, strict=True)))
