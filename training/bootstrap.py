"""How sure one can be of a metric, or of a difference between two models: the customers are drawn again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from features.arrays import FloatArray
from training.metrics import METRICS, Scored

REPLICATES: Final = 400
Draws: TypeAlias = Mapping[str, FloatArray]
"""By metric, shape (REPLICATES + 1,)."""
COMPARED: Final = tuple(name for name in METRICS if name != "deciles_without_value")
"""Metrics whose difference to each baseline is bootstrapped."""


@dataclass(frozen=True)
class Estimate:
    """An estimate, ours less theirs where two models are compared, with its bootstrap interval."""

    estimate: float
    lower: float
    upper: float


def drawn(s: Scored) -> Draws:
    """Bootstrap customers: each metric on all of them first, then on every draw; NaN where it is undefined."""
    out = {name: np.full(REPLICATES + 1, np.nan) for name in COMPARED}
    for place, weights in enumerate(_draws(len(s.actual))):
        for name, values in out.items():
            value = METRICS[name](s, weights)
            values[place] = np.nan if value is None else value
    return out


def intervals(draws: Draws) -> dict[str, Estimate]:
    """Every metric with its interval; those that are undefined are left out."""
    found = {name: interval(values) for name, values in draws.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _draws(n: int) -> Iterator[FloatArray]:
    """How often each of n customers was drawn: once for all first, then by chance, the same in every call."""
    rng = np.random.default_rng(0)
    yield np.ones(n)
    for _ in range(REPLICATES):
        yield np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)


def paired_differences(ours: Draws, theirs: Draws) -> dict[str, Estimate]:
    """Ours less theirs, by metric that both have; all models of as many customers are measured on the same draws."""
    return intervals({name: values - theirs[name] for name, values in ours.items()})


def interval(values: FloatArray) -> Estimate | None:
    """Estimate and 95 % of the draws; None where the metric is undefined."""
    if np.isnan(values[0]):
        return None
    lower, upper = np.nanquantile(values[1:], [0.025, 0.975])
    return Estimate(float(values[0]), float(lower), float(upper))
