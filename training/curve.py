"""Fitting the smooth view of who buys again: a logistic regression with a ridge."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from features.arrays import FloatArray
from model.curve import Curve

CURVE_SHARE: Final = 0.5
"""Weight of the curve in what the trees leave of the log odds; the buy-till-you-die model has the rest."""
RIDGE: Final = 10.0
"""Penalty on half the squared weights, in units of log likelihood: it holds small logs, large ones do not feel it."""


def fit_curve(rhythm: FloatArray, bought: FloatArray, season: FloatArray, share: float) -> Curve:
    """Maximum likelihood of who bought, shape (n,), given each cut-off's own level `season` (log odds), shape (n,).

    `rhythm` holds the three quantities, shape (n, 3).
    """
    scale = np.maximum(rhythm.std(axis=0), 1e-9)
    flat = Curve(rhythm.min(axis=0), rhythm.max(axis=0), rhythm.mean(axis=0), scale, np.zeros(9), 0.0, share)
    design = np.column_stack([*flat.terms(rhythm), np.ones(len(rhythm))])
    penalty = np.append(np.full(9, RIDGE), 0.0)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        odds = design @ weights + season
        value = np.logaddexp(0.0, odds).sum() - bought @ odds + 0.5 * (penalty * weights * weights).sum()
        return float(value), design.T @ (expit(odds) - bought) + penalty * weights

    found = minimize(loss, np.zeros(10), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return replace(flat, weights=np.asarray(found[:9], dtype=np.float64), level=float(found[9]))
