"""How much in total: the level of orders and value, forecast from matured windows by a small time model.

Trees rank customers; their totals are worse than the buy-till-you-die model's. That model in turn
knows no season: its forecast stands for the average season of the history that it was fitted on. So
at every matured cut-off, 30 days apart, the ratio of what the next 30 days brought to what was
forecast is taken, and

    log ratio (cut-off c) = s(the 30 days after c) - mean of s over the customers' days before c + noise,

where s is the shop's season and mood over time: a Gaussian process of a constant, a yearly season
and short-lived shocks, around a share of what the calendar does to all of retail. The level of a
longer window ahead follows from the same s. The settings of the process are not chosen but averaged
over a grid by likelihood × prior, so that a short history shrinks the level to the calendar's. Before
a year was seen, nothing tells what lasts from a season that will turn: what the windows say beyond
the calendar then counts by the share of the year that was, and stays in the error for the rest.

The first windows of a log have no forecast, since nobody is known yet. But where a shop is older than
its log, what it sold says as much: a log of one year ends where its own first months tell the season
ahead. So there the log of all sales of each 30 days stands beside the ratios, as s with a level and a
small growth of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from features.arrays import FloatArray
from features.instants import DAY_US
from features.orders import OrderLog
from training.examples import Snapshot, Snapshots
from training.extremes import most_usual
from training.labels import label_window

BIN_DAYS: Final = 30
MAX_WINDOWS: Final = 37
"""Three years and a month of windows: each season is seen thrice."""
MIN_HISTORY_DAYS: Final = 90

RETAIL_CALENDAR: Final = (-0.14, -0.10, -0.05, -0.05, -0.05, -0.07, -0.10, -0.05, -0.02, 0.04, 0.18, 0.42)
"""Log of retail sales per day, January to December, less their mean over the year and their growth.

US Census Bureau, Monthly Retail Trade, not adjusted, 1996 and 1997: the mean of goods that department stores
sell (GAFO) and of mail order and electronic shopping.
"""
CALENDAR_SHARE, CALENDAR_SPREAD = 0.4, 0.3
"""How much of that calendar a shop follows: mean and standard deviation over shops."""

_YEAR: Final = 365.25
_CONSTANT, _SEASON, _SHOCK = (0.03, 0.1), (0.03, 0.1, 0.2, 0.4), (0.05, 0.1, 0.2)
"""Standard deviations of the parts of s, in log units."""
_SHOCK_DAYS: Final = (30.0, 120.0)
_MEMORY_DAYS: Final = (120.0, 10_000.0)
"""Half-life with which the buy-till-you-die model forgets the seasons it was fitted on."""
_SEASON_CENTRE, _SHOCK_CENTRE, _PRIOR_SPREAD = 0.15, 0.1, 1.0
_OVERDISPERSION: Final = 1.3
_SALES_NOISE, _SALES_GROWTH, _SALES_LEVEL = 0.1, 0.1, 3.0
"""Standard deviations: of a bin's sales about s, of their growth in a year, of their level (which is free)."""
_QUARTER: Final = 3
"""Bins: the first ones are held against the others, and the newest one tells whether new customers still come."""
_LEAST_BINS, _MOST_BINS = 9, 25
"""Sales are looked at from three quarters of a year on, until every season was seen twice."""
_STEADY: Final = 0.4
"""Log of how much the first bins' sales may differ from the others' in a shop that is older than its log."""
_STILL_NEW: Final = 0.05
"""Of that shop's customers in the newest bins, at least so many are new."""
UNKNOWN_SD: Final = 0.3
"""Error of a level of which nothing is known."""
_CLIP: Final = 0.9


