"""What is expected of customers of whom no order is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from features.arrays import BoolArray, FloatArray
from features.columns import ACQUISITION_COLUMNS
from model.predictions import Predictions, joined


@dataclass(frozen=True)
class Prior:
    """What is expected of a customer in the horizon after the first order, shape (K,) each.

    The answer for ids of whom no order is known (`basis = "prior"`).

    Attributes
    ----------
    by
        The same by how customers were acquired: column, then value, then this; empty where the log does not say.
    without_order
        What is expected of customers who have rows, but none with a value above 0: gifts, free samples, refunds of
        orders that the log does not hold. None where training saw none: then they are taken for newcomers.
    """

    purchase_probability: FloatArray
    orders: FloatArray
    clv: FloatArray
    by: Mapping[str, Mapping[str, Prior]] = field(default_factory=dict)
    without_order: Prior | None = None

    def of(self, acquired: Mapping[str, Any]) -> Prior:
        """Prior of a newcomer of whom channel or category is known: the first that the model knows, else of all."""
        known = (self.by.get(column, {}).get(acquired.get(column, "")) for column in ACQUISITION_COLUMNS)
        return next((prior for prior in known if prior is not None), self)

    def predictions(
        self,
        horizons: tuple[int, ...],
        n_customers: int,
        acquired: Sequence[Mapping[str, Any]] = (),
        seen: BoolArray | None = None,
    ) -> Predictions:
        """Give n customers their answer: the same for all, or by how each was acquired.

        `seen` tells who has rows without a value above 0, shape (n_customers,).
        """
        rows = [self.of(one) for one in acquired] or [self] * n_customers
        if seen is not None and self.without_order is not None:
            rows = [self.without_order if one else row for row, one in zip(rows, seen.tolist(), strict=True)]
        table = np.array([(row.purchase_probability, row.orders, row.clv) for row in rows], dtype=np.float64)
        probability, orders, clv = table.reshape(n_customers, 3, len(horizons)).transpose(1, 0, 2)
        return joined(horizons, probability, orders, clv, np.full(n_customers, np.nan))
