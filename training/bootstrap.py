"""How sure one can be of a metric, or of a difference between two models: the customers are drawn again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import FloatArray
from training.metrics import METRICS, Scored

REPLICATES: Final = 400
COMPARED: Final = (
    "spearman",
    "normalized_gini",
    "auc",
    "mae",
    "level_adjusted_mae",
    "rmse",
    "top10_capture",
)
"""Metrics whose difference to each baseline is bootstrapped."""


@dataclass(frozen=True)
class Difference:
    """An estimate, ours less theirs where two models are compared, with its bootstrap interval."""

    estimate: float
    lower: float
    upper: float


def paired_differences(ours: Scored, theirs: Scored, *, level: float = 0.95) -> Mapping[str, Difference]:
    """Bootstrap customers, the same draw for both models, and take percentiles of the difference."""

    def difference(name: str, weights: FloatArray) -> float | None:
        mine, other = METRICS[name](ours, weights), METRICS[name](theirs, weights)
        return None if mine is None or other is None else mine - other

    names = [name for name in COMPARED if difference(name, ours.equal_weights) is not None]
    return _intervals(names, difference, len(ours.actual), level)


def bootstrapped(name: str, s: Scored, *, level: float = 0.95) -> Difference | None:
    """One metric of one model with its bootstrap interval; None where it is undefined."""
    found = _intervals([name], lambda metric, weights: METRICS[metric](s, weights), len(s.actual), level)
    return found.get(name)


def _intervals(
    names: Sequence[str], value: Callable[[str, FloatArray], float | None], n: int, level: float
) -> Mapping[str, Difference]:
    rng = np.random.default_rng(0)
    draws: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(REPLICATES):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        for name in names:
            if (drawn := value(name, weights)) is not None:
                draws[name].append(drawn)
    edges = [(1 - level) / 2, (1 + level) / 2]
    return {
        name: Difference(estimate, *map(float, np.quantile(draws[name], edges)))
        for name in names
        if draws[name] and (estimate := value(name, np.ones(n))) is not None
    }