@dataclass(frozen=True)
class Forecast:
    """Mean and standard deviation of a log ratio."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Level:
    """Log of expected total over the buy-till-you-die forecast: rate of orders, and net value."""

    orders: Forecast
    value: Forecast


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
        log(actual / forecast), and the sampling variance of the actual total in the same units.
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


_NO_SALES: Final = Sales(np.empty(0), np.empty(0), np.empty(0))


def forecast_level(snapshots: Snapshots, log: OrderLog, as_of: int, horizon_days: int, modified: bool) -> Level:
    """Forecast the level of [as_of, as_of + horizon) from the windows that ended by `as_of`."""
    oldest = (as_of - log.began_at) / DAY_US
    n_windows = int(min(max(oldest - MIN_HISTORY_DAYS, 0.0) // BIN_DAYS, MAX_WINDOWS))
    rows = [_ratios(snapshots, log, as_of, place, modified) for place in range(-n_windows, 0)]
    table = np.array([row for row in rows if row is not None], dtype=np.float64).reshape(-1, 6)
    tenure_bins = np.sort(snapshots.at(as_of).summary.tenure_days) / BIN_DAYS
    sold = sales(log, as_of)
    orders, value = (
        forecast(Windows(table[:, 0], table[:, 1], *table[:, k : k + 2].T), tenure_bins, as_of, horizon_days, of)
        for k, of in zip((2, 4), sold, strict=True)
    )
    return Level(orders, value)


def sales(log: OrderLog, as_of: int) -> tuple[Sales, Sales]:
    """Orders and value of each whole bin before `as_of`; nothing where the log may have begun with the shop.

    A shop that begins sells less in its first bins than ever after; one that won its customers in a burst sells more
    there, or wins none any more.
    """
    n_bins = int((as_of - log.began_at) / DAY_US // BIN_DAYS)
    if not _LEAST_BINS <= n_bins <= _MOST_BINS:
        return _NO_SALES, _NO_SALES
    place, everyone = np.arange(-n_bins, 0), np.arange(log.n_customers)
    windows = [label_window(log, everyone, as_of + bin_ * BIN_DAYS * DAY_US, BIN_DAYS) for bin_ in place.tolist()]
    spends = [np.minimum(w.spend, most_usual(w.spend)) for w in windows]
    totals = np.array([[w.n_orders.sum(), s.sum(), (s**2).sum()] for w, s in zip(windows, spends, strict=True)])
    if not totals[:, :2].all():
        return _NO_SALES, _NO_SALES
    n_orders, value, squares = totals.T
    bought = np.array([w.purchased for w in windows])
    of_late = bought[-_QUARTER:].any(axis=0)
    new = of_late & ~bought[:-_QUARTER].any(axis=0)
    first_to_others = value[:_QUARTER].mean() / value[_QUARTER:].mean()
    if abs(np.log(first_to_others)) > _STEADY or new.sum() < _STILL_NEW * of_late.sum():
        return _NO_SALES, _NO_SALES
    bins = place.astype(np.float64)
    return (
        Sales(bins, np.log(n_orders), _OVERDISPERSION / n_orders),
        Sales(bins, np.log(value), squares / value**2),
    )


def expected_totals(snapshot: Snapshot, horizon_days: int, modified: bool) -> tuple[FloatArray, FloatArray]:
    """Purchases and value that the buy-till-you-die model expects of each customer, shape (n,) each."""
    of, btyd = snapshot.summary, snapshot.btyd(modified)
    purchases = btyd.purchases.expected_purchases(of, horizon_days)
    return purchases, purchases * btyd.expected_value(of)


def _ratios(snapshots: Snapshots, log: OrderLog, as_of: int, place: int, modified: bool) -> tuple[float, ...] | None:
    cutoff = as_of + place * BIN_DAYS * DAY_US
    snapshot = snapshots.at(cutoff)
    labels = label_window(log, snapshot.customers, cutoff, BIN_DAYS)
    purchases, value = expected_totals(snapshot, BIN_DAYS, modified)
    usual = value <= most_usual(value)
    spent, value = np.minimum(labels.spend, most_usual(labels.spend))[usual], value[usual]
    n_orders, spend = labels.n_orders.sum(), spent.sum()
    if n_orders == 0 or spend <= 0:
        return None
    return (
        place,
        (cutoff - log.began_at) / DAY_US,
        float(np.log(n_orders / purchases.sum())),
        float(_OVERDISPERSION * purchases.sum() / n_orders**2),
        float(np.log(spend / value.sum())),
        float(((spent - value) ** 2).sum() / spend**2),
    )


def forecast(
    past: Windows, tenure_bins: FloatArray, as_of: int, horizon_days: int, sold: Sales = _NO_SALES
) -> Forecast:
    """Log of the total ratio over the horizon, its mean clipped to ±0.9; the calendar's ± 0.3 without matured windows.

    Parameters
    ----------
    tenure_bins
        Tenure of every customer in bins of 30 days, ascending, shape (n_customers,).
    """
    n_ahead = -(-horizon_days // BIN_DAYS)
    bins = np.arange(-max(np.ceil(tenure_bins[-1]), len(sold.place)) - 1.0, n_ahead)
    shares = np.minimum(1.0, horizon_days / BIN_DAYS - np.arange(n_ahead)) * BIN_DAYS / horizon_days
    calendar = retail_calendar(bins, as_of)
    found = np.array(
        [
            row
            for memory in _MEMORY_DAYS
            for row in _posteriors(past, sold, bins, _contrasts(past, tenure_bins, bins, memory), shares, calendar)
        ]
    )
    weights = np.exp(found[:, 0] - found[:, 0].max())
    expected, mean, variance = np.average(found[:, 1:], axis=0, weights=weights)
    between = np.average((found[:, 2] - mean) ** 2, weights=weights)
    seen = min(1.0, len(past.place) * BIN_DAYS / _YEAR)
    unsure = ((1.0 - seen) * (mean - expected)) ** 2
    sd = np.sqrt(variance + between + unsure) if seen else UNKNOWN_SD
    return Forecast(float(np.clip(expected + seen * (mean - expected), -_CLIP, _CLIP)), float(sd))


def retail_calendar(bins: FloatArray, as_of: int) -> FloatArray:
    """What the calendar does to all of retail in each bin: log of the mean factor of its 30 days, shape as given."""
    days = np.floor(as_of / DAY_US + bins[:, None] * BIN_DAYS + np.arange(BIN_DAYS)).astype("datetime64[D]")
    months = days.astype("datetime64[M]").astype(np.int64) % 12
    return np.asarray(np.log(np.exp(np.array(RETAIL_CALENDAR))[months].mean(axis=1)))


def _contrasts(
    past: Windows, tenure_bins: FloatArray, bins: FloatArray, memory_days: float
) -> tuple[FloatArray, FloatArray]:
    """Rows that take from s a window's bin less the mean of the bins before: of the past, and ahead."""
    exposed = len(tenure_bins) - np.searchsorted(tenure_bins, -(bins + 1.0))

    def less_history(place: FloatArray, cutoff: FloatArray) -> FloatArray:
        age = (cutoff[:, None] - bins[None, :] - 0.5) * BIN_DAYS
        weights = np.where(age > 0, exposed * np.exp2(-np.maximum(age, 0.0) / memory_days), 0.0)
        inside = (bins[None, :] == place[:, None]).astype(np.float64)
        return np.asarray(inside - weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12))

    ahead = bins[bins >= 0]
    return less_history(past.place, past.place), less_history(ahead, np.zeros(len(ahead)))


