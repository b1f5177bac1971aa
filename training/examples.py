"""The training table: features as of each cut-off, beside what happened next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from features.arrays import BoolArray, FloatArray, IntArray
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from model.btyd import SUMMARISED, Btyd, Summary, summarise
from model.clv import BtydScores, btyd_scores
from training.btyd import Fits
from training.extremes import most_usual
from training.labels import label_window

MAX_EXAMPLES: Final = 30_000
"""More rows than this cost time and gain nothing measurable; the rest is drawn at random."""


LEAST_NET: Final = 0.05
"""A shop that takes back more than the rest is no shop; forecasts stay above 0."""
_FEW: Final = 3
"""Where less than one customer in so many is drawn, features are computed for the drawn alone."""


@dataclass(frozen=True)
class Snapshot:
    """What orders before one cut-off say, and nothing later; each piece is computed when it is first asked for."""

    log: OrderLog
    cutoff: int

    @cached_property
    def matrix(self) -> FeatureMatrix:
        """Every feature of every customer."""
        return feature_matrix(self.log, self.cutoff)

    @cached_property
    def _summarised(self) -> FeatureMatrix:
        return feature_matrix(self.log, self.cutoff, (*SUMMARISED, "historic_clv"))

    @property
    def customers(self) -> IntArray:
        """Positions in the log of the customers known at the cut-off, ascending, shape (n,)."""
        return self._summarised.customers

    @cached_property
    def summary(self) -> Summary:
        """Their summaries."""
        return summarise(self._summarised)

    @cached_property
    def net_share(self) -> float:
        """Share of the value of orders that refunds leave, of all usual customers together: 1.0 without orders."""
        gross, net = (self._summarised.column(name) for name in ("gross_spend", "historic_clv"))
        usual = gross <= most_usual(gross)
        total = gross[usual].sum()
        return float(np.clip(net[usual].sum() / total, LEAST_NET, 1.0)) if total > 0.0 else 1.0

    @cached_property
    def fits(self) -> Fits:
        """Buy-till-you-die fits, from scratch: a start from another cut-off would carry its data along."""
        return Fits(self.summary, self.net_share)

    def features(self, names: Sequence[str], drawn: BoolArray) -> FloatArray:
        """Some features of the drawn customers, shape (n_drawn, len(names))."""
        if _FEW * drawn.sum() >= len(drawn):
            return self.matrix.columns(names)[drawn]
        few = self.log.only(self.customers[drawn])
        return feature_matrix(few, self.cutoff, names).values

    def btyd(self, modified: bool) -> Btyd:
        """The fit of one story."""
        return self.fits.modified if modified else self.fits.textbook


@dataclass
class Snapshots:
    """Snapshots of one log, one per cut-off, shared between horizons."""

    log: OrderLog
    _made: dict[int, Snapshot] = field(default_factory=dict)

    def at(self, cutoff: int) -> Snapshot:
        """Snapshot as of a cut-off."""
        return self._made.setdefault(cutoff, Snapshot(self.log, cutoff))


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
        What the buy-till-you-die model says of each row.
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
    at = [snapshots.at(cutoff) for cutoff in sorted(cutoffs)]
    drawn = _drawn([len(snapshot.customers) for snapshot in at], seed)
    parts = [
        _one(snapshot, rows, log, horizon_days, features, place, modified)
        for place, (snapshot, rows) in enumerate(zip(at, drawn, strict=True))
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
    drawn: BoolArray,
    log: OrderLog,
    horizon_days: int,
    features: Sequence[str],
    place: int,
    modified: bool,
) -> Examples:
    customers = snapshot.customers[drawn]
    labels = label_window(log, customers, snapshot.cutoff, horizon_days)
    btyd = btyd_scores(snapshot.btyd(modified), snapshot.summary.rows(drawn), horizon_days)
    inputs = np.concatenate([snapshot.features(features, drawn), btyd.inputs], axis=1)
    cutoff = np.full(len(inputs), place, dtype=np.int64)
    return Examples(inputs, cutoff, customers, btyd, labels.n_orders, labels.spend, labels.first_order_days)
