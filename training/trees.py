"""Growing the trees: one setting for all logs, and scores from trees that never saw the customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from features.arrays import BoolArray, FloatArray, IntArray
from features.machine import CORES
from training.guards import require_whole_customers

N_FOLDS: Final = 3

TREES: Final[dict[str, Any]] = {
    "learning_rate": 0.08,
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
N_TREES: Final = 125


def fold_of(customers: IntArray, seed: int) -> IntArray:
    """Fold of each row, 0 to N_FOLDS - 1: all rows of a customer share one. Another set of customers is dealt anew."""
    distinct, place = np.unique(customers, return_inverse=True)
    return np.asarray(np.random.default_rng(seed).permutation(len(distinct))[place] % N_FOLDS, dtype=np.int64)


@dataclass(frozen=True)
class Aim:
    """What trees are grown towards.

    Attributes
    ----------
    target
        Shape (n,).
    start
        Starting scores, link scale, shape (n,), which `predict` does not add again; None: from the target's own mean or
        median, which `predict` does add.
    out_of_fold
        Whether scores are to come from trees that never saw the customer, grown besides.
    """

    objective: str
    target: FloatArray
    start: FloatArray | None
    out_of_fold: bool = True

    def rows(self, keep: BoolArray) -> Aim:
        """Some of the rows."""
        start = None if self.start is None else self.start[keep]
        return Aim(self.objective, self.target[keep], start, self.out_of_fold)


@dataclass(frozen=True)
class Table:
    """Rows that trees are grown on, binned once for all their aims.

    Attributes
    ----------
    inputs
        Shape (n, n_inputs).
    customers, folds
        Shape (n,).
    """

    inputs: FloatArray
    customers: IntArray
    folds: IntArray
    aims: Mapping[str, Aim]


@dataclass(frozen=True)
class Grown:
    """Trees on all rows, and scores of each row: link scale, less `start`, shape (n,)."""

    trees: lgb.Booster
    scores: FloatArray


def grow(tables: Sequence[Table], names: Sequence[str], seed: int) -> dict[str, Grown]:
    """Grow what all tables aim at, boosters of different rows side by side."""
    for table in tables:
        require_whole_customers(table.folds, table.customers)
    scores = {name: np.empty(len(aim.target)) for table in tables for name, aim in table.aims.items()}

    def grown(table: Table, fold: int) -> dict[str, lgb.Booster]:
        """Trees that never saw the fold, which they score; after the last fold, trees on all rows."""
        out_of_fold, kept = fold < N_FOLDS, table.folds != fold
        aims = {name: aim.rows(kept) for name, aim in table.aims.items() if aim.out_of_fold or not out_of_fold}
        trees = _one_after_another(table.inputs[kept], aims, names, seed)
        scored = ~kept if out_of_fold else kept
        for name in (name for name, aim in aims.items() if aim.out_of_fold == out_of_fold):
            scores[name][scored] = trees[name].predict(table.inputs[scored], raw_score=True, num_threads=1)
        return trees

    jobs = [(table, fold) for table in tables for fold in (N_FOLDS, *range(N_FOLDS))]
    with ThreadPoolExecutor(max_workers=CORES) as pool:
        done = list(pool.map(grown, *zip(*jobs, strict=True)))
    whole = [trees for trees, (_, fold) in zip(done, jobs, strict=True) if fold == N_FOLDS]
    return {name: Grown(trees[name], scores[name]) for trees in whole for name in trees}


def _one_after_another(
    inputs: FloatArray, aims: Mapping[str, Aim], names: Sequence[str], seed: int
) -> dict[str, lgb.Booster]:
    """Trees for every aim on the same binned rows."""
    leaf = {"min_data_in_leaf": max(5, min(TREES["min_data_in_leaf"], len(inputs) // 20))}
    settings, trees = {**TREES, **leaf, "seed": seed}, {}
    data = lgb.Dataset(inputs, np.zeros(len(inputs)), feature_name=list(names), params=settings).construct()
    for name, aim in aims.items():
        data.set_label(aim.target).set_field("init_score", aim.start)
        trees[name] = lgb.train({**settings, "objective": aim.objective}, data, N_TREES)
    return trees
