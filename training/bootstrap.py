"""How sure one can be of a metric, or of a difference between two models: the customers are drawn again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from features.arrays import FloatArray
from training.metrics import METRICS, Scored

REPLICATES: Final = 400
Metric: TypeAlias = Callable[[Scored, FloatArray], float | None]
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


def paired_differences(
    ours: Scored, others: Mapping[str, Scored], *, level: float = 0.95
) -> dict[str, dict[str, Difference]]:
    """Bootstrap customers, the same draw for all models, and take percentiles of ours less each other's metric."""
    mine = {name: METRICS[name] for name in COMPARED}
    draws = _draws({"": ours, **others}, mine, len(ours.actual))
    found: dict[str, dict[str, Difference]] = {}
    for rival in others:
        pairs = {name: draws["", name] - draws[rival, name] for name in COMPARED}
        found[rival] = {name: _summary(values, level) for name, values in pairs.items() if not np.isnan(values[0])}
    return found


def bootstrapped(name: str, s: Scored, *, level: float = 0.95) -> Difference | None:
    """One metric of one model with its bootstrap interval; None where it is undefined."""
    values = _draws({"": s}, {name: METRICS[name]}, len(s.actual))["", name]
    return None if np.isnan(values[0]) else _summary(values, level)


def _draws(models: Mapping[str, Scored], metrics: Mapping[str, Metric], n: int) -> dict[tuple[str, str], FloatArray]:
    """Each metric of each model: on all customers first, then on every draw; NaN where it is undefined."""
    rng = np.random.default_rng(0)
    out = {(model, name): np.full(REPLICATES + 1, np.nan) for model in models for name in metrics}
    for place in range(REPLICATES + 1):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64) if place else np.ones(n)
        for model, scored in models.items():
            for name, metric in metrics.items():
                value = metric(scored, weights)
                out[model, name][place] = np.nan if value is None else value
    return out


def _summary(values: FloatArray, level: float) -> Difference:
    edges = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.nanquantile(values[1:], edges)
    return Difference(float(values[0]), float(lower), float(upper))
