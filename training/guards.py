"""What must not leak, checked in every fit and every backtest: a leak is an error, not a better figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from features.arrays import IntArray
from features.errors import LeakError, listed
from features.instants import DAY_US, isoformat
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog

_WATCHED: Final = 500


def require_blind_features(log: OrderLog, matrix: FeatureMatrix) -> None:
    """Compute some customers' features again, from a log without a row from `as_of` on.

    Raises
    ------
    LeakError
        A feature differs in any bit: it saw what came after its moment.
    """
    past = log.rows(log.ordered_at < matrix.as_of)
    step = max(1, len(matrix.customers) // _WATCHED)
    rows = np.arange(0, len(matrix.customers), step)
    again = feature_matrix(past.only(matrix.customers[rows]), matrix.as_of, matrix.names)
    differing = again.values.view(np.int64) != matrix.values[rows].view(np.int64)
    if differing.any():
        names = np.array(matrix.names)[differing.any(axis=0)]
        raise LeakError(
            f"Features as of {isoformat(matrix.as_of)} depend on rows from then on: {listed(names)}. A feature sees "
            "orders before its moment only: mend its definition."
        )


def require_embargo(cutoffs: Sequence[int], horizon_days: int, as_of: int) -> None:
    """Refuse label windows that end after the moment that is trained for. Raises LeakError."""
    late = [isoformat(cutoff) for cutoff in sorted(cutoffs) if cutoff + horizon_days * DAY_US > as_of]
    if late:
        raise LeakError(
            f"Label windows of {horizon_days} days from {listed(late)} end after {isoformat(as_of)}: what is learnt "
            "from must be over before the moment that is predicted."
        )


def require_whole_customers(folds: IntArray, customers: IntArray) -> None:
    """Refuse folds that share a customer: its rows would be on both sides. Raises LeakError."""
    n_folds = int(folds.max()) + 1
    n_pairs = len(np.unique(customers * n_folds + folds))
    if n_pairs > len(np.unique(customers)):
        raise LeakError(
            f"{n_pairs - len(np.unique(customers))} customers have rows in more than one fold: cut folds by customer, "
            "or out-of-fold scores know the customer."
        )
