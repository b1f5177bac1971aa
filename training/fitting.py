"""Order log → fitted `ClvModel`: the table of contents of training.

Per horizon: examples at many cut-offs → trees for churn, orders and spend → out-of-fold scores
(folds cut by customer) → the blend with the buy-till-you-die model, which also calibrates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from features.arrays import BoolArray, FloatArray, IntArray
from features.catalogue import CATALOGUE
from features.errors import TrainingError
from features.history import before
from features.instants import isoformat
from features.matrix import FeatureMatrix
from features.orders import OrderLog
from model.clv import BTYD_INPUTS, ClvModel, HorizonModel, Part
from training.blending import Link, fit_blend
from training.cutoffs import training_cutoffs
from training.examples import Examples, Snapshots, training_examples
from training.prior import fit_prior

MIN_CUSTOMERS: Final = 20
MIN_PURCHASES: Final = 10
N_FOLDS: Final = 3
SEED: Final = 7

TREES: Final[dict[str, Any]] = {
    "learning_rate": 0.04,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # threads of one booster spin against any neighbour; boosters run side by side instead
}
N_TREES: Final = 200


@dataclass(frozen=True)
class Progress:
    """What a shell may show while a fit runs; both do nothing by default."""

    stage: Callable[[str], None] = lambda _: None
    advance: Callable[[], None] = lambda: None


def fit(
    log: OrderLog,
    as_of: int,
    horizons: Sequence[int],
    *,
    seed: int = SEED,
    progress: Progress | None = None,
    snapshots: Snapshots | None = None,
) -> ClvModel:
    """Fit a model on label windows that end at or before `as_of`.

    Parameters
    ----------
    log
        Valid orders; those at or after `as_of` are not looked at.
    horizons
        Days ahead, ascending.
    seed
        Of folds and trees.
    snapshots
        Snapshots made elsewhere of a log that `log` is the beginning of, to be used and added to.

    Raises
    ------
    TrainingError
        Too few customers or purchases to learn from; the text names what is missing.
    """
    told = progress or Progress()
    past = before(log, as_of)
    known = snapshots or Snapshots(past)
    now = known.at(as_of)
    _require_enough(now.matrix)
    features = informative(now.matrix)
    parts = []
    for horizon in horizons:
        cutoffs = training_cutoffs(past, as_of, horizon)
        told.stage(f"features as of {len(cutoffs)} cut-offs")
        examples = training_examples(known, past, cutoffs, horizon, features)
        told.stage(f"{horizon}-day models on {len(examples):,} examples of {len(cutoffs)} cut-offs")
        parts.append(fit_horizon(examples, features, horizon, seed))
        told.advance()
    return ClvModel(features, now.btyd, tuple(parts), fit_prior(past, as_of, horizons))


def informative(matrix: FeatureMatrix) -> tuple[str, ...]:
    """Features that are not the same for everyone; the others cannot split a tree."""
    kept = []
    for name in CATALOGUE.names:
        column = matrix.column(name)
        known = column[~np.isnan(column)]
        if len(known) and (len(known) < len(column) or known.min() < known.max()):
            kept.append(name)
    return tuple(kept)


def fit_horizon(examples: Examples, features: Sequence[str], horizon_days: int, seed: int) -> HorizonModel:
    """Fit churn on all examples, orders and spend on those with a purchase."""
    purchased = examples.n_orders > 0
    if purchased.sum() < MIN_PURCHASES or (~purchased).sum() < MIN_PURCHASES:
        raise TrainingError(
            f"Within {horizon_days} days {int(purchased.sum())} of {len(examples)} examples have a purchase; at least "
            f"{MIN_PURCHASES} with and without are needed. Choose another horizon or bring more history."
        )
    everyone = np.ones(len(examples), dtype=np.bool_)
    btyd, names = examples.btyd, [*features, *BTYD_INPUTS]
    return HorizonModel(
        horizon_days,
        churn=_part(examples, everyone, purchased.astype(np.float64), btyd.probability, "binary", Link.LOGIT, names, seed),
        orders=_part(examples, purchased, examples.n_orders - 1.0, btyd.orders, "poisson", Link.LOG, names, seed),
        spend=_part(examples, purchased, examples.spend, btyd.spend, "gamma", Link.LOG, names, seed),
    )


def _part(
    examples: Examples,
    rows: BoolArray,
    target: FloatArray,
    btyd_score: FloatArray,
    objective: str,
    link: Link,
    names: Sequence[str],
    seed: int,
) -> Part:
    inputs, target, btyd_score = examples.inputs[rows], target[rows], btyd_score[rows]
    folds = fold_of(examples.customers[rows], seed)
    trees, scores = grow_with_folds(inputs, target, folds, objective, names, seed)
    return Part(trees, fit_blend(link, target, scores, btyd_score))


def fold_of(customers: IntArray, seed: int) -> IntArray:
    """Fold of each row, 0 to N_FOLDS - 1: all rows of a customer share one."""
    shuffled = np.random.default_rng(seed).permutation(int(customers.max()) + 1)
    return np.asarray(shuffled[customers] % N_FOLDS, dtype=np.int64)


def grow_with_folds(
    inputs: FloatArray, target: FloatArray, folds: IntArray, objective: str, names: Sequence[str], seed: int
) -> tuple[lgb.Booster, FloatArray]:
    """Trees on all rows, and out-of-fold scores: link scale, from trees that never saw the customer.

    Returns
    -------
    (booster, scores of shape (n,))
    """
    small = {"min_data_in_leaf": max(5, min(TREES["min_data_in_leaf"], len(target) // 50))}
    settings = {**TREES, **small, "objective": objective, "seed": seed}
    whole = lgb.Dataset(inputs, target, feature_name=list(names), params=settings).construct()
    scores = np.empty(len(target))

    def grow(fold: int) -> lgb.Booster:
        if fold == N_FOLDS:
            return lgb.train(settings, whole, N_TREES)
        trees = lgb.train(settings, whole.subset(np.flatnonzero(folds != fold).tolist()), N_TREES)
        held_out = folds == fold
        scores[held_out] = trees.predict(inputs[held_out], raw_score=True, num_threads=1)
        return trees

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        boosters = list(pool.map(grow, [N_FOLDS, *range(N_FOLDS)]))
    return boosters[0], scores


def _require_enough(matrix: FeatureMatrix) -> None:
    n_customers = len(matrix.customers)
    repeats = int((matrix.column("frequency") > 1).sum())
    if n_customers < MIN_CUSTOMERS or repeats < MIN_PURCHASES:
        raise TrainingError(
            f"The log is too small to train on: {n_customers} customers with an order before "
            f"{isoformat(matrix.as_of)}, {repeats} of them with a second one. At least {MIN_CUSTOMERS} customers and "
            f"{MIN_PURCHASES} repeat buyers are needed."
        )
