"""How good predictions are, tie-aware.

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
from training.ranking import Ranking


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
    def absolute_errors(self) -> FloatArray:
        """What each prediction is off by, money."""
        return np.abs(self.clv - self.actual)

    @cached_property
    def covered(self) -> FloatArray | None:
        """1 where the interval holds the value, else 0; None where the model gives no intervals."""
        if np.isnan(self.upper).any():
            return None
        return ((self.lower <= self.actual) & (self.actual <= self.upper)).astype(np.float64)

    @cached_property
    def interval_scores(self) -> FloatArray:
        """Width plus what a miss lies outside, times 2 / (1 - level), money (Gneiting & Raftery 2007, eq. 43)."""
        missed = np.maximum(self.lower - self.actual, 0.0) + np.maximum(self.actual - self.upper, 0.0)
        return self.upper - self.lower + missed * 2.0 / (1.0 - self.level)

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
    return _mean(s.absolute_errors, weights)


def level_adjusted_mae(s: Scored, weights: FloatArray) -> float | None:
    """MAE after scaling predictions to the actual total, money."""
    predicted, actual = (weights * s.clv).sum(), (weights * s.actual).sum()
    if not predicted > 0:
        return None
    return _mean(np.abs(s.clv * (actual / predicted) - s.actual), weights)


def rmse(s: Scored, weights: FloatArray) -> float | None:
    """Root mean squared error, money."""
    return float(np.sqrt(_mean(s.absolute_errors**2, weights)))


def wape(s: Scored, weights: FloatArray) -> float | None:
    """Sum of absolute errors over the sum of actual value."""
    total = (weights * s.actual).sum()
    return float((weights * s.absolute_errors).sum() / total) if total > 0 else None


def bias(s: Scored, weights: FloatArray) -> float | None:
    """Predicted total over actual total, less 1."""
    total = (weights * s.actual).sum()
    return float((weights * s.clv).sum() / total - 1.0) if total > 0 else None


def capture(s: Scored, weights: FloatArray, share: float) -> float | None:
    """Part of the actual value held by the top share of customers by prediction, ties shared out."""
    total = (weights * s.actual).sum()
    if not total > 0:
        return None
    below, everything = s.by_clv.sums(s.actual, weights, np.array([1.0 - share, 1.0]) * weights.sum())
    return float((everything - below) / everything)


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


def deciles(s: Scored, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean predicted and mean actual value of ten equal groups by predicted value, shape (10,), the lowest first."""
    return s.by_clv.in_parts(s.clv, weights), s.by_clv.in_parts(s.actual, weights)


def decile_mape(s: Scored, weights: FloatArray) -> float | None:
    """Mean over deciles of |mean predicted - mean actual| / mean actual; deciles without value are left out."""
    predicted, actual = deciles(s, weights)
    held = actual > 0
    return float((np.abs(predicted - actual)[held] / actual[held]).mean()) if held.any() else None


def deciles_without_value(s: Scored, weights: FloatArray) -> float:
    """Deciles of predicted value that spent nothing: `decile_mape` says nothing of them."""
    return float((deciles(s, weights)[1] <= 0).sum())


def coverage(s: Scored, weights: FloatArray) -> float | None:
    """Share of the customers whose value the interval holds, in [0, 1]."""
    return None if s.covered is None else _mean(s.covered, weights)


def coverage_by_decile(s: Scored, weights: FloatArray) -> FloatArray | None:
    """Coverage of each tenth by predicted value, shape (10,), the lowest first."""
    return None if s.covered is None else s.by_clv.in_parts(s.covered, weights)


def coverage_top_decile(s: Scored, weights: FloatArray) -> float | None:
    """Coverage in the top tenth by predicted value, where others fail."""
    found = coverage_by_decile(s, weights)
    return None if found is None else float(found[-1])


def coverage_worst_decile(s: Scored, weights: FloatArray) -> float | None:
    """Coverage in the worst of the ten tenths by predicted value."""
    found = coverage_by_decile(s, weights)
    return None if found is None else float(found.min())


def interval_width(s: Scored, weights: FloatArray) -> float | None:
    """Mean width of the intervals, money."""
    return None if s.covered is None else _mean(s.upper - s.lower, weights)


def interval_score(s: Scored, weights: FloatArray) -> float | None:
    """Mean width plus what misses cost, money: wide intervals cannot win."""
    return None if s.covered is None else _mean(s.interval_scores, weights)


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
        decile_mape,
        deciles_without_value,
        auc,
        brier,
        top10_capture,
        top20_capture,
        coverage,
        coverage_top_decile,
        coverage_worst_decile,
        interval_width,
        interval_score,
    )
}


def evaluate(s: Scored) -> dict[str, float | None]:
    """All metrics of one model; those of probabilities and of intervals are None where it gives none."""
    return {name: metric(s, s.equal_weights) for name, metric in METRICS.items()}
