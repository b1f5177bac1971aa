"""How much in total: the level of buyers and value, forecast from matured windows by a small time model.

Trees rank customers; their totals are worse than the buy-till-you-die model's. That model in turn
knows no season. So at every matured cut-off the ratio of what happened to what it forecast is
taken (g = log actual / forecast), and g is forecast for today by a Gaussian process: a constant, a
yearly season and short-lived shocks, plus the sampling noise of each ratio. Its settings are not
chosen but averaged over a grid by likelihood × prior, so that a short history shrinks g to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from scipy.special import expit

from features.arrays import FloatArray
from features.instants import DAY_US
from features.orders import OrderLog
from model.btyd import summarise
from model.clv import btyd_scores
from training.examples import Snapshots
from training.labels import label_window

_YEAR: Final = 365.25
_MIN_HISTORY_DAYS: Final = 90.0
_CONSTANT, _SEASON, _SHOCK = (
    (0.03, 0.1),
    (0.01, 0.1, 0.2, 0.4, 0.7),
    (0.03, 0.1, 0.2, 0.4),
)
_SEASON_MEMORY_YEARS: Final = (1.0, 20.0)
_PRIORS: Final = ((0.05, 1.0), (0.2, 1.3), (0.1, 1.0))
"""Centre and log-scale spread of the prior of each standard deviation: constant, season, shock."""
_CLIP: Final = 0.7


@dataclass(frozen=True)
class Level:
    """Log of expected total over the buy-till-you-die forecast: number of buyers, and net value."""

    buyers: float
    value: float


@dataclass(frozen=True)
class LevelHistory:
    """Matured windows, oldest first, shape (k,) each.

    Attributes
    ----------
    day
        Day of the cut-off.
    history_days
        Days of orders before it.
    log_ratio, noise
        log(actual / forecast), and the standard error of the actual total in the same units.
    """

    day: FloatArray
    history_days: FloatArray
    log_ratio: FloatArray
    noise: FloatArray


def forecast_level(
    snapshots: Snapshots,
    log: OrderLog,
    cutoffs: Sequence[int],
    as_of: int,
    horizon_days: int,
) -> Level:
    """Forecast the level as of a moment from the cut-offs whose windows ended by then."""
    rows = [_ratios(snapshots, log, cutoff, horizon_days) for cutoff in sorted(cutoffs)]
    table = np.array([row for row in rows if row is not None], dtype=np.float64).reshape(-1, 6)
    buyers = LevelHistory(table[:, 0], table[:, 1], table[:, 2], table[:, 3])
    value = LevelHistory(table[:, 0], table[:, 1], table[:, 4], table[:, 5])
    today = as_of / DAY_US
    return Level(forecast(buyers, today, horizon_days), forecast(value, today, horizon_days))


def _ratios(snapshots: Snapshots, log: OrderLog, cutoff: int, horizon_days: int) -> tuple[float, ...] | None:
    history = (cutoff - log.began_at) / DAY_US
    if history < _MIN_HISTORY_DAYS:
        return None
    snapshot = snapshots.at(cutoff)
    labels = label_window(log, snapshot.matrix.customers, cutoff, horizon_days)
    scores = btyd_scores(snapshot.btyd, summarise(snapshot.matrix), horizon_days)
    chance, value = (
        expit(scores.probability),
        expit(scores.probability) * np.exp(scores.spend),
    )
    n_buyers, total = labels.purchased.sum(), labels.spend.sum()
    if n_buyers == 0 or total <= 0:
        return None
    return (
        cutoff / DAY_US,
        history,
        float(np.log(n_buyers / chance.sum())),
        float(np.sqrt((chance * (1 - chance)).sum()) / n_buyers),
        float(np.log(total / value.sum())),
        float(np.sqrt(((labels.spend - value) ** 2).sum()) / total),
    )


def forecast(past: LevelHistory, today: float, horizon_days: int) -> float:
    """Posterior mean of g today, averaged over the grid, clipped to ±0.7; 0 without matured windows."""
    if not len(past.day):
        return 0.0
    apart, ahead = (
        np.abs(past.day[:, None] - past.day[None, :]),
        np.abs(today - past.day),
    )
    young = (0.3 * np.exp(-(past.history_days - _MIN_HISTORY_DAYS) / 60.0)) ** 2
    noise = np.outer(past.noise, past.noise) * _overlap(apart, horizon_days) + np.diag(1e-4 + young)
    evidence, means = [], []
    for constant, season, shock, memory in product(_CONSTANT, _SEASON, _SHOCK, _SEASON_MEMORY_YEARS):
        between = constant**2 + season**2 * _yearly(apart, memory) + shock**2 * _overlap(apart, horizon_days)
        towards = constant**2 + season**2 * _yearly(ahead, memory) + shock**2 * _overlap(ahead, horizon_days)
        root = np.linalg.cholesky(between + noise + 1e-6 * np.eye(len(apart)))
        whitened = np.linalg.solve(root, past.log_ratio)
        prior = sum(
            (np.log(sd / centre) / spread) ** 2
            for sd, (centre, spread) in zip((constant, season, shock), _PRIORS, strict=True)
        )
        evidence.append(-0.5 * (whitened @ whitened + prior) - np.log(np.diag(root)).sum())
        means.append(np.linalg.solve(root, towards) @ whitened)
    weights = np.exp(np.array(evidence) - max(evidence))
    return float(np.clip(np.average(means, weights=weights), -_CLIP, _CLIP))


def _overlap(days: FloatArray, horizon_days: int) -> FloatArray:
    """Share of their windows that two cut-offs have in common."""
    return np.maximum(0.0, 1.0 - days / horizon_days)


def _yearly(days: FloatArray, memory_years: float) -> FloatArray:
    """Periodic kernel of one year that fades over the years."""
    wave = np.sin(np.pi * days / _YEAR) ** 2
    return np.exp(-2.0 * wave / 0.8**2 - days / (_YEAR * memory_years))
