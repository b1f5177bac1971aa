"""The training table: features as of each cut-off, beside what happened next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from features.arrays import FloatArray, IntArray
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from model.btyd import Btyd, summarise
from model.clv import BtydScores, btyd_scores
from training.btyd import fit_btyd
from training.labels import label_window


@dataclass(frozen=True)
class Snapshot:
    """Features and buy-till-you-die fit as of one cut-off, both from orders before it only."""

    matrix: FeatureMatrix
    btyd: Btyd
    btyd_seconds: float


@dataclass
class Snapshots:
    """Snapshots of one log, computed once per cut-off and shared between horizons."""

    log: OrderLog
    _made: dict[int, Snapshot] = field(default_factory=dict)

    def at(self, cutoff: int) -> Snapshot:
        """Snapshot as of a cut-off."""
        if cutoff not in self._made:
            matrix = feature_matrix(self.log, cutoff)
            nearby = next(reversed(self._made.values())).btyd if self._made else None
            clock = time.perf_counter()
            btyd = fit_btyd(summarise(matrix), nearby)
            self._made[cutoff] = Snapshot(matrix, btyd, time.perf_counter() - clock)
        return self._made[cutoff]


@dataclass(frozen=True)
class Examples:
    """Rows sorted by (cut-off, customer), since LightGBM's bagging and binning see row positions.

    Attributes
    ----------
    inputs
        What the trees see, shape (n, n_inputs).
    customers
        Position of the customer in the log, shape (n,): folds are cut by it.
    btyd
        Link-scale scores of the buy-till-you-die model, shape (n,) each.
    n_orders, spend
        Labels, shape (n,).
    """

    inputs: FloatArray
    customers: IntArray
    btyd: BtydScores
    n_orders: FloatArray
    spend: FloatArray

    def __len__(self) -> int:
        return len(self.customers)


def training_examples(
    snapshots: Snapshots, log: OrderLog, cutoffs: Sequence[int], horizon_days: int, features: Sequence[str]
) -> Examples:
    """Stack the cut-offs, oldest first; `log` holds nothing after the moment that is trained for."""
    parts = [_one(snapshots.at(cutoff), log, horizon_days, features) for cutoff in sorted(cutoffs)]
    return Examples(
        inputs=np.concatenate([part.inputs for part in parts]),
        customers=np.concatenate([part.customers for part in parts]),
        btyd=BtydScores(
            *(np.concatenate(columns) for columns in zip(*(_scores(part.btyd) for part in parts), strict=True))
        ),
        n_orders=np.concatenate([part.n_orders for part in parts]),
        spend=np.concatenate([part.spend for part in parts]),
    )


def _one(snapshot: Snapshot, log: OrderLog, horizon_days: int, features: Sequence[str]) -> Examples:
    matrix = snapshot.matrix
    labels = label_window(log, matrix.customers, matrix.as_of, horizon_days)
    btyd = btyd_scores(snapshot.btyd, summarise(matrix), horizon_days)
    known = matrix.values[:, [matrix.names.index(name) for name in features]]
    inputs = np.concatenate([known, btyd.inputs], axis=1)
    return Examples(inputs, matrix.customers, btyd, labels.n_orders, labels.spend)


def _scores(scores: BtydScores) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return scores.inputs, scores.probability, scores.orders, scores.spend
