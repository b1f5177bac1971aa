"""How much weight the trees get beside the buy-till-you-die model, learnt on out-of-fold scores."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from features.arrays import FloatArray
from model.clv import Blend

_PULL: Final = 50.0
"""Examples' worth of pull towards equal shares: matters only for small logs."""


class Link(StrEnum):
    """Scale on which scores are added."""

    LOGIT = "logit"
    LOG = "log"


def fit_blend(link: Link, target: FloatArray, trees: FloatArray, btyd: FloatArray) -> Blend:
    """Non-negative weights and a level that make the blended mean right.

    Logistic likelihood on the logit scale, quasi-Poisson on the log scale: both have the score
    equation sum(predicted) = sum(actual), so that totals hold on the training windows.

    Parameters
    ----------
    target
        0/1 for LOGIT, >= 0 for LOG, shape (n,).
    trees, btyd
        Scores on the link scale, shape (n,); those of the trees out of fold.
    """
    scale = 1.0 if link is Link.LOGIT else max(float(target.mean()), 1e-12)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        score = theta[0] * trees + theta[1] * btyd + theta[2]
        if link is Link.LOGIT:
            mean = expit(score)
            value = np.logaddexp(0.0, score) - target * score
        else:
            mean = np.exp(np.minimum(score, 50.0)) / scale
            value = mean - target / scale * score
        error = mean - target / scale
        pull = theta[:2] - 0.5
        gradient = np.array([(error * trees).sum(), (error * btyd).sum(), error.sum()])
        gradient[:2] += 2.0 * _PULL * pull
        return float(value.sum() + _PULL * (pull**2).sum()) / len(target), gradient / len(target)

    found = minimize(
        loss, np.array([0.5, 0.5, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, 2.0), (0.0, 2.0), (None, None)]
    )
    return Blend(*(float(value) for value in found.x))
