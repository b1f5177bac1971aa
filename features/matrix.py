"""Order log → feature matrix: the engine's loop over cache-sized blocks of customers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

import features.definitions  # noqa: F401  fills the catalogue
from features.arrays import FloatArray, IntArray
from features.catalogue import CATALOGUE
from features.history import Purchases, before
from features.orders import OrderLog

BLOCK_ROWS: Final = 32_768
"""Rows whose columns and intermediates fit the second-level cache; twice as fast as unblocked."""


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of the customers that had at least one order before `as_of`.

    Attributes
    ----------
    as_of
        Instant the features speak for, µs UTC.
    names
        Column names.
    customers
        Positions of the rows' customers in the log, ascending, shape (n,).
    values
        float64, NaN is null, shape (n, len(names)).
    """

    as_of: int
    names: tuple[str, ...]
    customers: IntArray
    values: FloatArray

    def column(self, name: str) -> FloatArray:
        """One feature, contiguous, shape (n,). Raises ValueError when it is not in the matrix."""
        return np.ascontiguousarray(self.values[:, self._place_of(name)])

    def columns(self, names: Sequence[str]) -> FloatArray:
        """Some features, shape (n, len(names)). Raises ValueError when one is not in the matrix."""
        if self.names[: len(names)] == tuple(names):
            return self.values[:, : len(names)]
        return self.values[:, [self._place_of(name) for name in names]]

    def _place_of(self, name: str) -> int:
        if name not in self._places:
            raise ValueError(f"{name!r} is not in this matrix")
        return self._places[name]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def blocks(starts: IntArray, rows: int) -> Iterator[tuple[int, int]]:
    """Customer ranges [low, high) of about `rows` rows; a larger customer is a block of its own."""
    low, n_customers = 0, len(starts) - 1
    while low < n_customers:
        high = int(np.searchsorted(starts, starts[low] + rows, side="right")) - 1
        high = min(max(high, low + 1), n_customers)
        yield low, high
        low = high


def feature_matrix(
    log: OrderLog,
    as_of: int,
    names: Sequence[str] | None = None,
) -> FeatureMatrix:
    """Compute features as of an instant.

    Parameters
    ----------
    log
        Valid orders; rows at or after `as_of` are not looked at.
    as_of
        Instant in µs UTC.
    names
        Features to compute, all of the catalogue by default.
    """
    wanted = CATALOGUE.names if names is None else tuple(names)
    values = np.empty((log.n_customers, len(wanted)), order="F")  # a feature's values lie side by side
    columns = list(values.T)
    customers = np.empty(log.n_customers, dtype=np.int64)
    n_known = 0
    with np.errstate(all="ignore"):
        for low, high in blocks(log.starts, BLOCK_ROWS):
            present, past = before(log.customers(low, high), as_of).with_rows()
            orders = Purchases(past, as_of, CATALOGUE.values)
            known = None if orders.lengths.all() else np.flatnonzero(orders.lengths)
            found = present if known is None else present[known]
            rows = slice(n_known, n_known + len(found))
            customers[rows] = found + low
            if len(found):
                for column, name in zip(columns, wanted, strict=True):
                    column[rows] = orders[name] if known is None else orders[name][known]
            n_known += len(found)
    return FeatureMatrix(as_of, wanted, customers[:n_known], values[:n_known])
