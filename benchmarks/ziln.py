"""Zero-inflated log-normal spend as a LightGBM model, after Wang, Liu & Miao (2019), arXiv:1912.07753.

One booster of three scores (logit of the probability to buy, mean and log sd of log spend), trained on their
negative log-likelihood:

    softplus(score) - bought * score + bought * (log sigma + (log spend - mu)^2 / (2 sigma^2))
"""

from __future__ import annotations

import lightgbm
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ROUNDS, PATIENCE, HELD_OUT = 300, 30, 0.2
SETTINGS = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
SIGMA_CEILING = 1.5  # times the sd of log spend among buyers


def fit_ziln(
    inputs: FloatArray,
    spend: FloatArray,
    inputs_now: FloatArray,
    seed: int,
    customers: IntArray | None = None,
    rounds: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Probability to buy and expected spend of the rows of `inputs_now`.

    Expected spend is p exp(mu + sigma^2 / 2). In it, not in training, sigma is at most 1.5 times the sd of log
    spend among the buyers: it enters squared, in an exponent, and few outliers can drive it up. Without `rounds`,
    their number is chosen on a held-out fifth, `customers` telling which rows are of one customer.
    """
    customers = np.arange(len(spend)) if customers is None else customers
    rounds = chosen_rounds(inputs, spend, customers, seed) if rounds is None else rounds
    start = base_scores(spend)
    scores = train(_dataset(inputs, spend, start), seed, rounds).predict(inputs_now, raw_score=True) + start
    sigma = np.exp(np.minimum(scores[:, 2], start[2] + np.log(SIGMA_CEILING)))
    probability = expit(scores[:, 0])
    return probability, probability * np.exp(scores[:, 1] + sigma**2 / 2.0)


def chosen_rounds(inputs: FloatArray, spend: FloatArray, customers: IntArray, seed: int) -> int:
    """Rounds, at most ROUNDS, with the least loss on a fifth of the customers when trained on the others."""
    names, of = np.unique(customers, return_inverse=True)
    held = np.random.default_rng(seed).random(len(names))[of] < HELD_OUT
    start = base_scores(spend[~held])
    known = _dataset(inputs[~held], spend[~held], start)
    unseen = _dataset(inputs[held], spend[held], start, known)
    return train(known, seed, ROUNDS, unseen).best_iteration


def train(data: lightgbm.Dataset, seed: int, rounds: int, unseen: lightgbm.Dataset | None = None) -> lightgbm.Booster:
    """Booster whose raw scores add to the base scores; stopped early where `unseen` tells."""
    settings = SETTINGS | {"objective": _objective, "num_class": 3, "metric": "None", "seed": seed}
    if unseen is None:
        return lightgbm.train(settings, data, rounds)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    return lightgbm.train(settings, data, rounds, valid_sets=[unseen], feval=_held_out_loss, callbacks=[stop])


def _dataset(
    inputs: FloatArray, spend: FloatArray, start: FloatArray, like: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    init = np.tile(start, (len(spend), 1))
    return lightgbm.Dataset(inputs, spend, init_score=init, reference=like)


def _objective(scores: FloatArray, data: lightgbm.Dataset) -> tuple[FloatArray, FloatArray]:
    return derivatives(scores, np.asarray(data.get_label(), dtype=np.float64))


def _held_out_loss(scores: FloatArray, data: lightgbm.Dataset) -> tuple[str, float, bool]:
    return "ziln", float(loss(scores, np.asarray(data.get_label(), dtype=np.float64)).mean()), False


def expit(score: FloatArray) -> FloatArray:
    """Logistic function, free of overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * score))


def base_scores(spend: FloatArray) -> FloatArray:
    """Scores of the marginal: logit of the share of buyers, mean and log sd of their log spend."""
    bought = spend > 0.0
    share, logs = bought.mean(), np.log(spend[bought])
    return np.array([np.log(share / (1.0 - share)), logs.mean(), np.log(logs.std())])


def loss(scores: FloatArray, spend: FloatArray) -> FloatArray:
    """Negative log-likelihood of each row, less what no score enters."""
    bought = spend > 0.0
    standard = _standardised(scores, spend, bought)
    return np.logaddexp(0.0, scores[:, 0]) + np.where(bought, scores[:, 2] + standard**2 / 2.0 - scores[:, 0], 0.0)


def derivatives(scores: FloatArray, spend: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gradient of `loss` and positive curvature, each of shape (n, 3).

    The curvature is the diagonal of the Hessian, p (1 - p), 1 / sigma^2 and 2 z^2, the last no less than its
    expectation 2: it vanishes for an amount at its mean, and the expectation alone lets an outlier overshoot.
    """
    bought = spend > 0.0
    p, standard = expit(scores[:, 0]), _standardised(scores, spend, bought)
    precision = np.exp(-scores[:, 2])
    gradient = np.column_stack([p - bought, -standard * precision, np.where(bought, 1.0 - standard**2, 0.0)])
    curvature = np.column_stack([p * (1.0 - p), bought * precision**2, 2.0 * bought * np.maximum(1.0, standard**2)])
    return gradient, curvature


def _standardised(scores: FloatArray, spend: FloatArray, bought: NDArray[np.bool_]) -> FloatArray:
    """(log spend - mu) / sigma of the buyers; 0 for the others."""
    logs = np.log(np.where(bought, spend, 1.0))
    return np.where(bought, (logs - scores[:, 1]) * np.exp(-scores[:, 2]), 0.0)
