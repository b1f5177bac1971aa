"""How good predictions are, tie-aware, and how sure one can be of a difference.

Every metric takes weights, so that a bootstrap replicate is a new weight vector over rankings
made once: no metric here depends on the order of the rows. None stands for undefined
(no actual value, one class only), never for zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from features.arrays import BoolArray, FloatArray
from model.spread import DEFAULT_LEVEL

N_DECILES: Final = 10


class Ranking:
    """Ranks of one column of values, shape (n,), with ties at their middle."""

    def __init__(self, values: FloatArray) -> None:
        _, self._group = np.unique(values, return_inverse=True)
        self._last: tuple[FloatArray, FloatArray, FloatArray] | None = None

    def _of(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(weights, weight of each group of ties, `middle`); those of the last weights asked for are kept."""
        if self._last is None or self._last[0] is not weights:
            of_group = np.asarray(np.bincount(self._group, weights=weights), dtype=np.float64)
            self._last = weights, of_group, (np.cumsum(of_group) - of_group / 2.0)[self._group]
        return self._last

    def middle(self, weights: FloatArray) -> FloatArray:
        """Weight below each row plus half the weight of its ties, shape (n,)."""
        return self._of(weights)[2]

    def tied(self, weights: FloatArray) -> FloatArray:
        """Weight of the rows that tie with each row, itself included, shape (n,)."""
        return self._of(weights)[1][self._group]

    def tie_mean(self, values: FloatArray) -> FloatArray:
        """Mean of another column over the rows that tie here, shape (n,)."""
        return self.tied(values) / self.tied(np.ones(len(values)))


@dataclass(frozen=True)
class Scored:
    """Predictions beside what happened, shape (n,) each.

    Attributes
    ----------
    actual
        Net value in the horizon, >= 0.
    purchased
        Whether there was an order.
    clv, probability
        Predicted value and purchase probability.
    lower, upper
        Prediction interval; NaN where the model gives none.
    level
        Chance with which the interval should hold the value.
    """

    actual: FloatArray
    purchased: BoolArray
    clv: FloatArray
    probability: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float = DEFAULT_LEVEL

    @cached_property
    def by_clv(self) -> Ranking:
        """Ranking by predicted value."""
        return Ranking(self.clv)

    @cached_property
    def by_actual(self) -> Ranking:
        """Ranking by actual value."""
        return Ranking(self.actual)

    @cached_property
    def by_probability(self) -> Ranking:
        """Ranking by purchase probability."""
        return Ranking(self.probability)

    @cached_property
    def equal_weights(self) -> FloatArray:
        """One for each customer."""
        return np.ones(len(self.actual))


def _mean(values: FloatArray, weights: FloatArray) -> float:
    return float((values * weights).sum() / weights.sum())


def spearman(s: Scored, weights: FloatArray) -> float | None:
    """Rank correlation of predicted and actual value, zeros included, average ranks, in [-1, 1]."""
    p, y = s.by_clv.middle(weights), s.by_actual.middle(weights)
    p, y = p - _mean(p, weights), y - _mean(y, weights)
    spread = float(np.sqrt((weights * p * p).sum() * (weights * y * y).sum()))
    return float((weights * p * y).sum() / spread) if spread > 0 else None


def _gini(actual: FloatArray, middle: FloatArray, weights: FloatArray) -> float:
    total = (weights * actual).sum()
    return float(2.0 * (weights * actual * middle).sum() / (weights.sum() * total) - 1.0)


def normalized_gini(s: Scored, weights: FloatArray) -> float | None:
    """Area between gain curve and diagonal in units of the best possible, at most 1; 0 for a constant."""
    if not (weights * s.actual).sum() > 0:
        return None
    best = _gini(s.actual, s.by_actual.middle(weights), weights)
    return _gini(s.actual, s.by_clv.middle(weights), weights) / best if best > 0 else None


def auc(s: Scored, weights: FloatArray) -> float | None:
    """Chance that a buyer had the higher probability than a non-buyer, ties half, in [0, 1]; None without any."""
    if np.isnan(s.probability).any():
        return None
    bought = weights * s.purchased
    n_bought, n_not = bought.sum(), weights.sum() - bought.sum()
    if n_bought == 0 or n_not == 0:
        return None
    above = (bought * s.by_probability.middle(weights)).sum() - n_bought * n_bought / 2.0
    return float(above / (n_bought * n_not))


def brier(s: Scored, weights: FloatArray) -> float | None:
    """Mean squared error of the purchase probability, in [0, 1]."""
    if np.isnan(s.probability).any():
        return None
    return _mean((s.probability - s.purchased) ** 2, weights)


def mae(s: Scored, weights: FloatArray) -> float | None:
    """Mean absolute error, money. Rewards under-prediction where most customers spend nothing."""
    return _mean(np.abs(s.clv - s.actual), weights)


def level_adjusted_mae(s: Scored, weights: FloatArray) -> float | None:
    """MAE after scaling predictions to the actual total, money."""
    predicted, actual = (weights * s.clv).sum(), (weights * s.actual).sum()
    if not predicted > 0:
        return None
    return _mean(np.abs(s.clv * (actual / predicted) - s.actual), weights)