def _posteriors(
    past: Windows,
    sold: Sales,
    bins: FloatArray,
    contrasts: tuple[FloatArray, FloatArray],
    shares: FloatArray,
    calendar: FloatArray,
) -> list[tuple[float, float, float, float]]:
    """(log evidence + log prior, what the calendar expects, mean and variance of the horizon's ratio) per setting."""
    seen, ahead = contrasts
    sold_in = (bins[None, :] == sold.place[:, None]).astype(np.float64)
    n_seen = len(seen) + len(sold_in)
    apart = np.abs(bins[:, None] - bins[None, :]) * float(BIN_DAYS)
    both = np.concatenate([seen, sold_in, shares[None, :] @ ahead])
    of_ratios = np.concatenate([np.ones(len(seen)), np.zeros(len(sold_in)), [1.0]])
    years = np.concatenate([np.zeros(len(seen)), sold.place * BIN_DAYS / _YEAR, [0.0]])
    years[of_ratios == 0.0] -= years[of_ratios == 0.0].mean() if len(sold_in) else 0.0
    apart_from_s = _SALES_LEVEL**2 * np.outer(1.0 - of_ratios, 1.0 - of_ratios) + _SALES_GROWTH**2 * np.outer(
        years, years
    )
    turned = both @ calendar
    expected = CALENDAR_SHARE * turned
    followed = np.outer(turned, turned) * CALENDAR_SPREAD**2
    season = both @ (np.exp(-2.0 * np.sin(np.pi * apart / _YEAR) ** 2 / 0.6**2 - apart / (20 * _YEAR))) @ both.T
    young = 0.1 * np.exp(-(past.history_days - MIN_HISTORY_DAYS) / 60.0)
    noise = np.diag(np.concatenate([past.variance + young**2 + 1e-4, sold.variance + _SALES_NOISE**2]))
    total = sold.log_total - (sold.log_total.mean() if len(sold_in) else 0.0)
    surprise = np.concatenate([past.log_ratio, total]) - expected[:n_seen]
    found = []
    for shock_days in _SHOCK_DAYS:
        shock = both @ np.exp(-apart / shock_days) @ both.T
        for constant, of_season, of_shock in product(_CONSTANT, _SEASON, _SHOCK):
            between = constant**2 * np.outer(of_ratios, of_ratios) + of_season**2 * season + of_shock**2 * shock
            between += followed + apart_from_s
            root = np.linalg.cholesky(between[:n_seen, :n_seen] + noise)
            whitened, towards = np.linalg.solve(root, np.stack([surprise, between[:n_seen, n_seen]], axis=1)).T
            prior = (np.log(of_season / _SEASON_CENTRE) / _PRIOR_SPREAD) ** 2
            prior += (np.log(of_shock / _SHOCK_CENTRE) / _PRIOR_SPREAD) ** 2
            score = -0.5 * (whitened @ whitened + prior) - np.log(np.diag(root)).sum()
            left = float(between[n_seen, n_seen] - towards @ towards)
            mean = float(expected[n_seen] + towards @ whitened)
            found.append((float(score), float(expected[n_seen]), mean, max(left, 0.0)))
    return found
