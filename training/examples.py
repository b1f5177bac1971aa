"""The training table: features as of each cut-off, beside what happened next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from features.arrays import BoolArray, FloatArray, IntArray
from features.history import before
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from model.btyd import Btyd, summarise
from model.clv import BtydScores, btyd_scores
from training.btyd import Fits, fit_btyd
from training.labels import label_window

MAX_EXAMPLES: Final = 30_000
"""More rows than this cost time and gain nothing measurable; the rest is drawn at random."""


@dataclass(frozen=True)
class Snapshot:
    """Features and buy-till-you-die fit as of one cut-off, both from orders before it only."""

    matrix: FeatureMatrix
    fits: Fits

    def prefers_modified(self) -> bool:
        """Which story of leaving the orders before this moment speak for."""
        return self.fits.prefers_modified(summarise(self.matrix))

    def btyd(self, modified: bool) -> Btyd:
        """The fit of one story."""
        return self.fits.modified if modified else self.fits.textbook


@dataclass
class Snapshots:
    """Snapshots of one log, computed once per cut-off and shared between horizons."""

    log: OrderLog
    _made: dict[int, Snapshot] = field(default_factory=dict)

    def at(self, cutoff: int) -> Snapshot:
        """Snapshot as of a cut-off."""
        if cutoff not in self._made:
            matrix = feature_matrix(before(self.log, cutoff), cutoff)
            fits = fit_btyd(summarise(matrix))  # from scratch: a start from another cut-off would carry its data along
            self._made[cutoff] = Snapshot(matrix, fits)
        return self._made[cutoff]


@dataclass(frozen=True)
class Examples:
    """Rows sorted by (cut-off, customer), since LightGBM's bagging and binning see row positions.

    Attributes
    ----------
    inputs
        What the trees see, shape (n, n_inputs).
    cutoff
        Number of the cut-off, 0 the oldest, shape (n,).
    customers
        Position of the customer in the log, shape (n,): folds are cut by it.
    btyd
        Link-scale scores of the buy-till-you-die model, shape (n,) each.
    n_orders, spend, first_order_days
        Labels, shape (n,).
    """

    inputs: FloatArray
    cutoff: IntArray
    customers: IntArray
    btyd: BtydScores
    n_orders: FloatArray
    spend: FloatArray
    first_order_days: FloatArray

    def __len__(self) -> int:
        return len(self.customers)

    def rows(self, keep: BoolArray | IntArray) -> Examples:
        """Return some of the rows."""
        scores = BtydScores(*(column[keep] for column in self.btyd.columns()))
        return Examples(
            self.inputs[keep],
            self.cutoff[keep],
            self.customers[keep],
            scores,
            self.n_orders[keep],
            self.spend[keep],
            self.first_order_days[keep],
        )


def training_examples(
    snapshots: Snapshots,
    log: OrderLog,
    cutoffs: Sequence[int],
    horizon_days: int,
    features: Sequence[str],
    seed: int,
    modified: bool,
) -> Examples:
    """Stack the cut-offs, oldest first, a random MAX_EXAMPLES of the rows.

    `log` holds nothing after the moment that is trained for; `modified` is the story of leaving preferred then.
    """
    sizes = [len(snapshots.at(cutoff).matrix.customers) for cutoff in sorted(cutoffs)]
    kept = _drawn(sizes, seed)
    parts = [
        _one(snapshots.at(cutoff), log, horizon_days, features, place, modified).rows(rows)
        for place, (cutoff, rows) in enumerate(zip(sorted(cutoffs), kept, strict=True))
    ]
    return Examples(
        inputs=np.concatenate([part.inputs for part in parts]),
        cutoff=np.concatenate([part.cutoff for part in parts]),
        customers=np.concatenate([part.customers for part in parts]),
        btyd=BtydScores(
            *(np.concatenate(columns) for columns in zip(*(part.btyd.columns() for part in parts), strict=True))
        ),
        n_orders=np.concatenate([part.n_orders for part in parts]),
        spend=np.concatenate([part.spend for part in parts]),
        first_order_days=np.concatenate([part.first_order_days for part in parts]),
    )


def _drawn(sizes: Sequence[int], seed: int) -> list[BoolArray]:
    keep = np.ones(sum(sizes), dtype=np.bool_)
    if len(keep) > MAX_EXAMPLES:
        keep[np.random.default_rng(seed).permutation(len(keep))[MAX_EXAMPLES:]] = False
    return np.split(keep, np.cumsum(sizes)[:-1])


def _one(
    snapshot: Snapshot,
    log: OrderLog,
    horizon_days: int,
    features: Sequence[str],
    place: int,
    modified: bool,
) -> Examples:
    matrix = snapshot.matrix
    labels = label_window(log, matrix.customers, matrix.as_of, horizon_days)
    btyd = btyd_scores(snapshot.btyd(modified), summarise(matrix), horizon_days)
    inputs = np.concatenate([matrix.columns(features), btyd.inputs], axis=1)
    cutoff = np.full(len(inputs), place, dtype=np.int64)
    return Examples(inputs, cutoff, matrix.customers, btyd, labels.n_orders, labels.spend, labels.first_order_days)