def rmse(s: Scored, weights: FloatArray) -> float | None:
    """Root mean squared error, money."""
    return float(np.sqrt(_mean((s.clv - s.actual) ** 2, weights)))


def wape(s: Scored, weights: FloatArray) -> float | None:
    """Sum of absolute errors over the sum of actual value."""
    total = (weights * s.actual).sum()
    return float((weights * np.abs(s.clv - s.actual)).sum() / total) if total > 0 else None


def bias(s: Scored, weights: FloatArray) -> float | None:
    """Predicted total over actual total, less 1."""
    total = (weights * s.actual).sum()
    return float((weights * s.clv).sum() / total - 1.0) if total > 0 else None


def capture(s: Scored, weights: FloatArray, share: float) -> float | None:
    """Part of the actual value held by the top share of customers by prediction, ties shared out."""
    total = (weights * s.actual).sum()
    if not total > 0:
        return None
    tied = s.by_clv.tied(weights)
    above = s.by_clv.middle(weights) + tied / 2.0 - weights.sum() * (1.0 - share)
    inside = np.clip(np.divide(above, tied, out=np.zeros(len(tied)), where=tied > 0), 0.0, 1.0)
    return float((weights * s.actual * inside).sum() / total)


def top10_capture(s: Scored, weights: FloatArray) -> float | None:
    """Part of the actual value held by the top 10 % by prediction."""
    return capture(s, weights, 0.10)


def top20_capture(s: Scored, weights: FloatArray) -> float | None:
    """Part of the actual value held by the top 20 % by prediction."""
    return capture(s, weights, 0.20)


def profit(s: Scored, share: float, margin: float, contact_cost: float) -> float | None:
    """Money left of a campaign to the top share by prediction: margin × their actual value - cost of each contact."""
    held = capture(s, s.equal_weights, share)
    if held is None:
        return None
    return float(margin * held * s.actual.sum() - contact_cost * share * len(s.actual))


@dataclass(frozen=True)
class Decile:
    """One tenth of the customers by predicted value, 1 the lowest."""

    decile: int
    n_customers: int
    mean_predicted: float
    mean_actual: float


def deciles(s: Scored) -> list[Decile]:
    """Ten equal groups by predicted value; customers that tie share their mean actual value."""
    order = np.argsort(s.clv, kind="stable")
    shared = s.by_clv.tie_mean(s.actual)[order]
    groups = zip(
        np.array_split(s.clv[order], N_DECILES),
        np.array_split(shared, N_DECILES),
        strict=True,
    )
    return [
        Decile(place + 1, len(p), float(p.mean()), float(y.mean())) for place, (p, y) in enumerate(groups) if len(p)
    ]


def decile_mape(s: Scored) -> float | None:
    """Mean over deciles of |mean predicted - mean actual| / mean actual; deciles without value are left out."""
    errors = [abs(d.mean_predicted - d.mean_actual) / d.mean_actual for d in deciles(s) if d.mean_actual > 0]
    return float(np.mean(errors)) if errors else None


def coverage_by_decile(s: Scored) -> list[float]:
    """Share of the customers whose value the interval holds, per tenth by predicted value, lowest first."""
    inside = ((s.lower <= s.actual) & (s.actual <= s.upper)).astype(np.float64)
    shared = s.by_clv.tie_mean(inside)[np.argsort(s.clv, kind="stable")]
    return [float(group.mean()) for group in np.array_split(shared, N_DECILES) if len(group)]


def interval_metrics(s: Scored) -> dict[str, float | None]:
    """Coverage overall, in the top tenth and in the worst tenth; mean width and interval score, money.

    The interval score (Gneiting & Raftery 2007, eq. 43) adds to the width what a miss lies outside of the
    interval, times 2 / (1 - level): wide intervals cannot win.
    """
    names = ("coverage", "coverage_top_decile", "coverage_worst_decile", "interval_width", "interval_score")
    if np.isnan(s.upper).any():
        return dict.fromkeys(names)
    deciles_covered = coverage_by_decile(s)
    width = s.upper - s.lower
    missed = np.maximum(s.lower - s.actual, 0.0) + np.maximum(s.actual - s.upper, 0.0)
    values = (
        float(((s.lower <= s.actual) & (s.actual <= s.upper)).mean()),
        deciles_covered[-1],
        min(deciles_covered),
        float(width.mean()),
        float((width + missed * 2.0 / (1.0 - s.level)).mean()),
    )
    return dict(zip(names, values, strict=True))


METRICS: Final = {
    f.__name__: f
    for f in (
        spearman,
        normalized_gini,
        mae,
        level_adjusted_mae,
        rmse,
        wape,
        bias,
        auc,
        brier,
        top10_capture,
        top20_capture,
    )
}


def evaluate(s: Scored) -> dict[str, float | None]:
    """All metrics of one model; those of intervals are None where it gives none."""
    values = {name: metric(s, s.equal_weights) for name, metric in METRICS.items()}
    return {
        **values,
        "decile_mape": decile_mape(s),
        **interval_metrics(s),
    }
