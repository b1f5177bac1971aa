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
calendar and prices then counts by the share of the year that was, and stays in the error for the rest.

The first windows of a log have no forecast, since nobody is known yet. But where a shop is older than
its log, what it sold says as much: a log of one year ends where its own first months tell the season
ahead. So there the log of all sales of each 30 days stands beside the ratios, as s with a level and a
small growth of its own.

Value is forecast in the prices of the past: what `training.prices` says of them is added to s of value.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

import numpy as np

from features.arrays import FloatArray
from features.instants import DAY_US, YEAR_DAYS
from features.orders import OrderLog
from training.examples import Snapshots
from training.prices import STEADY, Prices, prices_of
from training.windows import (
    BIN_DAYS,
    KNOWN_FROM_DAYS,
    NO_SALES,
    Sales,
    Windows,
    ratios,
    sales,
    yearly,
)

RETAIL_CALENDAR: Final = (-0.14, -0.10, -0.05, -0.05, -0.05, -0.07, -0.10, -0.05, -0.02, 0.04, 0.18, 0.42)
"""Log of retail sales per day, January to December, less their mean over the year and their growth.

US Census Bureau, Monthly Retail Trade, not adjusted, 1996 and 1997: the mean of goods that department stores
sell (GAFO) and of mail order and electronic shopping.
"""
CALENDAR_SHARE, CALENDAR_SPREAD = 0.4, 0.3
"""How much of that calendar a shop follows: mean and standard deviation over shops."""

_CONSTANT, _SEASON, _SHOCK = (0.03, 0.1), (0.03, 0.1, 0.2, 0.4, 0.8), (0.05, 0.1, 0.2)
"""Standard deviations of the parts of s, in log units."""
_SHOCK_DAYS: Final = (30.0, 120.0)
_MEMORY_DAYS: Final = (120.0, 10_000.0)
"""Half-life with which the buy-till-you-die model forgets the seasons it was fitted on."""
_SEASON_CENTRE, _SHOCK_CENTRE, _PRIOR_SPREAD = 0.15, 0.1, 1.0
_SALES_NOISE, _SALES_GROWTH, _SALES_LEVEL = 0.1, 0.1, 3.0
"""Standard deviations: of a bin's sales about s, of their growth in a year, of their level (which is free)."""
UNKNOWN_SD: Final = 0.3
"""Error of a level of which nothing is known."""
_CLIP: Final = 2.5
"""Twelve times the average, or a twelfth: more than that is no season."""


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
class Past:
    """What all horizons' levels are forecast from.

    Attributes
    ----------
    orders, value
        The windows that ended by `as_of`, and what was sold, of each kind.
    tenure_bins, prices
        As `forecasts` takes them; the rate of orders has no prices.
    """

    as_of: int
    orders: tuple[Windows, Sales]
    value: tuple[Windows, Sales]
    tenure_bins: FloatArray
    prices: Prices

    def levels(self, horizon_days: int, starts: FloatArray) -> list[Level]:
        """Forecast the level of the horizons that begin so many bins after `as_of`; `starts` as in `forecasts`."""
        orders, value = (
            forecasts(windows, self.tenure_bins, self.as_of, horizon_days, starts, sold, prices)
            for (windows, sold), prices in ((self.orders, STEADY), (self.value, self.prices))
        )
        return [Level(*both) for both in zip(orders, value, strict=True)]


def past_of(snapshots: Snapshots, log: OrderLog, as_of: int, modified: bool) -> Past:
    """Look at the windows that ended by `as_of`; `modified` is the story of leaving that their forecasts tell."""
    table = ratios(snapshots, log, as_of, modified)
    tenure_bins = np.sort(snapshots.at(as_of).summary.tenure_days) / BIN_DAYS
    orders, value = (Windows(table[:, 0], table[:, 1], *table[:, k : k + 2].T) for k in (2, 4))
    of_orders, of_value = sales(log, as_of)
    return Past(as_of, (orders, of_orders), (value, of_value), tenure_bins, prices_of(log, as_of))


