"""Growing the trees: one setting for all logs, and scores from trees that never saw the customer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from features.arrays import FloatArray, IntArray
from training.guards import require_whole_customers

N_FOLDS: Final = 3

TREES: Final[dict[str, Any]] = {
    "learning_rate": 0.04,
    "num_leaves": 7,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 63,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # threads of one booster spin against any neighbour; boosters run side by side instead
}
N_TREES: Final = 250


def fold_of(customers: IntArray, seed: int) -> IntArray:
    """Fold of each row, 0 to N_FOLDS - 1: all rows of a customer share one."""
    shuffled = np.random.default_rng(seed).permutation(int(customers.max()) + 1)
    return np.asarray(shuffled[customers] % N_FOLDS, dtype=np.int64)


def grow_with_folds(
    inputs: FloatArray,
    target: FloatArray,
    start: FloatArray | None,
    folds: IntArray,
    customers: IntArray,
    objective: str,
    names: Sequence[str],
    seed: int,
) -> tuple[lgb.Booster, FloatArray]:
    """Trees on all rows, and out-of-fold scores: link scale, from trees that never saw the customer.

    Returns
    -------
    (booster, scores less `start`, shape (n,))
    """
    require_whole_customers(folds, customers)
    scores = np.empty(len(target))

    def grown(fold: int) -> lgb.Booster:
        if fold == N_FOLDS:
            return grow(inputs, target, start, objective, names, seed)
        kept, held_out = folds != fold, folds == fold
        trees = grow(inputs[kept], target[kept], None if start is None else start[kept], objective, names, seed)
        scores[held_out] = trees.predict(inputs[held_out], raw_score=True, num_threads=1)
        return trees

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        boosters = list(pool.map(grown, [N_FOLDS, *range(N_FOLDS)]))
    return boosters[0], scores


def grow(
    inputs: FloatArray,
    target: FloatArray,
    start: FloatArray | None,
    objective: str,
    names: Sequence[str],
    seed: int,
) -> lgb.Booster:
    """Grow the trees of one model from given starting scores, which `predict` does not add again.

    Without them the trees start from the target's own mean or median, which `predict` does add.
    """
    leaf = {"min_data_in_leaf": max(5, min(TREES["min_data_in_leaf"], len(target) // 20))}
    settings = {**TREES, **leaf, "objective": objective, "seed": seed}
    data = lgb.Dataset(inputs, target, init_score=start, feature_name=list(names), params=settings)
    return lgb.train(settings, data, N_TREES)
