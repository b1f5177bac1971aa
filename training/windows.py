"""What the level is learnt from: what windows of 30 days brought against their forecast, and what was sold in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import FloatArray
from features.instants import DAY_US, YEAR_DAYS
from features.orders import OrderLog
from model.season import STEP_DAYS
from training.examples import Snapshot, Snapshots
from training.extremes import most_usual
from training.labels import label_window

BIN_DAYS: Final = STEP_DAYS
"""What is learnt from is as fine as what is told ahead."""
MAX_WINDOWS: Final = 37
"""Three years and a month of windows: each season is seen thrice."""
KNOWN_FROM_DAYS: Final = 90
"""Days of orders before a window from which on enough customers are known to forecast it."""
_OVERDISPERSION: Final = 1.3
_QUARTER: Final = 3
"""Bins: the first ones are held against the others, and the newest one tells whether new customers still come."""
_LEAST_BINS, _MOST_BINS = 9, 25
"""Sales are looked at from three quarters of a year on, until every season was seen twice."""
_STEADY: Final = 0.4
"""Log of how much the first bins' sales may differ from the others' in a shop that is older than its log."""
_STILL_NEW: Final = 0.05
"""Of that shop's customers in the newest bins, at least so many are new."""


@dataclass(frozen=True)
class Windows:
    """Matured windows of 30 days, shape (k,) each.

    Attributes
    ----------
    place
        The window's bin: -1 is [as_of - 30 days, as_of), -2 the one before.
    history_days
        Days of orders before the window.
    log_ratio, variance
        log(actual / forecast), and its sampling variance.
    """

    place: FloatArray
    history_days: FloatArray
    log_ratio: FloatArray
    variance: FloatArray


@dataclass(frozen=True)
class Sales:
    """What a shop that is older than its log sold in each whole bin of it, shape (m,) each.

    Attributes
    ----------
    place
        The bin, as in `Windows`.
    log_total, variance
        Log of the total, and its sampling variance.
    """

    place: FloatArray
    log_total: FloatArray
    variance: FloatArray


NO_SALES: Final = Sales(np.empty(0), np.empty(0), np.empty(0))


def yearly(days_apart: FloatArray) -> FloatArray:
    """Correlation of two moments of a season that comes back each year and slowly changes; shape as given."""
    turned = np.sin(np.pi * days_apart / YEAR_DAYS) / 0.6
    return np.asarray(np.exp(-2.0 * turned**2 - days_apart / (20.0 * YEAR_DAYS)))


def ratios(snapshots: Snapshots, log: OrderLog, as_of: int, modified: bool) -> FloatArray:
    """Windows that ended by `as_of`, shape (k, 6).

    Columns: place, days of history; log ratio and variance of orders, then of value; see `Windows`.
    """
    oldest = (as_of - log.began_at) / DAY_US
    n_windows = int(min(max(oldest - KNOWN_FROM_DAYS, 0.0) // BIN_DAYS, MAX_WINDOWS))
    rows = [_ratio(snapshots, log, as_of, place, modified) for place in range(-n_windows, 0)]
    return np.array([row for row in rows if row is not None], dtype=np.float64).reshape(-1, 6)


def sales(log: OrderLog, as_of: int) -> tuple[Sales, Sales]:
    """Orders and value of each whole bin before `as_of`; nothing where the log may have begun with the shop.

    A shop that begins sells less in its first bins than ever after; one that won its customers in a burst sells more
    there, or wins none any more.
    """
    n_bins = int((as_of - log.began_at) / DAY_US // BIN_DAYS)
    if not _LEAST_BINS <= n_bins <= _MOST_BINS:
        return NO_SALES, NO_SALES
    place, everyone = np.arange(-n_bins, 0), np.arange(log.n_customers)
    windows = [label_window(log, everyone, as_of + bin_ * BIN_DAYS * DAY_US, BIN_DAYS) for bin_ in place.tolist()]
    spends = [np.minimum(w.spend, most_usual(w.spend)) for w in windows]
    totals = np.array([[w.n_orders.sum(), s.sum(), (s**2).sum()] for w, s in zip(windows, spends, strict=True)])
    if not totals[:, :2].all():
        return NO_SALES, NO_SALES
    n_orders, value, squares = totals.T
    bought = np.array([w.purchased for w in windows])
    of_late = bought[-_QUARTER:].any(axis=0)
    new = of_late & ~bought[:-_QUARTER].any(axis=0)
    first_to_others = value[:_QUARTER].mean() / value[_QUARTER:].mean()
    if abs(np.log(first_to_others)) > _STEADY or new.sum() < _STILL_NEW * of_late.sum():
        return NO_SALES, NO_SALES
    bins = place.astype(np.float64)
    return (
        Sales(bins, np.log(n_orders), _OVERDISPERSION / n_orders),
        Sales(bins, np.log(value), squares / value**2),
    )


def expected_totals(snapshot: Snapshot, horizon_days: int, modified: bool) -> tuple[FloatArray, FloatArray]:
    """Orders and value that the buy-till-you-die model expects of each customer, shape (n,) each."""
    of, btyd = snapshot.summary, snapshot.btyd(modified)
    purchases = btyd.purchases.expected_purchases(of, horizon_days)
    return purchases * btyd.own_orders_a_day(of), purchases * btyd.expected_value(of)


def sampling_variance(n_orders: float, expected: float) -> float:
    """Of log(n_orders / expected), by their geometric mean: a mean of many such logs is then right, to first order.

    By the actual orders alone lucky windows would weigh more than unlucky ones, and small shops be forecast too high.
    """
    return float(_OVERDISPERSION / np.sqrt(n_orders * expected))


def _ratio(snapshots: Snapshots, log: OrderLog, as_of: int, place: int, modified: bool) -> tuple[float, ...] | None:
    cutoff = as_of + place * BIN_DAYS * DAY_US
    snapshot = snapshots.at(cutoff)
    labels = label_window(log, snapshot.customers, cutoff, BIN_DAYS)
    orders, value = expected_totals(snapshot, BIN_DAYS, modified)
    usual = value <= most_usual(value)
    spent, value = np.minimum(labels.spend, most_usual(labels.spend))[usual], value[usual]
    n_orders, spend, expected = labels.n_orders.sum(), spent.sum(), orders.sum()
    if n_orders == 0 or spend <= 0:
        return None
    return (
        place,
        (cutoff - log.began_at) / DAY_US,
        float(np.log(n_orders / expected)),
        sampling_variance(n_orders, expected),
        float(np.log(spend / value.sum())),
        float(((spent - value * (spend / value.sum())) ** 2).sum() / spend**2),
    )