def forecasts(
    past: Windows,
    tenure_bins: FloatArray,
    as_of: int,
    horizon_days: int,
    starts: FloatArray,
    sold: Sales = NO_SALES,
    prices: Prices = STEADY,
) -> list[Forecast]:
    """Log of the total ratio over each horizon, its mean clipped to ±2.5.

    Without matured windows it is what calendar and prices say, ± 0.3.

    Parameters
    ----------
    tenure_bins
        Tenure of every customer in bins of 30 days, ascending, shape (n_customers,).
    starts
        Whole bins after `as_of` at which the horizons begin, shape (n,).
    sold
        What a shop that is older than its log sold in each bin.
    prices
        What became of them, where value is forecast.
    """
    n_ahead = float(starts.max() - (-horizon_days // BIN_DAYS))
    bins = np.arange(-max(np.ceil(tenure_bins[-1]), len(sold.place)) - 1.0, n_ahead)
    since = np.arange(n_ahead) - starts[:, None]
    shares = np.where(since < 0.0, 0.0, np.clip(horizon_days / BIN_DAYS - since, 0.0, 1.0)) * BIN_DAYS / horizon_days
    calendar, (dearer, unsure_prices) = retail_calendar(bins, as_of), prices.over(bins)
    known = CALENDAR_SHARE * calendar + dearer, CALENDAR_SPREAD**2 * np.outer(calendar, calendar) + unsure_prices
    found = [
        posterior
        for memory in _MEMORY_DAYS
        for posterior in _posteriors(_views(past, sold, tenure_bins, bins, shares, memory), bins, known)
    ]
    scores = np.array([one.score for one in found])
    weights = np.exp(scores - scores.max())
    of_settings = np.array([one[1:] for one in found])
    expected, mean, variance = np.average(of_settings, axis=0, weights=weights)
    between = np.average((of_settings[:, 1] - mean) ** 2, axis=0, weights=weights)
    seen = min(1.0, len(past.place) * BIN_DAYS / YEAR_DAYS)
    unsure = ((1.0 - seen) * (mean - expected)) ** 2
    sd = np.sqrt(variance + between + unsure) if seen else np.full(len(starts), UNKNOWN_SD)
    means = np.clip(expected + seen * (mean - expected), -_CLIP, _CLIP)
    return [Forecast(*both) for both in zip(means.tolist(), sd.tolist(), strict=True)]


def retail_calendar(bins: FloatArray, as_of: int) -> FloatArray:
    """What the calendar does to all of retail in each bin: log of the mean factor of its 30 days, shape as given."""
    days = np.floor(as_of / DAY_US + bins[:, None] * BIN_DAYS + np.arange(BIN_DAYS)).astype("datetime64[D]")
    months = days.astype("datetime64[M]").astype(np.int64) % 12
    return np.asarray(np.log(np.exp(np.array(RETAIL_CALENDAR))[months].mean(axis=1)))


class _Posterior(NamedTuple):
    """What one setting of the process says.

    Attributes
    ----------
    score
        Log evidence + log prior.
    expected, mean, variance
        Of each horizon's log ratio: what calendar and prices say, then what the views make of it; shape (n_horizons,).
    """

    score: float
    expected: FloatArray
    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True)
class _Views:
    """What is taken from s in bins: by windows that matured, by sales, and by the horizons that are asked for.

    Attributes
    ----------
    of_bins
        Weight of each bin, shape (n_views, n_bins).
    ratios
        1 where the view is a ratio of two totals, 0 where it is sales, which have a level and a growth of their own.
    years
        Time of the sales about their mean, 0 of ratios, shape (n_views,).
    log_seen, noise
        Log of what was seen, and its variance, of windows and sales: shape (n_seen,). The other views are ahead.
    """

    of_bins: FloatArray
    ratios: FloatArray
    years: FloatArray
    log_seen: FloatArray
    noise: FloatArray


def _views(
    past: Windows, sold: Sales, tenure_bins: FloatArray, bins: FloatArray, shares: FloatArray, memory_days: float
) -> _Views:
    """Views where the forecasts of windows forget so fast; each horizon is a row of `shares`, weights of bins ahead."""
    exposed = len(tenure_bins) - np.searchsorted(tenure_bins, -(bins + 1.0))

    def less_history(place: FloatArray, cutoff: FloatArray) -> FloatArray:
        """A window's bin less the mean of the bins before."""
        age = (cutoff[:, None] - bins[None, :] - 0.5) * BIN_DAYS
        weights = np.where(age > 0, exposed * np.exp2(-np.maximum(age, 0.0) / memory_days), 0.0)
        inside = (bins[None, :] == place[:, None]).astype(np.float64)
        return np.asarray(inside - weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12))

    ahead = bins[bins >= 0]
    of_windows, of_horizons = less_history(past.place, past.place), less_history(ahead, np.zeros(len(ahead)))
    of_sales = (bins[None, :] == sold.place[:, None]).astype(np.float64)
    years, total = sold.place * BIN_DAYS / YEAR_DAYS, sold.log_total
    if len(total):
        years, total = years - years.mean(), total - total.mean()
    n_windows, n_horizons = len(past.place), len(shares)
    young = 0.1 * np.exp(-(past.history_days - KNOWN_FROM_DAYS) / 60.0)
    return _Views(
        np.concatenate([of_windows, of_sales, shares @ of_horizons]),
        np.concatenate([np.ones(n_windows), np.zeros(len(total)), np.ones(n_horizons)]),
        np.concatenate([np.zeros(n_windows), years, np.zeros(n_horizons)]),
        np.concatenate([past.log_ratio, total]),
        np.concatenate([past.variance + young**2 + 1e-4, sold.variance + _SALES_NOISE**2]),
    )


def _posteriors(views: _Views, bins: FloatArray, known: tuple[FloatArray, FloatArray]) -> list[_Posterior]:
    """What each setting of the process makes of the views; `known` is what calendar and prices say of s.

    Mean and covariance of it, shapes (n_bins,) and (n_bins, n_bins).
    """
    of_bins, n_seen = views.of_bins, len(views.log_seen)
    apart = np.abs(bins[:, None] - bins[None, :]) * float(BIN_DAYS)
    expected, followed = of_bins @ known[0], of_bins @ known[1] @ of_bins.T
    sales, season = 1.0 - views.ratios, of_bins @ yearly(apart) @ of_bins.T
    of_sales = _SALES_LEVEL**2 * np.outer(sales, sales) + _SALES_GROWTH**2 * np.outer(views.years, views.years)
    surprise, noise = views.log_seen - expected[:n_seen], np.diag(views.noise)
    found = []
    for shock_days in _SHOCK_DAYS:
        shock = of_bins @ np.exp(-apart / shock_days) @ of_bins.T
        for constant, of_season, of_shock in product(_CONSTANT, _SEASON, _SHOCK):
            between = constant**2 * np.outer(views.ratios, views.ratios) + of_season**2 * season + of_shock**2 * shock
            between += followed + of_sales
            root = np.linalg.cholesky(between[:n_seen, :n_seen] + noise)
            whitened, *towards = np.linalg.solve(root, np.column_stack([surprise, between[:n_seen, n_seen:]])).T
            prior = (np.log(of_season / _SEASON_CENTRE) / _PRIOR_SPREAD) ** 2
            prior += (np.log(of_shock / _SHOCK_CENTRE) / _PRIOR_SPREAD) ** 2
            score = -0.5 * (whitened @ whitened + prior) - np.log(np.diag(root)).sum()
            mean = expected[n_seen:] + np.array(towards) @ whitened
            left = np.diag(between)[n_seen:] - (np.array(towards) ** 2).sum(axis=1)
            found.append(_Posterior(float(score), expected[n_seen:], mean, np.maximum(left, 0.0)))
    return found
